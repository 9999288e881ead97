"""Compare the voices of one video, to find labels that share a voice or hold two.

Voices are compared across videos in voices/matching.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spokenby.digests import digest_of
from spokenby.types import Diarization, Seconds, SpeakerEmbeddings, Turn
from spokenby.wording import position

PRIOR_PAIRS = 10
"""Weight of the mean over all speakers in `measure_likeness`, in pairs of segments."""

TWO_VOICES_AT_MOST = {"campplus-": 0.45}
"""The highest similarity of two voices of one video, by prefix of the embedding model's identity;
measured by tests/benchmarks/same_voice.py. Other models were not measured."""

SMALLEST_PART = 2
"""A part of a speaker with fewer segments is an outlier, such as a laugh, not another voice."""


def measure_likeness(groups: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return the similarity of the voices behind groups of unit rows, noise removed.

    About 1 for one voice cut in two, however much single segments differ; for two voices -0.2 to
    0.45 with CAM++ (tests/benchmarks/same_voice.py). The diagonal is 1. NaN for a group without
    rows. Shape (groups, groups).
    """
    rows = np.array([len(group) for group in groups])
    sums = np.array([group.sum(axis=0, dtype=np.float64) for group in groups])
    total = sums @ sums.T if len(groups) else np.empty((0, 0))
    inside, pairs = np.diag(total) - rows, rows * (rows - 1)
    usual = inside.sum() / pairs.sum() if pairs.sum() else 1.0
    with np.errstate(invalid="ignore"):
        between = total / np.outer(rows, rows)
    likeness = correct_attenuation(between, inside, pairs, usual, PRIOR_PAIRS)
    np.fill_diagonal(likeness, np.where(rows > 0, 1, np.nan))
    return likeness


def correct_attenuation(
    between: npt.NDArray[np.float64],
    inside: npt.NDArray[np.float64],
    pairs: npt.NDArray[Any],
    usual: float,
    prior_pairs: int,
) -> npt.NDArray[np.float64]:
    """Return mean cosines between groups over the geometric mean of those inside the two groups.

    Spearman's correction for attenuation (1904). A group with few pairs inside leans on the usual
    mean, which counts for `prior_pairs`.

    Args:
        between: mean cosine of each two groups, shape (groups, groups).
        inside: sum of the cosines of the pairs inside each group, shape (groups,).
        pairs: how many these are, shape (groups,).
        usual: mean cosine inside a group.
        prior_pairs: how many pairs `usual` counts for.
    """
    within = np.maximum((inside + prior_pairs * usual) / (pairs + prior_pairs), 0.05)
    corrected: npt.NDArray[np.float64] = between / np.sqrt(np.outer(within, within))
    return corrected


