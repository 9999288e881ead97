"""Attempts at transcripts, for the hosts that share a server.

On SQLite they have a file of their own in the cache, which may be deleted; see site/attempts.py.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table, with the columns that the file has."""
    if op.get_bind().dialect.name == "sqlite":
        return
    op.create_table(
        "attempts",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("video", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("stored", sa.Integer, nullable=False),
        sa.Column("asked", sa.Text, nullable=False),
    )
