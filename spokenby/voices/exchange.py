"""Export a voice library to JSON, without the transcripts' lines, and import it elsewhere."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from sqlalchemy import Connection, func, insert, select, update

from spokenby.errors import InputError
from spokenby.types import Digest, Frozen, HexDigest
from spokenby.voices.registry import are_apart, checked_name, name_key, next_number
from spokenby.voices.tables import aliases, apart, appearances, library, voiceprints, voices

_LARGEST = 2**31 - 1
"""The largest integer in databases."""
_LARGEST_KEPT = 10**6
"""Voices with larger numbers get new ones: a file must not exhaust the numbers."""
Number = Annotated[int, Field(ge=1, le=_LARGEST)]
Uid = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Moment = Annotated[float, Field(ge=0, le=2.5e11)]
"""In seconds since the epoch, of a year with four digits: others cannot be shown."""
Label = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""PostgreSQL takes no NUL."""


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not base64")  # noqa: TRY004 - what pydantic reports
    return base64.b64decode(text, validate=True)


def _unit(packed: bytes) -> bytes:
    vector = np.frombuffer(packed, dtype="<f4").astype(np.float64)
    if not abs(float(np.linalg.norm(vector)) - 1) < 1e-3:  # NaN fails, too
        raise ValueError("not a vector of length 1")
    return packed


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except InputError as error:
        raise ValueError(error.problem) from error


Vector = Annotated[
    bytes,
    BeforeValidator(_decoded),
    AfterValidator(_unit),
    PlainSerializer(lambda value: base64.b64encode(value).decode(), return_type=str),
]
"""32-bit floats, little-endian; base64 in JSON."""


class Print(Frozen):
    """A row of `voiceprints`."""

    model: Label
    vector: Vector
    seconds: Finite
    spread: Finite | None
    source: str
    start: Finite
    end: Finite
    video: HexDigest | None
    speaker: Label | None


class Appearance(Frozen):
    """A row of `appearances`."""

    video: HexDigest
    speaker: Label
    video_name: str
    embeddings: HexDigest
    seconds: Finite
    score: Finite | None
    confidence: Finite | None
    samples: tuple[tuple[Finite, Finite], ...]
    identified: Moment


class Voice(Frozen):
    """A voice with its prints and appearances."""

    number: Number
    uid: Uid
    name: Annotated[str, AfterValidator(_name)] | None
    created: Moment
    prints: tuple[Print, ...]
    appearances: tuple[Appearance, ...]


class Merged(Frozen):
    """The number of a voice that was merged into another one."""

    number: Number
    uid: Uid
    voice: Number


class Content(Frozen):
    """An export."""

    format: Literal["spokenby voices"]
    version: Literal[1]
    next_voice: Number
    voices: tuple[Voice, ...]
    merged: tuple[Merged, ...]
    apart: tuple[tuple[Number, Number], ...]
    voiceless: tuple[Appearance, ...] = ()
    """Speakers of whom there is too little speech to tell, or who were forgotten."""

    def numbers(self) -> list[int]:
        """Return the numbers of all voices, including those merged into others."""
        return [voice.number for voice in self.voices] + [item.number for item in self.merged]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.numbers())) < len(self.numbers()):
            raise ValueError("two voices have one number")
        sizes: dict[str, int] = {}
        for voice in self.voices:
            for print_ in voice.prints:
                if sizes.setdefault(print_.model, len(print_.vector)) != len(print_.vector):
                    raise ValueError(f"voiceprints by {print_.model} differ in length")
        return self


class Imported(NamedTuple):
    """The result of an import."""

    new: int
    """Voices that were not in the library."""
    joined: int
    """Voices that were merged into those in the library."""
    prints: int
    appearances: int
    videos: tuple[Digest, ...]
    """The videos in whose transcripts a name may change."""


def export_voices(connection: Connection) -> dict[str, Any]:
    """Return everything about voices as JSON values."""
    prints, seen = defaultdict(list), defaultdict(list)
    for row in connection.execute(select(voiceprints).order_by(voiceprints.c.id)):
        fields = {name: getattr(row, name) for name in Print.model_fields}
        prints[row.voice].append(Print.model_construct(**fields))
    for row in connection.execute(
        select(appearances).order_by(appearances.c.video, appearances.c.speaker)
    ):
        fields = {name: getattr(row, name) for name in Appearance.model_fields}
        fields["samples"] = tuple(map(tuple, json.loads(row.samples)))
        seen[row.voice].append(Appearance.model_construct(**fields))
    return Content.model_construct(
        format="spokenby voices",
        version=1,
        next_voice=next_number(connection),
        voices=tuple(
            Voice.model_construct(
                number=row.number,
                uid=row.uid,
                name=row.name,
                created=row.created,
                prints=tuple(prints[row.number]),
                appearances=tuple(seen[row.number]),
            )
            for row in connection.execute(select(voices).order_by(voices.c.number))
        ),
        merged=tuple(
            Merged.model_construct(number=row.number, uid=row.uid, voice=row.voice)
            for row in connection.execute(select(aliases).order_by(aliases.c.number))
        ),
        apart=tuple(tuple(row) for row in connection.execute(select(apart.c.voice, apart.c.other))),
        voiceless=tuple(seen[None]),
    ).model_dump(mode="json")


