"""Report how far running stages are, and tell them to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic, perf_counter
from typing import NamedTuple, ParamSpec, TypeVar

from spokenby.errors import StoppedError
from spokenby.types import Progress, Seconds, StageResult

P = ParamSpec("P")
R = TypeVar("R", bound=StageResult)


class Step(NamedTuple):
    """A change in one stage of one video.

    `state`: running, done, stored, failed, skipped, waiting. `note` is shown instead of it.
    """

    video: str
    stage: str
    state: str
    fraction: float = 0.0
    note: str = ""


class VideosFound(NamedTuple):
    """The videos of a run are known; none was read yet.

    `sizes`: of their files, in bytes.
    """

    videos: tuple[str, ...]
    sizes: tuple[int, ...]


class VideoPlanned(NamedTuple):
    """A run begins with a video, and these stages have to be computed for it."""

    video: str
    duration: Seconds
    stages: tuple[str, ...]


class VideoEnded(NamedTuple):
    """How a video ended in a run: a state of the inventory, with the cause or the output folder."""

    video: str
    state: str
    note: str = ""
    digest: str = ""


Event = Step | VideosFound | VideoPlanned | VideoEnded


class StageSpan(NamedTuple):
    """When a stage of a video queued for the GPU, got it, got its model, and ended.

    `asked <= start <= ready <= end`; the first three are one where there was nothing to wait for.
    A model is waited for while it is loaded, and while the stage of another video uses it.
    """

    video: str
    stage: str
    asked: Seconds
    start: Seconds
    ready: Seconds
    end: Seconds
    failed: bool = False

    @property
    def interval(self) -> tuple[Seconds, Seconds]:
        """The time in which it computed."""
        return self.ready, self.end


_listeners: list[Callable[[Event], None]] = []
_span_listeners: list[Callable[[StageSpan], None]] = []
_exit_callbacks: list[Callable[[], None]] = []
_stopping = threading.Event()
_slot: ContextVar[tuple[Seconds, Seconds] | None] = ContextVar("slot", default=None)
"""When the stage of this thread queued for the GPU, and when it got it."""


@contextmanager
def listening(listener: Callable[[Event], None]) -> Iterator[None]:
    """Call `listener` with every event in this process, from whichever thread it comes."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def collecting_spans(listener: Callable[[StageSpan], None]) -> Iterator[None]:
    """Call `listener` whenever a stage in this process has ended."""
    _span_listeners.append(listener)
    try:
        yield
    finally:
        _span_listeners.remove(listener)


def announce(event: Event) -> None:
    """Pass an event on to every listener."""
    for listener in tuple(_listeners):
        listener(event)


def note_span(span: StageSpan) -> None:
    """Pass the span of a stage that has ended on to whoever collects them."""
    for listener in tuple(_span_listeners):
        listener(span)


def is_stopping() -> bool:
    """Return whether this process was told to stop."""
    return _stopping.is_set()


def stop_all() -> None:
    """Make every running stage of this process end at its next sign of progress."""
    _stopping.set()


def reset_stop() -> None:
    """Take a request to stop back, for a process that runs a second batch."""
    _stopping.clear()


@contextmanager
def calling_on_exit(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` should this process end before the block does."""
    _exit_callbacks.append(callback)
    try:
        yield
    finally:
        _exit_callbacks.remove(callback)


def run_exit_callbacks() -> None:
    """Note what is cut short, the innermost first, for a process that is about to end."""
    for callback in reversed(_exit_callbacks.copy()):
        callback()


@contextmanager
def showing(video: str, stage: str, every_s: Seconds = 0.2) -> Iterator[Progress]:
    """Yield the progress function of one stage; it raises once the process is told to stop.

    Whoever collects spans gets the stage's when it has ended.
    """
    last = monotonic() - every_s
    ready = perf_counter()
    asked, got = _slot.get() or (ready, ready)

    def progress(fraction: float) -> None:
        nonlocal last
        if _stopping.is_set():
            raise StoppedError("stopped on request", "run again to continue where it stopped")
        if (now := monotonic()) - last >= every_s:
            last = now
            announce(Step(video, stage, "running", fraction))

    failed = True
    try:
        progress(0.0)
        yield progress
        failed = False
    finally:
        note_span(StageSpan(video, stage, asked, got, ready, perf_counter(), failed))


@contextmanager
def holding_slot(asked: Seconds) -> Iterator[None]:
    """Note for the stage inside since when, by `perf_counter`, it queued for the GPU."""
    token = _slot.set((asked, perf_counter()))
    try:
        yield
    finally:
        _slot.reset(token)


def timed(compute: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Compute a stage's result and note in it how long that took: a stored result keeps it.

    Called with the engine in hand, so that waiting for it does not count.
    """
    started = perf_counter()
    result = compute(*args, **kwargs)
    return result.model_copy(update={"seconds": round(perf_counter() - started, 3)})
