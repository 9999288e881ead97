"""Waiting for a Prefect server that is away for a while, as when it restarts, lives here.

How often and how long is a setting of Prefect; see flows/environment.py.
"""

from typing import Any

from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient


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