def import_voices(connection: Connection, content: Mapping[str, Any]) -> tuple[Imported, set[int]]:
    """Add another library's voices; return the result, and the voices whose centroids to refresh.

    Raises:
        InputError: `content` is not an export.
    """
    given = _read(content)
    _check_lengths(connection, given)
    before = set(connection.scalars(select(voices.c.number)))
    places = _add_voices(connection, given)
    prints = _add_prints(connection, given, places)
    videos = set(connection.scalars(select(appearances.c.video).distinct()))
    decided = [(row, places[voice.number]) for voice in given.voices for row in voice.appearances]
    seen = {
        (row.video, row.speaker): row.model_dump()
        | {"voice": number, "samples": json.dumps(row.samples)}
        for row, number in [*((row, None) for row in given.voiceless), *decided]
        if row.video not in videos  # this library's decisions on a video take precedence
    }
    if seen:
        connection.execute(insert(appearances), list(seen.values()))
    for one, other in given.apart:
        voice, second = places.get(one), places.get(other)
        if voice and second and voice != second and not are_apart(connection, voice, second):
            connection.execute(insert(apart).values(voice=voice, other=second))
    concerned = {row.video for row, _ in decided}
    touched = set(places.values())
    return (
        Imported(
            new=len(touched - before),
            joined=len(touched & before),
            prints=prints,
            appearances=len(seen),
            videos=tuple(sorted(concerned)),
        ),
        touched,
    )


def _read(content: Mapping[str, Any]) -> Content:
    try:
        return Content.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"this is not a readable export of a voice library ({where}: {first['msg']})",
            "use a file that this version of spokenby exported",
        ) from None


def _check_lengths(connection: Connection, given: Content) -> None:
    """Refuse voiceprints that differ in length from those in the library by the same model."""
    lengths: dict[str, set[int]] = defaultdict(set)
    size = func.length(voiceprints.c.vector)
    for model, length in connection.execute(select(voiceprints.c.model, size).distinct()):
        lengths[model].add(length)
    for voice in given.voices:
        for print_ in voice.prints:
            known = lengths.get(print_.model)
            if known and len(print_.vector) not in known:
                raise InputError(
                    f"its voiceprints by {print_.model} differ in length from those in the library",
                    "use a file that this version of spokenby exported",
                )


def _add_voices(connection: Connection, given: Content) -> dict[int, int]:
    """Add missing voices; return by number in the export the number in this library."""
    base = next_number(connection)
    used = [given.next_voice, *(number + 1 for number in given.numbers())]
    fresh = max(base, *(number for number in used if number <= _LARGEST_KEPT + 1), 0)
    uids, names = _known(connection)
    places: dict[int, int] = {}
    added: list[dict[str, Any]] = []
    for voice in given.voices:
        key = name_key(voice.name) if voice.name else None
        number = uids.get(voice.uid, names.get(key or ""))
        if number is None:
            # A number that was never used in this library is kept.
            kept = base <= voice.number <= _LARGEST_KEPT
            number, fresh = (voice.number, fresh) if kept else (fresh, fresh + 1)
            about = {"name": voice.name, "name_key": key, "created": voice.created}
            added.append({"number": number, "uid": voice.uid, **about})
            uids[voice.uid] = number
            if key:
                names[key] = number
        elif key and key not in names:
            nameless = update(voices).where(voices.c.number == number, voices.c.name.is_(None))
            if connection.execute(nameless.values(name=voice.name, name_key=key)).rowcount:
                names[key] = number
        places[voice.number] = number
    if added:
        connection.execute(insert(voices), added)
    for item in given.merged:
        if item.uid not in uids and item.voice in places:
            kept = base <= item.number <= _LARGEST_KEPT
            number, fresh = (item.number, fresh) if kept else (fresh, fresh + 1)
            values = {"number": number, "uid": item.uid, "voice": places[item.voice]}
            connection.execute(insert(aliases).values(**values))
            uids[item.uid] = places[item.voice]
    connection.execute(update(library).values(next_voice=fresh))
    return places


def _known(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of every uid, including merged ones, and of every name's key."""
    rows = connection.execute(select(voices)).all()
    uids = {row.uid: row.number for row in rows}
    uids |= {row.uid: row.voice for row in connection.execute(select(aliases))}
    return uids, {row.name_key: row.number for row in rows if row.name_key}


def _add_prints(connection: Connection, given: Content, places: Mapping[int, int]) -> int:
    """Add prints that their voice does not have yet; return how many."""
    known = {
        tuple(row)
        for row in connection.execute(
            select(voiceprints.c.voice, voiceprints.c.model, voiceprints.c.vector)
        )
    }
    rows = {
        key: print_.model_dump(exclude={"vector"}) | {"vector": print_.vector, "voice": key[0]}
        for voice in given.voices
        for print_ in voice.prints
        if (key := (places[voice.number], print_.model, print_.vector)) not in known
    }
    if rows:
        connection.execute(insert(voiceprints), list(rows.values()))
    return len(rows)
