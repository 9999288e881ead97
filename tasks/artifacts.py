"""Show progress, transcripts and runs in Prefect's UI as artifacts."""

from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from prefect.logging import get_logger

from spokenby.types import Seconds


def tell_prefect(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make or update an artifact; a server that is away for a while does not fail the stage."""
    try:
        return make(*args, **kwargs)
    except httpx.HTTPError as error:
        get_logger("spokenby").warning("the Prefect server did not accept an artifact: %s", error)
        return None


class ProgressBar:
    """A progress artifact of the task that runs; outside of one it does nothing.

    Args:
        description: what is under way.
        every_s: how long an update waits for the one before: each costs 22 ms.
    """

    def __init__(self, description: str, every_s: Seconds) -> None:
        self._description = description
        self._every_s = every_s
        self._artifact: UUID | None = None
        self._shown = -every_s

    def show(self, fraction: float) -> None:
        """Show how far it is, now and then."""
        now = monotonic()
        if TaskRunContext.get() is None or now - self._shown < self._every_s:
            return
        self._shown = now
        percent = round(100 * fraction, 1)
        if self._artifact is None:
            self._artifact = tell_prefect(
                create_progress_artifact, percent, description=self._description
            )
        else:
            tell_prefect(update_progress_artifact, self._artifact, percent)

    def end(self) -> None:
        """Show that it is done."""
        if self._artifact is not None:
            tell_prefect(update_progress_artifact, self._artifact, 100.0)
