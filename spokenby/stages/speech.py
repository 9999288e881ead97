"""Find speech with two networks together, and pack it into windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spokenby.stages import local_speakers
from spokenby.stages.local_speakers import CLASSES
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Device,
    Digest,
    Progress,
    Seconds,
    Span,
    SpeechRegions,
    StageParams,
    Waveform,
    no_progress,
    no_release,
)

VERSION = 4

FRAME_SAMPLES = 512
FRAME_S: Seconds = FRAME_SAMPLES / SAMPLE_RATE_HZ
"""Voice activity has one value per 32 ms."""

FloatVector = npt.NDArray[np.floating[Any]]


MOST_SURE = 6.0
"""Log-odds of speech are clipped to plus or minus this: no network is surer."""

VAD_WEIGHT = 0.7
"""Weight of voice activity detection in the log-odds of speech where it agrees with segmentation.
Chosen, with the thresholds in `Params`, on short conversations of readers."""

DEAF_PENALTY = 1.2
"""Subtracted from the log-odds of speech where voice activity detection misses it."""

NEAR_S: Seconds = 6.0
"""Standard deviation of the neighborhood in which detection is compared with segmentation."""

NEAR_PRIOR_S: Seconds = 0.3
"""A prior: detection is assumed to agree with this much speech near every moment."""

GOOD_PAUSE: Seconds = 1.0
"""Ending a window after a longer pause than this is no better."""

CUT_COST = 0.2
"""Cost of ending a window without any pause, where one more window costs 1."""

FULL_COST = 0.3
"""Extra cost of a full window over an empty one, growing with the square of its length: a word
alone in its window would be transcribed without its context."""


class Params(StageParams):
    """How speech is distinguished from silence, and packed for recognizers."""

    onset: float = Field(default=0.2, gt=0, lt=1, description="a region reaches this probability")
    offset: float = Field(default=0.12, gt=0, lt=1, description="and ends where it falls below")
    min_speech: Seconds = Field(default=0.1, ge=0, description="drop shorter regions")
    min_pause: Seconds = Field(default=0.2, ge=0, description="bridge shorter pauses")
    pad: Seconds = Field(
        default=0.15, ge=0, le=1, description="widen regions by this beside a pause of `pad_pause`"
    )
    pad_pause: Seconds = Field(
        default=1.0, ge=0, description="beside shorter pauses regions stay as found"
    )
    window_max: Seconds = Field(default=30.0, ge=5, le=30, description="longest window")
    window_pad: Seconds = Field(
        default=0.2, ge=0, le=1, description="widen windows by this where nobody speaks"
    )
    window_pause: Seconds = Field(
        default=3.0, ge=0, description="a window never holds a longer pause"
    )
    device: Device = Field(default="auto", description="where the segmentation network runs")
    batch_size: int | None = Field(default=None, ge=1, description="None is the engine's choice")

    def models(self) -> tuple[tuple[str, str], ...]:
        """Return both networks."""
        return (("silero", ""), ("segmentation", ""))


class VoiceActivity(Protocol):
    """Estimates how likely speech is."""

    def probabilities(
        self, waveform: Waveform, progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return the probability of speech, shape (frames,): one per begun 512 samples."""
        ...


