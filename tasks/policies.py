"""Every Prefect option of every task, once, lives here: retries, keys, the GPU tag, storage.

What a task does, does not; see the stage's file. Which stage comes next is in flows/.
"""

from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.tasks import exponential_backoff

from tasks.outage import outlive_worker, wait_out_restarts
from whosaid.errors import TransientError
from whosaid.planning import Plan, Stage
from whosaid.settings import Settings
from whosaid.types import Digest, StageResult

wait_out_restarts()
outlive_worker()

GPU_STAGES = frozenset({Stage.DIARIZE, Stage.EMBED, Stage.TRANSCRIBE, Stage.EDGES})


def is_transient(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a failure may pass by itself. Bad input and bugs come back every time."""
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


def storage_key(stage: Stage, digest: Digest) -> str:
    """Return the name under which a stage's result is stored."""
    return f"{stage}/{digest}.json"


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
        "result_serializer": JSONSerializer(),
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

    A stored stage carries no GPU tag: it would queue for a slot that it does not use. One that is
    to run ignores what is stored: it was forced, or what is stored can't be used.
    """
    runs = stage in plan.run
    return task.with_options(
        tags={settings.gpu_tag} if runs and stage in GPU_STAGES else set(),
        refresh_cache=runs,
        result_storage=settings.results.resolve(),
    )


@cache
def _store(folder: Path) -> ResultStore:
    from prefect.filesystems import LocalFileSystem

    return ResultStore(
        result_storage=LocalFileSystem(basepath=str(folder)), cache_result_in_memory=False
    )


def read_stored(stage: Stage, digest: Digest, settings: Settings) -> StageResult | None:
    """Read a stage's stored result, or `None` if there is none that can be read.

    Needs no Prefect server. A file that was cut short while it was written reads as none.
    """
    if not (settings.results / storage_key(stage, digest)).exists():
        return None
    try:
        result = _store(settings.results.resolve()).read(storage_key(stage, digest)).result
    except Exception:  # noqa: BLE001 - whatever is wrong with the file, the remedy is to compute it again
        return None
    return result if isinstance(result, StageResult) and result.digest == digest else None
