"""How far the videos of a run are, and how long the rest takes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from spokenby.plan.stages import Stage
from spokenby.progress import Event, Step, VideoEnded, VideoPlanned, VideosFound
from spokenby.types import Seconds
from spokenby.wording import one_line

TYPICAL_SHARES: Mapping[str, float] = {
    Stage.EXTRACT: 0.03,
    Stage.SPEECH: 0.07,
    Stage.DIARIZE: 0.35,
    Stage.EMBED: 0.05,
    Stage.TRANSCRIBE: 0.45,
    Stage.EDGES: 0.03,
    Stage.MERGE: 0.02,
}
"""Of a video's computing time. They only weight the percentage, which must not run backwards when
a rate turns out otherwise; times come from the rates of the run itself."""

DECISIVE: frozenset[str] = frozenset({Stage.DIARIZE, Stage.TRANSCRIBE})
"""Nothing is said about the time left while one of these still has to run at an unknown rate."""

ENOUGH = 0.02
"""A running stage has shown its rate after this fraction."""

FAIR = 0.1
"""A video has shown its speed after this fraction: it begins with waiting and loading models."""

_READY = {"done", "unchanged"}
_FINAL = {"done", "stored", "failed", "skipped"}
_WAITS = "waiting"


class VideoProgress(NamedTuple):
    """How far one video is."""

    video: str
    """Its path."""
    state: str
    """Running, or waiting for its turn, or how it ended: done, unchanged, failed, stopped, …"""
    detail: str
    """The stages at work with their percentages, or what is waited for."""
    fraction: float
    """Of its computing time, 0 to 1; a rough one."""
    speed: float | None
    """Seconds of audio a second since its first stage began."""
    left: Seconds | None
    """Until it ends; `None` if not known yet."""
    note: str
    """The cause of a failure, or the output folder."""
    digest: str
    """Of a video that ended; empty if it could not be read."""


class _Video:
    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self.duration: Seconds = 0.0
        self.planned: tuple[str, ...] = ()
        self.steps: dict[str, Step] = {}
        self.began: dict[str, Seconds] = {}
        self.took: dict[str, Seconds] = {}
        self.reached: dict[str, float] = {}
        self.end: VideoEnded | None = None
        self.ended_at: Seconds = 0.0

    def fraction_of(self, stage: str) -> float:
        return self.reached.get(stage, 0.0)

    @property
    def fraction(self) -> float:
        if self.end:
            return 1.0 if self.end.state in _READY else 0.0
        shares = [(TYPICAL_SHARES.get(stage, 0.02), stage) for stage in self.planned]
        whole = sum(share for share, _ in shares)
        return sum(s * self.fraction_of(stage) for s, stage in shares) / whole if whole else 0.0


class Overview:
    """Collects the events of one run; thread-safe.

    The time left is the work that is left over the speed so far. Work is counted in seconds of
    computing: the length of the audio times the stage's measured rate. How many stages run side by
    side, and how long they wait for each other, is in the speed.

    Args:
        now: a clock.
    """

    def __init__(self, now: Callable[[], Seconds] = monotonic) -> None:
        self._now = now
        self._begun = now()
        self._videos: dict[str, _Video] = {}
        self._models: dict[str, Step] = {}
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Take in what happened."""
        with self._lock:
            match event:
                case VideosFound(videos, sizes):
                    for path, size in zip(videos, sizes, strict=True):
                        self._of(path).size = size
                case VideoPlanned(path, duration, stages):
                    video = self._of(path)
                    video.duration, video.planned = duration, stages
                    video.steps.pop("wait", None)
                case VideoEnded(path):
                    video = self._of(path)
                    video.end, video.ended_at = event, self._now()
                case Step(stage="model"):
                    self._models[event.video] = event
                case Step(stage="run"):
                    pass  # of all videos, elsewhere
                case Step(path, stage, state):
                    self._note_step(self._of(path), stage, state, event)

    def _note_step(self, video: _Video, stage: str, state: str, step: Step) -> None:
        now = self._now()
        if state == "running":
            video.began.setdefault(stage, now)
        elif state in _FINAL and stage in video.began:
            video.took[stage] = now - video.began[stage]
        video.steps[stage] = step
        # A stage that waits in its midst, or begins once more, keeps what it had.
        video.reached[stage] = max(video.reached.get(stage, 0.0), step.fraction)

    def _of(self, path: str) -> _Video:
        return self._videos.setdefault(path, _Video(path))

    @property
    def elapsed(self) -> Seconds:
        """How long the run has been going."""
        return self._now() - self._begun

    @property
    def models(self) -> tuple[Step, ...]:
        """The models that are being fetched or put together."""
        with self._lock:
            return tuple(step for step in self._models.values() if step.state == "running")

    def videos(self) -> list[VideoProgress]:
        """Return how far each video is, in the order of the run."""
        with self._lock:
            lefts = self._seconds_left()
            return [self._row(video, lefts.get(path)) for path, video in self._videos.items()]

    def seconds_left(self) -> Seconds | None:
        """Return how long the rest takes; `None` while that is not known."""
        with self._lock:
            lefts = self._seconds_left()
        return None if None in lefts.values() else max(lefts.values(), default=0.0)  # type: ignore[type-var]

    def summary(self) -> str:
        """Return the whole run in one line: 2 of 5 done, 1 failed, about 12 min left."""
        with self._lock:
            ends = [video.end for video in self._videos.values() if video.end]
            total = len(self._videos)
        if not total:
            return "looking for videos"
        ready = sum(end.state in _READY for end in ends)
        parts = [f"{ready} of {total} done"]
        others = Counter(end.state for end in ends if end.state not in _READY)
        parts += [f"{number} {state}" for state, number in others.items()]
        if len(ends) < total:
            left = self.seconds_left()
            parts.append("time left not known yet" if left is None else f"{about(left)} left")
        return ", ".join(parts)

    def _row(self, video: _Video, left: Seconds | None) -> VideoProgress:
        running = [step for step in video.steps.values() if step.state == "running"]
        notes = [step.note for step in video.steps.values() if step.state == _WAITS and step.note]
        if video.end:
            state, detail = video.end.state, ""
        elif running:
            state = "running"
            detail = ", ".join(
                f"{step.stage} {step.fraction:.0%}" if step.fraction else step.stage
                for step in running
            )
        else:
            state = _WAITS if not video.planned or notes else "running"
            detail = ", ".join(dict.fromkeys(notes)) or (
                "" if video.planned else "waits for its turn"
            )
        began = [video.began[stage] for stage in video.planned if stage in video.began]
        spent = (video.ended_at or self._now()) - min(began, default=self._now())
        heard = video.fraction * video.duration
        return VideoProgress(
            video.path,
            state,
            detail,
            video.fraction,
            heard / spent if video.fraction >= FAIR and spent > 0 and heard else None,
            left,
            video.end.note if video.end else "",
            video.end.digest if video.end else "",
        )

    def _seconds_left(self) -> dict[str, Seconds | None]:
        """Return when each open video ends, from now: those before it come first.

        One that the run has not come to is taken for one like the others: as long as its file is
        large, with all stages to compute.
        """
        rates, speed = self._rates(), self._parallel()
        # What failed may have lied about its length.
        begun = [
            video
            for video in self._videos.values()
            if video.planned and video.size and (not video.end or video.end.state in _READY)
        ]
        like = begun[0].planned if begun else ()
        length = sum(v.duration for v in begun) / sum(v.size for v in begun) if begun else 0.0
        ahead: Seconds | None = 0.0
        lefts: dict[str, Seconds | None] = {}
        for path, video in self._videos.items():
            if video.end:
                continue
            planned = video.planned or like
            duration = video.duration if video.planned else video.size * length
            work = self._work_left(video, planned, duration, rates) if planned else None
            ahead = None if ahead is None or work is None else ahead + work
            lefts[path] = ahead / speed if ahead is not None and speed else None
        return lefts

    def _work_left(
        self,
        video: _Video,
        planned: Collection[str],
        duration: Seconds,
        rates: Mapping[str, float],
    ) -> Seconds | None:
        """Return the seconds of computing that a video still needs; `None` if not known yet."""
        work = 0.0
        for stage in planned:
            open_part = 1 - video.fraction_of(stage)
            if open_part and stage in DECISIVE and stage not in rates:
                return None
            whole = rates.get(stage, 0.0) * duration
            # Some engines report rarely: meanwhile the time that has passed tells more.
            if stage in video.began and open_part:
                spent = self._now() - video.began[stage]
                open_part = min(open_part, max(1 - spent / whole, ENOUGH)) if whole else 0.0
            work += open_part * whole
        return work

    def _rates(self) -> dict[str, float]:
        """Return what each stage took in this run: seconds of computing a second of audio."""
        took: dict[str, tuple[Seconds, Seconds]] = {}
        now = self._now()
        for video in self._videos.values():
            for stage in video.planned:
                step = video.steps.get(stage)
                if stage in video.took and step and step.state == "done":
                    spent, heard = video.took[stage], video.duration
                elif stage in video.began and video.fraction_of(stage) >= ENOUGH:
                    spent = now - video.began[stage]
                    heard = video.duration * video.fraction_of(stage)
                else:
                    continue
                before = took.get(stage, (0.0, 0.0))
                took[stage] = before[0] + spent, before[1] + heard
        return {stage: spent / heard for stage, (spent, heard) in took.items() if heard > 0}

    def _parallel(self) -> float:
        """Return how many seconds of computing a second brought since the first stage began."""
        now = self._now()
        began = [at for v in self._videos.values() for stage, at in v.began.items()]
        if not began or now <= min(began):
            return 0.0
        done = sum(
            v.took.get(stage, now - at)
            for v in self._videos.values()
            for stage, at in v.began.items()
            if stage in v.planned
        )
        return done / (now - min(began))


def about(seconds: Seconds) -> str:
    """Return a rough length of time in words: about 12 min."""
    if seconds < 50:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    hours, minutes = divmod(round(seconds / 300) * 5, 60)
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"


def names(paths: Iterable[str]) -> dict[str, str]:
    """Return the file name by which each path is shown; the path itself where two share a name."""
    shown = {path: one_line(Path(path).name) for path in paths}
    times = Counter(shown.values())
    return {path: one_line(path) if times[name] > 1 else name for path, name in shown.items()}


def speed_in_words(speed: float | None) -> str:
    """Return a speed as a multiple of real time; empty if there is none."""
    return "" if speed is None else f"{speed:.1f}×" if speed < 10 else f"{speed:.0f}×"
