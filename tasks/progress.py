"""How running stages tell how far they are, and are told to stop, lives here.

How it looks on a terminal does not; see flows/cli/display.py. In Prefect's UI: tasks/artifacts.py,
imported when needed: a folder with nothing to do is looked at without Prefect, which takes seconds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from whosaid.errors import StoppedError
from whosaid.telemetry import StageSpan
from whosaid.types import Progress, StageResult
from whosaid.watching import note_span

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture

    from tasks.artifacts import ProgressBar


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
    ended = done.state
    if ended.is_completed():
        state = "stored" if ended.name == "Cached" else "done"
    else:
        state = "failed" if ended.is_failed() or ended.is_crashed() else "skipped"
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
    bar: ProgressBar | None = None

    def progress(fraction: float) -> None:
        nonlocal last, bar
        if _stopping.is_set():
            raise StoppedError("stopped on request", "run again to continue where it stopped")
        if (now := monotonic()) - last >= every_s:
            last = now
            announce(Step(video, stage, "running", fraction))
            if now - started > LONG_S and "prefect" in sys.modules:
                bar = bar or _bar(f"{stage} {Path(video).name}")
                bar.show(fraction)

    failed = True
    try:
        progress(0.0)
        yield progress
        failed = False
    finally:
        note_span(StageSpan(video, stage, asked, got, ready, perf_counter(), failed))
    if bar:
        bar.end()


def _bar(description: str) -> ProgressBar:
    from tasks.artifacts import ProgressBar

    return ProgressBar(description, LONG_S)


@contextmanager
def holding_lane(asked: float) -> Iterator[None]:
    """Note for the stage that runs inside since when, by `perf_counter`, it stood in line."""
    token = _lane.set((asked, perf_counter()))
    try:
        yield
    finally:
        _lane.reset(token)


def timed(compute: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Compute a stage's result and note in it how long that took: a stored result still tells.

    Called with the engine in hand, so that waiting for it does not count.
    """
    started = perf_counter()
    result = compute(*args, **kwargs)
    return result.model_copy(update={"seconds": round(perf_counter() - started, 3)})
