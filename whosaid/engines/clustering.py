"""The diarizer that clusters an embedder's vectors lives here: windows, labels, turns.

Its maths does not (see `whosaid/clustering.py`), nor the encoders (see `engines/resemblyzer.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from whosaid import clustering
from whosaid.diarization import Params, nothing
from whosaid.embeddings import Embedder
from whosaid.types import (
    SAMPLE_RATE_HZ,
    Progress,
    Seconds,
    Span,
    SpeechRegions,
    Turn,
    Waveform,
    no_progress,
)

SNAP_S: Seconds = 0.3
"""A change of speaker inside a region moves at most this far, to the quietest moment."""


class Clustering:
    """Windows over speech → vectors → clusters → smoothed labels → turns. Hears no overlaps."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.computes_in = embedder.computes_in

    def diarize(
        self,
        waveform: Waveform,
        speech: SpeechRegions | None,
        params: Params,
        progress: Progress = no_progress,
        let_go: Callable[[], None] = nothing,
    ) -> tuple[list[Turn], list[Turn]]:
        """Return the same turns twice: this engine gives each moment to one speaker."""
        assert speech, "this engine has to be told where speech is"  # noqa: S101
        edges = np.array([(r.start, r.end) for r in speech.regions]).reshape(-1, 2)
        start, end, region = clustering.place_windows(
            edges[:, 0], edges[:, 1], params.window, params.hop
        )
        spans = [Span(start=s, end=e) for s, e in zip(start.tolist(), end.tolist(), strict=True)]
        vectors = self._embedder.embed(waveform, spans, lambda done: progress(0.9 * done))
        let_go()
        usable = np.isfinite(vectors).all(axis=1)
        if not usable.any():
            return [], []
        start, end, region = start[usable], end[usable], region[usable]
        rows = clustering.unit_rows(vectors[usable].astype(np.float64))
        labels = clustering.cluster_windows(rows, start, end, params)
        smooth = clustering.smooth_labels(rows, labels, region)
        if smooth.max() + 1 >= params.speaker_range()[0]:
            labels = smooth
        turns = _turns(waveform, edges, (start + end) / 2, region, labels, params.max_pause)
        progress(1.0)
        return turns, turns


def _turns(
    waveform: Waveform,
    regions: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
    region: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    max_pause: Seconds,
) -> list[Turn]:
    """Return turns that cover the regions that have windows; changes lie between windows."""
    turns: list[Turn] = []
    for r in np.unique(region).tolist():
        inside = np.flatnonzero(region == r)
        change = inside[1:][labels[inside[1:]] != labels[inside[:-1]]]
        cuts = [_quietest(waveform, (centre[i - 1] + centre[i]) / 2) for i in change.tolist()]
        begin, finish = regions[r].tolist()
        edges = np.clip(np.maximum.accumulate([begin, *cuts, finish]), begin, finish).tolist()
        for first, s, e in zip([inside[0], *change], edges[:-1], edges[1:], strict=True):
            speaker = str(labels[first])
            if e <= s:
                continue
            joins = turns and turns[-1].speaker == speaker and s - turns[-1].end <= max_pause
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
    frames = np.lib.stride_tricks.sliding_window_view(sound, width)[::hop]
    power = np.einsum("ij,ij->i", frames, frames)
    return (first + int(np.argmin(power)) * hop + width / 2) / SAMPLE_RATE_HZ
