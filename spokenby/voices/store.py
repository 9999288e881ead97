"""Open, share and migrate the site's database: the voice library, in `tables.py`, and attempts.

Unlike the caches in `database.py`, it holds what cannot be recomputed, and is never reset.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, String, column, inspect, select, table, text

from spokenby.connections import (
    explaining_database,
    make_engine,
    parse_address,
    place_of,
    subject_of,
)
from spokenby.errors import InputError, TransientError
from spokenby.files import explaining
from spokenby.voices.tables import centroids, library, metadata, voiceprints, voices

HEAD = "0002"
"""The newest revision in `migrations/versions`. Revisions are four digits that count up."""

VERSION_TABLE = "voice_library_version"

WAIT_S = 30
"""How long to wait for other processes' changes."""

_LOCK = 0x776F736169640001  # any number, the same in every process: "wosaid", 1
_migrating = threading.Lock()  # Alembic keeps its context in a global


class Store:
    """A database for any number of processes and threads; connections are not pooled."""

    def __init__(self, url: str) -> None:
        self._url = parse_address(url)
        self.sqlite = self._url.get_backend_name() == "sqlite"
        self.place = place_of(self._url)
        """Where it is, without user and password."""
        if self.sqlite:
            folder = Path(self.place).parent
            with explaining(folder, "set SPOKENBY_DATABASE"):
                folder.mkdir(parents=True, exist_ok=True)
        self._engine = make_engine(self._url, WAIT_S)
        self._bring_up_to_date()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads a consistent state."""
        with (
            explaining_database(self._url),
            self._engine.connect() as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that excludes all other writers, in any process."""
        with explaining_database(self._url), self._engine.connect() as connection:
            connection.execution_options(spokenby_begin="BEGIN IMMEDIATE")
            with connection.begin():
                if not self.sqlite:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_S}s'"))
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                yield connection

    @contextmanager
    def _outside(self) -> Iterator[Connection]:
        """Open a connection for statements that cannot be part of a transaction."""
        with explaining_database(self._url), self._engine.connect() as connection:
            options = {"spokenby_begin": ""} if self.sqlite else {"isolation_level": "AUTOCOMMIT"}
            yield connection.execution_options(**options)

    def clock_ahead_s(self) -> float:
        """Return by how many seconds the clock of this machine is ahead of a server's."""
        with self.reading() as connection:
            before = time.time()
            there = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())"))
            return (before + time.time()) / 2 - float(there or 0)

    def scrub(self) -> bool:
        """Rewrite what held deleted rows, whose space a database only marks as free.

        Return whether that succeeded. If not, as while others read, the next opening tries again.
        """
        try:
            with self._outside() as plain:
                if self.sqlite:
                    plain.exec_driver_sql("VACUUM")
                    done = plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar() == 0
                else:
                    plain.exec_driver_sql(f"SET lock_timeout = '{WAIT_S}s'")
                    for rewritten in (voices, voiceprints, centroids):
                        plain.exec_driver_sql(f"VACUUM (FULL) {rewritten.name}")
                    done = True
            if done:
                with self.writing() as connection:
                    connection.execute(library.update().values(unscrubbed=False))
        except TransientError:
            return False
        return done

    def _bring_up_to_date(self) -> None:
        with self.reading() as connection:
            found = _revision(connection)
            if not found and self.sqlite and inspect(connection).get_table_names():
                raise InputError(
                    f"{self.place} is another program's database, not a voice library",
                    "set SPOKENBY_DATABASE to another file",
                )
        if found != HEAD:
            self._share()
            with _migrating, self.writing() as connection:
                found = _revision(connection)  # somebody else may have been faster
                if found > HEAD:
                    raise InputError(
                        f"{subject_of(self._url)} was written by a newer spokenby"
                        f" (schema {found}, this version supports {HEAD})",
                        "update spokenby",
                    )
                if found != HEAD:
                    _migrate(connection)
        with self.reading() as connection:
            unscrubbed = connection.execute(select(library.c.unscrubbed)).scalar()
        if unscrubbed:
            self.scrub()

    def _share(self) -> None:
        """Switch an SQLite file to WAL, so that it can be read while it is written."""
        deadline = time.monotonic() + WAIT_S
        while self.sqlite:
            try:
                with self._outside() as plain:
                    plain.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except TransientError:  # SQLite does not wait where two switch at once
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _revision(connection: Connection) -> str:
    """Return the revision that the database is at, empty if it holds no library."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    version = select(column("version_num", String)).select_from(table(VERSION_TABLE))
    return connection.execute(version).scalar() or ""


def _migrate(connection: Connection) -> None:
    # Imported here because it takes a second and is needed once per library.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%")
    )
    config.attributes.update(connection=connection, metadata=metadata, version_table=VERSION_TABLE)
    command.upgrade(config, "head")
