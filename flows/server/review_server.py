"""Serve the pages of a site: as `spokenby view`, and as a child of `spokenby serve`."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flows.server.passwords import kept_password
from flows.server.site_server import server_of
from spokenby.errors import InputError
from spokenby.settings import Settings
from spokenby.types import Seconds
from spokenby.view.address import known_to_site, make_key
from tasks import forms

if TYPE_CHECKING:
    from spokenby.site.inventory import VideoStatus

HOST = "127.0.0.1"

ASK_WITHIN_S: Seconds = 2.0
ASK_AGAIN_AFTER_S: Seconds = 30.0

_END_WITHIN_S = 1
"""What a browser still loads when the server stops is cut off."""


def address(port: int, key: str = "") -> str:
    """Return the address of the pages; with the secret in it, a browser needs it once."""
    return f"http://{HOST}:{port}/{f'?key={key}' if key else ''}"


def listen(port: int) -> socket.socket:
    """Return a socket on a port of this machine, on a free one if that is taken or 0."""
    listener = socket.socket()
    if os.name == "posix":  # elsewhere this would allow to take a port that is in use
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.bind((HOST, 0))
    listener.listen()  # whoever is early waits
    return listener


def serve_pages(
    paths: Sequence[str],
    settings: Settings,
    listener: socket.socket,
    *,
    known: bool = True,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve the pages until this process is asked to end.

    Args:
        paths: what to show; all of the site if empty.
        settings: the site.
        listener: where to answer.
        known: let Prefect's pages link here.
        ready: called when the pages can be opened.

    Raises:
        InputError: a path leads nowhere.
    """
    import uvicorn  # slow, as the next ones are

    from spokenby.view.app import make_app
    from spokenby.view.videos import Videos

    prefect = _Prefect(settings)
    app = make_app(Videos(paths, settings, prefect.again), settings, make_key(settings), prefect.ui)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_END_WITHIN_S,
    )
    port = listener.getsockname()[1]
    server = uvicorn.Server(config)
    if known:
        with known_to_site(address(port).rstrip("/"), settings):
            ready()
            server.run(sockets=[listener])
    else:
        ready()
        server.run(sockets=[listener])


class _Prefect:
    """Links to the Prefect server of a site, while it runs. Imports no Prefect, which is slow."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = ("", 0.0)
        self._deployment = ""

    def ui(self) -> str:
        """Return where its UI answers; empty without a server."""
        url = server_of(self._settings) or os.environ.get("PREFECT_API_URL", "")
        local = url.startswith("http://") and url.endswith("/api")
        return url.removesuffix("/api") if local else ""

    def again(self, status: VideoStatus, request: str) -> str:
        """Return the address of the form that transcribes a video, as it was asked for before."""
        home = self.ui()
        deployment = self._find(f"{home}/api") if home else ""
        if not deployment:
            return ""
        given: dict[str, Any] = {}
        with suppress(ValueError):
            given = json.loads(request)
        return home + forms.form(deployment, forms.again(given, status.path))

    def _find(self, url: str) -> str:
        """Return the id of the deployment; empty if the server does not have it, or is gone."""
        if self._asked[0] == url and time.monotonic() - self._asked[1] < ASK_AGAIN_AFTER_S:
            return self._deployment
        import httpx

        password = os.environ.get("PREFECT_API_AUTH_STRING") or kept_password(url, self._settings)
        user, _, secret = password.partition(":")
        self._deployment = ""
        with suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
            answer = httpx.get(
                f"{url}/deployments/name/{forms.DEPLOYMENT}",
                auth=(user, secret) if password else None,
                timeout=ASK_WITHIN_S,
            )
            self._deployment = str(answer.raise_for_status().json()["id"])
        self._asked = (url, time.monotonic())
        return self._deployment


def main(port: str) -> None:
    """Serve the pages as a child process, on a port."""
    from spokenby.settings import read_settings

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to forget where it answered
    listener = listen(int(port))
    if listener.getsockname()[1] != int(port):
        raise InputError(f"another program listens on port {port}", "run: spokenby view")
    with suppress(KeyboardInterrupt):
        serve_pages((), read_settings(), listener)
