"""Mend what Prefect does wrong when its server restarts or a worker is killed."""

import logging
import os
from typing import Any

from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.logging.handlers import PrefectConsoleHandler


class _OnceForAll:
    """Whether any client of this process has reached the server.

    A Prefect client asks again when it cannot connect, but only if it has connected before: a
    wrong address shall fail at once. The tag's slot is taken and given back by a new client each
    time, so a restart of the server would fail the GPU task that ends meanwhile, and with it the
    run. (Prefect 3.8.8; drop this when giving a slot back survives a restart.)
    """

    connected = False

    def __get__(self, _client: Any, _kind: Any = None) -> bool:
        return _OnceForAll.connected

    def __set__(self, _client: Any, connected: bool) -> None:
        _OnceForAll.connected |= connected


def wait_out_restarts() -> None:
    """Let every client of this process wait for the server once it was reached."""
    for kind in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        kind._has_connected = _OnceForAll()  # type: ignore[assignment]  # noqa: SLF001


def outlive_worker() -> None:
    """Let this process go on when nobody reads any more what it prints: its worker was killed.

    Rich, through which Prefect prints its log, then ends the thread that prints: the stage would
    never end, nor would the run, and its videos stayed claimed. (Prefect 3.8.8.)
    """
    emit = PrefectConsoleHandler.emit

    def emit_while_read(handler: PrefectConsoleHandler, record: logging.LogRecord) -> None:
        try:
            emit(handler, record)
        except SystemExit:
            _print_to_nobody()

    PrefectConsoleHandler.emit = emit_while_read  # type: ignore[assignment,method-assign]


def _print_to_nobody() -> None:
    """Let whatever else prints, and Python when it ends, find no broken pipe."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nobody, output)
    os.close(nobody)