def split_voice(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Split unit rows into their two most different parts; return which rows are the second.

    2-means by cosine, started from each row and the one least similar to it. All False where there
    are too few rows for two parts of `SMALLEST_PART`.
    """
    best, most = np.zeros(len(vectors), dtype=np.bool_), -np.inf
    if len(vectors) < 2 * SMALLEST_PART:
        return best
    cosine = vectors @ vectors.T
    for seed, other in enumerate(cosine.argmin(axis=1)):
        part = cosine[other] > cosine[seed]
        for _ in range(10):
            sums = np.stack([vectors[~part].sum(axis=0), vectors[part].sum(axis=0)])
            norms = np.linalg.norm(sums, axis=1)
            before, part = part, np.diff(vectors @ (sums / norms.clip(1e-9)[:, None]).T)[:, 0] > 0
            if (part == before).all():
                break
        sizes = np.bincount(part, minlength=2)
        if sizes.min() >= SMALLEST_PART and norms.sum() > most:
            best, most = part, float(norms.sum())
    return best


def find_one_voice(voices: SpeakerEmbeddings, threshold: float) -> list[tuple[str, str, float]]:
    """Return pairs of labels whose similarity reaches the threshold, the most similar first."""
    pairs = np.argwhere(np.triu(voices.likeness >= threshold, 1)).tolist()
    found = [
        (voices.speakers[a], voices.speakers[b], float(voices.likeness[a, b])) for a, b in pairs
    ]
    return sorted(found, key=lambda pair: -pair[2])


def find_two_voices(
    voices: SpeakerEmbeddings, threshold: float
) -> list[tuple[str, float, tuple[Seconds, Seconds]]]:
    """Return labels whose parts are less similar than the threshold, and a time in each part."""
    rows = np.flatnonzero(np.diag(voices.likeness) < threshold).tolist()
    return [
        (voices.speakers[row], float(voices.likeness[row, row]), (float(one), float(other)))
        for row in rows
        for one, other in [voices.parts[row]]
    ]


def describe_doubts(
    voices: SpeakerEmbeddings, same_voice: float, two_voices: float, *, joined: bool
) -> list[str]:
    """Return a warning for each label that shares a voice or holds two, with the figures.

    Args:
        voices: of one video.
        same_voice: threshold of `find_one_voice`.
        two_voices: threshold of `find_two_voices`.
        joined: whether labels that are one voice are put under one.
    """
    what = "they are joined" if joined else "--merge-same-voice puts them under one label"
    known = [most for begins, most in TWO_VOICES_AT_MOST.items() if voices.model.startswith(begins)]
    apart = f"two have {known[0]:.2f} at most" if known else "what two have was not measured"
    pairs = [
        f"{one} and {other} sound like one voice (similarity {alike:.2f}, where 1 is the same and "
        f"{apart}): {what}"
        for one, other, alike in find_one_voice(voices, same_voice)
    ]
    mixed = [
        f"{label} sounds like two voices (similarity of its parts {alike:.2f}, where 1 is the"
        f" same): compare {position(start)} with {position(other)}"
        for label, alike, (start, other) in find_two_voices(voices, two_voices)
    ]
    return pairs + mixed


def find_joined(
    diarization: Diarization, voices: SpeakerEmbeddings, threshold: float
) -> dict[str, str]:
    """Return for each label that is joined to another the label it gets: the one heard first."""
    heard = [turn.speaker for turn in diarization.turns + diarization.exclusive]
    labels = dict.fromkeys([*heard, *voices.speakers])  # some may have no turns
    order = {label: place for place, label in enumerate(labels)}
    under = {label: label for label in voices.speakers}
    for one, other, _ in find_one_voice(voices, threshold):
        first, second = sorted((under[one], under[other]), key=lambda label: order[label])
        under = {label: first if now == second else now for label, now in under.items()}
    return {label: now for label, now in under.items() if label != now}


def join_labels(
    diarization: Diarization, voices: SpeakerEmbeddings, joined: Mapping[str, str]
) -> tuple[Diarization, SpeakerEmbeddings]:
    """Join labels as `find_joined` says; the voiceprints get a new digest."""
    if not joined:
        return diarization, voices
    turns, exclusive = (
        tuple(_relabelled(turns, joined)) for turns in (diarization.turns, diarization.exclusive)
    )
    relabelled = diarization.model_copy(update={"turns": turns, "exclusive": exclusive})
    return relabelled, _pooled(voices, joined)


def _relabelled(turns: Sequence[Turn], joined: Mapping[str, str]) -> Iterator[Turn]:
    for turn in turns:
        under = joined.get(turn.speaker)
        yield turn.model_copy(update={"speaker": under}) if under else turn


def _pooled(voices: SpeakerEmbeddings, joined: Mapping[str, str]) -> SpeakerEmbeddings:
    """Pool voiceprints as if their segments had been pooled together."""
    left = [speaker for speaker in voices.speakers if speaker not in joined]
    owner = np.array([left.index(joined.get(speaker, speaker)) for speaker in voices.speakers])
    member = np.eye(len(left))[owner].T  # (left, speakers)
    # The mean of a speaker's segments is its voiceprint, shortened by the spread around it.
    mean = np.nan_to_num(voices.vectors * (1 - voices.spread)[:, None])
    share = member * np.where(np.isfinite(voices.spread), voices.speech, 0)
    speech = member @ voices.speech
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = share @ mean / share.sum(axis=1, keepdims=True)
        norm = np.linalg.norm(pooled, axis=1)
        vectors = pooled / norm[:, None]
    alike = _mean_likeness(voices.likeness, member)
    inner = np.diag(voices.likeness)
    np.fill_diagonal(alike, [np.fmin.reduce(inner[owner == row]) for row in range(len(left))])
    rows = [voices.speakers.index(speaker) for speaker in left]
    return voices.model_copy(
        update={
            "digest": digest_of(voices.digest, "joined", sorted(joined.items())),
            "speakers": tuple(left),
            "vectors": vectors.astype(np.float32),
            "spread": (1 - norm).astype(np.float32),
            "speech": speech.astype(np.float32),
            "likeness": alike.astype(np.float32),
            "parts": voices.parts[rows],
        }
    )


def _mean_likeness(
    likeness: npt.NDArray[np.float32], member: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    known = np.isfinite(likeness).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: npt.NDArray[np.float64] = (
            member @ np.nan_to_num(likeness) @ member.T / (member @ known @ member.T)
        )
    return mean
