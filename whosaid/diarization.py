"""Who speaks when: the diarizer's protocol, tidy turns, and the maths of clustering live here.

Models do not; see `engines/clustering.py` and `engines/pyannote.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from whosaid.types import (
    Diarization,
    Digest,
    Progress,
    Seconds,
    SpeechRegions,
    StageParams,
    Turn,
    Waveform,
    no_progress,
)

VERSION = 1

Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float64]


class Params(StageParams):
    """Which engine tells speakers apart, how many there are, and how `clustering` does it."""

    engine: Literal["clustering", "pyannote"] = Field(
        default="clustering", description="clustering needs no download"
    )
    embedder: Literal["resemblyzer", "speechbrain"] = Field(
        default="resemblyzer", description="the speaker encoder of the clustering engine"
    )
    model: str = Field(default="", description="the model; empty is the engine's default")
    num_speakers: int | None = Field(default=None, ge=1, description="exactly so many, if known")
    min_speakers: int | None = Field(default=None, ge=1, description="at least so many")
    max_speakers: int | None = Field(default=None, ge=1, description="at most so many")
    window: Seconds = Field(default=1.6, ge=0.5, le=10, description="clustering: sound a vector")
    hop: Seconds = Field(default=0.5, ge=0.1, le=5, description="clustering: between vectors")
    separation: float = Field(
        default=0.2, ge=-1, le=1, description="clustering: silhouette below which all are one voice"
    )
    max_pause: Seconds = Field(
        default=0.5, ge=0, description="clustering: join one speaker's turns across shorter pauses"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where it runs")
    batch_size: int | None = Field(default=None, ge=1, description="None is the engine's choice")

    @model_validator(mode="after")
    def _check(self) -> Self:
        exact = [self.num_speakers] if self.num_speakers else []
        least = max([self.min_speakers or 1, *exact])
        most = min([self.max_speakers or least, *exact])
        if least > most:
            raise ValueError(f"no number of speakers is at least {least} and at most {most}")
        return self

    def speaker_range(self) -> tuple[int, int]:
        """Return the least and the most speakers allowed."""
        least = self.num_speakers or self.min_speakers or 1
        return least, self.num_speakers or self.max_speakers or max(least, MOST_SPEAKERS)


MOST_SPEAKERS = 20
"""What an automatic count never exceeds."""


class Diarizer(Protocol):
    """Tells the voices of one recording apart."""

    def diarize(
        self,
        waveform: Waveform,
        speech: SpeechRegions,
        params: Params,
        progress: Progress = no_progress,
    ) -> tuple[list[Turn], list[Turn]]:
        """Return regular turns, which may overlap, and exclusive turns, which do not."""
        ...


def diarize_speakers(
    waveform: Waveform,
    speech: SpeechRegions,
    diarizer: Diarizer,
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
) -> Diarization:
    """Return who speaks when, speakers numbered by their first turn. No speech, no turns."""
    if not speech.regions:
        return Diarization(digest=digest, turns=(), exclusive=())
    regular, exclusive = diarizer.diarize(waveform, speech, params, progress)
    turns = tidy_turns(regular, waveform.duration)
    apart = separate_turns(tidy_turns(exclusive, waveform.duration))
    names: dict[str, str] = {}
    for turn in [*turns, *apart]:
        names.setdefault(turn.speaker, f"SPEAKER_{len(names):02d}")
    return Diarization(
        digest=digest, turns=_renamed(turns, names), exclusive=_renamed(apart, names)
    )


def tidy_turns(turns: Iterable[Turn], duration: Seconds) -> list[Turn]:
    """Return the turns inside the recording, to the millisecond, sorted by start, then end."""
    inside = (
        Turn(
            start=round(max(turn.start, 0.0), 3),
            end=round(min(turn.end, duration), 3),
            speaker=turn.speaker,
        )
        for turn in turns
    )
    return sorted(
        (turn for turn in inside if turn.end > turn.start),
        key=lambda turn: (turn.start, turn.end, turn.speaker),
    )


def separate_turns(turns: Iterable[Turn]) -> list[Turn]:
    """Let each turn begin only where those before it, in order of start, have ended."""
    apart: list[Turn] = []
    for turn in turns:
        start = max(turn.start, apart[-1].end) if apart else turn.start
        if start < turn.end:
            apart.append(Turn(start=start, end=turn.end, speaker=turn.speaker))
    return apart


def _renamed(turns: Iterable[Turn], names: dict[str, str]) -> tuple[Turn, ...]:
    return tuple(
        Turn(start=turn.start, end=turn.end, speaker=names[turn.speaker]) for turn in turns
    )


# --- clustering: windows over speech, labels for their vectors, turns from labels


def place_windows(
    start: Vectors, end: Vectors, window: Seconds, hop: Seconds
) -> tuple[Vectors, Vectors, Labels]:
    """Spread windows evenly over regions: their starts, ends and regions, shape (windows,) each.

    Windows of a region are at most `hop` apart and reach both its edges; a region shorter than a
    window is one window.
    """
    free = np.maximum(end - start - window, 0)
    count = np.ceil(free / hop - 1e-9).astype(np.int64) + 1
    region = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(region)) - np.repeat(np.cumsum(count) - count, count)
    begin = start[region] + number * free[region] / np.maximum(count[region] - 1, 1)
    return begin, np.minimum(begin + window, end[region]), region


def cosine_distances(a: Vectors, b: Vectors) -> Vectors:
    """Return distances of unit rows, shape (a, b): one matrix product instead of a pair loop."""
    return (1 - a @ b.T).clip(0)


def unit_rows(vectors: Vectors) -> Vectors:
    """Return the rows with length 1; a zero row stays zero."""
    norms: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)


def centroids(vectors: Vectors, labels: Labels, count: int) -> Vectors:
    """Return the unit mean of each label's rows, shape (count, dimension); zeros if it has none."""
    return unit_rows(np.eye(count)[labels].T @ vectors)


