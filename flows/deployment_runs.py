"""Transcribe videos in runs of the deployment, one a host with a worker, else in this process."""

import os
from collections.abc import Mapping
from itertools import count
from time import monotonic, sleep, time
from typing import Any, cast

import httpx
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import DeploymentStatus, FlowRun, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from flows.transcribe_videos import name_of, transcribe_videos
from spokenby.digests import digest_of
from spokenby.plan.profiles import Recipe
from spokenby.progress import Step, announce, is_stopping
from spokenby.site.inventory import Inventory, sharing
from spokenby.types import language_label
from spokenby.wording import markdown_cell
from tasks.again import TEMPORARY
from tasks.artifacts import tell_prefect
from tasks.forms import DEPLOYMENT

START_WITHIN_S = 120.0
"""How long to wait for a worker to take a run. Who waits may hold the worker's only place."""

ASK_EVERY_S = 1.0


def run_videos(
    paths: list[str],
    request: dict[str, Any],
    inventory: Inventory,
    *key: object,
    wait: bool = True,
) -> tuple[bool, str]:
    """Transcribe some videos; return whether and how that ended.

    Where workers serve the deployment, runs of it do that, which the UI can retry: one for each
    host. Else it is done in this process, which goes on with the inventory.

    Args:
        paths: videos.
        request: the other parameters of `transcribe_videos`, every one that decides on the result.
        inventory: of that request.
        key: what makes these attempts others than earlier ones; who asks for the same twice joins
            the run that is under way.
        wait: for the end of runs of the deployment.
    """
    with get_client(sync_client=True) as client:
        if deployment := served(client):
            runs = [
                _run_of(deployment, client, part, request, key, inventory.batch.recipe)
                for part in dealt(paths, count_hosts(client, deployment))
            ]
            for run in runs:
                _link_to(run)
            if not wait:
                return False, "; ".join(f"in run {run.name}" for run in runs)
            ended = [_follow(client, run) for run in runs]
            return all(one for one, _ in ended), "; ".join(message for _, message in ended)
    with sharing(inventory):
        state = transcribe_videos(tuple(paths), return_state=True, **request)
    return not is_stopping(), state.message or str(state.name)


def served(client: SyncPrefectClient) -> DeploymentResponse | None:
    """Return the deployment if the server has it and a worker has asked for its runs lately."""
    if TEMPORARY in os.environ:  # its database may remember the workers of another server
        return None
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        return None
    ready = deployment.status is DeploymentStatus.READY and not deployment.paused
    return deployment if ready else None


def count_hosts(client: SyncPrefectClient, deployment: DeploymentResponse) -> int:
    """Return how many hosts have a worker that asks for the runs of a deployment."""
    if not (pool := deployment.work_pool_name):
        return 1
    workers = client.read_workers_for_work_pool(pool)
    return max(1, sum(worker.status is WorkerStatus.ONLINE for worker in workers))


def dealt(paths: list[str], hosts: int) -> list[list[str]]:
    """Return videos in as many parts as there are hosts, each in their order; none is empty."""
    return [part for host in range(hosts) if (part := paths[host::hosts])]


def queued_paths() -> frozenset[str]:
    """Return the videos of runs that are under way or due. Without a worker none is."""
    with get_client(sync_client=True) as client:
        if not (deployment := served(client)):
            return frozenset()
        waiting = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}
            ),
            deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}}),
        )
    now = time()
    return frozenset(
        path
        for run in waiting
        if not (due := run.next_scheduled_start_time) or due.timestamp() < now
        for path in run.parameters.get("paths", ())
    )


def _run_of(
    deployment: DeploymentResponse,
    client: SyncPrefectClient,
    paths: list[str],
    request: dict[str, Any],
    key: tuple[object, ...],
    recipe: Recipe,
) -> FlowRun:
    """Return the run of these videos that is under way, or a new one."""
    # Nothing given is the flow's own default. Where the deployment has another, it has to be said:
    # as the form says it, for the server refuses null.
    fields = (deployment.parameter_openapi_schema or {}).get("properties", {})
    given = {
        name: fields.get(name, {}).get("default") if value is None else value
        for name, value in request.items()
        if value is not None or name in deployment.parameters
    }
    if given.get("language"):
        given["language"] = language_label(given["language"])
    if given.get("params"):
        given["params"] = _typed(given["params"], recipe.model_dump(mode="json"))
    for number in count():
        # For a key that is known, the server returns that run, even if it ended long ago.
        name = digest_of(paths, request, key, number)
        same = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"idempotency_key": {"any_": [name]}})
        )
        if not same:
            run = run_deployment(
                DEPLOYMENT,
                parameters={"paths": paths, "force": [], **given},
                flow_run_name=name_of(paths),
                timeout=0,
                idempotency_key=name,
            )
            return cast("FlowRun", run)  # a coroutine only for asynchronous callers
        if not (same[0].state and same[0].state.is_final()):
            return same[0]
    raise AssertionError


def _typed(params: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return params with the values that a recipe has for them: the command line gives text."""
    return {
        name: _typed(value, recipe[name]) if isinstance(value, Mapping) else recipe[name]
        for name, value in params.items()
        if value is not None
    }


def _link_to(run: FlowRun) -> None:
    """Show the run on the page of the one that started it, if that is one."""
    if FlowRunContext.get() is None:
        return
    tell_prefect(
        create_link_artifact,
        f"/runs/flow-run/{run.id}",
        link_text=markdown_cell(run.name),
        key="run-of-sweep",
        description=f"transcribes what this sweep found: {markdown_cell(run.name)}",
    )


def _follow(client: SyncPrefectClient, run: FlowRun) -> tuple[bool, str]:
    announce(Step("sweep", "run", "waiting", note=f"in run {run.name}, on a worker"))
    begun = monotonic()
    while True:
        state = run.state
        if state and state.is_final():
            return True, f"run {run.name}: {state.message or state.name}"
        if is_stopping():
            return False, f"run {run.name} continues"
        late = monotonic() - begun > START_WITHIN_S
        if late and (state is None or state.is_scheduled() or state.is_pending()):
            return False, f"run {run.name} has not started: the workers are busy or gone"
        sleep(ASK_EVERY_S)
        try:
            run = client.read_flow_run(run.id)
        except httpx.HTTPError:  # the server restarts
            continue
