"""The pages of a site as a Starlette app: index, voices, and each transcript's page."""

from __future__ import annotations

import json
import mimetypes
import re
import threading
from collections.abc import Callable, Collection
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from spokenby.engines.av import read_picture
from spokenby.errors import InputError, SpokenbyError
from spokenby.files import explaining, replacing
from spokenby.output import formats
from spokenby.output.corrections import MOST_BYTES, read_corrections
from spokenby.output.folders import safe_name
from spokenby.output.layers import Saved, open_layer
from spokenby.review import listening_copy, page
from spokenby.settings import Settings
from spokenby.site.corrections import folders_of, save_corrections
from spokenby.site.find_videos import VIDEO_SUFFIXES
from spokenby.site.frequent_corrections import OFTEN, add_lines, find_frequent
from spokenby.site.inventory import State, count_states
from spokenby.site.voice_library import folder_at, open_library
from spokenby.types import Seconds
from spokenby.view import voices
from spokenby.view.address import derived, folder_id, page_of
from spokenby.view.guard import Guard
from spokenby.view.videos import Videos
from spokenby.voices.search import fold
from spokenby.wording import clock, count_of, position

HITS = 200
"""Lines that a search shows."""

_PICTURE_WIDTH = 320
_NAME_BYTES = 10_000
"""Of a request that names a voice."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of our own pages; a transcript's page brings its own."""
_NO_STORE = {"cache-control": "no-store"}
_ASK_AGAIN = {"cache-control": "private, no-cache"}
_STATIC = {
    "page.css": "text/css",  # of a transcript's page
    "view.css": "text/css",
    "icon.svg": "image/svg+xml",
    "common.js": "text/javascript",
    "index.js": "text/javascript",
    "voices.js": "text/javascript",
    "vocabulary.js": "text/javascript",
}
_INLINE = {listening_copy.FILE}
_PICTURE_LOCK = threading.Lock()
"""One picture at a time: decoding is not for all of a page at once."""

Home = Callable[[], str]
"""Returns where Prefect's UI answers; empty if it does not."""


def make_app(videos: Videos, settings: Settings, key: str, prefect: Home = lambda: "") -> Starlette:
    """Return the app.

    Args:
        videos: to show.
        settings: the site.
        key: the secret that opens the pages.
        prefect: where its UI answers.
    """
    pages = _Pages(videos, settings, derived(key, "token"), prefect)
    routes = [
        Route("/", pages.index),
        Route("/voices", pages.voices),
        Route("/voices/{change}", pages.change_voice, methods=["POST"]),
        Route("/vocabulary", pages.vocabulary),
        Route("/vocabulary", pages.add_to_vocabulary, methods=["POST"]),
        Route("/t/{id}/page.html", pages.transcript),
        Route("/t/{id}/video", pages.video),
        Route("/t/{id}/picture.jpg", pages.picture),
        Route("/t/{id}/corrections", pages.correct, methods=["PUT"]),
        Route("/corrections", pages.add_corrections, methods=["PUT"]),
        Route("/t/{id}/export/{name}", pages.export),
        Route("/t/{id}/{name}", pages.file),
        Route("/static/{name}", _static),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, key=key, refuse=_refuse)],
        exception_handlers={SpokenbyError: _explain, HTTPException: _explain, 500: _explain},
    )


