"""Choose segments of each speaker, and pool their embeddings to one voiceprint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from spokenby.stages import intervals
from spokenby.stages.tracks import place_on_timeline
from spokenby.stages.voice_similarity import measure_likeness, split_voice
from spokenby.types import (
    Device,
    Diarization,
    Digest,
    Progress,
    Seconds,
    Span,
    SpeakerEmbeddings,
    SpeakerEncoder,
    SpeechRegions,
    StageParams,
    TorchType,
    Turn,
    Waveform,
    no_progress,
)

VERSION = 5

LEAST_SPEECH = 0.25
"""Segments with a smaller share of speech are ignored."""


class Params(StageParams):
    """What is embedded of each speaker: at most `max_segments`, however long the video is."""

    engine: SpeakerEncoder = Field(default="campplus", description="the speaker encoder")
    model: str = Field(default="", description="its model; empty is the engine's default")
    max_segments: int = Field(default=20, ge=1, le=200, description="segments a speaker")
    min_segment: Seconds = Field(default=0.8, gt=0, description="ignore shorter segments")
    max_segment: Seconds = Field(default=4.0, gt=0, le=30, description="split longer segments")
    compute_type: TorchType = Field(
        default="auto",
        description="number type of the encoder; auto: bfloat16 where the hardware supports it",
    )
    device: Device = Field(default="auto", description="where it runs")
    batch_size: int | None = Field(default=None, ge=1, description="None is the engine's choice")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_segment < 2 * self.min_segment:
            raise ValueError("max_segment must be at least twice min_segment")
        return self

    def models(self) -> tuple[tuple[str, str], ...]:
        """Return the speaker encoder's model."""
        return ((self.engine, self.model),)


