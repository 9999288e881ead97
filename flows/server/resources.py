"""Check and create what spokenby needs on a Prefect server."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]  # comes with Prefect, without types
from jsonschema import (  # type: ignore[import-untyped]  # comes with Prefect, without types
    Draft202012Validator,
)
from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from flows.parameters import CLOSED, form_of_params
from flows.server.connection import connected
from flows.server.prefect_settings import DEAD_AFTER_S, FLOW_RUN_SETTINGS
from spokenby.errors import InputError
from spokenby.models import usable
from spokenby.settings import read_settings
from spokenby.types import language_label

ROOT = Path(__file__).resolve().parents[2]
PREFECT_FILE = ROOT / "prefect.yaml"
POOL = "spokenby"
SWEEP = "sweep-folder"
PLACES = (
    "A worker does 2 runs at once, or as many as spokenby serve --workers-limit says. Further runs"
    " wait, and show as Late, until one of these ends."
)
SET_FOLDER = "prefect.deployments.steps.set_working_directory"


LACKS = "missing"
"""What a problem begins with where there is nothing."""


class Need(NamedTuple):
    """One thing that a server must have."""

    what: str
    problem: Callable[[SyncPrefectClient], str]
    """Says what is wrong with it; empty if nothing is."""
    create: Callable[[SyncPrefectClient], None]
    """Creates it, or puts it right."""


def check() -> list[str]:
    """Return what is missing on the server, a line each.

    Raises:
        InputError: no server answers.
    """
    with connected() as client:
        return [f"{need.what}: {problem}" for need in needs() if (problem := need.problem(client))]


def set_up() -> list[str]:
    """Create what is missing on the server; return a line for each. A second time does nothing.

    Raises:
        InputError: no server answers, or it refuses.
    """
    done = []
    with connected() as client:
        wrong = [(need, problem) for need in needs() if (problem := need.problem(client))]
        for need, problem in wrong:
            need.create(client)
            done.append(f"{'created' if problem.startswith(LACKS) else 'updated'}: {need.what}")
    return done


def watch(folders: Sequence[str]) -> None:
    """Let sweeps look for new videos in some folders: now, and by the schedule from then on.

    Raises:
        InputError: no server answers, or it lacks the deployment.
    """
    (entry,) = [entry for entry in _entries() if entry["name"] == SWEEP]
    (planned,) = entry["schedules"]
    with connected() as client:
        if not (sweep := _find_deployment(client, SWEEP)):
            raise InputError(f"the server has no deployment {SWEEP}", "run: spokenby setup")
        places = {"folders": [*folders]}
        ids = {"id": sweep.id}
        change = {"parameters": sweep.parameters | places, "paused": False}
        _ask(client, "PATCH", "/deployments/{id}", ids, change)
        for schedule in sweep.schedules:
            if schedule.slug == planned["slug"]:
                kept = {"parameters": schedule.parameters | places} if schedule.parameters else {}
                which = ids | {"schedule_id": schedule.id}
                path = "/deployments/{id}/schedules/{schedule_id}"
                _ask(client, "PATCH", path, which, {"active": True, **kept})
                break
        else:  # somebody deleted it
            every = {"schedule": {"interval": planned["interval"]}, "slug": planned["slug"]}
            _ask(client, "POST", "/deployments/{id}/schedules", ids, [{"active": True, **every}])
        client.create_flow_run_from_deployment(sweep.id)


def _ask(
    client: SyncPrefectClient, method: Any, path: Any, ids: Mapping[str, Any], body: Any
) -> None:
    client.request(method, path, path_params=dict(ids), json=body).raise_for_status()


def needs() -> Iterator[Need]:
    """Yield what a server must have, in the order in which it can be created."""
    yield Need(f"work pool {POOL}", _pool_problem, _create_pool)
    for entry in _entries():
        yield _deployment(entry)
    yield _automation(_mark_dead_runs(deployment_names()))


def _pool_problem(client: SyncPrefectClient) -> str:
    try:
        found = client.read_work_pool(POOL)
    except ObjectNotFound:
        return f"{LACKS}: nothing assigns runs to a worker"
    if found.type != "process":
        return f"is of type {found.type}, should be process"
    same = found.base_job_template == _job_template()
    return "" if same else "lets runs bring commands of their own"


def _create_pool(client: SyncPrefectClient) -> None:
    if problem := _pool_problem(client):
        if problem.startswith("is of type"):
            raise InputError(f"the work pool {POOL} {problem}", "delete it, or rename it")
        template = _job_template()
        if problem.startswith(LACKS):
            client.create_work_pool(
                WorkPoolCreate(
                    name=POOL, type="process", description=PLACES, base_job_template=template
                )
            )
        else:
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def _job_template() -> dict[str, Any]:
    """Return how the pool's workers start a run: nothing of it is the run's to choose.

    Prefect's own template takes command, environment and folder from whoever creates a run.
    """
    return {
        "job_configuration": {
            "command": None,
            "env": FLOW_RUN_SETTINGS,
            "labels": {},
            "name": None,
            "stream_output": True,
            "working_dir": None,
        },
        "variables": {"type": "object", "properties": {}},
    }


def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load(PREFECT_FILE.read_text("utf-8"))["deployments"]
    return entries


def deployment_names() -> list[str]:
    """Return the names of spokenby's deployments, which are those of their flows."""
    return [entry["name"] for entry in _entries()]


