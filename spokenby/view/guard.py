"""Admit only requests of the person who has the secret, from our own pages.

Any page that a person opens can send requests to a server on their machine: under a domain name
that resolves to it (DNS rebinding), or in the background with the person's cookies.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from html import escape
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spokenby.view.address import derived

TOKEN = "x-spokenby-token"  # noqa: S105 - the header's name

_HOSTS = {"127.0.0.1", "localhost", "::1"}
_READS = {"GET", "HEAD"}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
_YEAR_S = 365 * 24 * 3600

Refuse = Callable[[Request, str], Response]


class Guard:
    """ASGI middleware that answers to whoever has the key, and to nobody else.

    The address with the key in it is opened once: a cookie takes its place. Cookies are shared by
    all ports of a host: a program of another port that the browser visits can do with it what this
    browser can, until this server ends, but does not learn the key.

    Args:
        app: what is guarded.
        key: the secret.
        refuse: makes the answer to a request that is not admitted.
    """

    def __init__(self, app: ASGIApp, key: str, refuse: Refuse) -> None:
        self._app = app
        self._key = key
        self._refuse = refuse
        self._pass = derived(key, "cookie")
        self._token = derived(key, "token")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # WebSockets: there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        answer = self._answer(request)
        await (answer or self._app)(scope, receive, self._with_headers(send))

    def _answer(self, request: Request) -> Response | None:
        """Return the answer to a request that goes no further."""
        if problem := _foreign(request):
            return self._refuse(request, problem)
        reads = request.method in _READS
        if reads and (given := request.query_params.get("key")) is not None:
            return self._admit(request, given)
        if not _same(request.cookies.get(_cookie(request), ""), self._pass):
            return self._refuse(request, "")
        if not reads and not _same(request.headers.get(TOKEN, ""), self._token):
            return self._refuse(request, "The token is missing: load the page again")
        return None

    def _admit(self, request: Request, given: str) -> Response:
        """Exchange the key for a cookie, and lead to the address without it."""
        if not _same(given, self._key):
            return self._refuse(request, "")
        rest = [(name, value) for name, value in request.query_params.multi_items()
                if name != "key"]  # fmt: skip
        # A path that begins with two slashes would lead to another host.
        place = "/" + request.url.path.lstrip("/")
        target = f"{place}?{urlencode(rest)}" if rest else place
        answer: Response
        if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            # After a link on another page, a redirection would go without the cookie.
            refresh = f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(target)}">'
            answer = Response(refresh, media_type="text/html")
        else:
            answer = RedirectResponse(target, 303)
        answer.set_cookie(
            _cookie(request), self._pass, max_age=_YEAR_S, httponly=True, samesite="strict"
        )
        answer.headers["cache-control"] = "no-store"
        return answer

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        return sending


def _foreign(request: Request) -> str:
    """Say why a request does not come from a page of ours, or of nobody; empty if it does."""
    host = request.headers.get("host", "")
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:  # the port is none
        name = host
    if name not in _HOSTS:
        return f"These pages do not answer to the name {name!r}"
    origin = request.headers.get("origin")
    # Browsers say who asks; what is no browser has no cookies of a person.
    site = request.headers.get("sec-fetch-site", "none")
    opened = request.headers.get("sec-fetch-mode") == "navigate" and request.method in _READS
    if origin not in {None, f"http://{host}"} or (
        site not in {"same-origin", "none"} and not opened
    ):
        return "These pages do not answer pages of other sites"
    return ""


def _cookie(request: Request) -> str:
    """Return the cookie's name: each server of a machine has one of its own."""
    return f"spokenby-{request.url.port or 80}"


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