class Segmenter(Protocol):
    """Estimates which of a few local speakers are active, a chunk of sound at a time."""

    computes_in: str
    """Device and number type, such as `cuda, bfloat16`: what `auto` came to."""

    def segment(
        self, waveform: Waveform, progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return probabilities of the classes in `CLASSES`, (chunks, CHUNK_FRAMES, classes)."""
        ...


def detect_speech(
    waveform: Waveform,
    vad: VoiceActivity,
    segmenter: AbstractContextManager[Segmenter],
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
    release: Callable[[], None] = no_release,
) -> SpeechRegions:
    """Find regions of speech and pack them into windows. Silence gives neither.

    Args:
        waveform: the sound.
        vad: detects voice activity; runs before waiting for the segmenter.
        segmenter: yields the segmentation network once its device is free.
        params: thresholds and window lengths.
        digest: key of the result.
        progress: told the finished fraction.
        release: called once `vad` is no longer needed, before waiting for the segmenter.
    """
    detected = vad.probabilities(waveform, lambda done: progress(0.3 * done))
    release()
    with segmenter as network:
        classes = network.segment(waveform, lambda done: progress(0.3 + 0.7 * done))
    frames = local_speakers.count_frames(waveform.duration)
    segmented = local_speakers.average(1 - classes[:, :, 0], frames)
    probabilities = combine(detected, segmented)
    regions = find_regions(probabilities, waveform.duration, params)
    windows = pack_windows(regions, probabilities, waveform.duration, params)
    return SpeechRegions(
        digest=digest,
        computed_in=network.computes_in,
        regions=regions,
        windows=windows,
        duration=waveform.duration,
        local_speakers=local_speakers.pack(CLASSES[classes.argmax(axis=2)]),
    )


def combine(
    detected: npt.NDArray[np.float32], segmented: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return the probability of speech by voice activity detection and segmentation together.

    Their log-odds are averaged. Detection misses some voices, and distant ones: where it finds
    nothing for seconds of what segmentation is sure of, its weight falls to zero.

    Args:
        detected: by detection, shape (frames,), one per `FRAME_S`.
        segmented: by segmentation, one per `local_speakers.FRAME_STEP_S`.

    Returns:
        Shape (frames,), as `detected`.
    """
    from scipy.ndimage import gaussian_filter1d

    def near(values: FloatVector) -> FloatVector:
        sigma = NEAR_S / FRAME_S
        return np.asarray(gaussian_filter1d(values, sigma, mode="constant", truncate=3))

    time = (np.arange(len(detected)) + 0.5) * FRAME_S
    other = np.interp(time, local_speakers.to_time(np.arange(len(segmented))), segmented)
    sure = (other > 0.5).astype(float)
    prior = NEAR_PRIOR_S / NEAR_S
    trust = (near(np.minimum(1, 2 * detected) * sure) + prior) / (near(sure) + prior)
    weight = VAD_WEIGHT * trust
    odds = weight * _log_odds(detected) + (1 - weight) * _log_odds(other)
    odds -= DEAF_PENALTY * (1 - trust)
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def _log_odds(probability: FloatVector) -> FloatVector:
    tiny = 1e-4
    odds = np.log((probability + tiny) / (1 - probability + tiny))
    return np.asarray(odds.clip(-MOST_SURE, MOST_SURE))


def find_regions(
    probabilities: npt.NDArray[np.float32], duration: Seconds, params: Params
) -> tuple[Span, ...]:
    """Return the stretches at or above `offset` that reach `onset` somewhere.

    Pauses are bridged before short regions are dropped, so that halting speech survives.
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
    # The onset and decay of a voice are below the thresholds.
    before = np.r_[start[:1], start[1:] - end[:-1]] >= params.pad_pause
    after = np.r_[start[1:] - end[:-1], duration - end[-1:]] >= params.pad_pause
    return _spans(*_widen(start, end, params.pad * before, params.pad * after, duration))


def pack_windows(
    regions: Sequence[Span],
    probabilities: npt.NDArray[np.float32],
    duration: Seconds,
    params: Params,
) -> tuple[Span, ...]:
    """Pack regions into windows of at most `window_max`, in order, without overlap.

    The packing has the least total cost: few windows, since a recognizer needs as long for a short
    one (1 each), cut at long pauses (`CUT_COST`), of similar length (`FULL_COST`). A region too
    long for one window is cut where speech is least likely.
    """
    longest = params.window_max - 2 * params.window_pad
    pieces = [piece for region in regions for piece in _cut(region, probabilities, longest)]
    pauses = [after.start - piece.end for piece, after in pairwise(pieces)] + [np.inf]
    cost = [0.0] + [np.inf] * len(pieces)  # of the best packing of the first so many pieces
    begin = [0] * len(cost)  # of the last window in that packing
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
    return _spans(*_widen(start, end, params.window_pad, params.window_pad, duration))


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
    start: FloatVector,
    end: FloatVector,
    before: FloatVector | Seconds,
    after: FloatVector | Seconds,
    duration: Seconds,
) -> tuple[FloatVector, FloatVector]:
    """Widen spans by the given lengths on both sides, by half the gap where two would meet."""
    if not len(start):
        return start, end
    gap = (start[1:] - end[:-1]) / 2
    earlier = np.minimum(before, np.r_[start[0], gap])
    later = np.minimum(after, np.r_[gap, duration - end[-1]])
    return start - earlier, end + later


def _spans(start: FloatVector, end: FloatVector) -> tuple[Span, ...]:
    return tuple(
        Span(start=s, end=e)
        for s, e in zip(start.round(3).tolist(), end.round(3).tolist(), strict=True)
    )
