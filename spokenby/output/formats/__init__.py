"""Render a finished transcript as files; docs/transcript-format.md describes each of them."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from spokenby.errors import InputError
from spokenby.output.formats.document import (
    SCHEMA_VERSION,
    TRANSCRIPT,
    Document,
    json_schema,
    open_transcript,
    read_document,
    read_transcript,
)
from spokenby.output.formats.shared import Writer
from spokenby.output.formats.tables import to_dataframe
from spokenby.types import SpeakerTranscript

__all__ = [
    "FAMILIES",
    "FORMATS",
    "SCHEMA_VERSION",
    "TRANSCRIPT",
    "USUAL",
    "Document",
    "among",
    "choose_formats",
    "file_of",
    "json_schema",
    "open_transcript",
    "read_document",
    "read_transcript",
    "render",
    "to_dataframe",
]

_FAMILIES: dict[str, dict[str, Writer]] = {
    module.name: getattr(import_module(f"{__name__}.{module.name}"), "WRITERS", {})
    for module in iter_modules(__path__)
}
_WRITERS = {file: write for family in _FAMILIES.values() for file, write in family.items()}
"""What writes each file of a transcript: `WRITERS` of the modules in this folder."""

_PREFIX = "transcript."

FAMILIES = {
    name: tuple(file.removeprefix(_PREFIX) for file in family)
    for name, family in _FAMILIES.items()
    if family
}
"""The formats of each module in this folder, by its name."""

FORMATS = tuple(file.removeprefix(_PREFIX) for file in _WRITERS)
"""A format is called as its file, without `transcript.`: `srt`, `minutes.docx`."""

USUAL = ("json", "srt", "vtt", "txt", "csv", "rttm")
"""What a transcript's folder holds where nobody chose."""


def choose_formats(names: Iterable[str], source: str) -> tuple[str, ...]:
    """Return formats as they are called here, each once.

    Args:
        names: as people write them, also several in one with commas between.
        source: where they were written, for an error.

    Raises:
        InputError: a name is not that of a format.
    """
    known = {name.casefold(): name for name in FORMATS}
    wanted = [word.strip().removeprefix(".") for name in names for word in name.split(",")]
    chosen = []
    for word in filter(None, wanted):
        if not (name := known.get(word.casefold())):
            close = difflib.get_close_matches(word.casefold(), known, 1)
            hint = (
                f"did you mean {known[close[0]]}" if close else f"use one of {', '.join(FORMATS)}"
            )
            raise InputError(f"{source}: there is no format {word!r}", hint)
        chosen.append(name)
    return tuple(dict.fromkeys(chosen))


def file_of(name: str) -> str:
    """Return the file name of a format."""
    return _PREFIX + name


def among(files: Iterable[str]) -> list[str]:
    """Return the formats of those file names that are a transcript's."""
    return [file.removeprefix(_PREFIX) for file in files if file in _WRITERS]


def render(
    transcript: SpeakerTranscript,
    name: str,
    about: dict[str, Any],
    formats: Iterable[str] = USUAL,
) -> dict[str, bytes]:
    r"""Return file name → content; text is UTF-8 with "\n" line ends.

    Equal transcripts give equal files, byte by byte.

    Args:
        transcript: what to write.
        name: the video's, as shown to people.
        about: provenance, as JSON values; goes into transcript.json as it is. Its `notes`, a list
            of lines, head transcript.txt before the warnings.
        formats: which files, of `FORMATS`.

    Raises:
        InputError: the transcript does not fit a format.
    """
    files = {}
    for file in map(file_of, formats):
        content = _WRITERS[file](transcript, name, about)
        # Half a surrogate pair, from a file name that is not UTF-8, becomes a question mark.
        files[file] = (
            content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
        )
    return files