class _Pages:
    """The answers. Those that are plain functions run in threads."""

    def __init__(self, videos: Videos, settings: Settings, token: str, prefect: Home) -> None:
        self._videos = videos
        self._settings = settings
        self._token = token
        self._prefect = prefect
        self._pictures = settings.cache / "pictures"

    def index(self, request: Request) -> Response:
        """Show every video, and the lines that a search finds."""
        looked = self._videos.look()
        words = request.query_params.get("find", "").strip()
        hits, problem = self._find(words, {row.id for row in looked.rows})
        return self._page(
            "index",
            rows=looked.rows,
            problems=looked.problems,
            unfinished=looked.unfinished,
            moving=looked.unfinished or any(x.status.state is State.RUNNING for x in looked.rows),
            counts=count_states([row.status for row in looked.rows]),
            states=[s for s in State if any(row.status.state is s for row in looked.rows)],
            find=words,
            hits=hits,
            problem=problem,
            more=len(hits) == HITS,
        )

    def _find(self, words: str, ids: Collection[str]) -> tuple[list[dict[str, Any]], str]:
        """Return the lines of some transcripts that have all the words, or why there are none."""
        if not words:
            return [], ""
        library, most = open_library(self._settings), HITS
        while True:
            try:
                hits = library.find(words, limit=most)
            except InputError as error:
                return [], str(error)
            folders = [folder_at(hit.folder, self._settings) for hit in hits]
            shown = [
                (hit, folder)
                for hit, folder in zip(hits, folders, strict=True)
                if folder_id(folder) in ids
            ]
            if len(shown) >= HITS or len(hits) < most:
                break
            most *= 4  # these were of transcripts that are not shown
        terms = fold(words)
        found = []
        for hit, folder in shown[:HITS]:
            address = f"{page_of(folder)}#t={max(0.0, round(hit.start, 2)):.2f}"
            found.append({"hit": hit, "address": address, "text": _marked(hit.text, terms)})
        return found, ""

    def voices(self, request: Request) -> Response:
        """Show the voices, to hear and to name."""
        value = request.query_params.get("from", "0")
        first = int(value) if value.isdecimal() and len(value) < 7 else 0
        listed = voices.list_voices(self._videos, self._settings, first)
        return self._page("voices", voices=listed, at_once=voices.AT_ONCE)

    async def change_voice(self, request: Request) -> Response:
        """Name a voice, merge two, keep two apart or take one out of a video."""
        change = voices.CHANGES.get(request.path_params["change"])
        if change is None:
            raise HTTPException(404)
        values = await _values(request)
        try:
            done = await run_in_threadpool(change, values, self._settings)
        except voices.TakenError as error:
            taken = {"voice": error.other.voice, "name": error.other.name}
            return _json({"error": str(error), "taken": taken}, 409)
        return _json(done)

    def vocabulary(self, _request: Request) -> Response:
        """Show what people correct again and again."""
        found, problem = [], ""
        try:
            found = find_frequent(self._settings)
        except SpokenbyError as error:
            problem = str(error)
        return self._page("vocabulary", found=found, problem=problem, often=OFTEN)

    async def add_to_vocabulary(self, request: Request) -> Response:
        """Add a line that is offered to the site's vocabulary."""
        line = (await _values(request)).get("line")

        def add() -> Path:
            if line not in {each.line for each in find_frequent(self._settings) if not each.unfit}:
                raise InputError("this line is not offered any more", "load the page again")
            return add_lines([str(line)], self._settings)

        file = await run_in_threadpool(add)
        return _json({"said": f"Added to {file}: the next runs use it"})

    def transcript(self, request: Request) -> Response:
        """Show a transcript, with its video where that is there."""
        folder, about = self._transcript(request)
        video = self._videos.video(about["video"]["digest"])
        has_copy = listening_copy.FILE in about["files"]
        # What has no picture is played from the copy, which every browser knows.
        shown = video and (video.suffix.lower() in VIDEO_SUFFIXES or not has_copy)
        service = page.Service(
            token=self._token,
            saving="corrections",
            naming="/voices/name",
            video="video" if shown else "",
            home="/",
            exports="export/",
        )
        rendered = page.render(open_layer(folder, about), about["files"], service)
        headers = {**_NO_STORE, "content-security-policy": "frame-ancestors 'none'"}
        return Response(rendered[page.FILE], media_type="text/html", headers=headers)

    async def correct(self, request: Request) -> Response:
        """Save the corrections that a transcript's page sends."""
        content = await _body(request, MOST_BYTES)

        def save() -> Saved:
            folder, _ = self._transcript(request)
            return save_corrections(folder, content, self._settings)

        saved = await run_in_threadpool(save)
        return _json(
            {
                "saved": saved.when.isoformat(timespec="seconds"),
                "applied": saved.applied,
                "unfit": [str(each) for each in saved.unfit],
            }
        )

    async def add_corrections(self, request: Request) -> Response:
        """Apply a file of corrections to the transcripts of its video, beside those stored."""
        content = await _body(request, MOST_BYTES)

        def save() -> tuple[list[str], bool]:
            parts, failed = [], False
            for folder in folders_of(read_corrections(content), self._settings):
                try:
                    saved = save_corrections(folder, content, self._settings, add=True)
                except SpokenbyError as error:  # of this one; the others are done
                    parts.append(f"{folder.name}: {error}")
                    failed = True
                    continue
                unfit = "".join(f"; does not fit: {each}" for each in saved.unfit)
                applied = count_of(saved.applied, "correction")
                parts.append(f"{folder.name}: {applied} applied{unfit}")
            return parts, failed

        parts, failed = await run_in_threadpool(save)
        said = " · ".join(parts)
        return _json({"error": said}, 409) if failed else _json({"said": said})

    def video(self, request: Request) -> Response:
        """Send the video of a transcript, or the part that is asked for."""
        _, about = self._transcript(request)
        if (path := self._videos.video(about["video"]["digest"])) is None:
            raise HTTPException(404)
        kind = mimetypes.guess_type(path.name)[0] or ""
        kind = kind if kind.startswith(("video/", "audio/")) else "application/octet-stream"
        return FileResponse(path, media_type=kind, headers=_ASK_AGAIN)

    def picture(self, request: Request) -> Response:
        """Send a small picture of a video, from the cache after the first time."""
        _, about = self._transcript(request)
        digest = about["video"]["digest"]
        video = self._videos.video(digest)
        if video is None:
            raise HTTPException(404)
        path = self._pictures / f"{digest}.jpg"
        with _PICTURE_LOCK:
            if not path.exists():
                with explaining(path.parent, "set SPOKENBY_CACHE_DIR"):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(path) as fresh:
                        fresh.write_bytes(read_picture(video, _PICTURE_WIDTH))
        if not path.stat().st_size:  # it has none, which need not be found out twice
            raise HTTPException(404)
        return FileResponse(path, media_type="image/jpeg", headers=_ASK_AGAIN)

    def file(self, request: Request) -> Response:
        """Send a file of a transcript's folder: one that spokenby wrote, and no link."""
        folder, about = self._transcript(request)
        name = request.path_params["name"]
        path = folder / name
        if name not in about["files"] or path.is_symlink() or not path.is_file():
            raise HTTPException(404)
        if path.resolve().parent != folder.resolve():
            raise HTTPException(404)
        if name in _INLINE:
            return FileResponse(path, media_type="audio/webm", headers=_ASK_AGAIN)
        return FileResponse(
            path, media_type="application/octet-stream", filename=name, headers=_NO_STORE
        )

    def export(self, request: Request) -> Response:
        """Send a transcript in another format; nothing is stored."""
        folder, _ = self._transcript(request)
        if (name := request.path_params["name"]) not in formats.FORMATS:
            raise HTTPException(404)
        document = formats.open_transcript(folder)
        (content,) = formats.render(*document, [name]).values()
        file = quote(f"{safe_name(document.name)}.{name}")
        headers = {**_NO_STORE, "content-disposition": f"attachment; filename*=utf-8''{file}"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    def _transcript(self, request: Request) -> tuple[Path, dict[str, Any]]:
        folder = self._videos.folder(request.path_params["id"])
        about = self._videos.about(folder) if folder else None
        if folder is None or about is None:
            raise HTTPException(404)
        return folder, about

    def _page(self, name: str, **content: Any) -> Response:
        return _html(name, token=self._token, prefect=self._prefect(), **content)


def _marked(text: str, terms: list[str]) -> Markup:
    """Return a line as HTML in which the words that were looked for are marked."""
    parts = re.split(r"(\s+)", text)
    wanted = set(terms)
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if wanted & set(fold(part)) else escape(part)
        for part in parts
    )


