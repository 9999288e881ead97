"""Make the final state of a run of several videos, and read what it carries."""

import logging
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from spokenby.errors import SpokenbyError


class UnfinishedError(SpokenbyError):
    """Some videos have no transcript: they failed, or the run was stopped.

    Args:
        problem: what happened, and to which videos.
        results: of every video, those that are done, too.
    """

    def __init__(self, problem: str, results: Any = None) -> None:
        super().__init__(problem)
        self.results = results


def failed(message: str, results: Any) -> State[Any]:
    """Return the state of a run in which a video failed. Prefect wants an exception in it."""
    return Failed(message=message, data=UnfinishedError(message, results))


def stopped(message: str, results: Any) -> State[Any]:
    """Return the state of a run that was stopped on request."""
    return Cancelled(message=message, data=UnfinishedError(message, results))


def results_of(state: State[Any]) -> Any:
    """Return what a flow returned, however it ended.

    Raises:
        Exception: it ended without results.
    """
    results = state.result(raise_on_failure=False)
    if isinstance(results, UnfinishedError):
        return results.results
    if isinstance(results, BaseException):
        raise results
    return results


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of a run's log says more than the final state, which was logged before.

    A run that a worker started ends with a traceback through Prefect, which hides the cause.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], UnfinishedError))


logging.getLogger("prefect.flow_runs").addFilter(_is_news)
