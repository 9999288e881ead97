"""Make artifacts for Prefect's UI without failing over them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_logger

from spokenby.settings import read_settings
from spokenby.view.address import page_of, pages_of


def tell_prefect(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make or update an artifact; a server that is away for a while does not fail the stage."""
    try:
        return make(*args, **kwargs)
    except httpx.HTTPError as error:
        get_logger("spokenby").warning("the Prefect server did not accept an artifact: %s", error)
        return None


_pages: dict[str, UUID] = {}
"""The artifacts of the videos that this process wrote, by digest."""


def show_video(digest: str, page: str, description: str) -> None:
    """Make a video's artifact."""
    made = tell_prefect(
        create_markdown_artifact, page, key=f"video-{digest[:8]}", description=description
    )
    if made:
        _pages[digest] = made


def link_to_page(folder: Path | None = None) -> str:
    """Return a Markdown link to the page of a transcript, or to that of all; empty if not served.

    Without the secret: whoever reads the server's artifacts need not have it.
    """
    home = pages_of(read_settings())
    if not home:
        return ""
    return f"[read and listen]({home}{page_of(folder) if folder else '/'})"


def link_to_video(digest: str, text: str) -> str:
    """Return a Markdown link to a video's artifact; the text alone if this process made none.

    By the id of the artifact: behind its key, the UI shows a list of its versions.
    """
    return f"[{text}](/artifacts/artifact/{_pages[digest]})" if digest in _pages else text
