"""Read and write corrections.json: what people corrected in a transcript.

It is a list in the order in which the corrections were made: the old text of each is what those
before it left there. What was recognized stays as it is, so that a shorter list undoes.
"""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from spokenby.errors import InputError
from spokenby.output.folders import CORRECTIONS
from spokenby.output.formats.shared import plain
from spokenby.types import (
    Frozen,
    HexDigest,
    Seconds,
)

MOST_BYTES = 32_000_000
"""A larger file is refused; a thousand corrections take 200 kB."""

_Time = Annotated[Seconds, Field(ge=0, le=1e7, allow_inf_nan=False)]
_Line = Annotated[str, StringConstraints(max_length=200)]
_Text = Annotated[str, StringConstraints(max_length=20_000)]
_Revision = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16}-[0-9]{1,9})?$")]


class Who(Frozen):
    """A speaker of the transcript that somebody corrected, or a person whom it does not have."""

    name: _Line = Field(min_length=1, description="as shown to people")
    label: _Line = Field(default="", description="as in the turns; empty: whom it does not have")
    voice: int | None = Field(default=None, description="the same in every video of a library")
    talk_time: _Time | None = Field(
        default=None, description="as recognized: tells whether the label is still this speaker's"
    )


class Correction(Frozen):
    """What somebody corrected at one place."""

    start: _Time = Field(description="of the first word concerned")
    end: _Time = Field(description="of the last one")
    old: _Text = Field(min_length=1, description="what stood there")
    new: _Text | None = Field(default=None, description="what was said; empty: nothing")
    speaker: Who | None = Field(default=None, description="who said it")
    paragraph: Literal["split", "join"] | None = Field(
        default=None, description="the first word begins a paragraph, or joins the one before"
    )
    checked: bool = Field(default=False, description="somebody listened: it is right as it is")
    author: _Line = Field(default="", description="who corrected it")
    when: AwareDatetime

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.start > self.end:
            raise ValueError("it ends before it starts")
        if not letters_of(self.old):
            raise ValueError("its old text is empty")
        if self.new is None and not (self.speaker or self.paragraph or self.checked):
            raise ValueError("it corrects nothing")
        return self


class Corrections(Frozen):
    """The content of corrections.json.

    Its version is raised when a field changes its meaning or goes, not when one is added.
    """

    schema_version: Literal[1] = 1
    video: HexDigest = Field(description="digest of the video's file")
    name: Annotated[str, StringConstraints(max_length=1000)] = Field(
        default="", description="of the video, for people"
    )
    revision: _Revision = Field(default="", description="of this file: who wrote it, how often")
    builds_on: _Revision = Field(default="", description="revision of the file that it continues")
    corrections: tuple[Correction, ...] = Field(
        default=(), max_length=100_000, description="in the order in which they were made"
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of corrections.json, as docs/corrections.schema.json publishes it."""
    schema = Corrections.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": CORRECTIONS,
    }


def read_corrections(content: bytes, source: str = CORRECTIONS) -> Corrections:
    """Read corrections.json.

    Args:
        content: of the file.
        source: what to call it in an error.

    Raises:
        InputError: not JSON, too large, another schema version, or fields missing or unknown.
    """
    next_step = "use one that a transcript's page or this version of spokenby wrote"
    if len(content) > MOST_BYTES:
        raise InputError(f"{source} is larger than {MOST_BYTES // 10**6} MB", next_step)
    try:
        return Corrections.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{source}: {where}{': ' if where else ''}{first['msg']}", next_step
        ) from error


def as_json(corrections: Corrections) -> bytes:
    """Return the content of corrections.json: a line a correction."""
    head = corrections.model_dump(mode="json", exclude={"corrections"})
    lines = [
        json.dumps(each.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
        for each in corrections.corrections
    ]
    opening = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
    listed = "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"
    return f'{opening},\n "corrections": {listed}\n}}\n'.encode("utf-8", errors="replace")


@lru_cache(maxsize=100_000)
def letters_of(text: str) -> str:
    """Return a text without spaces: recognizers cut words differently."""
    return "".join(plain(unicodedata.normalize("NFC", text)).split())


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - for docs/corrections.schema.json