class Embedder(Protocol):
    """Turns stretches of audio into vectors whose direction represents the voice."""

    model: str
    """Identity of the model: vectors of different models are never compared."""
    computes_in: str
    """Device and number type in use, such as `cuda, bfloat16`."""

    def embed(
        self, waveform: Waveform, spans: Sequence[Span], progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return unit rows, shape (spans, dimension); NaN for a span too short to embed."""
        ...


def embed_speakers(
    waveform: Waveform,
    diarization: Diarization,
    embedder: Embedder,
    params: Params,
    *,
    speech: SpeechRegions | None = None,
    digest: Digest,
    progress: Progress = no_progress,
) -> SpeakerEmbeddings:
    """Embed segments in which each speaker speaks alone and pool them, in one call of the embedder.

    If `speech` is given, segments with hardly any of it are left out: a diarizer that detects
    speech in another way may have taken noise for it.
    """
    speakers = diarization.speakers
    chosen = choose_segments(diarization, params, speech)
    segments = sorted(
        ((segment, row) for row, name in enumerate(speakers) for segment in chosen[name]),
        key=lambda item: (item[0].start, item[1]),
    )
    owner = np.array([row for _, row in segments], dtype=np.int64)
    length = np.array([segment.duration for segment, _ in segments])
    vectors = embedder.embed(waveform, [segment for segment, _ in segments], progress)
    usable = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    members = _members(owner, usable, len(speakers))
    rows = [pool_segments(vectors[m], length[m]) for m in members]
    likeness = measure_likeness([vectors[m] for m in members])
    parts = np.full((len(speakers), 2), np.nan)
    for row, m in enumerate(members):
        part = split_voice(vectors[m])
        if part.any():
            likeness[row, row] = measure_likeness([vectors[m[~part]], vectors[m[part]]])[0, 1]
            begin = [segments[side[length[side].argmax()]][0].start for side in (m[~part], m[part])]
            parts[row] = place_on_timeline(waveform.tracks, np.array(begin))
    return SpeakerEmbeddings(
        digest=digest,
        computed_in=embedder.computes_in,
        model=embedder.model,
        speakers=speakers,
        vectors=np.stack([row[0] for row in rows]) if rows else np.empty_like(vectors),
        spread=np.array([row[1] for row in rows]),
        speech=np.bincount(owner[usable], length[usable], minlength=len(speakers)),
        segments=int(usable.sum()),
        likeness=likeness,
        parts=parts,
    )


def choose_segments(
    diarization: Diarization, params: Params, speech: SpeechRegions | None = None
) -> dict[str, list[Span]]:
    """Return segments of each speaker in which nobody else is active, the longest first.

    They are the exclusive turns without any overlap of the regular ones, split where too long. If
    more than `max_segments` of them last at least half of `max_segment`, they are taken evenly
    over the video: voices change over time, and a label that holds two voices should show it. A
    speaker without a segment of `min_segment` gets an empty list.
    """
    overlaps = find_overlaps(diarization.turns)
    chosen: dict[str, list[Span]] = {speaker: [] for speaker in diarization.speakers}
    for turn in diarization.exclusive:
        pieces = chosen.setdefault(turn.speaker, [])
        for clean in _subtract(turn, overlaps):
            pieces.extend(_split(clean, params.max_segment))
    if speech:
        chosen = {speaker: _spoken(pieces, speech) for speaker, pieces in chosen.items()}
    return {speaker: _best(pieces, params) for speaker, pieces in chosen.items()}


def _spoken(pieces: Sequence[Span], speech: SpeechRegions) -> list[Span]:
    start, end = intervals.array(pieces).T
    spoken = intervals.covered(intervals.array(speech.regions), start, end)
    enough = spoken >= LEAST_SPEECH * (end - start)
    return [piece for piece, keep in zip(pieces, enough.tolist(), strict=True) if keep]


def _best(pieces: Sequence[Span], params: Params) -> list[Span]:
    long = sorted(
        (p for p in pieces if p.duration >= params.max_segment / 2), key=lambda p: p.start
    )
    if len(long) > params.max_segments:
        evenly = (np.arange(params.max_segments) + 0.5) * len(long) / params.max_segments
        pieces = [long[position] for position in evenly.astype(int).tolist()]
    usable = (p for p in pieces if p.duration >= params.min_segment)
    return sorted(usable, key=lambda p: (-p.duration, p.start))[: params.max_segments]


def find_overlaps(turns: Sequence[Turn]) -> npt.NDArray[np.float64]:
    """Return where two or more turns overlap, shape (overlaps, 2), sorted and disjoint."""
    start, end = intervals.array(turns).T
    time = np.r_[start, end]
    step = np.r_[np.ones(len(start), np.int64), -np.ones(len(end), np.int64)]
    order = np.lexsort((step, time))  # at equal times, ends come first: touching is not overlapping
    many = np.cumsum(step[order]) >= 2
    edges = np.flatnonzero(np.diff(many, prepend=False))
    overlaps: npt.NDArray[np.float64] = time[order][edges].reshape(-1, 2)
    return overlaps


def pool_segments(
    vectors: npt.NDArray[np.float32], length: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the unit mean of unit rows weighted by length, and their mean cosine distance to it.

    Both are NaN without rows, or where the rows cancel out.
    """
    if not len(vectors):
        return np.full(vectors.shape[1], np.nan, np.float32), float("nan")
    mean = np.average(vectors, axis=0, weights=length)
    norm = np.linalg.norm(mean)
    if norm < 1e-6:
        return np.full(vectors.shape[1], np.nan, np.float32), float("nan")
    unit = mean / norm
    return unit.astype(np.float32), float(np.average(1 - vectors @ unit, weights=length))


def _members(
    owner: npt.NDArray[np.int64], usable: npt.NDArray[np.bool_], speakers: int
) -> list[npt.NDArray[np.int64]]:
    return [np.flatnonzero(usable & (owner == row)) for row in range(speakers)]


def _subtract(span: Span, holes: npt.NDArray[np.float64]) -> list[Span]:
    """Return the parts of a span outside the holes, which are sorted and disjoint."""
    near = holes[np.searchsorted(holes[:, 1], span.start, "right") :]
    near = near[: np.searchsorted(near[:, 0], span.end)]
    edges = np.r_[span.start, near.clip(span.start, span.end).ravel(), span.end].tolist()
    return [
        Span(start=start, end=end)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if end > start
    ]


def _split(span: Span, longest: Seconds) -> list[Span]:
    """Split a span into the fewest equal parts of at most `longest`."""
    parts = max(int(np.ceil(span.duration / longest - 1e-9)), 1)
    edges = np.linspace(span.start, span.end, parts + 1)
    return intervals.spans(edges[:-1], edges[1:])
