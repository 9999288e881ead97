"""Describe flow parameters so that Prefect's forms show one plain field for each.

A parameter that may be left out has a word or number that stands for "not given" and becomes None.
Declared as "something or null", it would show as two buttons, and the form would send null for an
empty field, which the server refuses.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from spokenby.plan.profiles import PARAMS, Profile
from spokenby.stages.audio import Channels
from spokenby.stages.transcription import EACH_PART
from spokenby.types import LANGUAGE_LABELS, language_code

CLOSED = "additionalProperties"
"""JSON schema's word: false where fields that are not named are refused."""


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
VocabularyOrDefault = Annotated[
    str | None,
    BeforeValidator(_nothing),
    WithJsonSchema({"type": "string"}),
    Field(json_schema_extra={"default": "", "title": "File of names and terms"}),
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
ChannelsOrDefault = Annotated[
    Channels | None,
    BeforeValidator(_nothing),
    WithJsonSchema({"type": "string", "enum": ["default", *get_args(Channels)]}),
    Field(json_schema_extra={"default": "default", "title": "Channels"}),
]


def _given(value: Any) -> Any:
    """Leave out the stages for which the form sends nothing."""
    if isinstance(value, Mapping):
        return {stage: fields for stage, fields in value.items() if fields is not None}
    return value


def form_of_params(transcribers: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON schema of params by stage, to unfold stage by stage in the form.

    What is left out is the profile's to decide.

    Args:
        transcribers: names of models to choose from.
    """
    stages = {}
    for stage, kind in PARAMS.items():
        schema = kind.model_json_schema()
        fields = _fieldset("set", schema, schema.get("$defs", {}))
        if stage == "transcribe" and transcribers:
            model = fields["properties"]["model"]
            model["anyOf"] = [
                {"type": "string", "title": "installed", "enum": [*transcribers]},
                {"type": "string", "title": "folder or name"},
            ]
            del model["type"]
        stages[stage] = {
            "title": stage.capitalize(),
            "anyOf": [{"type": "null", "title": "as in the profile"}, fields],
            "default": None,
        }
    return {"type": "object", "properties": stages, CLOSED: False}


def _fieldset(title: str, schema: Mapping[str, Any], engines: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a stage's params, or an engine's, each of which may be left out."""
    fields: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        words = name.replace("_", " ").capitalize()
        (kind,) = (each for each in field.get("anyOf", [field]) if each.get("type") != "null")
        if "$ref" in kind:
            engine = engines[kind["$ref"].rpartition("/")[2]]
            fields[name] = _fieldset(words, engine, engines)
            continue
        fields[name] = kind | {"title": words, "description": field.get("description", "")}
        default = field.get("default")
        if kind.get("type") != "boolean":  # the form sends a switch that nobody touched, too
            fields[name].pop("default", None)
            if default not in {None, ""}:
                fields[name]["description"] += f" (default: {default})"
    return {"type": "object", "title": title, "properties": fields, CLOSED: False}


ParamsByStage = Annotated[
    dict[str, dict[str, Any]] | None,
    BeforeValidator(_given),
    WithJsonSchema(form_of_params()),
    Field(json_schema_extra={"default": {}, "title": "Params by stage"}),
]
