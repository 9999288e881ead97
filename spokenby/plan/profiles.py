"""What a run uses lives here: a recipe of every stage's Params, and the profiles that make recipes.

The Params themselves do not; each stage's file has its own. Models are found in `models.py`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spokenby import models
from spokenby.digests import DigestIndex
from spokenby.engines.gpus import list_gpus
from spokenby.errors import InputError
from spokenby.stages.audio import Params as AudioParams
from spokenby.stages.diarization import Params as DiarizationParams
from spokenby.stages.embeddings import Params as EmbeddingParams
from spokenby.stages.merging import Params as MergingParams
from spokenby.stages.speech import Params as SpeechParams
from spokenby.stages.transcription import Params as TranscriptionParams
from spokenby.stages.turn_edges import Params as EdgeParams
from spokenby.types import Frozen
from spokenby.voices.matching import Params as VoiceParams


class Profile(StrEnum):
    """A set of engines under one name. `auto` stands for the best one whose models are here."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    OPEN = "open"
    STUDIO = "studio"


class Recipe(Frozen):
    """Every choice that decides on a transcript, stage by stage."""

    profile: Profile
    audio: AudioParams = AudioParams()
    speech: SpeechParams = SpeechParams()
    diarization: DiarizationParams = DiarizationParams()
    embeddings: EmbeddingParams = EmbeddingParams()
    transcription: TranscriptionParams = TranscriptionParams()
    edges: EdgeParams = EdgeParams()
    merging: MergingParams = MergingParams()
    voices: VoiceParams = VoiceParams()

    @property
    def made_by(self) -> str:
        """The models that decide on words and speakers, for people."""
        used = models_used(self)
        (words,), (speakers,) = used["transcribe"], used["diarize"]
        return f"words by {_model_name(*words)}, speakers by {_model_name(*speakers)}"


def _model_name(engine: str, name: str) -> str:
    return Path(name).name if name else models.default_model(engine).name


_LARGE = "faster-whisper-large-v3-turbo"
_RECIPES: dict[Profile, dict[str, Any]] = {
    Profile.STUDIO: {
        "profile": Profile.STUDIO,
        "diarization": {"engine": "pyannote"},
        "transcription": {"model": _LARGE},
    },
    Profile.OPEN: {
        "profile": Profile.OPEN,
        "transcription": {"model": "faster-whisper-small"},
    },
    Profile.EMBEDDED: {"profile": Profile.EMBEDDED},
}
"""Best first: `auto` takes the first whose models are here."""


def choose_profile(name: str, models_dir: Path, **params: dict[str, Any]) -> tuple[Profile, str]:
    """Return the profile to use and why.

    Args:
        name: of a profile.
        models_dir: where fetched models are.
        params: as of `make_recipe`; they may name other models.

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


def make_recipe(profile: Profile, **params: dict[str, Any]) -> Recipe:
    """Return a profile's recipe with some of its params set.

    Args:
        profile: any but `auto`; see `choose_profile`.
        params: by stage, the fields to set: `diarization={"num_speakers": 2}`. Values may be text.

    Raises:
        InputError: a value does not fit, with the field and the reason.
    """
    fields = dict(_RECIPES[profile])
    if profile is Profile.OPEN and list_gpus():
        fields["transcription"] = {**fields["transcription"], "model": _LARGE}
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
            "see what fits: spokenby params",
        ) from None


def models_used(recipe: Recipe) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the models by the stage that loads them: engine and name, empty for its default."""
    diarizer = recipe.diarization
    engine = diarizer.embedder if diarizer.engine == "clustering" else diarizer.engine
    return {
        "speech": (("silero", ""), ("segmentation", "")),
        "diarize": ((engine, diarizer.model),),
        "embed": ((recipe.embeddings.engine, recipe.embeddings.model),),
        "transcribe": ((recipe.transcription.engine, recipe.transcription.model),),
    }


def identify_models(
    recipe: Recipe, models_dir: Path, index: DigestIndex
) -> dict[str, tuple[str, ...]]:
    """Return what identifies the models of a recipe, by the stage that loads them.

    Raises:
        InputError: one is not here, and a run could not bring it.
    """
    return {
        stage: tuple(
            models.identify_model(engine, name, models_dir, index) for engine, name in used
        )
        for stage, used in models_used(recipe).items()
    }
