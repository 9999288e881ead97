"""Settings of a site, from environment variables and the file spokenby.toml."""

import difflib
import os
import platform
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from spokenby.errors import InputError
from spokenby.types import SpeakerEncoder

PREFIX = "SPOKENBY_"
FORMER_PREFIX = "WHOSAID_"

FORMER_NAMES = {"voices_url": "database"}
"""Settings by the name that they had, and what they are called now."""

SCHEME = "s3://"
"""What the address of a bucket begins with."""

FILE = "spokenby.toml"
"""In the data folder. The environment wins over it."""


class Settings(BaseSettings):
    """The site. A field is set by the environment variable `SPOKENBY_<FIELD>`, or in the file.

    Fields that are not in the `repr` are secrets.
    """

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
    results_dir: Path | None = Field(
        default=None,
        description="stage results, on a shared disk if there are several hosts;"
        " default <cache_dir>/results",
    )
    storage: str = Field(
        default="",
        description="where transcripts and stage results of all hosts are: a folder, or"
        " s3://bucket/prefix, docs/scale.md; default: the places that transcripts_dir and"
        " results_dir name",
    )
    database: str | None = Field(
        default=None,
        repr=False,
        description="the voice library, sqlite:///… or, for several hosts, postgresql://…, which"
        " then has attempts and claims on videos, too; default <data_dir>/voices/voices.sqlite",
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
    staging_gb: float = Field(
        default=50.0,
        gt=0,
        description="how much disk copies of videos from buckets may take; they are removed once"
        " read",
    )
    videos_in_flight: int = Field(
        default=3, ge=1, description="how many videos are worked on at once: bounds memory"
    )
    gpu_tag: str = Field(
        default_factory=lambda: tag_of(host_name()),
        min_length=1,
        description="Prefect tag of this host's GPU tasks, gpu-<host> unless it is set",
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

    on_done: str = Field(
        default="",
        repr=False,
        description="a command to run, or the address of a webhook to call, for each transcript"
        " that a run writes; docs/configuration.md",
    )
    on_done_s: float = Field(
        default=60.0, gt=0, le=3600, description="what takes longer when a video is done is ended"
    )
    webhook_hosts: str = Field(
        default="", description="hosts that webhooks may call, with commas between; :port if any"
    )
    webhook_secret: str = Field(
        default="", repr=False, description="signs what webhooks are sent (HMAC-SHA256)"
    )

    params: dict[str, dict[str, Any]] = Field(
        default={}, description="params of every run, by stage; only in the file, as [stage] tables"
    )

    @field_validator("storage")
    @classmethod
    def _is_folder_or_bucket(cls, value: str) -> str:
        if "://" in value and (not value.startswith(SCHEME) or "@" in value.split("/")[2]):
            raise ValueError(f"it is neither a folder nor an address {SCHEME}bucket/prefix")
        return value

    @property
    def file(self) -> Path:
        """The file of these settings, whether it exists or not."""
        return self.data_dir / FILE

    @property
    def videos(self) -> Path:
        """Videos that are transcribed where none are named."""
        return self.data_dir / "videos"

    @property
    def transcripts(self) -> Path:
        """One folder a video; with a bucket, this host's copies of some."""
        return self.transcripts_dir or (self._stored_in or self.data_dir) / "transcripts"

    @property
    def bucket(self) -> str:
        """The address of the bucket that holds what hosts share; empty if a disk does."""
        return self.storage if self.storage.startswith(SCHEME) else ""

    @property
    def _stored_in(self) -> Path | None:
        return Path(self.storage) if self.storage and not self.bucket else None

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
        """Stored results of stages; with a bucket, this host's copies of some."""
        return self.results_dir or (self._stored_in or self.cache) / "results"

    @property
    def digest_index(self) -> Path:
        """Digests of files that have not changed."""
        return self.cache / "digests.sqlite"

    @property
    def ledger(self) -> Path | str:
        """Attempts that have not come to a transcript: a file, or the address of the database."""
        return self.voices if self.on_server else self.cache / "ledger.sqlite"

    @property
    def claims(self) -> Path | str:
        """Locks on the videos that runs work on: a folder, or the address of the database."""
        return self.voices if self.on_server else self.cache / "claims"

    @property
    def voices(self) -> str:
        """The voice library's address. It may hold a password: for opening, not for showing."""
        path = (self.data_dir / "voices" / "voices.sqlite").absolute()
        return self.database or f"sqlite:///{path}"

    @property
    def on_server(self) -> bool:
        """Whether the database is a server's, which several hosts may share."""
        return not self.voices.strip().startswith("sqlite:")

    @property
    def has_hosts(self) -> bool:
        """Whether several hosts may share this site."""
        return self.on_server or bool(self.bucket)

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


def host_name() -> str:
    """Return the name of this machine."""
    return platform.node() or "localhost"


def tag_of(host: str) -> str:
    """Return the tag of a host's GPU tasks."""
    return f"gpu-{host}"


def read_settings() -> Settings:
    """Read the site's settings from the environment, and where it says nothing, from the file.

    The file is read once in a process: a run goes on with what it began with.

    Raises:
        InputError: a setting has a value that does not fit, or a name that spokenby does not know;
            or the file cannot be read.
    """
    if former := sorted(name for name in os.environ if name.startswith(FORMER_PREFIX)):
        name = former[0].removeprefix(FORMER_PREFIX)
        new = PREFIX + FORMER_NAMES.get(name.lower(), name).upper()
        raise InputError(f"{former[0]} is now called {new}", f"set {new} and unset {former[0]}")
    # pydantic ignores unknown variables: a misspelt one would be silently without effect.
    known = [name.upper() for name in Settings.model_fields if name != "params"]
    given = (name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX))
    _check_names(given, known, PREFIX)
    file, in_file = _read_file()
    in_environment = _environment().keys()
    try:
        return Settings(
            **{name: value for name, value in in_file.items() if name not in in_environment}
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        value = repr(first["input"])
        if Settings.model_fields[field].repr is False or "@" in value:  # there may be a password
            value = "…"
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[0].lower() + reason[1:]
        if field in in_environment:
            name = PREFIX + field.upper()
            raise InputError(
                f"{name}={value} does not fit: {reason}", f"set or unset {name}"
            ) from None
        raise InputError(
            f"{file}: {field} = {value} does not fit: {reason}", "correct or remove it"
        ) from None


def origins(*, secrets: bool = False) -> dict[str, str]:
    """Return where each setting comes from: the environment variable, the file, or `default`.

    Args:
        secrets: of these only.
    """
    file, in_file = _read_file()
    in_environment = _environment().keys()
    return {
        name: PREFIX + name.upper()
        if name in in_environment
        else (str(file) if name in in_file else "default")
        for name, field in Settings.model_fields.items()
        if not (secrets and field.repr)
    }


def _environment() -> dict[str, str]:
    """Return the settings that are environment variables, in capitals or not, as pydantic does."""
    given = {name.upper(): value for name, value in os.environ.items()}
    names = {name: PREFIX + name.upper() for name in Settings.model_fields}
    return {name: given[variable] for name, variable in names.items() if variable in given}


def _read_file() -> tuple[Path, dict[str, Any]]:
    """Return the path of the file, and the settings in it; none if it does not exist."""
    default = Settings.model_fields["data_dir"].default
    file = Path(_environment().get("data_dir", default)) / FILE
    return file, _parse(file, file.absolute())


@cache
def _parse(file: Path, _absolute: Path) -> dict[str, Any]:
    """Return the settings in a file. Relative paths in it start at its folder."""
    try:
        content = tomllib.loads(file.read_text("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror})", "check its permissions"
        ) from None
    except ValueError as error:  # of TOML or UTF-8
        raise InputError(f"{file} cannot be read ({error})", "correct it") from None
    if "data_dir" in content:
        raise InputError(
            f"{file} lies in the data folder and cannot move it", f"set {PREFIX}DATA_DIR instead"
        )
    fields = [name for name in Settings.model_fields if name not in {"data_dir", "params"}]
    params = {
        name: value
        for name, value in content.items()
        if isinstance(value, dict) and name not in fields
    }
    given = {name: value for name, value in content.items() if name not in params}
    _check_names(given, fields, where=f"{file}: ")
    for name, value in given.items():
        if Path in _kinds(name) and isinstance(value, str):
            given[name] = file.parent / Path(value).expanduser()
        elif name == "storage" and value and isinstance(value, str) and "://" not in value:
            given[name] = str(file.parent / Path(value).expanduser())
    return given | ({"params": params} if params else {})


def _kinds(field: str) -> tuple[Any, ...]:
    annotation = Settings.model_fields[field].annotation
    return (annotation, *getattr(annotation, "__args__", ()))


def _check_names(names: Iterable[str], known: list[str], prefix: str = "", where: str = "") -> None:
    """Refuse a name that is not known, and say which known one is meant, or nearest."""
    names = set(names)
    for name in sorted(names):
        if new := FORMER_NAMES.get(name.lower()):
            new = prefix + (new.upper() if name.isupper() else new)
            raise InputError(
                f"{where}{prefix}{name} is now called {new}", f"set {new} and remove {prefix}{name}"
            )
    if unknown := sorted(names - set(known)):
        near = difflib.get_close_matches(unknown[0], known, 1)
        raise InputError(
            f"{where}{prefix}{unknown[0]} is not a setting of spokenby",
            f"did you mean {prefix}{near[0]}?" if near else "see all settings: spokenby config",
        )
