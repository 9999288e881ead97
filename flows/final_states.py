"""How a run of several videos ends lives here: its final state, and what that carries.

Whether it failed is decided in flows/transcribe_videos.py and flows/sweep_folder.py.
"""

import logging
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from spokenby.errors import SpokenbyError


class UnfinishedError(SpokenbyError):
    """Some videos have no transcript: they failed, or the run was stopped.

    Args:
        problem: what happened, and to which videos.
        told: what the flow tells of every video, those that are done, too.
    """

    def __init__(self, problem: str, told: Any = None) -> None:
        super().__init__(problem)
        self.told = told


def failed(message: str, told: Any) -> State[Any]:
    """Return the state of a run in which a video failed. Prefect wants an exception in it."""
    return Failed(message=message, data=UnfinishedError(message, told))


def stopped(message: str, told: Any) -> State[Any]:
    """Return the state of a run that was stopped on request."""
    return Cancelled(message=message, data=UnfinishedError(message, told))


def told_by(state: State[Any]) -> Any:
    """Return what a flow told of its videos, however it ended.

    Raises:
        Exception: it ended before it could tell.
    """
    told = state.result(raise_on_failure=False)
    if isinstance(told, UnfinishedError):
        return told.told
    if isinstance(told, BaseException):
        raise told
    return told


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a line of a run's log says more than the final state, which was logged before.

    A run that a worker started ends with a traceback through Prefect, which hides the cause.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], UnfinishedError))


logging.getLogger("prefect.flow_runs").addFilter(_is_news)
