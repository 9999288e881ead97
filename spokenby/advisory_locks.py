"""Hold locks in a PostgreSQL database, for hosts that share it; see locks.py."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from spokenby.connections import explaining_database, make_engine, parse_address
from spokenby.progress import is_stopping

AWAY_S = 60.0
"""How long to wait for a database that was there before, as while it is restarted."""

_END_S = 5.0

ANSWER_S = 20.0
"""A database that does not answer a question about locks for this long is taken for gone."""

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


class AdvisoryLocks:
    """Advisory locks of one PostgreSQL session, on a connection of its own: they end with it.

    A lost connection is opened again and the locks it held are taken again; what another holder
    has taken since is lost. Methods raise InputError or TransientError in one line if the database
    cannot be reached; one that was there before gets a minute to come back.
    """

    def __init__(self, address: str) -> None:
        self._url = parse_address(address)
        who = f"spokenby on {platform.node()}, process {os.getpid()}"
        self._engine = make_engine(self._url.update_query_dict({"application_name": who}), 0)
        self._connection: Connection | None = None
        self._session: dict[str, Any] = {}
        """Which session it was at last; empty before the first."""
        self._away_since = 0.0
        """Since when the database cannot be reached, by `monotonic`; 0 while it can."""
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
                try:
                    _answer(self._connection, _FREE, name)
                except DBAPIError:  # it ends with the connection
                    self._drop()

    def is_taken(self, name: str) -> bool:
        """Return whether any session has a lock."""
        with self._turn:
            return self._ask(_IS_TAKEN, name)

    def holds(self, name: str) -> bool:
        """Return whether the session still has a lock, or has taken it again."""
        with self._turn:
            return name in self._held and self._ask(_HOLDS, name)

    def close(self) -> None:
        """End the session."""
        with self._turn:
            self._held.clear()
            self._drop()

    def _ask(self, question: str, name: str) -> bool:
        """Return the answer of the database; a connection found to be lost is opened again.

        Raises:
            SpokenbyError: there is none.
        """
        with explaining_database(self._url):
            again = self._connection is not None
            while True:
                try:
                    return _answer(self._connection or self._connect(), question, name)
                except DBAPIError as error:
                    if not error.connection_invalidated:
                        raise
                    self._drop()
                    if not again:
                        raise
                    again = False

    def _connect(self) -> Connection:
        """Make the connection, and take what was held."""
        while True:
            try:
                connection = self._engine.connect()
                break
            except OperationalError:
                now = time.monotonic()
                self._away_since = self._away_since or now
                late = now - self._away_since > AWAY_S
                if late or not self._session or is_stopping():
                    raise
                time.sleep(1)
        self._away_since = 0.0
        self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            with _answering(connection):
                self._take_again(connection)
        except DBAPIError:
            self._drop()  # used again, it would be another session, which holds nothing
            raise
        return connection

    def _take_again(self, connection: Connection) -> None:
        connection.execute(text(_LASTING))
        if self._held:
            # The server may not have noticed yet that the session before is dead, and holds.
            gives_up = time.monotonic() + _END_S
            while connection.execute(text(_END), self._session).first():
                if time.monotonic() > gives_up:
                    break
                time.sleep(0.05)
            taken = text(_TAKE)
            self._held = {name for name in self._held if connection.scalar(taken, {"name": name})}
        self._session = dict(connection.execute(text(_SESSION)).mappings().one())

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                connection.invalidate()
                connection.close()


def _answer(connection: Connection, question: str, name: str) -> bool:
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
