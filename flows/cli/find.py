"""The command `spokenby find`: search what was said."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from flows.cli.terminal import FAILED, cell, open_console, print_json, print_table
from flows.server import prefect_settings


def find(
    text: str = "",
    *,
    speaker: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 100,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Search what was said, in all transcripts of this site.

    Finds lines that contain all the words. Ignores case and accents; "words in quotes" match as a
    phrase, quant* matches the beginning of a word.

    For example:

        spokenby find quantum
        spokenby find '"quantum computer"' --speaker "Ada Lovelace"
        spokenby find --speaker "Speaker 7" --limit 20

    Args:
        text: Words to find; with --speaker, may be omitted to list everything that person said.
        speaker: Only lines of this voice: a name, the beginning of one, or "Speaker 7".
        limit: Maximum number of lines.
        as_json: Print JSON.
    """
    prefect_settings.apply()
    from spokenby.settings import read_settings
    from spokenby.site.voice_library import find_lines, folder_at
    from spokenby.wording import count_of, position

    settings = read_settings()
    hits = find_lines(text, speaker, limit, settings)
    if as_json:
        found = [{**hit._asdict(), "folder": str(folder_at(hit.folder, settings))} for hit in hits]
        print_json(found)
        return 0 if hits else FAILED
    console = open_console()
    table = Table("video", "at", "speaker", "says")
    for hit in hits:
        table.add_row(cell(hit.video_name), position(hit.start), cell(hit.speaker), cell(hit.text))
    if hits:
        print_table(console, table)
    more = "; there may be more: give a higher --limit" if len(hits) == limit else ""
    console.print(f"{count_of(len(hits), 'line')}{more}", highlight=False)
    return 0 if hits else FAILED
