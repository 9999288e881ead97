"""Profiles and recipes: the params of every stage."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError, create_model

from spokenby import models
from spokenby.digests import DigestIndex
from spokenby.engines.gpus import list_gpus
from spokenby.errors import InputError
from spokenby.plan.renamed_params import renamed
from spokenby.plan.stages import Stage
from spokenby.types import Frozen, StageParams
from spokenby.voices import matching


class Profile(StrEnum):
    """A named set of engines. `auto` is the best one whose models are installed."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    OPEN = "open"
    STUDIO = "studio"


class WriteParams(StageParams):
    """What is written beside the transcript. In no cache key: nothing is computed from it."""

    listening_copy: bool = Field(
        default=True, description="a small copy of the sound, for the page: 12 MB an hour"
    )


PARAMS: Mapping[str, type[StageParams]] = {
    **{stage.value: stage.spec.params for stage in Stage},
    "identify": matching.Params,
    "write": WriteParams,
}
"""The params of a run, by stage."""


class Recipe(Frozen):
    """Everything a transcript depends on: a field for each entry of `PARAMS`."""

    profile: Profile

    if TYPE_CHECKING:  # the fields are created from the table

        def __getattr__(self, stage: str) -> Any: ...

    def __getitem__(self, stage: str) -> StageParams:
        """Return the params of a stage."""
        params: StageParams = getattr(self, stage)
        return params

    @property
    def made_by(self) -> str:
        """The models behind words and speakers, for people."""
        used = models_used(self)
        (words,), (speakers,) = used["transcribe"], used["diarize"]
        return f"words by {_model_name(*words)}, speakers by {_model_name(*speakers)}"


_Recipe: type[Recipe] = create_model(
    "_Recipe",
    __base__=Recipe,
    __module__=__name__,
    **{name: (kind, kind()) for name, kind in PARAMS.items()},  # type: ignore[call-overload]
)


def _model_name(engine: str, name: str) -> str:
    return Path(name).name if name else models.default_model(engine).name


_LARGE = "faster-whisper-large-v3-turbo"
_RECIPES: dict[Profile, dict[str, Any]] = {
    Profile.STUDIO: {
        "profile": Profile.STUDIO,
        "diarize": {"engine": "pyannote"},
        "transcribe": {"model": _LARGE},
    },
    Profile.OPEN: {
        "profile": Profile.OPEN,
        "transcribe": {"model": "faster-whisper-small"},
    },
    Profile.EMBEDDED: {"profile": Profile.EMBEDDED},
}
"""Best first: `auto` takes the first whose models are installed."""


def choose_profile(name: str, models_dir: Path, **params: dict[str, Any]) -> tuple[Profile, str]:
    """Return the profile to use and why.

    Args:
        name: the profile.
        models_dir: folder of fetched models.
        params: as for `make_recipe`; they may name other models.

    Raises:
        InputError: the profile is unknown, or `auto` and no profile has its models.
    """
    try:
        profile = Profile(name)
    except ValueError:
        raise InputError(
            f"unknown profile {name!r}", f"choose one of {', '.join(Profile)}"
        ) from None
    if profile is not Profile.AUTO:
        return profile, "requested"
    missing = ""
    for best in _RECIPES:
        try:
            for used in models_used(make_recipe(best, **params)).values():
                for engine, model in used:
                    models.locate(engine, model, models_dir)
        except InputError as error:
            missing = missing or error.problem
        else:
            return best, "the best whose models are installed" + (
                f" ({missing})" if missing else ""
            )
    raise InputError(
        f"no profile has its models installed ({missing})", "see what is missing: spokenby doctor"
    )


def make_recipe(profile: Profile, /, **params: dict[str, Any]) -> Recipe:
    """Return a profile's recipe with some of its params set.

    Args:
        profile: any but `auto`; see `choose_profile`.
        params: by stage, the fields to set: `diarize={"num_speakers": 2}`. Values may be text.

    Raises:
        InputError: a value is invalid, with the field and the reason.
    """
    fields = dict(_RECIPES[profile])
    if profile is Profile.OPEN and list_gpus():
        fields["transcribe"] = {**fields["transcribe"], "model": _LARGE}
    fields = merge_params(fields, params)
    try:
        return _Recipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where, value = ".".join(map(str, first["loc"])), first["input"]
        while first["type"] == "extra_forbidden" and value and isinstance(value, dict):
            field, value = next(iter(value.items()))
            where = f"{where}.{field}"
        if (now := renamed(where)) != where:
            raise InputError(f"{where} is now called {now}", f"write {now}") from None
        reason, near = first["msg"].removeprefix("Value error, "), ""
        if first["type"] == "extra_forbidden":
            reason = "there is no such param"
            if found := _nearest(where):
                near = f"write {found}, or "
        given = where if isinstance(value, dict | BaseModel) else f"{where} = {value!r}"
        raise InputError(
            f"{given} is invalid: {reason[0].lower()}{reason[1:]}",
            f"{near}see all params: spokenby params",
        ) from None


def _nearest(name: str) -> str:
    """Return the param of that field at another place, else the one written most alike, if any."""
    known = list(all_params())
    same_field = [each for each in known if each.rpartition(".")[2] == name.rpartition(".")[2]]
    return next(iter(difflib.get_close_matches(name, same_field or known, 1)), "")


def all_params() -> dict[str, tuple[object, str]]:
    """Return the default and the description of every param, by its name in `--set`."""
    return {
        name: (value, what)
        for stage, kind in PARAMS.items()
        for name, value, what in fields_of(stage, kind())
    }


def fields_of(name: str, params: StageParams) -> Iterator[tuple[str, object, str]]:
    """Yield each field's full name, value and description, those of engines, too."""
    for field, info in type(params).model_fields.items():
        value = getattr(params, field)
        if isinstance(value, StageParams):
            yield from fields_of(f"{name}.{field}", value)
        else:
            yield f"{name}.{field}", value, info.description or ""


def read_params(words: Iterable[str]) -> dict[str, Any]:
    """Return the params that words such as `merge.max_pause=2` set, by stage and field.

    Raises:
        InputError: a word is not of this form.
    """
    params: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        path = name.split(".")
        if not (equals and len(path) > 1 and all(path)):
            raise InputError(f"--set {word} cannot be read", "write stage.field=value")
        given: Any = value
        for part in reversed(path):
            given = {part: given}
        params = merge_params(params, given)
    return params


def merge_params(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge params field by field; the last value that is not `None` wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if isinstance(value, Mapping):
                before = merged.get(name)
                merged[name] = merge_params(before if isinstance(before, dict) else {}, value)
            elif value is not None:
                merged[name] = value
    return merged


def models_used(recipe: Recipe) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the models by the stage that loads them: engine and name, empty for its default."""
    used = {stage.value: recipe[stage].models() for stage in Stage}
    return {stage: models for stage, models in used.items() if models}


def identify_models(
    recipe: Recipe, models_dir: Path, index: DigestIndex
) -> dict[str, tuple[str, ...]]:
    """Return what identifies the models of a recipe, by the stage that loads them.

    Raises:
        InputError: one is not installed, and a run could not fetch it.
    """
    return {
        stage: tuple(
            models.identify_model(engine, name, models_dir, index) for engine, name in used
        )
        for stage, used in models_used(recipe).items()
    }