LINKAGE_ROWS = 2500
"""Linkage takes memory and time of rows²: more are thinned out evenly, the rest assigned."""


def cluster_vectors(vectors: Vectors, weights: Vectors, params: Params) -> Labels:
    """Return a label for each unit row, 0…speakers-1; `weights` is the seconds it stands for."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    least, most = params.speaker_range()
    n = len(vectors)
    if n < 3 or most == 1:
        return np.zeros(n, np.int64)
    rows = np.unique(np.linspace(0, n - 1, min(n, LINKAGE_ROWS)).astype(np.int64))
    sample, weight = vectors[rows], weights[rows] * n / len(rows)
    distance = cosine_distances(sample, sample)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    smallest = min(2.0, 0.08 * weight.sum())
    best, best_labels = params.separation, np.zeros(len(rows), np.int64)
    if least > 1:
        best = -2.0
    seen = set()
    for threshold in np.arange(0.45, 0.97, 0.02):
        labels = _absorb(sample, fcluster(tree, threshold, "distance") - 1, weight, smallest)
        count = labels.max() + 1
        if count in seen or not max(least, 2) <= count <= most:
            continue
        seen.add(count)
        score = silhouette(distance, labels)
        if score > best:
            best, best_labels = score, labels
    if len(rows) == n:
        return best_labels
    means = centroids(sample, best_labels, best_labels.max() + 1)
    return np.argmax(vectors @ means.T, axis=1)


def silhouette(distance: Vectors, labels: Labels) -> float:
    """Return the mean silhouette (Rousseeuw 1987) over rows, for labels 0…k-1, k ≥ 2."""
    count = np.bincount(labels)
    sums = distance @ np.eye(len(count))[labels]
    rows = np.arange(len(labels))
    inner = sums[rows, labels] / np.maximum(count[labels] - 1, 1)
    means = sums / count
    means[rows, labels] = np.inf
    outer = means.min(axis=1)
    score = (outer - inner) / np.maximum(np.maximum(inner, outer), 1e-12)
    score[count[labels] == 1] = 0
    return float(score.mean())


def _absorb(vectors: Vectors, labels: Labels, weights: Vectors, smallest: Seconds) -> Labels:
    """Give the rows of clusters lighter than `smallest` to the nearest other cluster."""
    labels = np.unique(labels, return_inverse=True)[1]
    while True:
        weight = np.bincount(labels, weights)
        light = int(np.argmin(weight))
        if len(weight) == 1 or weight[light] >= smallest:
            return labels
        similarity = vectors[labels == light] @ centroids(vectors, labels, len(weight)).T
        similarity[:, light] = -np.inf
        labels[labels == light] = np.argmax(similarity, axis=1)
        labels = np.unique(labels, return_inverse=True)[1]


def resegment(
    vectors: Vectors, labels: Labels, region: Labels, *, inside: float = 0.5, pause: float = 0.15
) -> Labels:
    """Smooth labels in time: Viterbi over cosine similarity to the centroids, twice.

    `inside` and `pause` are what a change of speaker costs inside a region and between two.
    """
    for _ in range(2):
        count = int(labels.max()) + 1
        if count == 1:
            return labels
        similarity = vectors @ centroids(vectors, labels, count).T
        price = np.where(np.diff(region, prepend=-1) == 0, inside, pause)
        total, came_from = similarity[0], np.empty((len(labels), count), np.int64)
        for i in range(1, len(labels)):
            best = int(np.argmax(total))
            change = total[best] - price[i]
            came_from[i] = np.where(total >= change, np.arange(count), best)
            total = np.maximum(total, change) + similarity[i]
        path = np.empty(len(labels), np.int64)
        path[-1] = int(np.argmax(total))
        for i in range(len(labels) - 1, 0, -1):
            path[i - 1] = came_from[i, path[i]]
        labels = np.unique(path, return_inverse=True)[1]
    return labels
