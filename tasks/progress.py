"""How running stages tell how far they are, and are told to stop, lives here.

How it looks on a terminal does not; see flows/cli/display.py.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, NamedTuple, ParamSpec, TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import StateType
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.logging import get_logger

from whosaid.errors import StoppedError
from whosaid.telemetry import StageSpan
from whosaid.types import Progress, StageResult
from whosaid.watching import note_span


class Step(NamedTuple):
    """A change in one stage of one video.

    `state`: running, done, stored, failed, skipped, waiting. `note` is shown instead of it.
    """

    video: str
    stage: str
    state: str
    fraction: float = 0.0
    note: str = ""


P = ParamSpec("P")
R = TypeVar("R", bound=StageResult)
LONG_S = 5.0
"""A stage that takes longer gets a progress artifact, updated as often."""

Listener = Callable[[Step], None]

_listeners: list[Listener] = []
_farewells: list[Callable[[], None]] = []
_stopping = threading.Event()
_lane: ContextVar[tuple[float, float] | None] = ContextVar("lane", default=None)
"""When the stage of this thread stood in line for the GPU, and when it got it."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every step in this process, from whichever thread it comes."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(step: Step) -> None:
    """Tell every listener of a step."""
    for listener in tuple(_listeners):
        listener(step)


def announce_end(video: str, stage: str, done: PrefectFuture[Any]) -> None:
    """Announce how a stage's task ended: computed, stored before, failed, not run."""
    with suppress(BaseException):  # of the stage: whatever it was, who waits here has to be told
        done.wait()
    match done.state.type:
        case StateType.COMPLETED:
            state = "stored" if done.state.name == "Cached" else "done"
        case StateType.FAILED | StateType.CRASHED:
            state = "failed"
        case _:
            state = "skipped"
    announce(Step(video, stage, state, 1.0))


def is_stopping() -> bool:
    """Tell whether this process was asked to stop."""
    return _stopping.is_set()


def stop_all() -> None:
    """Ask every running stage of this process to end at its next sign of progress."""
    _stopping.set()


@contextmanager
def before_leaving(note: Callable[[], None]) -> Iterator[None]:
    """Call `note` should this process end before its stages do."""
    _farewells.append(note)
    try:
        yield
    finally:
        _farewells.remove(note)


def say_farewell() -> None:
    """Note what is cut short, for a process that is about to end."""
    for note in tuple(_farewells):
        note()


def start_anew() -> None:
    """Take a request to stop back, for a process that runs a second batch."""
    _stopping.clear()


@contextmanager
def showing(video: str, stage: str, every_s: float = 0.2) -> Iterator[Progress]:
    """Yield the progress function of one stage; it raises once the process is asked to stop.

    Whoever watches the run is told when the stage began and ended.
    """
    started = last = monotonic() - every_s
    ready = perf_counter()
    asked, got = _lane.get() or (ready, ready)
    bar = _Bar(f"{stage} {Path(video).name}")

    def progress(fraction: float) -> None:
        nonlocal last
        if _stopping.is_set():
            raise StoppedError("stopped on request", "run again to continue where it stopped")
        if (now := monotonic()) - last >= every_s:
            last = now
            announce(Step(video, stage, "running", fraction))
            if now - started > LONG_S:
                bar.show(fraction, now)

    failed = True
    try:
        progress(0.0)
        yield progress
        failed = False
    finally:
        note_span(StageSpan(video, stage, asked, got, ready, perf_counter(), failed))
    bar.end()


@contextmanager
def holding_lane(asked: float) -> Iterator[None]:
    """Note for the stage that runs inside since when, by `perf_counter`, it stood in line."""
    token = _lane.set((asked, perf_counter()))
    try:
        yield
    finally:
        _lane.reset(token)


def tell_prefect(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make or update an artifact; a server that is away for a while does not fail the stage."""
    try:
        return make(*args, **kwargs)
    except httpx.HTTPError as error:
        get_logger("whosaid").warning("the Prefect server did not take an artifact: %s", error)
        return None


class _Bar:
    """A progress artifact in Prefect's UI, for long stages only: an update costs 22 ms."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._artifact: UUID | None = None
        self._shown = 0.0

    def show(self, fraction: float, now: float) -> None:
        if TaskRunContext.get() is None or now - self._shown < LONG_S:
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
        if self._artifact is not None:
            tell_prefect(update_progress_artifact, self._artifact, 100.0)


def timed(compute: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Compute a stage's result and note in it how long that took: a stored result still tells.

    Called with the engine in hand, so that waiting for it does not count.
    """
    started = perf_counter()
    result = compute(*args, **kwargs)
    return result.model_copy(update={"seconds": round(perf_counter() - started, 3)})
