"""Which models there are, where their files lie and what identifies them, lives here.

Loading them does not; see `engines/loading.py`. Nor does downloading; see
`engines/huggingface_hub.py`.
"""

import hashlib
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, ValidationError

from whosaid.digests import DigestIndex, digest_file, digest_tree
from whosaid.errors import InputError, TransientError
from whosaid.types import Digest, Frozen, Progress, no_progress


class Model(Frozen):
    """A model that whosaid knows by name.

    It comes either with an installed Python package (`package`, and `inside` it) or from a
    repository (`repo`) of the hub: then it has to be fetched. Whoever fetches a `gated` one must
    have accepted its terms on the hub.
    """

    name: str
    engine: str
    package: str = ""
    inside: str = ""
    repo: str = ""
    gated: bool = False
    megabytes: int = 0


CATALOGUE = (
    Model(
        name="silero-vad",
        engine="silero",
        package="faster_whisper",
        inside="assets/silero_vad_v6.onnx",
    ),
    Model(name="resemblyzer", engine="resemblyzer", package="resemblyzer", inside="pretrained.pt"),
    Model(
        name="pocketsphinx-en-us",
        engine="pocketsphinx",
        package="pocketsphinx",
        inside="model/en-us",
    ),
    Model(
        name="speaker-diarization-community-1",
        engine="pyannote",
        repo="pyannote/speaker-diarization-community-1",
        gated=True,
        megabytes=33,
    ),
    Model(
        name="spkrec-ecapa-voxceleb",
        engine="speechbrain",
        repo="speechbrain/spkrec-ecapa-voxceleb",
        megabytes=89,
    ),
    *(
        Model(
            name=f"faster-whisper-{size}",
            engine="faster_whisper",
            repo=f"{owner}/faster-whisper-{size}",
            megabytes=megabytes,
        )
        for size, owner, megabytes in (
            ("small", "Systran", 486),
            ("large-v3-turbo", "mobiuslabsgmbh", 1622),
            ("large-v3", "Systran", 3091),
            ("tiny", "Systran", 78),
        )
    ),
)
"""An engine's first model is its default."""


class Kind(NamedTuple):
    """The files of an engine's models, as patterns in which `*` also matches `/`."""

    needed: tuple[str, ...]
    useful: tuple[str, ...]

    def takes(self, name: str) -> bool:
        """Say whether the engine reads a file of that name."""
        return any(fnmatchcase(name, pattern) for pattern in self.needed + self.useful)

    def lacks(self, names: Collection[str]) -> str:
        """Return the first pattern that none of the files matches, empty if there is none."""
        return next(
            (
                pattern
                for pattern in self.needed
                if not any(fnmatchcase(name, pattern) for name in names)
            ),
            "",
        )


KINDS = {
    "pyannote": Kind(("config.yaml", "*.bin"), ("*.npz",)),
    "speechbrain": Kind(("hyperparams.yaml", "embedding_model.ckpt"), ("*.ckpt", "label_encoder*")),
    # Without tokenizer.json faster-whisper would ask the hub for one.
    "faster_whisper": Kind(
        ("config.json", "model.bin", "tokenizer.json", "vocabulary.*"),
        ("preprocessor_config.json",),
    ),
}
"""By engine. Engines whose models come with a package are not here."""

RECORD = ".whosaid-model.json"
"""Lies beside a model's files. Hidden, so that it is no part of what identifies the model."""


class File(Frozen):
    """A file of an installed model."""

    size: int
    sha256: Digest


def is_inside(name: str) -> bool:
    """Say whether a file of that name lies inside its model's folder, on every system."""
    return not ({"", ".", ".."} & set(name.split("/")) or set(name) & set("\\:"))


def _all_inside(files: dict[str, File]) -> dict[str, File]:
    if not all(map(is_inside, files)):
        raise ValueError("a file lies outside of the model's folder")
    return files


