"""Index the lines of all transcripts and search them: full text of SQLite or PostgreSQL."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, delete, func, insert, literal_column, select, text

from spokenby.errors import InputError
from spokenby.types import UNSPACED_SCRIPTS, Digest, Seconds, Video
from spokenby.voices.tables import LINE_WORDS, appearances, lines, transcripts

_ACCENTS = re.compile("[\u0300-\u036f]")
# A word, or one character of a script without spaces.
_TOKEN = re.compile(rf"[{UNSPACED_SCRIPTS}]|[^\W_{UNSPACED_SCRIPTS}]+")
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_MOST_WORDS = 16_000
"""A tsvector holds no more positions; a line has a few dozen."""


class Line(NamedTuple):
    """A segment of a transcript."""

    start: Seconds
    end: Seconds
    speaker: str | None
    """The label, as in the turns: SPEAKER_00; `None` for nobody."""
    text: str


class TranscriptPlace(NamedTuple):
    """Where the transcript of a video is."""

    video: Digest
    video_name: str
    folder: str


def fold(words: str) -> list[str]:
    """Return the words without accents, case and punctuation, for comparison.

    Scripts that write no spaces are split into characters.
    """
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", words.casefold()))
    return _TOKEN.findall(unicodedata.normalize("NFKC", plain))


def note_transcript(
    connection: Connection, video: Video, folder: str, said: Sequence[Line]
) -> None:
    """Index a transcript's lines, replacing those of its folder."""
    _drop_transcript(connection, folder)
    number = _next(connection, transcripts.c.id)
    connection.execute(
        insert(transcripts).values(
            id=number, folder=folder, video=video.digest, video_name=video.name
        )
    )
    first = _next(connection, lines.c.id)
    rows = [
        {"id": row, "transcript": number, **line._asdict()} for row, line in enumerate(said, first)
    ]
    if not rows:
        return
    connection.execute(insert(lines), rows)
    sqlite = connection.dialect.name == "sqlite"
    words = ":words" if sqlite else "CAST(:words AS tsvector)"
    connection.execute(
        text(f"INSERT INTO {LINE_WORDS} (rowid, words) VALUES (:rowid, {words})"),  # noqa: S608
        [{"rowid": row["id"], "words": _indexed(row["text"], sqlite=sqlite)} for row in rows],
    )


def _drop_transcript(connection: Connection, folder: str) -> None:
    """Remove the lines of a folder's transcript."""
    number = connection.scalar(select(transcripts.c.id).where(transcripts.c.folder == folder))
    if number is not None:
        connection.execute(
            text(
                f"DELETE FROM {LINE_WORDS} WHERE rowid IN"  # noqa: S608
                f" (SELECT id FROM {lines.name} WHERE transcript = :number)"
            ),
            {"number": number},
        )
        connection.execute(delete(transcripts).where(transcripts.c.id == number))


def transcript_places(
    connection: Connection, videos: Collection[Digest] | None
) -> list[TranscriptPlace]:
    """Return the transcripts of some videos, or all, by name."""
    query = select(transcripts.c.video, transcripts.c.video_name, transcripts.c.folder)
    if videos is not None:
        query = query.where(transcripts.c.video.in_(videos))
    rows = connection.execute(query.order_by(transcripts.c.video_name, transcripts.c.folder))
    return [TranscriptPlace(*row) for row in rows]


def find_lines(
    connection: Connection, words: str, voice: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Return lines with all the words, by video and time, with their transcripts' columns.

    Raises:
        InputError: there is neither a word nor a voice to look for.
    """
    query = _lines()
    if voice is not None:
        query = query.join(
            appearances,
            (appearances.c.video == transcripts.c.video)
            & (appearances.c.speaker == lines.c.speaker),
        ).where(appearances.c.voice == voice)
    sqlite = connection.dialect.name == "sqlite"
    wanted = _wanted(words, sqlite=sqlite)
    if wanted:
        fits = f"{LINE_WORDS} MATCH :wanted" if sqlite else "words @@ CAST(:wanted AS tsquery)"
        query = query.where(
            lines.c.id.in_(
                text(f"SELECT rowid FROM {LINE_WORDS} WHERE {fits}")  # noqa: S608
                .bindparams(wanted=wanted)
                .columns(literal_column("rowid"))
            )
        )
    elif words.strip() or voice is None:
        raise InputError(f"{words!r} has no word to look for", "write a word, or name a speaker")
    ordered = query.order_by(transcripts.c.video_name, transcripts.c.folder, lines.c.start)
    return connection.execute(ordered.limit(limit)).all()


def read_lines(
    connection: Connection, folder: str, start: Seconds, end: Seconds, first: int, limit: int
) -> Sequence[Row[Any]]:
    """Return a transcript's lines that are heard between two times, as `find_lines` does."""
    query = (
        _lines()
        .where(transcripts.c.folder == folder, lines.c.end > start, lines.c.start < end)
        .order_by(lines.c.start, lines.c.id)
    )
    return connection.execute(query.offset(first).limit(limit)).all()


def _lines() -> Select[Any]:
    return select(
        transcripts.c.video,
        transcripts.c.video_name,
        transcripts.c.folder,
        *(lines.c[name] for name in ("start", "end", "speaker", "text")),
    ).join_from(lines, transcripts)


def _next(connection: Connection, column: Any) -> int:
    return int(connection.scalar(select(func.coalesce(func.max(column), 0)))) + 1


def _indexed(words: str, *, sqlite: bool) -> str:
    tokens = fold(words)[:_MOST_WORDS]
    if sqlite:
        return " ".join(tokens)
    return " ".join(f"'{token}':{position}" for position, token in enumerate(tokens, 1))


def _wanted(words: str, *, sqlite: bool) -> str:
    """Return the query in the database's syntax; tokens need no quoting."""
    terms = list(_terms(words))
    if sqlite:
        return " AND ".join(f'"{" ".join(term)}"{" *" * begins}' for term, begins in terms)
    return " & ".join(
        " <-> ".join(f"'{token}'{':*' * (begins and token is term[-1])}" for token in term)
        for term, begins in terms
    )


def _terms(words: str) -> Iterator[tuple[list[str], bool]]:
    """Yield phrases, and whether the last word of each is a prefix."""
    for phrase, word in _TERM.findall(words):
        if tokens := fold(phrase or word):
            yield tokens, (phrase or word).endswith("*")
