"""Match speakers to known voices: cosines, thresholds, one-to-one assignment, confidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spokenby.errors import InputError
from spokenby.types import Frozen, Seconds, StageParams

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


class Params(StageParams):
    """When a speaker is identified as a known voice."""

    enabled: bool = Field(
        default=True,
        description="recognize voices in other videos; off: no voiceprint is kept",
    )
    threshold: float | None = Field(
        default=None, ge=-1, le=1, description="least cosine; None is the encoder's own"
    )
    margin: float | None = Field(
        default=None, ge=0, le=1, description="least lead over the next voice; None likewise"
    )
    least_confidence: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="least probability that it is that voice: the larger the library, the higher"
        " the similarity needed",
    )
    shortest_match: Seconds = Field(
        default=2.0, ge=0, description="a speaker with less speech is not compared"
    )
    shortest_new: Seconds = Field(
        default=5.0, ge=0, description="a speaker with less speech creates no new voice"
    )


class Calibration(Frozen):
    """How to interpret the cosines of one encoder.

    `slope * cosine + offset` is the logarithm of the likelihood ratio of one voice against two.
    """

    threshold: float = Field(description="least cosine to a voice")
    margin: float = Field(description="least lead over the next voice that is another one")
    slope: float
    offset: float
    source: str = Field(description="where the numbers come from")


CALIBRATIONS = {
    "campplus-": Calibration(
        threshold=0.60,
        margin=0.05,
        slope=40.5,
        offset=-16.7,
        source="chosen on 35 LibriSpeech readers through 7 channels; of 45 others, 82.6 % of one"
        " reader's pairs across channels reach the threshold, and 1 of 166,320 of two readers'; see"
        " tests/benchmarks/voice_identity.py",
    ),
    "ecapa:": Calibration(
        threshold=0.45,
        margin=0.05,
        slope=25.0,
        offset=-8.0,
        source="not measured here: SpeechBrain's verify_batch takes two utterances from 0.25 on;"
        " raised for libraries of many, calibrated by hand",
    ),
}
"""By prefix of the embedding model's identity."""

ENCODERS = {"campplus": "campplus-", "speechbrain": "ecapa:"}
"""The prefix of an encoder's models, by engine."""

_CANDIDATES = 16
"""How many voices above the threshold are examined for one speaker."""

_LONGEST_S: Seconds = 60.0
"""Speech beyond this adds no weight: one long video does not outweigh all others."""


class Match(NamedTuple):
    """The decision on one speaker."""

    voice: int | None
    """Row of the library's prints; `None` is nobody in it."""
    score: float | None
    """Cosine to that voice; `None` where there is none."""
    confidence: float | None
    """Probability that it is that voice; `None` where there is none."""


def calibration(model: str) -> Calibration:
    """Return the calibration of an embedding model.

    Raises:
        InputError: there is none.
    """
    if (known := find_calibration(model)) is not None:
        return known
    raise InputError(
        f"the embedding model {model} is not calibrated",
        f"use one of {', '.join(CALIBRATIONS)}, or add it to spokenby/voices/matching.py",
    )


def find_calibration(model: str) -> Calibration | None:
    """Return the calibration of an embedding model; `None` without one, as for a former encoder."""
    return next((known for begins, known in CALIBRATIONS.items() if model.startswith(begins)), None)


def match_voices(
    vectors: Vectors,
    prints: Vectors,
    known: Calibration,
    params: Params,
    *,
    one_to_one: bool = True,
) -> list[Match]:
    """Decide for each speaker of one video which voice of a library it is, if any.

    A voice matches if its cosine reaches the threshold, leads by the margin over every voice of
    another person, and makes it probable enough. So a person who is in the library twice is still
    found, and a library of thousands does not match everybody to somebody.

    Args:
        vectors: unit rows, shape (speakers, dimension). NaN rows match nothing.
        prints: unit rows, shape (voices, dimension), of the same embedding model.
        known: what that model's cosines mean.
        params: its `threshold` and `margin` override those of `known`.
        one_to_one: no voice is matched twice; the assignment has the highest sum of cosines.
    """
    scores: Scores = (vectors @ prints.T).astype(np.float64)
    likely = {
        (row, voice): confidence
        for row, score in enumerate(scores)
        for voice, confidence in _candidates(score, prints, known, params)
    }
    ranks = {pair: float(scores[pair]) for pair in likely}
    chosen = _one_to_one(ranks) if one_to_one else dict(sorted(ranks, key=ranks.__getitem__))
    return [
        Match(chosen[row], ranks[row, chosen[row]], likely[row, chosen[row]])
        if row in chosen
        else Match(None, None, None)
        for row in range(len(vectors))
    ]


def pool_prints(vectors: Vectors, speech: npt.NDArray[np.float64]) -> Vectors:
    """Return one unit print for a voice: the mean of its unit rows, weighted by speech."""
    weights = np.clip(speech, 1e-3, _LONGEST_S)
    mean = weights @ vectors.astype(np.float64)
    unit: Vectors = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return unit


def _candidates(
    score: Scores, prints: Vectors, known: Calibration, params: Params
) -> Iterator[tuple[int, float]]:
    """Yield the voices that a speaker with these cosines may be, and their probabilities."""
    threshold = known.threshold if params.threshold is None else params.threshold
    margin = known.margin if params.margin is None else params.margin
    over = np.flatnonzero(score >= threshold)  # none in a row of NaN
    for voice in over[np.argsort(-score[over], kind="stable")][:_CANDIDATES].tolist():
        others = prints @ prints[voice] < threshold
        others[voice] = False
        if not np.any(score[others] > score[voice] - margin):
            confidence = _confidence(score, voice, others, known)
            if confidence >= params.least_confidence:
                yield voice, confidence


def _confidence(
    score: Scores, voice: int, others: npt.NDArray[np.bool_], known: Calibration
) -> float:
    """Return the probability that it is this voice, not one of the others or somebody new.

    A priori, a speaker is as likely somebody new as one of the library, all of whom are equally
    likely; the cosines update that (Bayes).
    """
    gains = known.slope * score + known.offset
    new = np.log(len(score))
    return float(np.exp(gains[voice] - np.logaddexp.reduce([new, gains[voice], *gains[others]])))


def _one_to_one(ranks: dict[tuple[int, int], float]) -> dict[int, int]:
    """Assign each voice to at most one speaker, with the highest sum of cosines."""
    from scipy.optimize import linear_sum_assignment  # takes a second to import

    rows = sorted({row for row, _ in ranks})
    voices = sorted({voice for _, voice in ranks})
    gain = np.zeros((len(rows), len(voices)))
    for (row, voice), score in ranks.items():
        gain[rows.index(row), voices.index(voice)] = 2 + score  # any pair is better than none
    chosen = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
    return {rows[i]: voices[j] for i, j in chosen if gain[i, j] > 0}
