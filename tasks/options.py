"""Every Prefect option of every task: retries, cache keys, the GPU tag, storage."""

from typing import Any, TypedDict

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_logger
from prefect.tasks import exponential_backoff

from spokenby.errors import SpokenbyError, TransientError
from spokenby.plan.planning import Plan
from spokenby.plan.stages import Stage
from spokenby.settings import Settings
from spokenby.site.gpu_slots import shares_gpu
from spokenby.site.stage_results import share_result, storage_key
from tasks import run_log  # noqa: F401 - sets up the log of task runs
from tasks.checked_json import CheckedJSONSerializer
from tasks.prefect_patches import wait_out_restarts

wait_out_restarts()


def is_transient(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether a failure may pass by itself. Bad input and bugs come back every time."""
    cause = state.result(raise_on_failure=False)
    return isinstance(cause, TransientError | ConnectionError | TimeoutError)


class Retries(TypedDict):
    """The retry options of a task."""

    retries: int
    retry_delay_seconds: Any
    retry_jitter_factor: float
    retry_condition_fn: Any


RETRY_TRANSIENT: Retries = {
    "retries": 2,
    "retry_delay_seconds": exponential_backoff(2),
    # Videos that failed together should not come back together.
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


def _cache_key(stage: Stage) -> Any:
    def key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
        return storage_key(stage, parameters["digest"])

    return key


def stored_stage(stage: Stage) -> dict[str, Any]:
    """Return the options of a task whose result is stored under its `digest` parameter."""
    return {
        **RETRY_TRANSIENT,
        "task_run_name": f"{stage} {{video.name}}",
        "cache_key_fn": _cache_key(stage),
        "persist_result": True,
        # JSON: readable in ten years and by other programs; pickle is neither.
        "result_serializer": CheckedJSONSerializer(),
        # Kept in memory, the results of every video would add up over a batch.
        "cache_result_in_memory": False,
    }


def passing_stage(name: str) -> dict[str, Any]:
    """Return the options of a task whose result is not worth or not fit to be stored."""
    return passing_task(f"{name} {{video.name}}")


def passing_task(run_name: str) -> dict[str, Any]:
    """Return the same options for a task that is about no video."""
    return {
        **RETRY_TRANSIENT,
        "task_run_name": run_name,
        "cache_policy": NO_CACHE,
        "persist_result": False,
    }


def for_plan(task: Task[Any, Any], stage: Stage, plan: Plan, settings: Settings) -> Task[Any, Any]:
    """Return a stage's task with the options that depend on the site and on what is stored.

    Without the GPU tag, which queues for a slot: a stage that is stored, and any on a machine that
    has no GPU to share. A stage that is to run ignores what is stored: it was forced, or what is
    stored can't be used.
    """
    runs = stage in plan.run
    return task.with_options(
        tags={settings.gpu_tag} if runs and stage.spec.gpu and shares_gpu(settings) else set(),
        refresh_cache=runs,
        result_storage=settings.results.resolve(),
        on_completion=[_sharing(stage, plan, settings)] if settings.bucket else None,
    )


def _sharing(stage: Stage, plan: Plan, settings: Settings) -> Any:
    """Return the hook that brings a stage's result to the site's bucket."""

    def share(_task: Task[Any, Any], _run: TaskRun, _state: State[Any]) -> None:
        try:
            share_result(stage, plan.digests[stage], settings, new=stage in plan.run)
        except SpokenbyError as error:
            get_logger("spokenby").warning("other hosts do not get the result yet: %s", error)

    return share
