"""A worker in spokenby's hands. That it ends with spokenby: test_serving.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from prefect.workers.base import BaseWorker

from flows.server.child import leave_held_runs


@pytest.mark.parametrize(("held", "left"), [([], ["a", "b"]), (["a"], ["b"]), (["a", "b"], [])])
def test_worker_leaves_runs_that_it_still_holds(
    monkeypatch: pytest.MonkeyPatch, held: list[str], left: list[str]
) -> None:
    async def submit(_worker: Any, flow_run_response: list[Any]) -> list[Any]:
        return [entry.flow_run.id for entry in flow_run_response]

    async def poll() -> list[Any]:
        limiter = anyio.CapacityLimiter(5)
        for run in held:
            limiter.acquire_on_behalf_of_nowait(run)
        runs = [SimpleNamespace(flow_run=SimpleNamespace(id=run)) for run in ("a", "b")]
        worker: Any = SimpleNamespace(_limiter=limiter)
        return await BaseWorker._submit_scheduled_flow_runs(worker, runs)

    monkeypatch.setattr(BaseWorker, "_submit_scheduled_flow_runs", submit)
    leave_held_runs()
    assert anyio.run(poll) == left
