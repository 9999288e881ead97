"""The command `spokenby mcp`: let assistants read the transcripts of this site."""

from __future__ import annotations

from contextlib import suppress


def mcp() -> None:
    """Let an assistant search and read the transcripts of this site: a server for MCP clients.

    Speaks the Model Context Protocol on standard input and output; a client such as an assistant or
    an editor starts it. It only reads: it searches what was said by whom, lists videos and
    speakers, and reads passages with links to the second. It opens no port. What the assistant
    does with the text it reads is between you and its provider.

    Needs the group of packages `mcp`: uv sync --inexact --group mcp

    For example:

        spokenby mcp
        claude mcp add talks -e SPOKENBY_DATA_DIR=/path/to/data -- /path/to/.venv/bin/spokenby mcp
    """
    from spokenby.settings import read_settings
    from spokenby.view.mcp_server import check_site, make_server

    settings = read_settings()
    check_site(settings)
    server = make_server(settings)
    with suppress(KeyboardInterrupt):
        server.run("stdio")
