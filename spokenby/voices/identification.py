"""Identify a video's speakers in the library, and store the decisions.

The matching itself is in `matching.py`. Every function runs in its caller's transaction.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from spokenby.errors import InputError
from spokenby.stages import embeddings as stage
from spokenby.stages import intervals
from spokenby.types import Diarization, Seconds, SpeakerEmbeddings, Video
from spokenby.voices.centroids import pack, read_centroids, read_kinds, refresh_centroids
from spokenby.voices.matching import (
    Match,
    Params,
    calibration,
    find_calibration,
    match_voices,
    pool_prints,
)
from spokenby.voices.registry import (
    are_apart,
    begin_voice,
    read_names,
    shown,
)
from spokenby.voices.tables import appearances, voiceprints

_SAMPLES = 5
_SAME_TIME = 0.8
"""A speaker who covers this share of a former speaker's samples is the same person."""

_ROWS = 1000
"""Voices compared with all named ones at once: bounds memory."""


class Voiceprint(NamedTuple):
    """A person's voice in one recording."""

    vector: npt.NDArray[np.float32]
    """Of unit length."""
    seconds: Seconds
    """Of speech behind it."""
    spread: float
    """Mean cosine distance of its segments to it; NaN if unknown."""
    source: str
    """Name of the recording, for people."""
    start: Seconds = 0.0
    end: Seconds = 0.0
    """Where in the recording."""

    def as_row(self, voice: int, model: str) -> dict[str, Any]:
        """Return it as a row of `voiceprints`."""
        return {
            "voice": voice,
            "model": model,
            "vector": pack(self.vector),
            "seconds": self.seconds,
            "spread": None if math.isnan(self.spread) else self.spread,
            "source": self.source,
            "start": self.start,
            "end": self.end,
            "video": None,
            "speaker": None,
        }


def identify_speakers(
    connection: Connection,
    video: Video,
    heard: SpeakerEmbeddings,
    diarization: Diarization,
    params: Params,
) -> None:
    """Decide on every speaker of a video, replacing earlier decisions."""
    former = connection.execute(
        select(appearances).where(appearances.c.video == video.digest)
    ).all()
    kept = _carried_over(former, heard.speakers, diarization)
    matches = _matched(connection, heard, kept, params)
    found = _with_new_voices(connection, heard, matches, params)
    _replace_former(connection, video, heard, found)
    samples = stage.choose_segments(diarization, stage.Params())
    now = time.time()
    rows, prints = [], []
    for row, speaker in enumerate(heard.speakers):
        turns = [turn for turn in diarization.turns if turn.speaker == speaker]
        spans = (
            samples.get(speaker, [])[:_SAMPLES]
            or sorted(turns, key=lambda turn: -turn.duration)[:1]
        )
        rows.append(
            {
                "video": video.digest,
                "speaker": speaker,
                "video_name": video.name,
                "voice": found[row],
                "embeddings": heard.digest,
                "seconds": sum(turn.duration for turn in turns),
                "score": matches[row].score,
                "confidence": matches[row].confidence,
                "samples": json.dumps([[span.start, span.end] for span in spans]),
                "identified": now,
            }
        )
        voice = found[row]
        if voice is not None and np.isfinite(heard.vectors[row]).all():
            print_ = Voiceprint(
                heard.vectors[row],
                float(heard.speech[row]),
                float(heard.spread[row]),
                video.name,
                min((span.start for span in spans), default=0.0),
                max((span.end for span in spans), default=0.0),
            )
            prints.append(
                print_.as_row(voice, heard.model) | {"video": video.digest, "speaker": speaker}
            )
    connection.execute(insert(appearances), rows)
    if prints:
        connection.execute(insert(voiceprints), prints)
    touched = {row.voice for row in former} | set(found)
    refresh_centroids(connection, {voice for voice in touched if voice is not None})


def _carried_over(
    former: Sequence[Row[Any]], speakers: Sequence[str], diarization: Diarization
) -> dict[int, Row[Any]]:
    """Return for each speaker the former appearance that speaks at the same time.

    That is better evidence than any print, and it is valid across embedding models.
    """
    found: dict[int, Row[Any]] = {}
    spoken = intervals.by_speaker(diarization.exclusive, speakers)
    for row in sorted(former, key=lambda row: row.seconds):  # of two who became one, the longer
        samples = np.array(json.loads(row.samples)).reshape(-1, 2)
        length = intervals.length(samples)
        if row.voice is None or not length:
            continue
        for number, turns in enumerate(spoken):
            spoken_in = intervals.covered(turns, *samples.T)
            if spoken_in.sum() >= _SAME_TIME * length:
                found[number] = row
    return found


