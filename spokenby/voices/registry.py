"""Find voices by name or number, create them, and join them.

Every function runs in its caller's transaction; see `store.py`.
"""

from __future__ import annotations

import difflib
import re
import time
import unicodedata
import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, or_, select, update

from spokenby.errors import InputError
from spokenby.types import Digest, Identity
from spokenby.voices.centroids import refresh_centroids
from spokenby.voices.tables import (
    aliases,
    apart,
    appearances,
    library,
    voiceprints,
    voices,
)

Voice = Row[Any]
"""A row of `voices`: number, uid, name, name_key, created."""

_LIST = "see: spokenby voices list"
_LONGEST_NAME = 100
_NUMBER = re.compile(r"(?:speaker[ _]*)?#?(\d{1,10})", re.IGNORECASE)
_RESERVED = re.compile(r"(unknown )?speaker([ _]*#?(\d+|[a-z]))?|#?\d+", re.IGNORECASE)


def shown(voice: Voice) -> str:
    """Return a voice's displayed name."""
    return voice.name or f"Speaker {voice.number}"


def checked_name(name: str) -> str:
    """Return a name in the form in which it is stored.

    Raises:
        InputError: it is empty, too long, or of the form that spokenby gives to unnamed voices.
    """
    tidy = " ".join(unicodedata.normalize("NFC", name).split())
    if len(tidy) > _LONGEST_NAME:
        raise InputError(
            f"a name of {len(tidy)} characters is too long", f"use {_LONGEST_NAME} at most"
        )
    if not tidy or not tidy.isprintable():
        raise InputError(f"{tidy!r} is not a name", "give one of printable characters")
    if _RESERVED.fullmatch(tidy):
        raise InputError(
            f"{tidy!r} is reserved for voices without a name",
            "give a name that is not of this form",
        )
    return tidy


def name_key(name: str) -> str:
    """Return the key by which names are compared: without case, accents in one form."""
    return unicodedata.normalize("NFKC", name).casefold()


def by_name(connection: Connection, name: str) -> Voice | None:
    """Return the voice of exactly this name."""
    return connection.execute(select(voices).where(voices.c.name_key == name_key(name))).first()


def by_number(connection: Connection, number: int) -> Voice:
    """Return the voice of a number, or the one it was merged into."""
    target = connection.scalar(select(aliases.c.voice).where(aliases.c.number == number))
    row = connection.execute(select(voices).where(voices.c.number == (target or number))).first()
    if row is None:
        raise InputError(f"Speaker {number} is not in the voice library", _LIST)
    return row


def resolve(connection: Connection, which: str) -> Voice:
    """Return the voice that "Speaker 7", "7", a name or the beginning of exactly one name means.

    Raises:
        InputError: none or several match.
    """
    tidy = " ".join(which.split())
    if number := _NUMBER.fullmatch(tidy):
        return by_number(connection, int(number[1]))
    if not tidy:
        raise InputError("no voice is named", "write its name, or a number like: Speaker 7")
    if voice := by_name(connection, tidy):
        return voice
    named = connection.execute(select(voices).where(voices.c.name.is_not(None))).all()
    found = [voice for voice in named if voice.name_key.startswith(name_key(tidy))]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(sorted(voice.name for voice in found)[:5])
        raise InputError(f"{which!r} matches {len(found)} voices: {some}", "give more of the name")
    close = difflib.get_close_matches(name_key(tidy), [voice.name_key for voice in named], 1)
    names = {voice.name_key: voice.name for voice in named}
    raise InputError(
        f"{which!r} is not in the voice library",
        f"did you mean {names[close[0]]}?" if close else _LIST,
    )


def next_number(connection: Connection) -> int:
    """Return the first number that was never used."""
    return int(connection.scalar(select(library.c.next_voice)) or 1)


def read_names(connection: Connection) -> dict[int, str]:
    """Return the number and name of every voice that has one."""
    named = select(voices.c.number, voices.c.name).where(voices.c.name.is_not(None))
    return {row.number: row.name for row in connection.execute(named)}


def begin_voice(connection: Connection, name: str | None = None) -> int:
    """Add a voice under the next number."""
    number = next_number(connection)
    connection.execute(update(library).values(next_voice=number + 1))
    connection.execute(
        insert(voices).values(
            number=number,
            uid=uuid.uuid4().hex,
            name=name,
            name_key=name and name_key(name),
            created=time.time(),
        )
    )
    return number


