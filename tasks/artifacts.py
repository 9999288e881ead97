"""Make artifacts for Prefect's UI without failing over them."""

from collections.abc import Callable
from typing import Any

import httpx
from prefect.logging import get_logger


def tell_prefect(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make or update an artifact; a server that is away for a while does not fail the stage."""
    try:
        return make(*args, **kwargs)
    except httpx.HTTPError as error:
        get_logger("spokenby").warning("the Prefect server did not accept an artifact: %s", error)
        return None


def video_key(digest: str) -> str:
    """Return the key of a video's artifact."""
    return f"video-{digest[:8]}"
