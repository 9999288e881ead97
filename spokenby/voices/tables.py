"""The voice library's tables. Older databases are migrated in `migrations/`."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData()


def storable(value: str) -> str:
    """Return text that any database can store."""
    return value.replace("\0", "").encode(errors="replace").decode()


class Words(TypeDecorator[str]):
    """External text: a file name need not be UTF-8, and PostgreSQL accepts no NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return what is stored."""
        return value and storable(value)


library = Table(
    "voice_library",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next_voice", Integer, nullable=False),
    Column("unscrubbed", Boolean, nullable=False),  # something deleted may be readable still
)
voices = Table(
    "voices",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("uid", String(32), nullable=False, unique=True),  # the same in every library
    Column("name", Words),
    Column("name_key", Words, unique=True),  # what makes names equal
    Column("created", Double, nullable=False),
)


def _of_voice(name: str = "voice", *, key: bool = False, index: bool = True) -> Column[int]:
    return Column(
        name,
        Integer,
        ForeignKey("voices.number", ondelete="CASCADE"),
        primary_key=key,
        autoincrement=False,
        nullable=False,
        index=index,
    )


aliases = Table(  # numbers of voices that went into others
    "voice_aliases",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("uid", String(32), nullable=False, unique=True),
    _of_voice(),
)
apart = Table(  # voices that people divided: never joined again by themselves
    "voices_apart",
    metadata,
    _of_voice(key=True, index=False),
    _of_voice("other", key=True),
)
voiceprints = Table(
    "voiceprints",
    metadata,
    Column("id", Integer, primary_key=True),
    _of_voice(),
    Column("model", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian, unit length
    Column("seconds", Double, nullable=False),
    Column("spread", Double),
    Column("source", Words, nullable=False),
    Column("start", Double, nullable=False),
    Column("end", Double, nullable=False),
    Column("video", Text, index=True),  # NULL: enrolled
    Column("speaker", Text),
)
centroids = Table(  # all prints of a voice and model pooled: what is compared
    "voice_centroids",
    metadata,
    _of_voice(key=True, index=False),
    Column("model", Text, primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)
appearances = Table(
    "appearances",
    metadata,
    Column("video", Text, primary_key=True),
    Column("speaker", Text, primary_key=True),
    Column("video_name", Words, nullable=False),
    # NULL: too little speech to tell, or forgotten
    Column("voice", Integer, ForeignKey("voices.number", ondelete="SET NULL"), index=True),
    Column("embeddings", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("score", Double),
    Column("confidence", Double),
    Column("samples", Text, nullable=False),  # JSON: [[start, end], …], the longest first
    Column("identified", Double, nullable=False),
)
transcripts = Table(
    "transcripts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("folder", Words, nullable=False),
    Column("video", Text, nullable=False, index=True),
    Column("video_name", Words, nullable=False),
    UniqueConstraint("folder"),
)
lines = Table(
    "transcript_lines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transcript", Integer, ForeignKey("transcripts.id", ondelete="CASCADE"), nullable=False),
    Column("start", Double, nullable=False),
    Column("end", Double, nullable=False),
    Column("speaker", Text),
    Column("text", Words, nullable=False),
    Index("ix_transcript_lines_transcript_speaker", "transcript", "speaker"),
)
LINE_WORDS = "line_words"
"""Words of lines for full text, by the line's id as `rowid`: FTS5, or a tsvector with an index."""
