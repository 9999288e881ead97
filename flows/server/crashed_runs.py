"""Start runs again whose process was killed, or that were stopped with their worker.

An automation marks them Crashed; see flows/server/resources.py. A run that starts again computes
only what was cut: the rest is stored. An automation could start them, too, but after a restart of
the server Prefect holds events back for 15 minutes.

Only the server's clock counts: hosts may be minutes apart.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Crashed, Scheduled

from flows.server.prefect_settings import DEAD_AFTER_S

RESTARTS = 2
"""How often a run that crashes is started again: what kills its process each time, such as a video
that does not fit into memory, must not come back for ever."""

CRASHED = "crashed"
"""What the message of a run that starts again begins with."""

STOPPED = "Stopped"
"""The state of a run that was stopped with its worker: it is scheduled, for at once."""

SETTLED_AFTER = timedelta(seconds=15)
"""A worker reports a crash twice, about 3 s apart; the second report undoes a retry in between."""

STUCK_AFTER = timedelta(minutes=10)
"""A process takes seconds to start: a run that is Pending for so long lost its worker."""

SILENT_AFTER = timedelta(seconds=2 * DEAD_AFTER_S)
"""The automation misses a run that dies just before the server does; this does not."""


def restart_crashed(client: SyncPrefectClient, deployments: list[str]) -> list[str]:
    """Start crashed runs of some deployments again; return their names."""
    now = server_time(client)
    for run in _runs(client, deployments, StateType.PENDING):
        if run.state and now - run.state.timestamp > STUCK_AFTER:
            client.set_flow_run_state(run.id, Crashed(message="its worker was killed"))
    for run in _runs(client, deployments, StateType.RUNNING):
        if (
            run.state
            and now - run.state.timestamp > SILENT_AFTER
            and not _is_heard(client, run, now - SILENT_AFTER)
        ):
            silent = f"no heartbeat for {SILENT_AFTER.seconds} s: its process was killed"
            client.set_flow_run_state(run.id, Crashed(message=silent))
    _end_tasks_of_dead_runs(client, deployments)
    restarted = []
    for run in _runs(client, deployments, StateType.CRASHED):
        if run.state and now - run.state.timestamp > SETTLED_AFTER and _may_restart(client, run):
            message = f"{CRASHED} ({run.state.message}): continues where it was interrupted"
            client.set_flow_run_state(run.id, AwaitingRetry(message=message))
            restarted.append(run.name)
    return restarted


def _runs(client: SyncPrefectClient, deployments: list[str], state: StateType) -> list[FlowRun]:
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=deployments)),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state]))
        ),
    )


def server_time(client: SyncPrefectClient) -> datetime:
    """Return the time by the server's clock, to the second."""
    return parsedate_to_datetime(client.request("GET", "/health").headers["date"])


def _is_heard(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    """Return whether the server has heard from a run that it lives.

    An event says when it occurred by the clock of its host, which also orders them, and when the
    server received it. The newest of as many as the server returns cover 25 minutes: by so much a
    clock may have been ahead and be set back, or that of a host from which the run has moved.
    """
    heartbeats = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "occurred": {"until": (since + timedelta(days=365)).isoformat()},  # a clock may be ahead
        "order": "DESC",
    }
    found = client.request("POST", "/events/filter", json={"filter": heartbeats, "limit": 50})
    return any(
        datetime.fromisoformat(event["received"]) >= since for event in found.json()["events"]
    )


def _end_tasks_of_dead_runs(client: SyncPrefectClient, flows: list[str]) -> None:
    """Mark stages Crashed that show as Running though their run has ended.

    The process that would have said so was killed. What they compute again are new task runs.
    """
    of_dead_runs = FlowRunFilter.model_validate(
        {"state": {"type": {"any_": ["CRASHED", "CANCELLED"]}}}
    )
    for task_run in client.read_task_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": flows}}),
        flow_run_filter=of_dead_runs,
        task_run_filter=TaskRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}}),
    ):
        client.set_task_run_state(
            task_run.id, Crashed(message="its process was killed"), force=True
        )


def _may_restart(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Return whether a crashed run may start again.

    Not if it did too often; nor if somebody cancelled it and its worker did not live to see it.
    """
    states = client.read_flow_run_states(run.id)
    restarts = sum((state.message or "").startswith(CRASHED) for state in states)
    cancelled = any(state.type == StateType.CANCELLING for state in states[-2:])
    return restarts < RESTARTS and not cancelled


def late_runs(client: SyncPrefectClient, deployments: list[str]) -> list[str]:
    """Return the names of runs that should have begun, and wait for a worker's place."""
    return [run.name for run in _runs(client, deployments, StateType.SCHEDULED) if _is_late(run)]


def _is_late(run: FlowRun) -> bool:
    return run.state_name == "Late"


def continue_later(client: SyncPrefectClient, runs: Iterable[UUID]) -> list[str]:
    """Let runs go on that ended with their worker, whose processes are gone; return their names.

    To stop a worker is no crash, and does not count as one. The next worker starts them.
    """
    stopped = []
    for run in map(client.read_flow_run, runs):
        if run.state and (run.state.is_crashed() or not run.state.is_final()):
            message = "stopped with spokenby serve; continues when it is started again"
            client.set_flow_run_state(run.id, Scheduled(name=STOPPED, message=message))
            stopped.append(run.name)
    return stopped
