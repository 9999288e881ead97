from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from datetime import UTC, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed, Crashed, Running, Scheduled
from served import wait

from flows.server import crashed_runs


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(api=prefect_server) as client:
        yield client


class Ahead(dt.datetime):
    """The clock of a host that is 200 s ahead of the server's."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Ahead:  # type: ignore[override]
        return super().now(tz) + timedelta(seconds=200)


def start_run(client: SyncPrefectClient, name: str, deployment: UUID) -> UUID:
    run: str = client.request(
        "POST", "/deployments/{id}/create_flow_run", path_params={"id": deployment}, json={}
    ).json()["id"]
    client.set_flow_run_state(UUID(run), Running())
    return UUID(run)


def say_alive(client: SyncPrefectClient, run: UUID, behind_s: float) -> None:
    """Send a heartbeat from a host whose clock is behind the server's, or ahead."""
    occurred = dt.datetime.now(UTC) - timedelta(seconds=behind_s)
    event = {
        "occurred": occurred.isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "id": str(uuid4()),
    }
    client.request("POST", "/events", json=[event])


def test_clocks_of_hosts_do_not_matter(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"clocks-{uuid4()}"
    deployment = client.create_deployment(client.create_flow_from_name(name), name)
    silent, behind, ahead = (start_run(client, name, deployment) for _ in range(3))
    monkeypatch.setattr(crashed_runs, "datetime", Ahead)
    assert crashed_runs.restart_crashed(client, [name]) == []
    for run in (silent, behind, ahead):
        assert client.read_flow_run(run).state_name == "Running"

    say_alive(client, behind, behind_s=400)
    say_alive(client, ahead, behind_s=-400)
    since = crashed_runs.server_time(client) - crashed_runs.SILENT_AFTER
    heard = set()
    deadline = time.monotonic() + 120  # the server stores events when it comes to it
    while heard != {behind, ahead} and time.monotonic() < deadline:
        time.sleep(0.2)
        runs = map(client.read_flow_run, (silent, behind, ahead))
        heard = {run.id for run in runs if crashed_runs._is_heard(client, run, since)}
    assert heard == {behind, ahead}
    later = since + 2 * crashed_runs.SILENT_AFTER
    assert not crashed_runs._is_heard(client, client.read_flow_run(ahead), later)


def test_a_clock_that_was_ahead_hides_no_later_heartbeat(client: SyncPrefectClient) -> None:
    """It was set back, or the run goes on at another host: what is newer occurred earlier."""
    name = f"set-back-{uuid4()}"
    deployment = client.create_deployment(client.create_flow_from_name(name), name)
    run = start_run(client, name, deployment)
    for ahead in range(600, 300, -30):
        say_alive(client, run, behind_s=-ahead)
    at = crashed_runs.server_time(client)

    def is_heard(since: dt.datetime) -> bool:
        return crashed_runs._is_heard(client, client.read_flow_run(run), since)

    wait(lambda: is_heard(at - timedelta(seconds=60)), 120, lambda: at)
    time.sleep(2)  # by the second, which is how the server tells the time
    since = crashed_runs.server_time(client)
    assert not is_heard(since)
    say_alive(client, run, behind_s=0)
    wait(lambda: is_heard(since), 120, lambda: since)


def test_runs_that_wait_for_a_place_are_named(client: SyncPrefectClient) -> None:
    name = f"late-{uuid4()}"
    deployment = client.create_deployment(client.create_flow_from_name(name), name)
    due = dt.datetime.now(UTC) - timedelta(minutes=1)
    client.create_flow_run_from_deployment(
        deployment, name="waiting", state=Scheduled(scheduled_time=due)
    )
    wait(lambda: crashed_runs.late_runs(client, [name]) == ["waiting"], 120, lambda: name)


def test_a_stop_is_no_crash_and_crashes_end(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashed_runs, "SETTLED_AFTER", timedelta(seconds=-5))
    killed = Crashed(message="Process exited with status code: -9")
    name = f"stops-{uuid4()}"
    deployment = client.create_deployment(client.create_flow_from_name(name), name)
    run = start_run(client, name, deployment)
    shown = client.read_flow_run(run).name
    for told in (True, True, False):  # by the worker, that the run's process was killed
        if told:
            client.set_flow_run_state(run, Crashed(message="Process exited with status code: -15"))
        assert crashed_runs.continue_later(client, [run]) == [shown]
        assert client.read_flow_run(run).state_name == "Stopped"
        client.set_flow_run_state(run, Running())
    for _ in range(crashed_runs.RESTARTS):
        client.set_flow_run_state(run, killed)
        assert crashed_runs.restart_crashed(client, [name]) == [shown]
        client.set_flow_run_state(run, Running())
    client.set_flow_run_state(run, killed)
    assert crashed_runs.restart_crashed(client, [name]) == []
    client.set_flow_run_state(run, Completed())
    assert crashed_runs.continue_later(client, [run]) == []
