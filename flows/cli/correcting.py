"""The command `spokenby correct`: apply a file of corrections to its transcript."""

from __future__ import annotations

from pathlib import Path

from flows.cli.renaming import OverwriteEdited
from flows.cli.terminal import FAILED, open_console, say


def correct(
    file: str,
    transcript: str | None = None,
    *,
    add: bool = False,
    overwrite_edited: OverwriteEdited = False,
) -> int:
    """Apply the corrections that a transcript's page offered for download.

    Finds the transcript by the video that the file names, and writes it again, in every format.
    Nothing is computed. The file holds all corrections: one that it lacks is undone. What does not
    fit the transcript is listed and stays in its `corrections.json`; the exit code is 1 then.

    For example:

        spokenby correct ~/Downloads/corrections.json
        spokenby correct corrections.json data/transcripts/talk-1a2b3c4d
        spokenby correct corrections.json talk.mp4 --add

    Args:
        file: corrections.json, as downloaded.
        transcript: The video or the folder of the transcript, if it is not this site's.
        add: Keep the corrections that are stored already, and add those of the file.
        overwrite_edited: Also write a transcript that was edited by hand; its folder is kept.
    """
    from spokenby.errors import InputError, SpokenbyError
    from spokenby.output.corrections import read_corrections
    from spokenby.settings import read_settings
    from spokenby.site.corrections import folders_of, save_corrections
    from spokenby.site.exports import find_transcripts
    from spokenby.wording import count_of

    settings = read_settings()
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror})", "name the corrections.json of a page"
        ) from error
    corrections = read_corrections(content, file)
    if transcript:
        folders = [found.folder for found in find_transcripts(transcript, settings)]
        if len(folders) > 1:
            raise InputError(f"{transcript} holds several transcripts", "name one of them")
    else:
        folders = folders_of(corrections, settings)
    console = open_console()
    wrong = 0
    for folder in folders:
        try:
            saved = save_corrections(folder, content, settings, add=add, overwrite=overwrite_edited)
        except SpokenbyError as error:
            wrong += 1
            say(console, f"{folder}: {error}")
            continue
        wrong += len(saved.unfit)
        kept = f"; edited by hand, kept: {saved.kept}" if saved.kept else ""
        say(console, f"{folder}: {count_of(saved.applied, 'correction')} applied{kept}")
        for each in saved.unfit:
            say(console, f"  does not fit: {each}")
    return FAILED if wrong else 0
