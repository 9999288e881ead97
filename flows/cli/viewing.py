"""The command `spokenby view`: the pages where people find, hear, name and correct."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.terminal import open_console, say
from flows.server import prefect_settings


def view(
    *paths: str,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lt=65536))] = None,
    no_browser: bool = False,
) -> int:
    """Open the videos of this site in the browser: find, listen, read, name voices.

    Serves them on this machine only, until Ctrl-C. The address has a secret in it, which stays the
    same; whoever has it can read the transcripts and name voices. `spokenby serve` serves the same
    pages: while it runs, this only opens them.

    For example:

        spokenby view
        spokenby view recordings/
        spokenby view --no-browser --port 8000

    Args:
        paths: Videos, folders of videos, or folders of transcripts; default all of this site.
        port: Port to listen on; default 4201, or a free one if that is taken.
        no_browser: Only print the address.
    """
    prefect_settings.apply()
    from flows.server.review_server import address, listen, serve_pages
    from spokenby.settings import read_settings
    from spokenby.view.address import PORT, leading_to, make_key, pages_of

    settings = read_settings()
    console = open_console()
    key = make_key(settings)

    def show(url: str) -> None:
        say(console, url)
        if not no_browser:
            webbrowser.open(leading_to(url, settings).as_uri())

    running = pages_of(settings)
    if running and not paths and port is None:
        say(console, "these pages are served already:")
        show(f"{running}/?key={key}")
        return 0
    listener = listen(PORT if port is None else port)
    actual = listener.getsockname()[1]
    if port and actual != port:
        say(console, f"port {port} is taken: using {actual}")

    def ready() -> None:
        show(address(actual, key))
        say(console, "  Ctrl-C ends this")

    with suppress(KeyboardInterrupt):
        serve_pages(paths, settings, listener, known=not running, ready=ready)
    return 0
