"""Render a finished transcript as files; docs/transcript-format.md describes each of them."""

from collections.abc import Callable, Mapping
from typing import Any

from spokenby.output.formats import annotation, captions, document, tables, text
from spokenby.output.formats.document import (
    SCHEMA_VERSION,
    Document,
    read_document,
    read_transcript,
)
from spokenby.output.formats.tables import to_dataframe
from spokenby.types import SpeakerTranscript

Writer = Callable[[SpeakerTranscript, str, Mapping[str, Any]], str]

FORMATS: Mapping[str, Writer] = {
    "transcript.json": document.write_json,
    "transcript.srt": captions.write_srt,
    "transcript.vtt": captions.write_vtt,
    "transcript.txt": text.write_txt,
    "transcript.csv": tables.write_csv,
    "transcript.rttm": annotation.write_rttm,
}
"""The files of a transcript, and what writes each."""

__all__ = [
    "FORMATS",
    "SCHEMA_VERSION",
    "Document",
    "read_document",
    "read_transcript",
    "render",
    "to_dataframe",
]


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
        for file, write in FORMATS.items()
    }
