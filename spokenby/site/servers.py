"""Tell the programs of a site where one of its servers answers."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from spokenby.files import explaining, replacing
from spokenby.settings import Settings


@contextmanager
def known_to_site(kind: str, url: str, settings: Settings) -> Iterator[None]:
    """Let other programs of the site find a server as long as this process runs it.

    Args:
        kind: of server; one of a kind is known.
        url: where it answers.
        settings: the site.
    """
    note = _note(kind, settings)
    process = psutil.Process()
    content = {
        "url": url,
        "host": socket.gethostname(),
        "process": process.pid,
        "begun": process.create_time(),
    }
    with explaining(note.parent, "set SPOKENBY_DATA_DIR to another folder"):
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(note) as fresh:
            fresh.write_text(json.dumps(content), encoding="utf-8")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def server_of(kind: str, settings: Settings) -> str:
    """Return where the site's server of a kind answers on this machine; empty if none runs."""
    with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        content = json.loads(_note(kind, settings).read_bytes())
        # After a kill -9 the note is still there, and the number may be another process's.
        same = psutil.Process(content["process"]).create_time() == content["begun"]
        if same and content["host"] == socket.gethostname():
            return str(content["url"])
    return ""


def _note(kind: str, settings: Settings) -> Path:
    return settings.data_dir / "server" / f"{kind}.json"
