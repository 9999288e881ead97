"""Query a voice library: who is in it, who speaks where, who said what.

Every function runs in its caller's transaction; see store.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from spokenby.types import Digest, Identity, Seconds, Span
from spokenby.voices import search
from spokenby.voices.matching import ENCODERS
from spokenby.voices.registry import Voice, read_identities, shown
from spokenby.voices.tables import appearances, centroids, voiceprints, voices


class VoiceSummary(NamedTuple):
    """A voice, for a list."""

    voice: int
    name: str
    known: bool
    """Whether somebody named it."""
    videos: int
    seconds: Seconds
    """Of speech in all videos."""
    last_seen: float | None
    """When it was last identified in a video, seconds since the epoch; `None` if only enrolled."""
    prints: int
    models: tuple[str, ...]
    """Embedding models of its prints."""


def lacking_prints(voices: Sequence[VoiceSummary], encoder: str) -> list[VoiceSummary]:
    """Return the voices that have voiceprints, but none by this speaker encoder."""
    return [
        voice
        for voice in voices
        if voice.models and not any(model.startswith(ENCODERS[encoder]) for model in voice.models)
    ]


class AppearanceSummary(NamedTuple):
    """A voice in one video."""

    video: Digest
    video_name: str
    speaker: str
    seconds: Seconds
    sample: Span | None
    """A sample to listen to: its longest stretch in which nobody else speaks."""
    score: float | None
    confidence: float | None
    identified: float
    """Seconds since the epoch."""
    folder: str | None
    """Of the transcript, `None` if there is none."""


class Hit(NamedTuple):
    """A line that was found."""

    video: Digest
    video_name: str
    folder: str
    start: Seconds
    end: Seconds
    speaker: str
    """The displayed name."""
    voice: int | None
    text: str


def read_summaries(connection: Connection, voice: Voice | None = None) -> list[VoiceSummary]:
    """Return one voice, or all: named ones first, each by talk time."""
    talk = (
        select(
            appearances.c.voice,
            func.count(appearances.c.video.distinct()).label("videos"),
            func.sum(appearances.c.seconds).label("seconds"),
            func.max(appearances.c.identified).label("last"),
        )
        .group_by(appearances.c.voice)
        .subquery()
    )
    count = (
        select(voiceprints.c.voice, func.count().label("prints"))
        .group_by(voiceprints.c.voice)
        .subquery()
    )
    query = (
        select(
            voices.c.number, voices.c.name, talk, func.coalesce(count.c.prints, 0).label("prints")
        )
        .join_from(voices, talk, talk.c.voice == voices.c.number, isouter=True)
        .join(count, count.c.voice == voices.c.number, isouter=True)
        .order_by(voices.c.name.is_(None), func.coalesce(talk.c.seconds, 0).desc(), voices.c.number)
    )
    pairs = select(centroids.c.voice, centroids.c.model).order_by(centroids.c.model)
    if voice is not None:
        query = query.where(voices.c.number == voice.number)
        pairs = pairs.where(centroids.c.voice == voice.number)
    models: dict[int, list[str]] = defaultdict(list)
    for number, model in connection.execute(pairs):
        models[number].append(model)
    return [
        VoiceSummary(
            voice=row.number,
            name=shown(row),
            known=row.name is not None,
            videos=row.videos or 0,
            seconds=row.seconds or 0.0,
            last_seen=row.last,
            prints=row.prints,
            models=tuple(models[row.number]),
        )
        for row in connection.execute(query)
    ]


def read_appearances(connection: Connection, voice: Voice) -> list[AppearanceSummary]:
    """Return where a voice speaks, the latest first."""
    rows = connection.execute(
        select(appearances)
        .where(appearances.c.voice == voice.number)
        .order_by(appearances.c.identified.desc(), appearances.c.speaker)
    ).all()
    places = search.transcript_places(connection, {row.video for row in rows})
    folders = {place.video: place.folder for place in places}
    return [
        AppearanceSummary(
            video=row.video,
            video_name=row.video_name,
            speaker=row.speaker,
            seconds=row.seconds,
            sample=next((Span(start=s, end=e) for s, e in json.loads(row.samples)), None),
            score=row.score,
            confidence=row.confidence,
            identified=row.identified,
            folder=folders.get(row.video),
        )
        for row in rows
    ]


def find_lines(connection: Connection, text: str, voice: Voice | None, limit: int) -> list[Hit]:
    """Return lines with all words of `text`, said by a voice or by anybody; see `search.py`."""
    rows = search.find_lines(connection, text, voice.number if voice else None, limit)
    return _hits(connection, rows)


def read_lines(
    connection: Connection, folder: str, start: Seconds, end: Seconds, first: int, limit: int
) -> list[Hit]:
    """Return a transcript's lines that are heard between two times."""
    return _hits(connection, search.read_lines(connection, folder, start, end, first, limit))


def _hits(connection: Connection, rows: Sequence[Row[Any]]) -> list[Hit]:
    who = {
        (video, identity.speaker): identity
        for video in {row.video for row in rows}
        for identity in read_identities(connection, video)
    }
    return [_hit(row, who.get((row.video, row.speaker))) for row in rows]


def _hit(row: Row[Any], identity: Identity | None) -> Hit:
    if identity is not None:
        name = identity.name
    elif row.speaker is None:
        name = "Unknown speaker"
    else:  # not identified: as the transcript shows it
        number = row.speaker.removeprefix("SPEAKER_")
        name = f"Speaker {int(number) + 1}" if number.isdecimal() else row.speaker
    return Hit(
        row.video,
        row.video_name,
        row.folder,
        row.start,
        row.end,
        name,
        identity.voice if identity else None,
        row.text,
    )
