"""Tell a program or a web service of a transcript that was written; say what fails, never raise."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import psutil

from spokenby.errors import InputError, SpokenbyError
from spokenby.output.folders import MANIFEST
from spokenby.progress import is_stopping
from spokenby.settings import Settings
from spokenby.types import Seconds
from spokenby.wording import one_line

SIGNATURE = "Spokenby-Signature"
DELIVERY = "Spokenby-Delivery"

RETRY_AFTER: tuple[Seconds, ...] = (0.0, 1.0, 4.0)
"""How long to wait before each attempt at a web service."""

TRIED_AGAIN = frozenset({408, 425, 429, *range(500, 600)})
"""Answers of a service that may soon be well."""

OUTPUT_KEPT = 2_000
"""Of what a command prints, the last so many bytes; the rest is read and dropped."""

_LOG = logging.getLogger("spokenby")


def is_webhook(on_done: str) -> bool:
    """Return whether it is the address of a web service, else a command."""
    return on_done.strip().lower().startswith(("http://", "https://"))


def described(on_done: str) -> str:
    """Return what may be shown, as the rest often holds a secret: the program, or the host."""
    if not is_webhook(on_done):
        program, *words = on_done.split(maxsplit=1) or [""]
        return f"{program} …" if words else program
    try:
        return f"{urlsplit(on_done.strip()).scheme}://{_host(on_done)}/…"
    except InputError:
        return "(hidden: it is not an address)"


def check(on_done: str, settings: Settings) -> None:
    """Refuse a command that is not there, or a host that the site does not name.

    Raises:
        InputError: it can't be used.
    """
    if is_webhook(on_done):
        host = _host(on_done)
        if host not in _hosts(settings):
            raise InputError(
                f"on-done: the site does not name the host {host}",
                f'allow it: SPOKENBY_WEBHOOK_HOSTS={host}, or webhook_hosts = "{host}" in'
                f" {settings.file}",
            )
    elif on_done.strip():
        _words(on_done)


def tell(on_done: str, folder: Path, settings: Settings) -> str:
    """Tell that the transcript in a folder is done; return what went wrong, empty if nothing.

    A command gets the folder as its last word and the manifest on its standard input; a web service
    gets the manifest. Neither takes longer than `on_done_s`.
    """
    if not on_done.strip():
        return ""
    name = described(on_done) if is_webhook(on_done) else on_done.split(maxsplit=1)[0]
    try:
        check(on_done, settings)
        manifest = (folder / MANIFEST).read_bytes()
        if is_webhook(on_done):
            problem = _post_within(on_done.strip(), manifest, settings)
        else:
            problem = _run([*_words(on_done), str(folder.absolute())], manifest, settings.on_done_s)
    except SpokenbyError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the transcript is there, whatever this was
        problem = f"{type(error).__name__}: {error}"
    if problem:
        return f"on-done: {one_line(name)}: {one_line(problem)}"
    _LOG.info("on-done: told %s of %s", name, folder.name)
    return ""


def _words(command: str) -> list[str]:
    try:
        if os.name == "posix":
            words = shlex.split(command)
        else:  # a backslash is part of a path
            words = [word.strip('"') for word in shlex.split(command, posix=False)]
    except ValueError as error:
        raise InputError(
            f"on-done: the command {described(command)} cannot be read ({error})", "close it"
        ) from None
    program = shutil.which(Path(words[0]).expanduser())
    if not program:
        raise InputError(
            f"on-done: there is no program {words[0]}", "name one on the PATH, or its full path"
        )
    return [program, *words[1:]]


def _run(words: list[str], manifest: bytes, within_s: Seconds) -> str:
    """Run a command to its end; return what went wrong."""
    kept: deque[bytes] = deque(maxlen=2)
    with TemporaryFile() as given:  # a pipe would wait for a program that does not read
        given.write(manifest)
        given.seek(0)
        process = subprocess.Popen(
            words,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=sys.platform != "win32",
        )
    pipe = cast("IO[bytes]", process.stdout)
    reader = threading.Thread(target=_drain, args=(pipe, kept), daemon=True)
    reader.start()
    deadline = time.monotonic() + within_s
    while process.poll() is None and time.monotonic() < deadline and not is_stopping():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    code = process.poll()
    if code is None:
        _end(process.pid)
        process.wait()
    reader.join(1.0)  # what it left running in the background may keep the pipe open
    printed = b"".join(kept)[-OUTPUT_KEPT:].decode("utf-8", "replace").strip()
    if printed:
        _LOG.info("on-done printed: %s", printed)
    if code is None:
        return "stopped on request" if is_stopping() else f"ended after {within_s:g} s"
    last = printed.splitlines()[-1] if printed else "it printed nothing"
    return f"exit code {code}: {last}" if code else ""


def _drain(pipe: IO[bytes], kept: deque[bytes]) -> None:
    with pipe, suppress(OSError):
        while block := os.read(pipe.fileno(), 65_536):
            kept.append(block[-OUTPUT_KEPT:])


def _end(pid: int) -> None:
    """Kill a process and all it has started."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def _post_within(url: str, manifest: bytes, settings: Settings) -> str:
    """Post in a thread: no timeout of a client bounds a server that answers byte by byte."""
    problems: list[str] = []
    over = threading.Event()
    thread = threading.Thread(
        target=lambda: problems.append(_post(url, manifest, settings, over)), daemon=True
    )
    thread.start()
    deadline = time.monotonic() + settings.on_done_s
    while thread.is_alive() and time.monotonic() < deadline and not is_stopping():
        thread.join(0.1)
    over.set()
    if problems:
        return problems[0]
    return "stopped on request" if is_stopping() else f"no answer within {settings.on_done_s:g} s"


def _post(url: str, manifest: bytes, settings: Settings, over: threading.Event) -> str:
    """Post the manifest, again where that may help; return what went wrong the last time."""
    delivery, problem = str(uuid4()), "no attempt was made"
    for pause in RETRY_AFTER:
        if over.wait(pause):
            break
        headers = {"Content-Type": "application/json", DELIVERY: delivery}
        if settings.webhook_secret:
            headers[SIGNATURE] = sign(settings.webhook_secret, manifest, int(time.time()))
        try:
            with (
                httpx2.Client(timeout=settings.on_done_s, follow_redirects=False) as client,
                client.stream("POST", url, content=manifest, headers=headers) as answer,
            ):
                code = answer.status_code  # nobody reads what it says
        except Exception as error:  # noqa: BLE001 - in a thread: nobody else would say it
            problem = f"{type(error).__name__}: {error}".replace(url, described(url))
            continue
        if 200 <= code < 300:
            return ""
        problem = f"it answered {code}"
        if code not in TRIED_AGAIN:
            break
    return problem


def sign(secret: str, body: bytes, at: int) -> str:
    """Return the signature of a body: HMAC-SHA256 of the time, a full stop and the body.

    Args:
        secret: that the receiver knows, too.
        body: of the request.
        at: seconds since 1970; who receives it can refuse an old one.
    """
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"


def _host(url: str) -> str:
    """Return host and, if given, port."""
    try:
        address = urlsplit(url.strip())
        host, port = address.hostname, address.port
    except ValueError:  # of the port, or of an IPv6 address
        host, port = None, None
    if not host:
        raise InputError("on-done: the webhook's address is not one", "correct it")
    return f"{host}:{port}" if port else host


def _hosts(settings: Settings) -> set[str]:
    return {host.strip().lower() for host in settings.webhook_hosts.split(",")} - {""}
