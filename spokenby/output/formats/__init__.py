"""Render a finished transcript as files; docs/transcript-format.md describes each of them."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from spokenby.output.formats.document import (
    SCHEMA_VERSION,
    Document,
    read_document,
    read_transcript,
)
from spokenby.output.formats.shared import Writer
from spokenby.output.formats.tables import to_dataframe
from spokenby.types import SpeakerTranscript

__all__ = [
    "SCHEMA_VERSION",
    "Document",
    "read_document",
    "read_transcript",
    "render",
    "to_dataframe",
]

_WRITERS: dict[str, Writer] = {
    file: write
    for module in iter_modules(__path__)
    for file, write in getattr(
        import_module(f"{__name__}.{module.name}"), "WRITERS", dict[str, Writer]()
    ).items()
}
"""What writes each file of a transcript: `WRITERS` of the modules in this folder."""


def render(transcript: SpeakerTranscript, name: str, about: dict[str, Any]) -> dict[str, bytes]:
    r"""Return file name → content, UTF-8 with "\n" line ends.

    Args:
        transcript: what to write.
        name: the video's, as shown to people.
        about: provenance, as JSON values; goes into transcript.json as it is. Its `notes`, a list
            of lines, head transcript.txt before the warnings.
    """
    # Half a surrogate pair, from a file name that is not UTF-8, becomes a question mark.
    return {
        file: write(transcript, name, about).encode("utf-8", errors="replace")
        for file, write in _WRITERS.items()
    }