async def _body(request: Request, most: int) -> bytes:
    """Return the body of a request, which may have so many bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise HTTPException(413)
    return body


async def _values(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request."""
    try:
        values = json.loads(await _body(request, _NAME_BYTES))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError("the request is no JSON object", "load the page again")
    return values


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if (kind := _STATIC.get(name)) is None:
        raise HTTPException(404)
    review = package_files("spokenby.review") / name
    path = package_files("spokenby.view") / "static" / name
    content = (review if name == "page.css" else path).read_bytes()
    return Response(content, media_type=kind, headers=_ASK_AGAIN)


def _json(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, headers=_NO_STORE)


def _html(name: str, status: int = 200, **content: Any) -> Response:
    text = _templates().get_template(f"{name}.html.jinja").render(**content)
    headers = {**_NO_STORE, "content-security-policy": _POLICY}
    return Response(text.encode(errors="replace"), status, media_type="text/html", headers=headers)


def _refuse(request: Request, problem: str) -> Response:
    """Answer whom the guard does not admit; `problem` is empty if only the secret is missing."""
    if request.method not in {"GET", "HEAD"}:
        return _json({"error": problem or "The secret is missing: open the address again"}, 403)
    return _html("refused", 403, problem=problem)


_PROBLEMS = {404: "There is no such page", 405: "That cannot be done here", 413: "That is too much"}


def _explain(request: Request, error: Exception) -> Response:
    """Say in one line what went wrong."""
    if isinstance(error, HTTPException):
        status, line = error.status_code, _PROBLEMS.get(error.status_code, error.detail)
    elif isinstance(error, SpokenbyError):
        status, line = (400 if isinstance(error, InputError) else 503), str(error)
    else:
        status, line = 500, f"That failed: {type(error).__name__}, see the log of this server"
    if request.method not in {"GET", "HEAD"}:
        return _json({"error": line}, status)
    return _html("problem", status, problem=line)


def _length(duration: Seconds) -> str:
    return clock(duration) if duration else ""


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("spokenby.view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "time": _length,
        "position": position,
        "count_of": count_of,
    }
    return environment
