"""Open, share and migrate the voice library's database, whose tables are in `tables.py`.

Unlike the caches in `database.py`, it holds what cannot be recomputed, and is never reset.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    String,
    column,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from spokenby.errors import InputError, SpokenbyError, TransientError
from spokenby.files import explaining
from spokenby.voices.tables import centroids, library, metadata, voiceprints, voices

HEAD = "0001"
"""The newest revision in `migrations/versions`. Revisions are four digits that count up."""

VERSION_TABLE = "voice_library_version"

WAIT_S = 30
"""How long to wait for other processes' changes."""

_CONNECT_S = 10
_LOCK = 0x776F736169640001  # any number, the same in every process: "wosaid", 1
_migrating = threading.Lock()  # Alembic keeps its context in a global


class Store:
    """A database for any number of processes and threads; connections are not pooled."""

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self.sqlite = self._url.get_backend_name() == "sqlite"
        path = self._url.database or ""
        self.place = path if self.sqlite else _without_user(self._url)
        """Where it is, without user and password."""
        if self.sqlite:
            with explaining(Path(path).parent, "set SPOKENBY_VOICES_URL"):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(self._url)
        self._bring_up_to_date()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads a consistent state."""
        with self._explaining(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that excludes all other writers, in any process."""
        with self._explaining(), self._engine.connect() as connection:
            connection.execution_options(spokenby_begin="BEGIN IMMEDIATE")
            with connection.begin():
                if not self.sqlite:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_S}s'"))
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                yield connection

    @contextmanager
    def _outside(self) -> Iterator[Connection]:
        """Open a connection for statements that cannot be part of a transaction."""
        with self._explaining(), self._engine.connect() as connection:
            options = {"spokenby_begin": ""} if self.sqlite else {"isolation_level": "AUTOCOMMIT"}
            yield connection.execution_options(**options)

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
                    "set SPOKENBY_VOICES_URL to another file",
                )
        if found != HEAD:
            self._share()
            with _migrating, self.writing() as connection:
                found = _revision(connection)  # somebody else may have been faster
                if found > HEAD:
                    raise InputError(
                        f"the voice library {self.place} was written by a newer spokenby"
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

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            explained = self._explained(error)
            if explained is None:
                raise
            raise explained from error

    def _explained(self, error: DBAPIError) -> SpokenbyError | None:
        """Return the error in one line; `None` if the cause is a bug of ours."""
        subject = f"the voice library {self.place}"
        cause = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else ""
        if self._url.password:
            cause = cause.replace(str(self._url.password), "***")
        # SQLite's name of the error, or PostgreSQL's five characters; empty without a connection.
        code = getattr(error.orig, "sqlite_errorname", getattr(error.orig, "sqlstate", "")) or ""
        for codes, kind, problem, next_step in _ERRORS:
            if code.startswith(codes):
                return kind(f"{subject} {problem} ({cause})", next_step)
        if self.sqlite or not isinstance(error, OperationalError):
            return None
        return TransientError(
            f"{subject} cannot be reached ({cause})",
            "check that the server runs, and user, password and name in SPOKENBY_VOICES_URL",
        )


_ERRORS: tuple[tuple[tuple[str, ...], type[SpokenbyError], str, str], ...] = (
    (
        ("SQLITE_NOTADB", "SQLITE_CORRUPT"),
        InputError,
        "is damaged or not an SQLite file",
        "restore it from a copy, or move it away to start a new one",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03"),
        TransientError,
        "is busy with another process's change",
        "try again",
    ),
    (
        ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"),
        InputError,
        "cannot be opened for writing",
        "check the file, its folder and their permissions",
    ),
    (
        ("SQLITE_FULL", "SQLITE_IOERR", "53"),
        TransientError,
        "cannot be written",
        "check the disk and its free space",
    ),
    (
        ("42501", "3F"),
        InputError,
        "denies its user permission",
        "grant the user all rights on a database or schema of its own",
    ),
)


def _parse(url: str) -> URL:
    """Parse an address. Messages never show it: it may hold a password."""
    kind, _, rest = url.strip().partition("://")
    if kind == "sqlite" and rest[:1] == "/" and rest[1:] not in {"", ":memory:"}:
        # Taken literally: a file name may hold characters with a meaning in addresses.
        return URL.create("sqlite", database=rest[1:])
    if kind in {"postgresql", "postgres", "postgresql+psycopg"}:
        # The address is not part of any message.
        with suppress(ArgumentError, ValueError):
            return make_url(url.strip()).set(drivername="postgresql+psycopg")
    raise InputError(
        f"the voice library cannot be at this address ({kind if '://' in url else 'without ://'}…)",
        "set SPOKENBY_VOICES_URL to sqlite:///<file> or postgresql://<user>:<password>@<host>/<name>",
    )


def _without_user(url: URL) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.database or ''} on {url.host or 'this machine'}{port}".strip()


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_S})
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where sqlite3 thinks
        for pragma in ("foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        how = connection.get_execution_options().get("spokenby_begin", "BEGIN")
        if how:
            connection.exec_driver_sql(how)

    return engine


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
