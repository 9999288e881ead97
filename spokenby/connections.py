"""Connect to the site's database, and say in one line why that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from spokenby.errors import InputError, SpokenbyError, TransientError

SQLITE = "sqlite:///"
"""What the address of a file begins with; any other is a server's."""

CONNECT_S = 10

CUT_OFF_S = 50
"""After this long, a host that was cut off has lost its connections and what they hold."""

_CLIENT = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": CUT_OFF_S * 1000,
}
_SERVER = f"""
    SET tcp_keepalives_idle = 20;
    SET tcp_keepalives_interval = 10;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = {CUT_OFF_S * 1000}
"""
_SECRETS = ("password", "sslpassword")
"""What an address may also hold behind its question mark."""


def parse_address(address: str) -> URL:
    """Parse an address. Messages never show it: it may hold a password.

    Raises:
        InputError: it is none, or of a database that cannot be used.
    """
    kind, _, rest = address.strip().partition("://")
    if kind == "sqlite" and rest[:1] == "/" and rest[1:] not in {"", ":memory:"}:
        # Taken literally: a file name may hold characters with a meaning in addresses.
        return URL.create("sqlite", database=rest[1:])
    if kind in {"postgresql", "postgres", "postgresql+psycopg"}:
        # The address is not part of any message.
        with suppress(ArgumentError, ValueError):
            return make_url(address.strip()).set(drivername="postgresql+psycopg")
    raise InputError(
        f"the database cannot be at this address ({kind if '://' in address else 'without ://'}…)",
        "set SPOKENBY_DATABASE to sqlite:///<file> or postgresql://<user>:<password>@<host>/<name>",
    )


def shown_address(address: str) -> str:
    """Return an address for people, without its secrets."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return "(hidden: it is not an address)"
    return url.difference_update_query(_SECRETS).render_as_string(hide_password=True)


def place_of(url: URL) -> str:
    """Return where a database is, without user and password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    port = f":{url.port}" if url.port else ""
    return f"{url.database or ''} on {url.host or 'this machine'}{port}".strip()


def subject_of(url: URL) -> str:
    """Return what a database is called in messages."""
    kind = "voice library" if url.get_backend_name() == "sqlite" else "database"
    return f"the {kind} {place_of(url)}"


def make_engine(url: URL, wait_s: float) -> Engine:
    """Return what connects to a database; connections are not pooled.

    Args:
        url: its address.
        wait_s: how long SQLite waits for other processes' changes.
    """
    if url.get_backend_name() != "sqlite":
        engine = create_engine(
            url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_S, **_CLIENT}
        )

        @event.listens_for(engine, "connect")
        def notice_dead_hosts(connection: Any, _: Any) -> None:
            # Not as an option of the connection: the address may have options of its own.
            connection.execute(_SERVER)
            connection.commit()

        return engine
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": wait_s})

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


@contextmanager
def explaining_database(url: URL) -> Iterator[None]:
    """Turn what a database raises into one line; what is a bug of ours stays as it is."""
    try:
        yield
    except DBAPIError as error:
        explained = _explained(error, url)
        if explained is None:
            raise
        raise explained from error


def _explained(error: DBAPIError, url: URL) -> SpokenbyError | None:
    cause = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else ""
    for secret in (url.password, *(url.query.get(name) for name in _SECRETS)):
        if secret:
            cause = cause.replace(str(secret), "***")
    # SQLite's name of the error, or PostgreSQL's five characters; empty without a connection.
    code = getattr(error.orig, "sqlite_errorname", getattr(error.orig, "sqlstate", "")) or ""
    for codes, kind, problem, next_step in _ERRORS:
        if code.startswith(codes):
            return kind(f"{subject_of(url)} {problem} ({cause})", next_step)
    if url.get_backend_name() == "sqlite" or not isinstance(error, OperationalError):
        return None
    return TransientError(
        f"{subject_of(url)} cannot be reached ({cause})",
        "check that the server runs, and user, password and name in SPOKENBY_DATABASE",
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
