"""The voice library as it began: voices, prints, appearances, transcripts and their words.

Written out, not taken from `store.py`: what ran once must never change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _voice(name: str = "voice", *, key: bool = False, index: bool = True) -> sa.Column[int]:
    return sa.Column(
        name,
        sa.Integer,
        sa.ForeignKey("voices.number", ondelete="CASCADE"),
        primary_key=key,
        autoincrement=False,
        nullable=False,
        index=index,
    )


def upgrade() -> None:
    """Create everything."""
    library = op.create_table(
        "voice_library",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_voice", sa.Integer, nullable=False),
        sa.Column("unscrubbed", sa.Boolean, nullable=False),
    )
    op.bulk_insert(library, [{"id": 1, "next_voice": 1, "unscrubbed": False}])
    op.create_table(
        "voices",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("name", sa.Text),
        sa.Column("name_key", sa.Text, unique=True),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_table(
        "voice_aliases",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        _voice(),
    )
    op.create_table(
        "voices_apart",
        _voice(key=True, index=False),
        _voice("other", key=True),
    )
    op.create_table(
        "voiceprints",
        sa.Column("id", sa.Integer, primary_key=True),
        _voice(),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("spread", sa.Double),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("start", sa.Double, nullable=False),
        sa.Column("end", sa.Double, nullable=False),
        sa.Column("video", sa.Text, index=True),
        sa.Column("speaker", sa.Text),
    )
    op.create_table(
        "voice_centroids",
        _voice(key=True, index=False),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "appearances",
        sa.Column("video", sa.Text, primary_key=True),
        sa.Column("speaker", sa.Text, primary_key=True),
        sa.Column("video_name", sa.Text, nullable=False),
        sa.Column(
            "voice", sa.Integer, sa.ForeignKey("voices.number", ondelete="SET NULL"), index=True
        ),
        sa.Column("embeddings", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("confidence", sa.Double),
        sa.Column("samples", sa.Text, nullable=False),
        sa.Column("identified", sa.Double, nullable=False),
    )
    op.create_table(
        "transcripts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("folder", sa.Text, nullable=False, unique=True),
        sa.Column("video", sa.Text, nullable=False, index=True),
        sa.Column("video_name", sa.Text, nullable=False),
    )
    op.create_table(
        "transcript_lines",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "transcript",
            sa.Integer,
            sa.ForeignKey("transcripts.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("start", sa.Double, nullable=False),
        sa.Column("end", sa.Double, nullable=False),
        sa.Column("speaker", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index(
        "ix_transcript_lines_transcript_speaker", "transcript_lines", ["transcript", "speaker"]
    )
    if op.get_bind().dialect.name == "sqlite":
        # The words come without accents already: see search.py.
        op.execute(
            "CREATE VIRTUAL TABLE line_words USING fts5"
            " (words, tokenize = 'unicode61 remove_diacritics 0')"
        )
    else:
        op.execute(
            "CREATE TABLE line_words (rowid INTEGER PRIMARY KEY"
            " REFERENCES transcript_lines (id) ON DELETE CASCADE, words TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX ix_line_words_words ON line_words USING gin (words)")
