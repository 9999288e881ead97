"""Diarize by clustering the vectors of a speaker encoder: windows, labels, turns, overlaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spokenby.stages import clustering, intervals, local_speakers
from spokenby.stages.diarization import Params
from spokenby.stages.embeddings import Embedder
from spokenby.stages.linkage import centroids, unit_rows
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Progress,
    Seconds,
    Span,
    SpeechRegions,
    Turn,
    Waveform,
    no_progress,
    no_release,
)

SNAP_S: Seconds = 0.3
"""A change of speaker inside a piece moves at most this far, to the quietest moment."""

LEAST_HEARD_S: Seconds = 0.42
"""A shorter window is embedded with its surroundings: encoders need this much."""

TWO_SPEAKERS = 0.45
"""Two people speak at once where at least this share of the chunks finds two speakers."""


class Clustering:
    """Windows over pieces of one local speaker → vectors → clusters → smoothed labels → turns.

    Segmentation finds where speakers change and where two speak at once; clustering finds who they
    are. A window that holds two voices would identify neither.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.computes_in = embedder.computes_in

    def diarize(
        self,
        waveform: Waveform,
        speech: SpeechRegions | None,
        params: Params,
        progress: Progress = no_progress,
        release: Callable[[], None] = no_release,
    ) -> tuple[list[Turn], list[Turn]]:
        """Return regular turns, which may overlap, and exclusive turns, which do not."""
        assert speech, "this engine needs the speech regions"  # noqa: S101
        frames = local_speakers.count_frames(waveform.duration)
        active = local_speakers.unpack(speech.local_speakers)
        chosen = params.clustering
        pieces = local_speakers.cut_pieces(
            intervals.array(speech.regions), local_speakers.stitch(active, frames)
        )
        start, end, piece = clustering.place_windows(
            pieces[:, 0], pieces[:, 1], chosen.window, chosen.hop
        )
        vectors = self._embedder.embed(
            waveform, _heard(start, end, waveform.duration), lambda done: progress(0.9 * done)
        )
        release()
        usable = np.isfinite(vectors).all(axis=1)
        if not usable.any():
            return [], []
        start, end, piece = start[usable], end[usable], piece[usable]
        rows = unit_rows(vectors[usable].astype(np.float64))
        heard = local_speakers.compare_windows(active, start, end)
        labels = clustering.label_windows(rows, start, end, piece, params, heard)
        exclusive = _turns(waveform, pieces, (start + end) / 2, piece, labels, chosen.max_gap)
        overlaps = _overlaps(active, exclusive, rows, start, end, labels, frames)
        progress(1.0)
        return sorted([*exclusive, *overlaps], key=lambda turn: turn.start), exclusive


def _heard(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], duration: Seconds
) -> list[Span]:
    """Return the spans to embed: the windows, those too short with their surroundings."""
    lacking = np.maximum(LEAST_HEARD_S - (end - start), 0) / 2
    first = (start - lacking).clip(0, max(duration - LEAST_HEARD_S, 0))
    last = np.maximum(end + lacking, first + np.minimum(LEAST_HEARD_S, duration))
    return intervals.spans(first, last)


def _overlaps(
    active: local_speakers.Bools,
    exclusive: list[Turn],
    rows: npt.NDArray[np.float64],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    frames: int,
) -> list[Turn]:
    """Return turns of speakers who speak during somebody else's exclusive turn."""
    alike = rows @ centroids(rows, labels, int(labels.max()) + 1).T
    similarity = np.zeros((frames, alike.shape[1]))
    edges = local_speakers.to_frame(np.column_stack([start, end])).clip(0, frames)
    for (first, last), row in zip(edges.tolist(), alike, strict=True):
        similarity[first : last + 1] = row
    owner = np.full(frames, -1)
    for turn in exclusive:
        first, last = local_speakers.to_frame(np.array([turn.start, turn.end])).clip(0, frames)
        owner[first : last + 1] = int(turn.speaker)
    times, speakers = local_speakers.find_second_speakers(
        active, owner, similarity, share=TWO_SPEAKERS
    )
    return [
        Turn(start=s, end=e, speaker=str(speaker))
        for (s, e), speaker in zip(times.tolist(), speakers.tolist(), strict=True)
    ]


def _turns(
    waveform: Waveform,
    pieces: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
    piece: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    max_gap: Seconds,
) -> list[Turn]:
    """Return turns that cover the pieces with windows; speakers change between two windows."""
    turns: list[Turn] = []
    for inside in np.split(np.arange(len(piece)), np.flatnonzero(np.diff(piece)) + 1):
        change = inside[1:][labels[inside[1:]] != labels[inside[:-1]]]
        cuts = [_quietest(waveform, (centre[i - 1] + centre[i]) / 2) for i in change.tolist()]
        begin, finish = pieces[piece[inside[0]]].tolist()
        edges = np.clip(np.maximum.accumulate([begin, *cuts, finish]), begin, finish).tolist()
        for first, s, e in zip([inside[0], *change], edges[:-1], edges[1:], strict=True):
            speaker = str(labels[first])
            if e <= s:
                continue
            joins = turns and turns[-1].speaker == speaker and s - turns[-1].end <= max_gap
            start = turns.pop().start if joins else s
            turns.append(Turn(start=start, end=e, speaker=speaker))
    return turns


def _quietest(waveform: Waveform, time: Seconds) -> Seconds:
    """Return the middle of the quietest 50 ms around a time."""
    hop, width = 160, 800
    first = max(int((time - SNAP_S) * SAMPLE_RATE_HZ), 0)
    sound = waveform.samples[first : int((time + SNAP_S) * SAMPLE_RATE_HZ)]
    if len(sound) < width:
        return time
    sound = sound - sound.mean()  # a DC offset is not loud
    frames = np.lib.stride_tricks.sliding_window_view(sound, width)[::hop]
    power = np.einsum("ij,ij->i", frames, frames)
    return (first + int(np.argmin(power)) * hop + width / 2) / SAMPLE_RATE_HZ