class Record(Frozen):
    """What is installed in a folder: `<models_dir>/<name>/<revision>`.

    `files` are relative, with slashes; `fetched` is a UTC time in ISO format.
    """

    name: str
    engine: str
    repo: str = ""
    revision: str
    fetched: str
    files: Annotated[dict[str, File], AfterValidator(_all_inside)]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def now() -> str:
    """Return the time for a record."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def default_model(engine: str) -> Model:
    """Return the model that an engine uses where the run names none."""
    return next(model for model in CATALOGUE if model.engine == engine)


def find_model(engine: str, name: str, models_dir: Path) -> Path:
    """Return the file or folder that holds a model.

    Args:
        engine: the engine that will load it.
        name: a name as of `whosaid models list`, of which `name@revision` asks for one revision
            and the name alone for the one fetched last; a local file or folder; or empty for the
            engine's default.
        models_dir: the site's folder of fetched models.

    Raises:
        InputError: the model is unknown, its files are not here or are another engine's.
    """
    name = name or default_model(engine).name
    plain, _, revision = name.partition("@")
    known = next((model for model in CATALOGUE if model.name == plain), None)
    if known and known.package:
        _check_engine(known.engine, engine, plain)
        return _in_package(known)
    here = installed(models_dir, plain)
    fitting = [path for path, record in here if record.revision.startswith(revision)]
    if fitting:
        _check_engine(here[0][1].engine, engine, plain)
        return fitting[-1]
    if known:
        _check_engine(known.engine, engine, plain)
        raise InputError(
            f"the model {name} is not installed",
            f"run: whosaid models fetch {plain}{f' --revision {revision}' if revision else ''}",
        )
    if Path(name).exists():
        return _local(engine, Path(name))
    choices = [repr(model.name) for model in CATALOGUE if model.engine == engine]
    raise InputError(
        f"model {name!r} is neither known to the engine {engine} nor a folder",
        f"use {', '.join(choices)} or the path of a folder",
    )


def _check_engine(have: str, wanted: str, name: str) -> None:
    if have != wanted:
        raise InputError(
            f"the model {name} is for the engine {have}, not {wanted}",
            "see which are for which: whosaid models list",
        )


def _local(engine: str, path: Path) -> Path:
    if engine in KINDS and path.is_dir():
        lacking = KINDS[engine].lacks(_visible(path))
        if lacking:
            raise InputError(
                f"{path} does not look like a model for the engine {engine}: it has no {lacking}",
                "check the path: it must be the folder that holds this file",
            )
    return path


def _in_package(model: Model) -> Path:
    spec = find_spec(model.package)  # finds the folder without importing the library
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {model.package} is not installed", "run: uv sync")
    path = Path(spec.submodule_search_locations[0]) / model.inside
    if not path.exists():
        raise InputError(
            f"the model {model.name} is missing from the installed package {model.package}",
            f"reinstall it: uv sync --reinstall-package {model.package.replace('_', '-')}",
        )
    return path


def identify(path: Path, index: DigestIndex) -> str:
    """Name a model by what is on disk: its name and the fingerprint of its bytes."""
    record = read_record(path)
    return f"{record.name if record else path.name}:{digest_tree(path, index)[:16]}"


def installed(models_dir: Path, name: str = "*") -> list[tuple[Path, Record]]:
    """Return what is installed, by name and then from the one fetched first to the one last.

    Args:
        models_dir: the site's folder of fetched models.
        name: of a model; all if left out. Anything that is no plain name finds nothing.

    Raises:
        InputError: the record of a model is damaged.
    """
    if name != "*" and not _is_plain(name):
        return []
    found = [
        (folder, record)
        for folder in models_dir.glob(f"{name}/*")
        if not folder.name.startswith(".") and (record := read_record(folder))
    ]
    return sorted(found, key=lambda it: (it[1].name, it[1].fetched, it[1].revision))


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"\w[\w.+-]*", name) is not None


def read_record(folder: Path) -> Record | None:
    """Return the record of an installed model, `None` if the folder holds none.

    Raises:
        InputError: the record is damaged.
    """
    path = folder / RECORD
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__})",
            f"delete the folder {folder} and fetch or import the model again",
        ) from None
    if not (_is_plain(record.name) and _is_plain(record.revision) and record.engine in KINDS):
        raise InputError(f"{path} is no record of a model", f"delete the folder {folder}")
    return record


def put_in_place(staging: Path, record: Record, models_dir: Path) -> Path:
    """Make complete files an installed model, in one step, and return its folder.

    Args:
        staging: a folder on the same device with exactly the files of the record; it is gone then.
        record: what `staging` holds.
        models_dir: the site's folder of fetched models.

    Raises:
        InputError: something else is in the way. Nothing is ever overwritten.
        TransientError: the folder cannot be renamed: on Windows, somebody reads in it.
    """
    (staging / RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    target = models_dir / record.name / record.revision
    if not target.exists():
        try:
            return staging.rename(target)
        except OSError as error:
            if not target.exists():
                raise TransientError(
                    f"{staging} cannot be renamed to {target.name} ({error.strerror})",
                    "close what uses it and run the same command again",
                ) from error
    if read_record(target) is None:
        raise InputError(f"{target} is in the way and holds no model", "move or delete it")
    shutil.rmtree(staging)  # somebody was faster
    return target


def verify(folder: Path, record: Record, progress: Progress = no_progress) -> str:
    """Compare the bytes of an installed model with its record; return what is wrong, or nothing."""
    have = set(_visible(folder))
    if strange := sorted(have - record.files.keys()):
        return f"{strange[0]} does not belong to it"
    done = 0
    for name, file in record.files.items():
        if name not in have:
            return f"{name} is missing"

        def tell(part: float, before: int = done, size: int = file.size) -> None:
            progress((before + part * size) / max(record.size, 1))

        if digest_file(folder / name, progress=tell) != file.sha256:
            return f"{name} has changed"
        done += file.size
    return ""


def _visible(folder: Path) -> list[str]:
    """Return the files that `digest_tree` counts, relative, with slashes."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(
        name.as_posix()
        for name in names
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    )


