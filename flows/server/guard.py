"""Refuse what a web page of another site sends to a Prefect server.

Prefect answers every Origin and every Host, so any page that a person opens could read runs and
start some: with a plain request, over a WebSocket, or under a domain name that resolves to this
machine (DNS rebinding). Its CORS and CSRF settings stop the first of the three.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008
"""Why a WebSocket is closed (RFC 6455)."""


class Guard:
    """ASGI middleware that admits requests to an address of this server, from its own pages.

    Args:
        app: the server.
        origins: from which pages may ask, as `http://host:port`; their hosts may be asked for.
            Addresses of the form 127.0.0.1 may always be: rebinding needs a name.
    """

    def __init__(self, app: App, origins: Collection[str]) -> None:
        self._app = app
        self._origins = {origin.strip().rstrip("/") for origin in origins}
        self._hosts = {urlsplit(origin).hostname for origin in self._origins}
        self._policy = _policy(self._origins).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it in one line."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif problem := self._problem(scope):
            await _refuse(scope, send, problem)
        else:
            await self._app(scope, receive, self._with_policy(send))

    def _problem(self, scope: Scope) -> str:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        name = urlsplit(f"//{host}").hostname or ""
        if name not in self._hosts and not _is_address(name):
            return (
                f"this Prefect server does not answer to the name {name!r}: to allow it, set"
                " PREFECT_SERVER_CORS_ALLOWED_ORIGINS to its address"
            )
        if origin and origin not in self._origins and urlsplit(origin).netloc != host:
            return "this Prefect server does not answer pages of other sites"
        return ""

    def _with_policy(self, send: Send) -> Send:
        """Keep the UI's pages from loading anything of other sites, or being framed by them."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"content-security-policy", self._policy)]
                message = {**message, "headers": headers}
            await send(message)

        return sending


def _policy(origins: Collection[str]) -> str:
    sockets = [f"ws{origin.removeprefix('http')}" for origin in sorted(origins)]
    reachable = " ".join(["'self'", *sorted(origins), *sockets])
    return (
        f"default-src {reachable} 'unsafe-inline' 'unsafe-eval' data: blob:;"
        " frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(scope: Scope, send: Send, problem: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem[:120]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": problem.encode()})


def guard_server() -> None:
    """Put the guard around every Prefect server of this process, and leave out its second UI.

    The second UI asks an analytics service; the first asks nobody.
    """
    import prefect
    from prefect.server.api import server
    from prefect.settings import get_current_settings

    prefect.__ui_v2_static_path__ = prefect.__module_path__ / "left-out-by-spokenby"
    create = server.create_app

    def create_guarded(*args: Any, **kwargs: Any) -> Any:
        app = create(*args, **kwargs)
        origins = get_current_settings().server.api.cors_allowed_origins.split(",")
        app.add_middleware(Guard, origins=origins)
        return app

    server.create_app = create_guarded
