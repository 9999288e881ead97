"""Lock names over all processes of a site: files on one host, in a database over several."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from filelock import FileLock, Timeout

from spokenby.errors import SpokenbyError
from spokenby.progress import is_stopping

if TYPE_CHECKING:
    from sqlalchemy import Connection

Place = Path | str
"""Where locks are: a folder of files, or the address of a PostgreSQL database."""

AWAY_S = 60.0
"""How long to wait for a database that was there before, as while it is restarted."""

_END_S = 5.0

ANSWER_S = 20.0
"""A database that does not answer a question about locks for this long is taken for gone."""


class Locks(Protocol):
    """The locks of one holder. They are free at once when its process dies."""

    def take(self, name: str) -> bool:
        """Lock a name and return at once whether that worked; not if this holder has it already."""

    def free(self, name: str) -> None:
        """Give a lock back; one that is not held is none."""

    def is_taken(self, name: str) -> bool:
        """Return whether any holder, this one included, has the lock."""

    def holds(self, name: str) -> bool:
        """Return whether this holder still has the lock."""

    def close(self) -> None:
        """Give all locks back."""


def open_locks(place: Place) -> Locks:
    """Return a new holder of locks at a place."""
    return FileLocks(place) if isinstance(place, Path) else DatabaseLocks(place)


class FileLocks:
    """Locked files, which the system frees when a process dies.

    The files stay, empty: removing one that another process waits for would split its lock in two.
    Methods raise OSError if the folder does not allow it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def take(self, name: str) -> bool:
        """Lock a file."""
        # Not thread-local: whoever collects a video may free it. No soft lock where the disk has
        # no real ones: it would outlive its process.
        lock = FileLock(self._folder / f"{name}.lock", thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._held[name] = lock
        return True

    def free(self, name: str) -> None:
        """Unlock a file."""
        if lock := self._held.pop(name, None):
            lock.release()

    def is_taken(self, name: str) -> bool:
        """Return whether a file is locked, by trying."""
        if name in self._held:
            return True
        if not self.take(name):
            return True
        self.free(name)
        return False

    def holds(self, name: str) -> bool:
        """Return whether this holder has locked a file: no one else can undo that."""
        return name in self._held

    def close(self) -> None:
        """Unlock all files."""
        for name in tuple(self._held):
            self.free(name)


_KEY = "hashtextextended(coalesce(current_schema(), '') || ' ' || :name, 0)"
# What `pg_try_advisory_lock` has for a lock, without trying: that would take it for a moment.
_LOCK = f"""
    FROM pg_locks, (SELECT {_KEY} AS key) AS wanted
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND CAST(classid AS bigint) = (key >> 32) & 4294967295
    AND CAST(objid AS bigint) = key & 4294967295
"""  # noqa: S608 - of constants
_TAKE = f"SELECT pg_try_advisory_lock({_KEY})"
_FREE = f"SELECT pg_advisory_unlock({_KEY})"
_IS_TAKEN = f"SELECT EXISTS (SELECT {_LOCK})"
_HOLDS = f"SELECT EXISTS (SELECT {_LOCK} AND pid = pg_backend_pid())"
# Where the administrator lets idle connections end, this one must not.
_LASTING = """
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'
"""
_SESSION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = :pid AND backend_start = :backend_start
"""


class DatabaseLocks:
    """Advisory locks of one PostgreSQL session, on a connection of its own: they end with it.

    A connection that was lost is made anew, and what it held is taken anew: what another holder
    has taken since is lost. Methods raise InputError or TransientError in one line if the database
    cannot be reached; one that was there before gets a minute to come back.
    """

    def __init__(self, address: str) -> None:
        # Imported here: SQLAlchemy takes a moment, and most sites lock files.
        from spokenby.connections import make_engine, parse_address

        self._url = parse_address(address)
        who = f"spokenby on {platform.node()}, process {os.getpid()}"
        self._engine = make_engine(self._url.update_query_dict({"application_name": who}), 0)
        self._connection: Connection | None = None
        self._session: dict[str, Any] = {}
        """Which session it was at last; empty before the first."""
        self._held: set[str] = set()
        self._turn = threading.RLock()  # stages ask from threads of their own

    def take(self, name: str) -> bool:
        """Take a lock of the session."""
        with self._turn:
            if name in self._held or not self._ask(_TAKE, name):
                return False
            self._held.add(name)
            return True

    def free(self, name: str) -> None:
        """Give a lock of the session back."""
        with self._turn:
            if name not in self._held:
                return
            self._held.discard(name)
            if self._connection is not None:
                # Without an answer, it ends with the connection.
                with suppress(SpokenbyError):
                    self._ask(_FREE, name)

    def is_taken(self, name: str) -> bool:
        """Return whether any session has a lock."""
        with self._turn:
            return self._ask(_IS_TAKEN, name)

    def holds(self, name: str) -> bool:
        """Return whether the session still has a lock, or has it anew."""
        with self._turn:
            return name in self._held and self._ask(_HOLDS, name)

    def close(self) -> None:
        """End the session."""
        with self._turn:
            self._held.clear()
            self._drop()

    def _ask(self, question: str, name: str) -> bool:
        """Return the answer of the database. A connection that turns out to be lost is made anew.

        Raises:
            SpokenbyError: there is none.
        """
        from sqlalchemy.exc import DBAPIError

        from spokenby.connections import explaining_database

        with explaining_database(self._url):
            if self._connection is not None:
                try:
                    return _answer(self._connection, question, name)
                except DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
                    self._drop()
            return _answer(self._connect(), question, name)

    def _connect(self) -> Connection:
        """Make the connection, and take what was held."""
        from sqlalchemy import text
        from sqlalchemy.exc import OperationalError

        deadline = time.monotonic() + (AWAY_S if self._session else 0.0)
        while True:
            try:
                connection = self._engine.connect()
                break
            except OperationalError:
                if time.monotonic() > deadline or is_stopping():
                    raise
                time.sleep(1)
        self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(_LASTING))
        if self._held:
            # The server may not have noticed yet that the session before is dead, and holds.
            gives_up = time.monotonic() + _END_S
            while connection.execute(text(_END), self._session).first():
                if time.monotonic() > gives_up:
                    break
                time.sleep(0.05)
            self._held = {name for name in self._held if _answer(connection, _TAKE, name)}
        self._session = dict(connection.execute(text(_SESSION)).mappings().one())
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            from sqlalchemy.exc import DBAPIError

            with suppress(DBAPIError):
                connection.invalidate()
                connection.close()


def _answer(connection: Connection, question: str, name: str) -> bool:
    from sqlalchemy import text

    with _answering(connection):
        return bool(connection.execute(text(question), {"name": name}).scalar())


@contextmanager
def _answering(connection: Connection) -> Iterator[None]:
    """End a connection that does not answer: a proxy may hold it open with nobody behind it."""
    number = connection.connection.driver_connection.fileno()  # type: ignore[union-attr]

    def end() -> None:
        with suppress(OSError), socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as copy:
            copy.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(ANSWER_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
