"""Correct what Prefect does wrong when a server restarts, a worker dies, or SQLite is busy.

Written for Prefect 3.9.1. Each part names the upstream thread and when to delete it; one that finds
Prefect changed raises `InputError` and so stops what it was to protect.
"""

import inspect
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import ModuleType
from typing import Any

from prefect import __version__
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.logging.handlers import PrefectConsoleHandler

from spokenby.errors import InputError


def _require(unchanged: bool, what: str) -> None:
    if not unchanged:
        raise InputError(
            f"Prefect {__version__} has changed {what}, which spokenby patches",
            "run: uv sync, or revise tasks/prefect_patches.py for this version",
        )


class _OnceForAll:
    """Whether any client of this process has reached the server."""

    connected = False

    def __get__(self, _client: Any, _kind: Any = None) -> bool:
        return _OnceForAll.connected

    def __set__(self, _client: Any, connected: bool) -> None:
        _OnceForAll.connected |= connected


def wait_out_restarts() -> None:
    """Let every client of this process wait for the server once any of them has reached it.

    A client retries a refused connection only if it has connected before, so that a wrong address
    fails at once. A GPU slot is taken and released by a new client each time, so a restart of the
    server would fail the GPU task that ends meanwhile, and with it the run. (PrefectHQ/prefect
    #20276 made it so; #20462 asks for more. Delete when releasing a slot survives a restart.)

    Raises:
        InputError: Prefect's clients have changed.
    """
    for kind in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        _require(
            "_has_connected" in kind.send.__code__.co_names
            and "_has_connected" in kind.__init__.__code__.co_names,
            f"{kind.__name__}._has_connected",
        )
        kind._has_connected = _OnceForAll()  # type: ignore[assignment]  # noqa: SLF001


def leave_sigterm_to_command(flow_engine: ModuleType) -> None:
    """Let a command answer SIGTERM as it does Ctrl-C, for flows of this process.

    Prefect would raise an exception wherever the main thread is, wait for all tasks nevertheless
    and print their tracebacks. (By design; see flows/cli/stopping.py. Delete when a flow can be
    told to leave signals alone.)

    Args:
        flow_engine: the module `prefect.flow_engine`, which imports this one.

    Raises:
        InputError: Prefect's flow engine has changed.
    """
    _require(
        callable(getattr(flow_engine, "capture_sigterm", None)),
        "how its flow engine answers SIGTERM",
    )
    flow_engine.capture_sigterm = nullcontext  # type: ignore[attr-defined]


class LastingConsoleHandler(PrefectConsoleHandler):
    """Print the log until nobody reads it any more, because the worker was killed.

    rich, through which Prefect prints, then ends the thread that prints: the stage would never end,
    nor would the run, and its videos would stay claimed. Named in flows/server/prefect_settings.py.
    (Textualize/rich #3468. Delete when Prefect's own handler survives a broken pipe.)
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, or discard this and all further output."""
        try:
            super().emit(record)
        except SystemExit:
            _discard_output()


def _discard_output() -> None:
    """Let whatever else prints, and Python when it ends, find no broken pipe."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nobody, output)
    os.close(nobody)


def lock_at_start(database: ModuleType) -> None:
    """Let a server's transactions on SQLite take the write lock when they begin.

    They read first and ask for the one write lock when they write, which SQLite refuses at once if
    anybody wrote in between (SQLITE_BUSY_SNAPSHOT, https://www.sqlite.org/isolation.html): 29 of
    401 requests to start a run were answered "Service Unavailable" while videos were being
    transcribed, which a browser takes for final. Transactions that take the lock as they begin wait
    for it, up to a minute: 0 of 384. Those that only read wait, too. PostgreSQL has no such lock.
    (PrefectHQ/prefect #18934. Delete when tests/flows/server/test_sqlite.py passes without.)

    Args:
        database: the module `prefect.server.database.configurations`.

    Raises:
        InputError: Prefect's transactions have changed.
    """
    kind = database.AioSqliteConfiguration
    begin = kind.begin_transaction
    _require(
        [*inspect.signature(begin).parameters] == ["self", "session", "with_for_update"]
        and "SQLITE_BEGIN_MODE" in kind.begin_sqlite_stmt.__code__.co_names
        and hasattr(database, "SQLITE_BEGIN_MODE"),
        "how its server begins transactions on SQLite",
    )
    mode = database.SQLITE_BEGIN_MODE

    @asynccontextmanager
    async def begin_transaction(
        self: Any, session: Any, with_for_update: bool = False
    ) -> AsyncIterator[Any]:
        outermost = mode.get() is None
        async with begin(self, session, with_for_update=with_for_update or outermost) as begun:
            if outermost:
                await session.connection()  # what begins here takes the lock now
                # Sessions inside, and tasks started here, would wait for the lock that this holds.
                mode.set("DEFERRED")
            yield begun

    kind.begin_transaction = begin_transaction
