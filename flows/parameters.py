"""Describe flow parameters so that Prefect's forms show one plain field for each.

A parameter that may be left out has a word or number that stands for "not given" and becomes None.
Declared as "something or null", it would show as two buttons, and the form would send null for an
empty field, which the server refuses.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from spokenby.plan.profiles import Profile
from spokenby.stages.transcription import EACH_PART
from spokenby.types import LANGUAGE_LABELS, language_code


def _nothing(value: Any) -> Any:
    return None if value in {"", "default", "detect"} else value


def _language(value: Any) -> Any:
    """Take a label of the form for its code; what is no language is refused by the params."""
    return language_code(value) if value in LANGUAGE_LABELS.values() else _nothing(value)


def _not_a_number(value: Any) -> Any:
    return None if value == 0 else value


def _negative(value: Any) -> Any:
    return None if value == -1 else value


def titled(title: str, **extra: Any) -> Any:
    """Return the annotation that names a parameter's field in the form."""
    return Field(json_schema_extra={"title": title, **extra})


ProfileOrDefault = Annotated[
    Profile | None,
    BeforeValidator(_nothing),
    WithJsonSchema({"type": "string", "enum": ["default", *Profile]}),
    Field(json_schema_extra={"default": "default", "title": "Profile"}),
]
LanguageOrDetect = Annotated[
    str | None,
    BeforeValidator(_language),
    WithJsonSchema({"type": "string", "enum": ["detect", EACH_PART, *LANGUAGE_LABELS.values()]}),
    Field(json_schema_extra={"default": "detect", "title": "Spoken language"}),
]
FolderOrDefault = Annotated[
    str | None,
    BeforeValidator(_nothing),
    WithJsonSchema({"type": "string"}),
    Field(json_schema_extra={"default": "", "title": "Folder for transcripts"}),
]
FormatsOrDefault = Annotated[
    str | None,
    BeforeValidator(_nothing),
    WithJsonSchema({"type": "string"}),
    Field(json_schema_extra={"default": "", "title": "Files of a transcript"}),
]

CountOrUnknown = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_not_a_number),
    WithJsonSchema({"type": "integer", "minimum": 0}),
    Field(json_schema_extra={"default": 0}),
]
IndexOrDefault = Annotated[
    Annotated[int, Field(ge=0)] | None,
    BeforeValidator(_negative),
    WithJsonSchema({"type": "integer", "minimum": -1}),
    Field(json_schema_extra={"default": -1, "title": "Audio stream"}),
]
ParamsByStage = Annotated[
    dict[str, dict[str, Any]] | None,
    WithJsonSchema({"type": "object"}),
    Field(json_schema_extra={"default": {}, "title": "Other params"}),
]
