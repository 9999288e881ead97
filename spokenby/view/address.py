"""Say where the pages of a site are served, and keep the secret that opens them."""

from __future__ import annotations

import hashlib
import hmac
import html
import os
import secrets
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from spokenby.errors import InputError
from spokenby.settings import Settings
from spokenby.site import servers
from spokenby.types import Digest

PORT = 4201
"""Of `spokenby view`; that of `spokenby serve` is one more than the port of its Prefect server."""

_KIND = "view"
_SHORTEST = 32


def make_key(settings: Settings) -> str:
    """Return the site's secret, from a file that only this user can read; make one where none is.

    Raises:
        InputError: it cannot be written.
    """
    path = settings.data_dir / "server" / "view-key"
    with suppress(OSError, ValueError):
        if len(kept := path.read_text("ascii").strip()) >= _SHORTEST:
            return kept
    key = secrets.token_urlsafe(_SHORTEST)
    _keep(path, f"{key}\n")
    return key


def leading_to(url: str, settings: Settings) -> Path:
    """Return a file that leads a browser to an address with the secret in it.

    Anybody on the machine can read what a browser is started with.
    """
    path = settings.data_dir.absolute() / "server" / "view.html"
    address = html.escape(url)
    refresh = f'<meta http-equiv="refresh" content="0;url={address}">'
    link = f'<title>spokenby</title><a href="{address}">Open the videos</a>'
    _keep(path, f'<!doctype html><meta charset="utf-8">{refresh}{link}\n')
    return path


def _keep(path: Path, content: str) -> None:
    """Write a file that only this user can read."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)
        fresh.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot keep the secret of the pages in {path} ({error.strerror})",
            "permit it, or set SPOKENBY_DATA_DIR",
        ) from error


def derived(key: str, use: str) -> str:
    """Return a secret for one use, from which the key cannot be told."""
    return hmac.new(key.encode(), use.encode(), hashlib.sha256).hexdigest()


def known_to_site(url: str, settings: Settings) -> AbstractContextManager[None]:
    """Let other programs of the site link to its pages as long as this process serves them."""
    return servers.known_to_site(_KIND, url, settings)


def pages_of(settings: Settings) -> str:
    """Return where the site's pages are served on this machine; empty if they are not."""
    return servers.server_of(_KIND, settings)


def folder_id(folder: Path) -> Digest:
    """Return by what a transcript's folder is addressed: its path is in no address."""
    return hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]


def page_of(folder: Path) -> str:
    """Return the address of a transcript's page, from the root on."""
    return f"/t/{folder_id(folder)}/page.html"
