"""Find the voiceprints that an encoder lacks, and add them from stored audio.

Every function runs in its caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, exists, insert, select

from spokenby.types import Digest, Span
from spokenby.voices.centroids import refresh_centroids
from spokenby.voices.identification import Voiceprint
from spokenby.voices.tables import appearances, voiceprints


class MissingPrint(NamedTuple):
    """A speaker of a video who has a voiceprint, but none by the requested encoder."""

    voice: int
    video: Digest
    video_name: str
    speaker: str
    embeddings: Digest
    """Those from which the speaker was identified."""
    samples: tuple[Span, ...]
    """Where nobody else speaks, the longest first."""


def find_missing_prints(connection: Connection, model: str) -> list[MissingPrint]:
    """Return the speakers who lack a voiceprint by a model, by video."""
    old, new = voiceprints.alias(), voiceprints.alias()
    rows = connection.execute(
        select(appearances)
        .where(appearances.c.voice.is_not(None))
        .where(
            exists().where(
                old.c.video == appearances.c.video,
                old.c.speaker == appearances.c.speaker,
                old.c.voice == appearances.c.voice,
                old.c.model != model,
            ),
            ~exists().where(
                new.c.video == appearances.c.video,
                new.c.speaker == appearances.c.speaker,
                new.c.voice == appearances.c.voice,
                new.c.model == model,
            ),
        )
        .order_by(appearances.c.video_name, appearances.c.video, appearances.c.speaker)
    )
    return [
        MissingPrint(
            row.voice,
            row.video,
            row.video_name,
            row.speaker,
            row.embeddings,
            tuple(Span(start=start, end=end) for start, end in json.loads(row.samples)),
        )
        for row in rows
    ]


def add_prints(
    connection: Connection, model: str, prints: Sequence[tuple[MissingPrint, Voiceprint]]
) -> int:
    """Add voiceprints to the voices that still lack them; return how many.

    Those that changed meanwhile are left out, such as a voice that was merged, split or forgotten,
    or a video that a run has identified: they are found again if they still lack a print.
    """
    due = set(find_missing_prints(connection, model))
    fresh = [(speaker, print_) for speaker, print_ in prints if speaker in due]
    if fresh:
        connection.execute(
            insert(voiceprints),
            [
                print_.as_row(speaker.voice, model)
                | {"video": speaker.video, "speaker": speaker.speaker}
                for speaker, print_ in fresh
            ],
        )
        refresh_centroids(connection, {speaker.voice for speaker, _ in fresh})
    return len(fresh)
