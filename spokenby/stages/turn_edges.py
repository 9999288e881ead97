"""Assign words near a change of speaker by their voice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spokenby.stages import intervals
from spokenby.stages.embeddings import Embedder
from spokenby.types import (
    Diarization,
    Digest,
    EdgeDecision,
    EdgeDecisions,
    Progress,
    Seconds,
    Span,
    SpeakerEmbeddings,
    StageParams,
    Transcript,
    Waveform,
    no_progress,
)

VERSION = 2

_Indices = npt.NDArray[np.intp]


class Params(StageParams):
    """Which words are embedded, and when their voice overrules the turns."""

    enabled: bool = Field(default=False, description="assign words near a change by their voice")
    reach: Seconds = Field(
        default=1.0, ge=0, le=5, description="words at most this far from a change are doubtful"
    )
    listen: Seconds = Field(
        default=0.6, ge=0.4, le=5, description="a shorter word is embedded with its surroundings"
    )
    margin: float = Field(
        default=0.1, ge=0, le=2, description="least lead in similarity of the winning voice"
    )
    min_speech: Seconds = Field(
        default=3.0, ge=0, description="only voices with a voiceprint of this much speech compete"
    )
    max_words: int = Field(
        default=1000, ge=1, description="most words embedded per video, the most doubtful first"
    )


def decide_edges(
    waveform: Waveform,
    transcript: Transcript,
    diarization: Diarization,
    voices: SpeakerEmbeddings,
    embedder: Embedder,
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
) -> EdgeDecisions:
    """Compare doubtful words to the two voices at their change, in one call of the embedder."""
    doubtful, rivals = find_doubtful(transcript, diarization, voices, params)
    heard, rivals = doubtful[: params.max_words], rivals[: params.max_words]
    if not len(heard):
        return EdgeDecisions(digest=digest, decisions=(), doubtful=0, heard=0)
    in_time = np.argsort(heard)
    heard, rivals = heard[in_time], rivals[in_time]
    extents = _extents(intervals.array(transcript.words)[heard], params.listen)
    vectors = embedder.embed(waveform, extents, progress)
    alike = np.einsum("wd,wrd->wr", vectors, voices.vectors[rivals])
    margin = np.abs(alike[:, 0] - alike[:, 1])  # NaN, so never clear, for a span too short
    clear = np.flatnonzero(margin >= params.margin)
    winner = rivals[clear, alike[clear].argmax(axis=1)]
    return EdgeDecisions(
        digest=digest,
        computed_in=embedder.computes_in,
        decisions=tuple(
            EdgeDecision(word=word, speaker=voices.speakers[row], margin=by)
            for word, row, by in zip(
                heard[clear].tolist(), winner.tolist(), margin[clear].tolist(), strict=True
            )
        ),
        doubtful=len(doubtful),
        heard=len(heard),
    )


def find_doubtful(
    transcript: Transcript,
    diarization: Diarization,
    voices: SpeakerEmbeddings,
    params: Params,
) -> tuple[_Indices, _Indices]:
    """Return the words beside a change between two voices, the most doubtful first.

    They are indices into `transcript.words`, shape (words,), and rows of `voices` for the speakers
    before and after the change, shape (words, 2).
    """
    row = {speaker: number for number, speaker in enumerate(voices.speakers)}
    known = np.isfinite(voices.vectors).all(axis=1) & (voices.speech >= params.min_speech)
    turns = [turn for turn in diarization.exclusive if turn.speaker in row]
    who = np.array([row[turn.speaker] for turn in turns], dtype=np.intp)
    words, times = intervals.array(transcript.words), intervals.array(turns)
    meet = times[1:, 0] - times[:-1, 1] <= 2 * params.reach  # no word between is out of reach
    change = np.flatnonzero((who[1:] != who[:-1]) & known[who[1:]] & known[who[:-1]] & meet)
    if not len(change) or not len(words):
        return np.empty(0, np.intp), np.empty((0, 2), np.intp)
    # A change spans the pause between two turns: words in it are the most doubtful.
    begin, end = times[change, 1], times[change + 1, 0]
    middle = words.mean(axis=1)
    following = np.searchsorted((begin + end) / 2, middle)
    two = np.stack([following - 1, following]).clip(0, len(change) - 1)
    away = np.maximum(begin[two] - words[:, 1], words[:, 0] - end[two])
    nearest = np.take_along_axis(two, away.argmin(axis=0)[None], axis=0)[0]
    doubtful = np.flatnonzero(away.min(axis=0) <= params.reach)
    left = nearest[doubtful]
    order = np.argsort(
        np.maximum(begin[left] - middle[doubtful], middle[doubtful] - end[left]), kind="stable"
    )
    left = change[left[order]]
    return doubtful[order], np.column_stack([who[left], who[left + 1]])


def _extents(times: intervals.Floats, shortest: Seconds) -> list[Span]:
    """Return the spans to embed: the words, with as much around them as the encoder needs."""
    middle, half = times.mean(axis=1), (times[:, 1] - times[:, 0]).clip(shortest) / 2
    return intervals.spans((middle - half).clip(0), middle + half)
