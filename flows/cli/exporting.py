"""The command `spokenby export`: further files of finished transcripts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.terminal import FAILED, open_console, say


def export(
    *paths: str,
    as_: Annotated[str, Parameter(name="--as")],
    to: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write finished transcripts as Word, Markdown, captions, annotation and more.

    Computes nothing: everything comes from transcript.json. Files go into the folder of the
    transcript, where they get new names with the rest when a voice is named, or elsewhere with
    --to. A file that somebody edited stays as it is.

    Captions: srt, vtt, ass; with names only where the speaker changes: changes.srt, …; without
    names: never.srt, …; video: a copy of the video with captions and chapters, not encoded again.

    Chapters, where the topic changes (a guess): chapters.vtt, chapters.txt (for video sites).

    Documents: docx (an interview), minutes.docx, verbatim.docx, md, links.md (names as
    `[[Ada Lovelace]]`), txt, plain.txt (only what was said).

    Annotation: TextGrid (Praat), eaf (ELAN), rttm, ctm, stm. Tables: csv, markers.csv.

    Editing: edl (25 frames a second), 23.976.edl, 24.edl, 29.97.edl, 30.edl, 50.edl, 59.94.edl,
    60.edl, otio.

    For example:

        spokenby export talk.mp4 --as docx
        spokenby export data/transcripts --as docx,md --to handover/
        spokenby export talk.mp4 --as video,changes.srt --to captioned/

    Args:
        paths: Videos, folders of transcripts, or folders of such folders.
        as_: Formats, with commas between.
        to: Folder to write to, each file named after its video.
        overwrite: Also replace files that somebody edited.
    """
    from spokenby.errors import InputError, SpokenbyError
    from spokenby.output.formats import choose_formats
    from spokenby.settings import read_settings
    from spokenby.site.exports import VIDEO, export, find_transcripts, stem_of

    settings = read_settings()
    if not paths:
        raise InputError("no transcript was named", "name a video, or the folder of a transcript")
    words = [word.strip() for word in as_.split(",")]
    names = [*choose_formats([word for word in words if word != VIDEO], "--as")]
    names += [VIDEO] if VIDEO in words else []
    if not names:
        raise InputError("--as names no format", "name one, such as docx")
    if VIDEO in names and not to:
        raise InputError("a copy of a video is too large for a transcript's folder", "add --to")
    console = open_console()
    counts: Counter[str] = Counter()
    stems: set[str] = set()
    for path in paths:
        try:
            for found in find_transcripts(path, settings):
                stem = stem_of(found) if to else ""
                # Of two videos of one name, the second is told apart as its folder is.
                stem = found.folder.name if stem.casefold() in stems else stem
                stems.add(stem.casefold())
                target = Path(to) if to else None
                for each in export(
                    found, names, settings, to=target, stem=stem, overwrite=overwrite
                ):
                    counts[each.state] += 1
                    say(console, f"{each.path}{f': {each.note}' if each.note else ''}")
        except SpokenbyError as error:
            counts["failed"] += 1
            say(console, str(error))
    shown = {
        "written": "written",
        "unchanged": "as they were",
        "edited": "left",
        "failed": "failed",
    }
    said = ", ".join(f"{counts[state]} {word}" for state, word in shown.items() if counts[state])
    say(console, f"files: {said}")
    if counts["edited"]:
        say(console, "to replace these, too: --overwrite; to write them elsewhere: --to FOLDER")
    return FAILED if counts["failed"] or counts["edited"] else 0
