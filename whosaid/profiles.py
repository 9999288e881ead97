"""What a run uses lives here: a recipe of every stage's Params, and the profiles that make recipes.

The Params themselves do not; each stage's file has its own. Models are found in `models.py`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from whosaid import models
from whosaid.audio import Params as AudioParams
from whosaid.diarization import Params as DiarizationParams
from whosaid.digests import DigestIndex
from whosaid.embeddings import Params as EmbeddingParams
from whosaid.errors import InputError
from whosaid.merging import Params as MergingParams
from whosaid.speech import Params as SpeechParams
from whosaid.transcription import Params as TranscriptionParams
from whosaid.types import Frozen


class Profile(StrEnum):
    """A set of engines under one name. `auto` stands for the best one whose models are here."""

    AUTO = "auto"
    EMBEDDED = "embedded"


class Recipe(Frozen):
    """Every choice that decides on a transcript, stage by stage."""

    profile: Profile
    label: str
    advice: str = ""
    audio: AudioParams = AudioParams()
    speech: SpeechParams = SpeechParams()
    diarization: DiarizationParams = DiarizationParams()
    embeddings: EmbeddingParams = EmbeddingParams()
    transcription: TranscriptionParams = TranscriptionParams()
    merging: MergingParams = MergingParams()


_EMBEDDED: dict[str, Any] = {
    "profile": Profile.EMBEDDED,
    "label": "embedded (draft)",
    "advice": "the words are a draft by a small recogniser: speakers and times are usable, "
    "wording is not",
    "diarization": {"engine": "clustering", "embedder": "resemblyzer"},
    "embeddings": {"engine": "resemblyzer"},
    "transcription": {"engine": "pocketsphinx"},
}
_RECIPES: dict[Profile, dict[str, Any]] = {Profile.EMBEDDED: _EMBEDDED}


def choose_profile(name: str, models_dir: Path) -> tuple[Profile, str]:
    """Return the profile to use and why.

    Raises:
        InputError: there is no profile of that name.
    """
    try:
        profile = Profile(name)
    except ValueError:
        raise InputError(
            f"unknown profile {name!r}", f"choose one of {', '.join(Profile)}"
        ) from None
    if profile is not Profile.AUTO:
        return profile, "asked for"
    return Profile.EMBEDDED, "the best whose models are installed"


def make_recipe(profile: Profile, **params: dict[str, Any]) -> Recipe:
    """Return a profile's recipe with some of its params set.

    Args:
        profile: any but `auto`; see `choose_profile`.
        params: by stage, the fields to set: `diarization={"num_speakers": 2}`. Values may be text.

    Raises:
        InputError: a value does not fit, with the field and the reason.
    """
    fields = dict(_RECIPES[profile])
    for stage, chosen in params.items():
        fields[stage] = {**fields.get(stage, {}), **chosen}
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][:2]))
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{where} = {first['input']!r} does not fit: {reason[0].lower()}{reason[1:]}",
            "see what fits: whosaid params",
        ) from None


def identify_models(recipe: Recipe, models_dir: Path, index: DigestIndex) -> dict[str, str]:
    """Return what identifies the models of a recipe: by the stage that loads them."""
    used = {
        "speech": ("silero", ""),
        "diarize": (
            recipe.diarization.embedder
            if recipe.diarization.engine == "clustering"
            else recipe.diarization.engine,
            recipe.diarization.model,
        ),
        "embed": (recipe.embeddings.engine, recipe.embeddings.model),
        "transcribe": (recipe.transcription.engine, recipe.transcription.model),
    }
    return {
        stage: models.identify(models.find_model(engine, name, models_dir), index)
        for stage, (engine, name) in used.items()
    }