def import_models(
    source: Path, name: str, models_dir: Path, progress: Progress = no_progress
) -> Iterator[tuple[Path, Record, bool]]:
    """Copy models from a folder: files of one model, or a whole folder of models of another site.

    Args:
        source: the folder.
        name: what to call the model; empty for the name it has, else the folder's.
        models_dir: the site's folder of fetched models.
        progress: told per model.

    Yields:
        The folder, the record, and whether it is new here.

    Raises:
        InputError: there is no model in the folder, it is damaged, or the name does not fit.
    """
    if not source.is_dir():
        raise InputError(
            f"{source} is not a folder", "give the folder that holds the model's files"
        )
    source = source.resolve()
    record = read_record(source)
    trees = [] if record else installed(source) or installed(source.parent, source.name)
    if trees and name:
        raise InputError(f"{source} holds several models", "leave out --name")
    for folder, its in trees:
        yield _import(folder, its, models_dir, progress)
    if not trees:
        yield _import(source, record or _recognise(source, name), models_dir, progress)


def _recognise(source: Path, name: str) -> Record:
    """Return the record, still without files, of a folder that has none."""
    files = _visible(source)
    engine = next((engine for engine, kind in KINDS.items() if not kind.lacks(files)), "")
    if not engine:
        wanted = "; ".join(f"{engine}: {', '.join(kind.needed)}" for engine, kind in KINDS.items())
        raise InputError(f"{source} holds no model", f"a model has these files: {wanted}")
    name = name or source.name
    if not _is_plain(name):
        raise InputError(f"{name!r} is no name for a model", "give one with --name")
    known = next((model for model in CATALOGUE if model.name == name), None)
    if known and known.engine != engine:
        raise InputError(
            f"{source} holds a model for the engine {engine}, but {name} is one for {known.engine}",
            "give another --name",
        )
    return Record(name=name, engine=engine, revision="", fetched="", files={})


def _import(
    source: Path, record: Record, models_dir: Path, progress: Progress
) -> tuple[Path, Record, bool]:
    folder = models_dir / record.name
    if record.revision and (there := read_record(folder / record.revision)):
        return folder / record.revision, there, False
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".importing-{uuid.uuid4().hex[:8]}"
    try:
        names = list(record.files) or _visible(source)
        files = {}
        for done, name in enumerate(names):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, staging / name)
            digest = digest_file(staging / name)
            files[name] = File(size=(staging / name).stat().st_size, sha256=digest)
            progress((done + 1) / len(names))
        for name, file in record.files.items():
            if files[name] != file:
                raise InputError(f"{source / name} is damaged", "copy it again")
        content = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        whole = record.model_copy(
            update={
                "revision": record.revision or f"imported-{content[:12]}",
                "fetched": now(),
                "files": files,
            }
        )
        new = not (folder / whole.revision).exists()
        return put_in_place(staging, whole, models_dir), whole, new
    except OSError as error:
        raise InputError(
            f"{source} cannot be copied to {folder} ({error.strerror or error})",
            "check the folder and the space on the disk",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
