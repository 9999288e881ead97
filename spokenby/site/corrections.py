"""Save people's corrections of a transcript of this site, and find what a file of them corrects."""

from __future__ import annotations

import logging
from pathlib import Path

from spokenby.errors import InputError, SpokenbyError
from spokenby.output import layers, published
from spokenby.output.corrections import Corrections
from spokenby.output.layers import Saved
from spokenby.review import page
from spokenby.settings import Settings
from spokenby.site.voice_library import note_folder


def save_corrections(
    folder: Path,
    content: bytes,
    settings: Settings,
    *,
    add: bool = False,
    overwrite: bool = False,
) -> Saved:
    """Write a transcript again with other corrections, and let `spokenby find` know its words.

    See `layers.save_corrections`.
    """
    saved = layers.save_corrections(
        folder,
        content,
        locks=settings.claims,
        copies=settings.corrections,
        pages=page.render,
        add=add,
        overwrite=overwrite,
    )
    try:
        note_folder(folder, settings)
    except SpokenbyError as error:  # saved nevertheless
        logging.getLogger("spokenby").warning("`spokenby find` finds the words before: %s", error)
    return saved


def folders_of(corrections: Corrections, settings: Settings) -> list[Path]:
    """Return the folders with a transcript of the video that these corrections are of.

    Raises:
        InputError: there is none.
    """
    found = []
    # A folder's name ends with the first digits of its video's digest.
    published.look(settings)
    for folder in published.list_folders(settings, f"*-{corrections.video[:8]}"):
        about = published.about(folder, settings)
        if about and about["video"]["digest"] == corrections.video:
            found.append(folder)
    if not found:
        raise InputError(
            f"{settings.transcripts} has no transcript of {corrections.name or 'their video'}",
            "name the folder of the transcript after the file",
        )
    return found
