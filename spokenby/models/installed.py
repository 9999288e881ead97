"""Install, import, list and verify models in the site's folder."""

import hashlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import AfterValidator, ValidationError

from spokenby.digests import digest_file
from spokenby.errors import InputError, TransientError
from spokenby.models.catalogue import CATALOGUE, KINDS, File, Model, known_model
from spokenby.types import Frozen, Progress, no_progress

ELSEWHERE = "set SPOKENBY_MODELS_DIR to a folder on another disk"

RECORD = ".spokenby-model.json"
"""In the folder of a model's files. Hidden, so that the model's identity does not include it."""


def is_inside(name: str) -> bool:
    """Return whether a file of this name is inside its model's folder, on every system."""
    return not ({"", ".", ".."} & set(name.split("/")) or set(name) & set("\\:"))


def _all_inside(files: dict[str, File]) -> dict[str, File]:
    if not all(map(is_inside, files)):
        raise ValueError("a file is outside of the model's folder")
    return files


class Record(Frozen):
    """An installed model, in the folder `<models_dir>/<name>/<revision>`.

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


def installed(models_dir: Path, name: str = "*") -> list[tuple[Path, Record]]:
    """Return the installed models, sorted by name and time of fetching.

    Args:
        models_dir: the site's folder of fetched models.
        name: of a model, by default all. A name that is not plain finds nothing.

    Raises:
        InputError: the record of a model is damaged.
    """
    if name != "*" and not _is_plain(name):
        return []
    models = [
        (folder, record)
        for folder in models_dir.glob(f"{name}/*")
        if not folder.name.startswith(".") and (record := read_record(folder))
    ]
    return sorted(models, key=lambda found: (found[1].name, found[1].fetched, found[1].revision))


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
        raise InputError(f"{path} is not a record of a model", f"delete the folder {folder}")
    return record


@contextmanager
def only_writer(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Create a model's folder and keep other processes from installing into it.

    Args:
        folder: `<models_dir>/<name>`.
        on_wait: called once if another process holds the lock.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def record_of(model: Model) -> Record:
    """Return the record of a model whose files are known, with the current time."""
    return Record(
        name=model.name,
        engine=model.engine,
        repo=model.repo,
        revision=model.revision,
        fetched=now(),
        files=model.files,
    )


def put_in_place(staging: Path, record: Record, models_dir: Path) -> Path:
    """Install complete files as a model, in one step, and return its folder.

    Args:
        staging: a folder on the same device with exactly the files of the record; it is renamed.
        record: the record of `staging`.
        models_dir: the site's folder of fetched models.

    Raises:
        InputError: something else is in the way. Nothing is ever overwritten.
        TransientError: the folder cannot be renamed, on Windows because a file in it is open.
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
    shutil.rmtree(staging)  # another process was faster
    return target


def verify(folder: Path, record: Record, progress: Progress = no_progress) -> str:
    """Compare an installed model with its record; return what is wrong, empty if nothing is."""
    present = set(_visible(folder))
    if extra := sorted(present - record.files.keys()):
        return f"{extra[0]} does not belong to it"
    done = 0
    for name, file in record.files.items():
        if name not in present:
            return f"{name} is missing"

        def report(part: float, before: int = done, size: int = file.size) -> None:
            progress((before + part * size) / max(record.size, 1))

        if digest_file(folder / name, progress=report) != file.sha256:
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
    """Copy models from a folder: the files of one model, or another site's folder of models.

    Args:
        source: the folder.
        name: the model's new name; if empty its own, else the folder's.
        models_dir: the site's folder of fetched models.
        progress: called per model.

    Yields:
        The folder, the record, and whether it is new here.

    Raises:
        InputError: the folder holds no model, it is damaged, or the name is invalid.
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
    for folder, tree_record in trees:
        yield _import(folder, tree_record, models_dir, progress)
    if not trees:
        yield _import(source, record or _recognize(source, name), models_dir, progress)


def _recognize(source: Path, name: str) -> Record:
    """Return the record of a folder that has none, without files if their bytes are unknown."""
    files = _visible(source)
    for model in CATALOGUE:
        if name in {"", model.name} and model.repo and _may_be(source, model):
            return record_of(model)
    kinds = {engine: kind for engine, kind in KINDS.items() if not kind.is_file}
    engine = next((engine for engine, kind in kinds.items() if not kind.lacks(files)), "")
    if not engine:
        wanted = "; ".join(f"{engine}: {', '.join(kind.needed)}" for engine, kind in KINDS.items())
        raise InputError(f"{source} holds no model", f"a model has these files: {wanted}")
    name = name or source.name
    if not _is_plain(name):
        raise InputError(f"{name!r} is not a valid model name", "give one with --name")
    known = known_model(name)
    if known and known.engine != engine:
        raise InputError(
            f"{source} holds a model for the engine {engine}, but {name} is one for {known.engine}",
            "give another --name",
        )
    if known and known.files:
        raise InputError(f"{source} holds a different model than {name}", "give another --name")
    return Record(name=name, engine=engine, revision="", fetched="", files={})


def _may_be(folder: Path, model: Model) -> bool:
    """Return whether a folder's files have the names and sizes of a model with known files."""
    return bool(model.files) and all(
        (folder / name).is_file() and (folder / name).stat().st_size == file.size
        for name, file in model.files.items()
    )


def _import(
    source: Path, record: Record, models_dir: Path, progress: Progress
) -> tuple[Path, Record, bool]:
    folder = models_dir / record.name
    known = known_model(record.name)
    if known and known.files and known.files != record.files:
        raise InputError(
            f"{source} holds a different model than the {record.name} that spokenby knows",
            f"use the right one, or name the folder in a run: --set …model={source}",
        )
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
