"""Note which transcripts were tried and are not done, for all runs, processes and hosts of a site.

What is done is not noted: the output folders say so themselves; see spokenby/output/manifest.py.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spokenby.database import Database
from spokenby.errors import TransientError
from spokenby.plan.renamed_params import with_new_names
from spokenby.types import Digest

if TYPE_CHECKING:
    from spokenby.voices.store import Store

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


Statement = tuple[str, dict[str, Any]]
"""In SQL that SQLite and PostgreSQL have in common, and its values."""

# The file that was there before is gone: nobody can try it again.
_DROP = "DELETE FROM attempts WHERE path = :path AND video <> :video"
_BEGIN = """
    INSERT INTO attempts
        (key, video, path, attempts, stage, cause, started, ended, stored, asked)
    VALUES (:key, :video, :path, 1, '', '', :started, NULL, :stored, :asked)
    ON CONFLICT (key) DO UPDATE SET path = excluded.path, started = excluded.started,
        ended = NULL, stored = excluded.stored, asked = excluded.asked,
        attempts = CASE WHEN attempts.ended IS NULL AND excluded.stored > attempts.stored THEN 1
                   ELSE attempts.attempts + 1 END
"""
_FAIL = "UPDATE attempts SET ended = :ended, stage = :stage, cause = :cause WHERE key = :key"
_STOP = "UPDATE attempts SET ended = :ended, attempts = attempts - 1 WHERE key = :key"
_FORGET = "DELETE FROM attempts WHERE key = :key"
_READ = """
    SELECT key, video, path, attempts, stage, cause, started, ended, stored, asked
    FROM attempts ORDER BY started
"""


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
    """Note attempts. A transcript that is done is forgotten.

    Whoever notes an attempt holds the claim on its video; see video_locks.py.

    Args:
        place: an SQLite file for one host, or the address of a PostgreSQL database for several.
    """

    def __init__(self, place: Path | str) -> None:
        self._notes = _File(place) if isinstance(place, Path) else _Table(place)

    def begin(
        self, key: Digest, video: Digest, path: str, *, stored: int = 0, request: str = "{}"
    ) -> None:
        """Note that an attempt begins.

        One that was cut off after it had stored something does not count: a machine that goes down
        now and then must not make a long video look hopeless.
        """
        values = {
            "key": key,
            "video": video,
            "path": path,
            "started": time.time(),
            "stored": stored,
            "asked": request,
        }
        self._notes.change((_DROP, values), (_BEGIN, values))

    def fail(self, key: Digest, stage: str, cause: str) -> None:
        """Note how the attempt under way failed."""
        values = {"ended": time.time(), "stage": stage, "cause": cause, "key": key}
        self._notes.change((_FAIL, values))

    def stop(self, key: Digest) -> None:
        """Note that the attempt under way was stopped on request: it does not count."""
        self._notes.change((_STOP, {"ended": time.time(), "key": key}))

    def forget(self, *keys: Digest) -> None:
        """Forget all attempts at some transcripts: they are done, or to be tried afresh."""
        self._notes.change(*((_FORGET, {"key": key}) for key in keys))

    def read(self) -> dict[Digest, Attempt]:
        """Return every attempt that has not come to a transcript, by key, the oldest first.

        Raises:
            SpokenbyError: the database cannot be reached. A file that cannot be read holds none.
        """
        attempts = (Attempt(*row) for row in self._notes.rows())
        return {
            attempt.key: attempt._replace(request=_with_new_names(attempt.request))
            for attempt in attempts
        }


class _File:
    """Attempts in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def change(self, *statements: Statement) -> None:
        def execute(database: sqlite3.Connection) -> None:
            for statement, values in statements:
                database.execute(statement, values)

        self._database.use(execute, None)

    def rows(self) -> list[tuple[Any, ...]]:
        none: list[tuple[Any, ...]] = []
        return self._database.use(_rows, none)


class _Table:
    """Attempts in the database that several hosts share.

    A note fails no run there either: what cannot be noted is said in the log.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def change(self, *statements: Statement) -> None:
        from sqlalchemy import text

        try:
            with _store(self._address).writing() as connection:
                for statement, values in statements:
                    connection.execute(text(statement), _storable(values))
        except TransientError as error:
            logging.getLogger("spokenby").warning("an attempt is not noted: %s", error)

    def rows(self) -> list[tuple[Any, ...]]:
        from sqlalchemy import text

        with _store(self._address).reading() as connection:
            return [tuple(row) for row in connection.execute(text(_READ))]


@cache
def _store(address: str) -> Store:
    from spokenby.voices.store import Store  # it takes a moment, and most sites have a file

    return Store(address)


def _storable(values: dict[str, Any]) -> dict[str, Any]:
    from spokenby.voices.tables import storable

    return {
        name: storable(value) if isinstance(value, str) else value for name, value in values.items()
    }


def _rows(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    columns = [row[1] for row in database.execute("PRAGMA table_info(attempts)")]
    if columns != list(_COLUMNS):
        raise sqlite3.DatabaseError("its columns are those of another version of spokenby")
    return database.execute(_READ).fetchall()


def _with_new_names(stored: str) -> str:
    """Return a request with its params under the names they have now."""
    request = json.loads(stored)
    if not request.get("params"):
        return stored
    return json.dumps({**request, "params": with_new_names(request["params"])})
