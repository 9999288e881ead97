"""Where somebody speaks, and the windows recognisers read, live here.

Who speaks does not (see `diarization.py`); the model behind the probabilities does not either (see
`engines/silero.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from whosaid.types import (
    SAMPLE_RATE_HZ,
    Digest,
    Progress,
    Seconds,
    Span,
    SpeechRegions,
    StageParams,
    Waveform,
    no_progress,
)

VERSION = 2

FRAME_SAMPLES = 512
FRAME_S: Seconds = FRAME_SAMPLES / SAMPLE_RATE_HZ
"""Voice activity has one value per 32 ms."""

FloatVector = npt.NDArray[np.floating[Any]]


GOOD_PAUSE: Seconds = 1.0
"""A window ends as well after such a pause as after any longer one."""

CUT_COST = 0.2
"""What it costs to end a window without any pause, where one more window costs 1."""

FULL_COST = 0.3
"""What a full window costs more than an empty one, growing by the square of its length: a word
alone in its window would be heard without what was said around it."""


class Params(StageParams):
    """How speech is told from silence, and how it is packed for recognisers."""

    onset: float = Field(default=0.5, gt=0, lt=1, description="a region reaches this probability")
    offset: float = Field(default=0.1, gt=0, lt=1, description="and ends where it falls below")
    min_speech: Seconds = Field(default=0.2, ge=0, description="drop shorter regions")
    min_pause: Seconds = Field(default=0.3, ge=0, description="bridge shorter pauses")
    pad: Seconds = Field(default=0.03, ge=0, le=1, description="widen regions by this on each side")
    window_max: Seconds = Field(default=30.0, ge=5, le=30, description="longest window")
    window_pad: Seconds = Field(
        default=0.2, ge=0, le=1, description="widen windows by this where nobody speaks"
    )
    window_pause: Seconds = Field(
        default=3.0, ge=0, description="a window never holds a longer pause"
    )


class VoiceActivity(Protocol):
    """Tells how likely speech is."""

    def probabilities(
        self, waveform: Waveform, progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return the probability of speech, shape (frames,): one per begun 512 samples."""
        ...


def detect_speech(
    waveform: Waveform,
    vad: VoiceActivity,
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
) -> SpeechRegions:
    """Find regions of speech and pack them into windows. Silence gives neither."""
    probabilities = vad.probabilities(waveform, progress)
    regions = find_regions(probabilities, waveform.duration, params)
    windows = pack_windows(regions, probabilities, waveform.duration, params)
    return SpeechRegions(
        digest=digest, regions=regions, windows=windows, duration=waveform.duration
    )


def find_regions(
    probabilities: npt.NDArray[np.float32], duration: Seconds, params: Params
) -> tuple[Span, ...]:
    """Return the stretches at or above `offset` that somewhere reach `onset`.

    Pauses are bridged before short regions are dropped, so stuttered speech survives.
    """
    edges = np.flatnonzero(np.diff(probabilities >= params.offset, prepend=False, append=False))
    first, last = edges[::2], edges[1::2]  # frames: [first, last)
    if not len(first):
        return ()
    pause = (first[1:] - last[:-1]) * FRAME_S >= params.min_pause
    first, last = first[np.r_[True, pause]], last[np.r_[pause, True]]
    # reduceat also sees the silence up to the next region, which is below `offset` anyway.
    keep = np.maximum.reduceat(probabilities, first) >= params.onset
    keep &= (last - first) * FRAME_S >= params.min_speech
    start, end = first[keep] * FRAME_S, np.minimum(last[keep] * FRAME_S, duration)
    return _spans(*_widen(start, end, params.pad, duration))


def pack_windows(
    regions: Sequence[Span],
    probabilities: npt.NDArray[np.float32],
    duration: Seconds,
    params: Params,
) -> tuple[Span, ...]:
    """Pack regions into windows of at most `window_max`, in order, without overlap.

    As few as it takes, for a recogniser needs as long for a short one, cut at long pauses, and of
    like length: of all ways the one of least cost, a window being 1. See `CUT_COST`, `FULL_COST`.
    A region too long for one window is cut where speech is least likely.
    """
    longest = params.window_max - 2 * params.window_pad
    pieces = [piece for region in regions for piece in _cut(region, probabilities, longest)]
    pauses = [after.start - piece.end for piece, after in pairwise(pieces)] + [np.inf]
    cost = [0.0] + [np.inf] * len(pieces)  # of the best way to pack the first so many pieces
    begin = [0] * len(cost)  # of the last window in that way
    for first, piece in enumerate(pieces):
        for last in range(first, len(pieces)):
            filled = (pieces[last].end - piece.start) / longest
            if filled > 1:
                break
            hurry = max(0.0, 1 - pauses[last] / GOOD_PAUSE)
            packed = cost[first] + 1 + CUT_COST * hurry + FULL_COST * filled**2
            if packed < cost[last + 1]:
                cost[last + 1], begin[last + 1] = packed, first
            if pauses[last] > params.window_pause:
                break
    cuts = [len(pieces)]
    while cuts[-1]:
        cuts.append(begin[cuts[-1]])
    start = np.array([pieces[cut].start for cut in cuts[:0:-1]])
    end = np.array([pieces[cut - 1].end for cut in cuts[-2::-1]])
    return _spans(*_widen(start, end, params.window_pad, duration))


def _cut(region: Span, probabilities: npt.NDArray[np.float32], longest: Seconds) -> list[Span]:
    """Cut a region into pieces of at most `longest`, each but the last at least half as long."""
    pieces: list[Span] = []
    start = region.start
    while region.end - start > longest:
        first = int(np.ceil((start + longest / 2) / FRAME_S))
        last = int((start + longest) / FRAME_S)
        cut = (first + int(np.argmin(probabilities[first:last]))) * FRAME_S
        pieces.append(Span(start=start, end=cut))
        start = cut
    return [*pieces, Span(start=start, end=region.end)]


def _widen(
    start: FloatVector, end: FloatVector, pad: Seconds, duration: Seconds
) -> tuple[FloatVector, FloatVector]:
    """Widen spans on both sides by `pad`, by half the gap where two would meet."""
    if not len(start):
        return start, end
    gap = (start[1:] - end[:-1]) / 2
    before = np.minimum(pad, np.r_[start[0], gap])
    after = np.minimum(pad, np.r_[gap, duration - end[-1]])
    return start - before, end + after


def _spans(start: FloatVector, end: FloatVector) -> tuple[Span, ...]:
    return tuple(
        Span(start=s, end=e)
        for s, e in zip(start.round(3).tolist(), end.round(3).tolist(), strict=True)
    )