def _matched(
    connection: Connection,
    heard: SpeakerEmbeddings,
    kept: dict[int, Row[Any]],
    params: Params,
) -> list[Match]:
    """Return each speaker's match, from the former decision or by its print."""
    known = calibration(heard.model)
    numbers, prints = read_centroids(connection, heard.model, heard.vectors.shape[1])
    vectors = heard.vectors.copy()
    vectors[heard.speech < params.shortest_match] = np.nan
    vectors[list(kept)] = np.nan
    free = ~np.isin(numbers, [row.voice for row in kept.values()])
    matches = [
        match._replace(voice=int(numbers[free][match.voice])) if match.voice is not None else match
        for match in match_voices(vectors, prints[free], known, params)
    ]
    for number, row in kept.items():
        (same,) = np.flatnonzero(numbers == row.voice) if row.voice in numbers else (None,)
        score = None if same is None else float(heard.vectors[number] @ prints[same])
        if score is not None and math.isnan(score):
            score = None
        matches[number] = Match(row.voice, score, row.confidence)
    return matches


def _with_new_voices(
    connection: Connection,
    heard: SpeakerEmbeddings,
    matches: Sequence[Match],
    params: Params,
) -> list[int | None]:
    """Return the voice of each speaker, a new one where none matches."""
    return [
        match.voice
        if match.voice is not None
        or not np.isfinite(heard.vectors[row]).all()
        or heard.speech[row] < params.shortest_new
        else begin_voice(connection)
        for row, match in enumerate(matches)
    ]


def _replace_former(
    connection: Connection, video: Video, heard: SpeakerEmbeddings, found: Sequence[int | None]
) -> None:
    """Remove what was stored about a video, except prints of other models that are still valid."""
    connection.execute(delete(appearances).where(appearances.c.video == video.digest))
    noted = voiceprints.c.video == video.digest
    present = {
        voice: speaker for voice, speaker in zip(found, heard.speakers, strict=True) if voice
    }
    connection.execute(
        delete(voiceprints).where(
            noted, or_(voiceprints.c.model == heard.model, voiceprints.c.voice.not_in(present))
        )
    )
    for voice, speaker in present.items():
        connection.execute(
            update(voiceprints).where(noted, voiceprints.c.voice == voice).values(speaker=speaker)
        )


def find_reunions(connection: Connection, params: Params) -> Iterator[tuple[int, int]]:
    """Yield the numbers of unnamed voices, and of the named voices that their prints match.

    Without voices that people separated, and without two that speak in one video.
    """
    names = read_names(connection)
    done = set()
    for model, dimension in read_kinds(connection):
        if (calibrated := find_calibration(model)) is None:
            continue  # a former encoder: its voices need new voiceprints
        numbers, prints = read_centroids(connection, model, dimension)
        named = np.isin(numbers, list(names))
        for first in range(0, int((~named).sum()), _ROWS):
            some = np.flatnonzero(~named)[first : first + _ROWS]
            matches = match_voices(
                prints[some], prints[named], calibrated, params, one_to_one=False
            )
            for row, match in zip(some, matches, strict=True):
                if match.voice is not None and numbers[row] not in done:
                    lone, known = int(numbers[row]), int(numbers[named][match.voice])
                    if not are_apart(connection, lone, known) and not _together(
                        connection, lone, known
                    ):
                        done.add(lone)
                        yield lone, known


def _together(connection: Connection, one: int, other: int) -> bool:
    first, second = appearances.alias(), appearances.alias()
    both = (first.c.voice == one) & (second.c.voice == other) & (first.c.video == second.c.video)
    return connection.execute(select(first.c.video).where(both).limit(1)).first() is not None


def check_enrollment(
    connection: Connection,
    name: str,
    voice: Row[Any] | None,
    model: str,
    prints: Sequence[Voiceprint],
    params: Params,
) -> None:
    """Refuse prints that are not of one voice, not of `voice`, or of another named voice.

    Raises:
        InputError: with the similarity and the threshold.
    """
    known = calibration(model)
    threshold = known.threshold if params.threshold is None else params.threshold
    vectors = np.stack([print_.vector for print_ in prints])
    likeness = vectors @ vectors.T
    if likeness.min() < threshold:
        odd = int(likeness.mean(axis=1).argmin())
        least = int(likeness[odd].argmin())
        raise InputError(
            f"{prints[odd].source} and {prints[least].source} do not sound like one person"
            f" (similarity {likeness[odd, least]:.2f}, at least {threshold:.2f} is)",
            f"leave out what is not {name}, or enroll all the same (--force)",
        )
    pooled = pool_prints(vectors, np.array([print_.seconds for print_ in prints]))
    numbers, others = read_centroids(connection, model, vectors.shape[1])
    names = read_names(connection)
    scores = others @ pooled
    for row in np.argsort(-scores, kind="stable").tolist():
        number, score = int(numbers[row]), scores[row]
        same = voice is not None and number == voice.number
        if voice is not None and same and score < threshold:
            raise InputError(
                f"this does not sound like the {shown(voice)} who is known already"
                f" (similarity {score:.2f}, at least {threshold:.2f} is)",
                "give another name, or enroll all the same (--force)",
            )
        if not same and score >= threshold and number in names:
            raise InputError(
                f"this is the voice of {names[number]} (similarity {score:.2f})",
                f"give that name, or, if {name} is another person, enroll all the same (--force)",
            )
