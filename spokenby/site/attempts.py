"""Note which transcripts were tried and are not done, for all runs and processes of a site.

What is done is not noted: the output folders say so themselves; see spokenby/output/manifest.py.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.database import Database
from spokenby.plan.renamed_params import with_new_names
from spokenby.types import Digest

CUT = "its run was cut off (killed, crashed, or the power went)"
"""The cause of an attempt that nobody ended."""


# The column `asked` holds the request: databases of earlier versions call it so.
_COLUMNS = {
    "key": "TEXT PRIMARY KEY",
    "video": "TEXT",
    "path": "TEXT",
    "attempts": "INTEGER",
    "stage": "TEXT",
    "cause": "TEXT",
    "started": "REAL",
    "ended": "REAL",
    "stored": "INTEGER",
    "asked": "TEXT",
}
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS attempts"
    f" ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})"
)


class Attempt(NamedTuple):
    """The last attempt at one transcript. A row of the ledger, in the order of its columns."""

    key: Digest
    """Of the transcript (the merge stage's digest): the video's bytes, params, models, versions."""
    video: Digest
    path: str
    """Where the video lay then."""
    attempts: int
    """How many in a row came to nothing, this one included."""
    stage: str
    cause: str
    """One line; empty before the first failure."""
    started: float
    ended: float | None
    """Seconds since the epoch; `None` while it runs, or if it was cut off."""
    stored: int
    """How many stages were stored when it began."""
    request: str
    """The parameters of the run but the videos, as JSON: to request the same again."""

    @property
    def failure(self) -> tuple[str, str]:
        """Stage and cause of the end of an attempt that does not run any more."""
        if self.ended is None:
            return "", CUT
        return (self.stage, self.cause) if self.cause else ("", "stopped on request")


class Ledger:
    """Note attempts in an SQLite file. A transcript that is done is forgotten.

    Whoever notes an attempt holds the claim on its video; see video_locks.py.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def begin(
        self, key: Digest, video: Digest, path: str, *, stored: int = 0, request: str = "{}"
    ) -> None:
        """Note that an attempt begins.

        One that was cut off after it had stored something does not count: a machine that goes down
        now and then must not make a long video look hopeless.
        """

        def note(database: sqlite3.Connection) -> None:
            # The file that was there before is gone: nobody can try it again.
            database.execute("DELETE FROM attempts WHERE path = ? AND video <> ?", (path, video))
            database.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, 1, '', '', ?, NULL, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET path = excluded.path, started = excluded.started,"
                " ended = NULL, stored = excluded.stored, asked = excluded.asked, attempts ="
                " CASE WHEN ended IS NULL AND excluded.stored > stored THEN 1"
                " ELSE attempts + 1 END",
                (key, video, path, time.time(), stored, request),
            )

        self._database.use(note, None)

    def fail(self, key: Digest, stage: str, cause: str) -> None:
        """Note how the attempt under way failed."""
        self._change(
            "UPDATE attempts SET ended = ?, stage = ?, cause = ? WHERE key = ?",
            (time.time(), stage, cause, key),
        )

    def stop(self, key: Digest) -> None:
        """Note that the attempt under way was stopped on request: it does not count."""
        self._change(
            "UPDATE attempts SET ended = ?, attempts = attempts - 1 WHERE key = ?",
            (time.time(), key),
        )

    def forget(self, *keys: Digest) -> None:
        """Forget all attempts at some transcripts: they are done, or to be tried afresh."""
        self._database.use(
            lambda database: database.executemany(
                "DELETE FROM attempts WHERE key = ?", [(key,) for key in keys]
            ),
            None,
        )

    def read(self) -> dict[Digest, Attempt]:
        """Return every attempt that has not come to a transcript, by key, the oldest first."""
        none: list[tuple[Any, ...]] = []
        rows = self._database.use(_rows, none)
        attempts = (Attempt(*row) for row in rows)
        return {
            attempt.key: attempt._replace(request=_with_new_names(attempt.request))
            for attempt in attempts
        }

    def _change(self, statement: str, values: Collection[object]) -> None:
        self._database.use(lambda database: database.execute(statement, tuple(values)), None)


def _rows(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    columns = [row[1] for row in database.execute("PRAGMA table_info(attempts)")]
    if columns != list(_COLUMNS):
        raise sqlite3.DatabaseError("its columns are those of another version of spokenby")
    return database.execute("SELECT * FROM attempts ORDER BY started").fetchall()


def _with_new_names(stored: str) -> str:
    """Return a request with its params under the names they have now."""
    request = json.loads(stored)
    if not request.get("params"):
        return stored
    return json.dumps({**request, "params": with_new_names(request["params"])})
