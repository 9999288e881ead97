"""Document: transcript.json, the complete transcript, which can be read back exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from spokenby.errors import InputError
from spokenby.output.formats import tables
from spokenby.output.formats.shared import Writer
from spokenby.types import SpeakerTranscript

if TYPE_CHECKING:
    import pandas as pd

TRANSCRIPT = "transcript.json"

SCHEMA_VERSION = 1
"""Of transcript.json. Raised when a field changes its meaning or goes, not when one is added."""


_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029]")
"""JSON may hold them as they are, but terminals obey some, and programs break lines at others."""


class Document(NamedTuple):
    """The content of transcript.json: the arguments of `render`."""

    transcript: SpeakerTranscript
    name: str
    about: dict[str, Any]

    @property
    def segments(self) -> pd.DataFrame:
        """One row a segment; see `tables.to_dataframe`."""
        return tables.to_dataframe(self.transcript)

    @property
    def words(self) -> pd.DataFrame:
        """One row a word; see `tables.words_frame`."""
        return tables.words_frame(self.transcript)

    @property
    def speakers(self) -> pd.DataFrame:
        """One row a speaker; see `tables.speakers_frame`."""
        return tables.speakers_frame(self.transcript)


def open_transcript(path: str | Path) -> Document:
    """Read a finished transcript: typed, and as tables of its segments, words and speakers.

    Args:
        path: of its folder, or of its transcript.json.

    Raises:
        InputError: none is there, or it cannot be read.
    """
    path = Path(path)
    file = path / TRANSCRIPT if path.is_dir() else path
    try:
        return read_document(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror})", "name the folder of a transcript"
        ) from error


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of transcript.json, as docs/transcript.schema.json publishes it."""
    schema = SpeakerTranscript.model_json_schema(mode="serialization")
    added = {
        "schema_version": {"const": SCHEMA_VERSION},
        "name": {"type": "string", "description": "of the video"},
        "about": {"type": "object", "description": "how it was made; see transcript-format.md"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": TRANSCRIPT,
        "properties": {**added, **schema["properties"]},
        "required": [*added, *schema["required"]],
    }


def read_transcript(content: bytes | str) -> SpeakerTranscript:
    """Read the transcript in transcript.json back, exactly as it was.

    Raises:
        InputError: not JSON, another schema version, or fields missing or unknown.
    """
    return read_document(content).transcript


def read_document(content: bytes | str) -> Document:
    """Read all of transcript.json; rendering it again gives the same files.

    Raises:
        InputError: see `read_transcript`.
    """
    next_step = "use a transcript.json that this version of spokenby wrote, or write it again"
    try:
        document = json.loads(content)
        version = document.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(f"transcript.json has schema version {version!r}", next_step)
        name, about = document.pop("name"), document.pop("about")
        return Document(SpeakerTranscript.model_validate(document), str(name), dict(about))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"transcript.json: {where}: {first['msg']}", next_step) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"transcript.json cannot be read ({error})", next_step) from error


def write_json(transcript: SpeakerTranscript, name: str, about: Mapping[str, Any]) -> str:
    """Write one line per field, and per member of a list: readable, comparable, and fast.

    Python's indentation would take five times as long as everything else.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "about": about,
        **transcript.model_dump(mode="json"),
    }
    return "{\n" + ",\n".join(f'"{key}": {_listed(document[key])}' for key in document) + "\n}\n"


def _listed(value: Any) -> str:
    encode = partial(json.dumps, ensure_ascii=False, allow_nan=False)
    if isinstance(value, list) and value:
        text = "[\n" + ",\n".join(map(encode, value)) + "\n]"
    else:
        text = encode(value)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


WRITERS: dict[str, Writer] = {TRANSCRIPT: write_json}

if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - for docs/transcript.schema.json
