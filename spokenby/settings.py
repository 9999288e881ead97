"""Settings of a site, from environment variables."""

import os
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from spokenby.errors import InputError
from spokenby.types import SpeakerEncoder

PREFIX = "SPOKENBY_"
FORMER_PREFIX = "WHOSAID_"


class Settings(BaseSettings):
    """The site. Each field is set by the environment variable `SPOKENBY_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default=Path("data"), description="holds videos, transcripts, cache and models"
    )
    transcripts_dir: Path | None = Field(
        default=None, description="where transcripts go; default <data_dir>/transcripts"
    )
    cache_dir: Path | None = Field(
        default=None, description="extracted audio and stage results; default <data_dir>/cache"
    )
    models_dir: Path | None = Field(
        default=None, description="fetched models; default <data_dir>/models"
    )
    voices_url: str | None = Field(
        default=None,
        repr=False,
        description="the voice library, sqlite:///… or postgresql://…;"
        " default <data_dir>/voices/voices.sqlite",
    )
    profile: str = Field(default="auto", description="the profile of runs that name none")
    formats: str = Field(
        default="json,srt,vtt,txt,csv,rttm",
        description="which files a transcript's folder gets, with commas between;"
        " docs/transcript-format.md lists them",
    )
    voice_encoder: SpeakerEncoder = Field(
        default="campplus",
        description="makes the voiceprints, whatever the profile: one encoder a site, because"
        " voices are compared within one only",
    )
    videos_in_flight: int = Field(
        default=3, ge=1, description="how many videos are worked on at once: bounds memory"
    )
    gpu_tag: str = Field(
        default="gpu",
        min_length=1,
        description="Prefect tag of GPU tasks; give each host its own, limits count site-wide",
    )
    gpu_lanes: int | None = Field(
        default=None,
        ge=1,
        description="GPU tasks at once on this host; default 2 from 24 GB of GPU memory,"
        " else 1, without a GPU no limit",
    )
    ffmpeg: str | None = Field(
        default=None, description="ffmpeg to use; default the system's, then the bundled one"
    )
    ffmpeg_stall_s: float = Field(
        default=120.0, gt=0, description="an ffmpeg without progress for this long is ended"
    )
    max_hours: float = Field(
        default=24.0,
        gt=0,
        description="a video that lasts longer is refused: a broken file may claim years",
    )

    listening_copy: bool = Field(
        default=True,
        description="add a small copy of the sound to each transcript, for its page to play:"
        " 12 MB an hour",
    )

    @property
    def videos(self) -> Path:
        """Videos that are transcribed where none are named."""
        return self.data_dir / "videos"

    @property
    def transcripts(self) -> Path:
        """One folder a video."""
        return self.transcripts_dir or self.data_dir / "transcripts"

    @property
    def cache(self) -> Path:
        """What can be computed again."""
        return self.cache_dir or self.data_dir / "cache"

    @property
    def audio(self) -> Path:
        """Extracted audio, one file a video."""
        return self.cache / "audio"

    @property
    def results(self) -> Path:
        """Stored results of stages."""
        return self.cache / "results"

    @property
    def digest_index(self) -> Path:
        """Digests of files that have not changed."""
        return self.cache / "digests.sqlite"

    @property
    def ledger(self) -> Path:
        """Attempts that have not come to a transcript."""
        return self.cache / "ledger.sqlite"

    @property
    def claims(self) -> Path:
        """Locks on the videos that runs work on."""
        return self.cache / "claims"

    @property
    def voices(self) -> str:
        """The voice library's address. It may hold a password: for opening, not for showing."""
        path = (self.data_dir / "voices" / "voices.sqlite").absolute()
        return self.voices_url or f"sqlite:///{path}"

    @property
    def corrections(self) -> Path:
        """Copies of what people corrected, a file a video."""
        return self.data_dir / "voices" / "corrections"

    @property
    def runs(self) -> Path:
        """What was seen of the last runs: for each a picture, and its figures as JSON."""
        return self.data_dir / "runs"

    @property
    def models(self) -> Path:
        """Fetched models."""
        return self.models_dir or self.data_dir / "models"


def read_settings() -> Settings:
    """Read the site's settings from the environment.

    Raises:
        InputError: a variable has a value that does not fit, or a name that spokenby does not know.
            pydantic ignores unknown variables, so a misspelt one would be silently without effect.
    """
    if former := sorted(name for name in os.environ if name.startswith(FORMER_PREFIX)):
        new = PREFIX + former[0].removeprefix(FORMER_PREFIX)
        raise InputError(f"{former[0]} is now called {new}", f"set {new} and unset {former[0]}")
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise InputError(
            f"{unknown[0]} is not a setting of spokenby", f"use one of {', '.join(sorted(known))}"
        )
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise InputError(
            f"{name}={first['input']!r} does not fit: {first['msg'].lower()}",
            f"set or unset {name}",
        ) from None