def join_voices(connection: Connection, kept: Voice, dropped: Voice) -> str:
    """Merge two voices under the number of the first; return its displayed name."""
    keep, drop = kept.number, dropped.number
    for table in (voiceprints, appearances, aliases):
        connection.execute(update(table).where(table.c.voice == drop).values(voice=keep))
    for row in connection.execute(select(apart).where(_either(drop))).all():
        other = row.other if row.voice == drop else row.voice
        if other != keep and not are_apart(connection, keep, other):
            connection.execute(insert(apart).values(voice=keep, other=other))
    connection.execute(delete(voices).where(voices.c.number == drop))
    connection.execute(insert(aliases).values(number=drop, uid=dropped.uid, voice=keep))
    name = kept.name or dropped.name
    connection.execute(
        update(voices)
        .where(voices.c.number == keep)
        .values(name=name, name_key=name and name_key(name))
    )
    refresh_centroids(connection, {keep})
    return name or f"Speaker {keep}"


def are_apart(connection: Connection, one: int, other: int) -> bool:
    """Return whether people separated two voices."""
    pair = _either(one) & _either(other)
    return connection.execute(select(apart).where(pair)).first() is not None


def _either(number: int) -> Any:
    return or_(apart.c.voice == number, apart.c.other == number)


def find_appearance(
    connection: Connection, voice: Voice, video: str, speaker: str | None
) -> Row[Any]:
    """Return the one appearance of a voice in a video, under a label if given.

    Raises:
        InputError: none or several match.
    """
    wanted = video.strip().casefold()
    rows = [
        row
        for row in connection.execute(
            select(appearances).where(appearances.c.voice == voice.number)
        )
        if row.video_name.casefold() == wanted or (wanted and row.video.startswith(wanted))
        if speaker is None or row.speaker == speaker
    ]
    if not rows:
        where = f"{speaker} of {video}" if speaker else video
        raise InputError(
            f"{shown(voice)} does not speak in {where!r}",
            f'see: spokenby voices show "{shown(voice)}"',
        )
    if len(rows) > 1:
        some = ", ".join(f"{row.video[:8]} {row.speaker}" for row in rows[:5])
        raise InputError(
            f"{shown(voice)} speaks {len(rows)} times in {video!r}: {some}",
            "name one by the video's digest and the speaker's label",
        )
    return rows[0]


def is_known_beside(connection: Connection, voice: Voice, video: Digest, speaker: str) -> bool:
    """Return whether a voice has other appearances, or was enrolled."""
    queries: tuple[Select[Any], ...] = (
        select(func.count()).where(
            appearances.c.voice == voice.number,
            (appearances.c.video != video) | (appearances.c.speaker != speaker),
        ),
        select(func.count()).where(
            voiceprints.c.voice == voice.number, voiceprints.c.video.is_(None)
        ),
    )
    return any(connection.scalar(query) for query in queries)


def read_identities(
    connection: Connection, video: Digest, embeddings: Digest | None = None
) -> tuple[Identity, ...]:
    """Return who speaks in a video, by label, with current names."""
    rows = connection.execute(
        select(appearances, voices.c.name)
        .join_from(appearances, voices, isouter=True)
        .where(appearances.c.video == video)
        .order_by(appearances.c.speaker)
    ).all()
    if embeddings is not None and any(row.embeddings != embeddings for row in rows):
        return ()
    nameless = [row.speaker for row in rows if row.voice is None]
    merged = read_merged(connection, {row.voice for row in rows} - {None})
    return tuple(
        Identity(
            speaker=row.speaker,
            voice=row.voice,
            name=f"Unknown speaker {_letters(nameless.index(row.speaker))}"
            if row.voice is None
            else row.name or f"Speaker {row.voice}",
            known=row.name is not None,
            merged=merged.get(row.voice, ()),
            score=row.score,
            confidence=row.confidence,
        )
        for row in rows
    )


def read_merged(connection: Connection, numbers: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Return the numbers of the voices that went into each one, if any did."""
    found: dict[int, tuple[int, ...]] = {}
    of_them = select(aliases.c.voice, aliases.c.number).where(aliases.c.voice.in_(numbers))
    for row in connection.execute(of_them.order_by(aliases.c.number)):
        found[row.voice] = (*found.get(row.voice, ()), row.number)
    return found


def _letters(index: int) -> str:
    """Return A … Z, AA, AB, …: distinct from numbers of voices."""
    head, last = divmod(index, 26)
    return (_letters(head - 1) if head else "") + chr(ord("A") + last)


def read_concerned(
    connection: Connection, numbers: Collection[int]
) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
    """Return the digests of the videos in which voices speak, and of their embeddings."""
    rows = connection.execute(
        select(appearances.c.video, appearances.c.embeddings).where(
            appearances.c.voice.in_(numbers)
        )
    ).all()
    return tuple(sorted({row[0] for row in rows})), tuple(sorted({row[1] for row in rows}))