def _deployment(entry: dict[str, Any]) -> Need:
    name = entry["name"]

    def problem(client: SyncPrefectClient) -> str:
        if not (found := _find_deployment(client, name)):
            return LACKS
        # Parameters and schedules are not compared: people change them in the UI.
        changed = {
            "entrypoint": found.entrypoint == entry["entrypoint"],
            "description": found.description == entry["description"],
            "tags": sorted(found.tags) == sorted(entry["tags"]),
            "work pool": found.work_pool_name == entry["work_pool"]["name"],
            "job variables": not found.job_variables,
            "form": _form(found.parameter_openapi_schema) == _form(_form_of(entry)),
            "folder": _folders(found) <= {ROOT},
        }
        differs = [what for what, same in changed.items() if not same]
        return f"differs from this installation ({', '.join(differs)})" if differs else ""

    def create(client: SyncPrefectClient) -> None:
        if found := _find_deployment(client, name):
            # Changed in place: deploying once more would undo what people set in the UI.
            change = _content(entry) | {"parameters": _fitting(found.parameters, _form_of(entry))}
            _ask(client, "PATCH", "/deployments/{id}", {"id": found.id}, change)
            return
        flow = client.create_flow_from_name(name)
        schedules = [
            {
                "slug": each["slug"],
                "active": each["active"],
                "schedule": {"interval": each["interval"]},
            }
            for each in entry.get("schedules", ())
        ]
        new = {"name": name, "flow_id": str(flow), "schedules": schedules}
        _ask(client, "POST", "/deployments/", {}, _content(entry) | new)

    return Need(f"deployment {name}", problem, create)


def _find_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{name}/{name}")
    except ObjectNotFound:
        return None


def _content(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what spokenby decides of a deployment; schedules, parameters and pauses are people's.

    Args:
        entry: of the deployment in prefect.yaml.
    """
    content = {name: entry[name] for name in ("entrypoint", "description", "tags")}
    if limit := entry.get("concurrency_limit"):
        content["concurrency_limit"] = limit["limit"]
        content["concurrency_options"] = {"collision_strategy": limit["collision_strategy"]}
    return content | {
        "work_pool_name": entry["work_pool"]["name"],
        "job_variables": {},
        "pull_steps": [{SET_FOLDER: {"directory": str(ROOT)}}],
        "enforce_parameter_schema": True,
        "parameter_openapi_schema": _form_of(entry),
    }


def _form_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a flow's parameters."""
    # Not by Prefect, which would look for the flow in the current directory first.
    module, _, attribute = entry["entrypoint"].rpartition(".")
    flow: Flow[..., Any] = getattr(import_module(module), attribute)
    # Closed: else a misspelt parameter is found only when the run starts.
    form: dict[str, Any] = {**parameter_schema(flow).model_dump(mode="json"), CLOSED: False}
    if params := form["properties"].get("params"):
        params |= form_of_params(usable("faster_whisper", read_settings().models))
    return form


def _fitting(parameters: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a deployment's parameters that a form has; the others are said.

    They were set in the form of an earlier version.
    """
    given = dict(parameters)
    if given.get("language"):
        given["language"] = language_label(given["language"])
    errors = Draft202012Validator({**form, "required": []}).iter_errors(given)
    wrong = {str(error.path[0]) for error in errors if error.path}
    wrong |= given.keys() - form["properties"].keys()
    for name in sorted(wrong):
        logging.getLogger("spokenby").warning(
            "the deployment's parameter %s = %r does not fit this version: dropped",
            name,
            given.pop(name),
        )
    return given


def _form(schema: dict[str, Any] | None) -> list[Any]:
    parts = ("properties", "definitions", "required")
    return [(schema or {}).get(CLOSED), *((schema or {}).get(part) or {} for part in parts)]


def _folders(deployment: DeploymentResponse) -> set[Path]:
    """Return the folders in which runs start; none if they are brought from elsewhere."""
    steps = [step for each in deployment.pull_steps or [] for step in each.items()]
    return {Path(given["directory"]) for step, given in steps if step == SET_FOLDER}


def _automation(wanted: AutomationCore) -> Need:
    def found(client: SyncPrefectClient) -> list[Any]:
        return client.read_automations_by_name(wanted.name)

    def problem(client: SyncPrefectClient) -> str:
        same = [_essence(automation) == _essence(wanted) for automation in found(client)]
        if not same:
            return f"{LACKS}: {wanted.description}"
        return "" if same == [True] else "is of another version of spokenby"

    def create(client: SyncPrefectClient) -> None:
        for old in found(client):
            client.delete_automation(old.id)
        client.create_automation(wanted)

    return Need(f'automation "{wanted.name}"', problem, create)


def _essence(automation: AutomationCore) -> Any:
    content = automation.model_dump(mode="json", include={"trigger", "actions"})
    content["trigger"].pop("id", None)
    return json.loads(json.dumps(content, sort_keys=True), object_hook=_sorted_sets)


def _sorted_sets(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: sorted(value) if name in {"after", "expect", "for_each"} else value
        for name, value in fields.items()
    }


def _mark_dead_runs(flows: list[str]) -> AutomationCore:
    """Mark runs Crashed whose process is gone: killed with its worker, or the machine went down."""
    return AutomationCore(
        name="spokenby: mark dead runs",
        description="runs whose process was killed would stay Running for ever",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={
                "prefect.flow-run.heartbeat",
                *(f"prefect.flow-run.{ended}" for ended in ("Completed", "Failed", "Cancelled")),
                *(f"prefect.flow-run.{ended}" for ended in ("Crashed", "Paused")),
                # A heartbeat may arrive after the report of the crash: a run that waits for its
                # second start is not silent.
                *(f"prefect.flow-run.{waits}" for waits in ("AwaitingRetry", "Pending")),
            },
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            # Only own flows: others may say more rarely that they live.
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": flows},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=DEAD_AFTER_S),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"no heartbeat for {DEAD_AFTER_S} s: its process was killed",
            )
        ],
    )
