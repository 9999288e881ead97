"""Rewrite transcripts with new names, and print the result for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import track

from flows.cli.terminal import FAILED, open_console, say
from spokenby.settings import read_settings
from spokenby.types import Digest

OverwriteEdited = Annotated[bool, Parameter(name="--overwrite-edited")]


def apply_changes(
    changes: Collection[Any], message: str, *, overwrite: bool, in_edited: str = ""
) -> int:
    """Say what was changed, and put it into the transcripts concerned; return the exit code.

    Args:
        changes: of voices.
        message: says what they were.
        overwrite: also rewrite transcripts that were edited by hand.
        in_edited: what to say if some edited transcripts were left as they are, which is a failure
            then.
    """
    console = open_console()
    say(console, message)
    videos = {video for each in changes for video in each.videos}
    return rewrite(console, videos, overwrite=overwrite, in_edited=in_edited)


def rewrite(
    console: Console,
    videos: Collection[Digest] | None,
    *,
    overwrite: bool,
    in_edited: str = "",
) -> int:
    """Write the transcripts of some videos again, all if `None`, and print the result for each."""
    from spokenby.site.voice_library import open_library, rewrite_transcripts

    settings = read_settings()
    if videos is not None and not videos:
        return 0
    total = len(open_library(settings).transcripts(videos))
    rewritten = rewrite_transcripts(videos, settings, overwrite=overwrite)
    return sum_up(
        console,
        track(
            rewritten,
            "writing transcripts",
            total,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ),
        in_edited,
    )


def sum_up(console: Console, rewritten: Iterable[Any], in_edited: str = "") -> int:
    """Print the result of each rewritten transcript; return the exit code."""
    from spokenby.site.voice_library import count_rewritten

    rewritten = list(rewritten)
    for each in rewritten:
        if each.note:
            say(console, f"{each.folder}: {each.note}")
    counts = Counter(each.state for each in rewritten)
    if counts["edited"]:
        say(console, "to write these, too: spokenby voices identify --overwrite-edited")
    if rewritten:
        say(console, f"transcripts: {count_rewritten(rewritten)}")
    if counts["edited"] and in_edited:
        say(console, in_edited)
        return FAILED
    return FAILED if counts["failed"] else 0


def in_a_row(names: Collection[str]) -> str:
    """Return names as a person lists them."""
    return " and ".join(names)
