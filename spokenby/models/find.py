"""Locate and identify the models of a run, and prepare them for loading."""

import os
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spokenby.digests import DigestIndex, digest_file, digest_of, digest_tree
from spokenby.errors import InputError
from spokenby.models.catalogue import (
    CATALOGUE,
    KINDS,
    File,
    Model,
    default_model,
    known_model,
    loads_file,
)
from spokenby.models.installed import Record, installed, read_record
from spokenby.models.packaged import in_package, join, pieces_of, reinstall, wrong_bytes
from spokenby.types import Digest, Progress, no_progress

_MOST_FILES = 1000
"""No model has more; a folder with more, such as /, is not read."""


class Source(StrEnum):
    """Where a model is, or will come from."""

    PACKAGE = "package"  # it is used in place
    INSTALLED = "installed"  # in the site's folder of models, or at a path from the user
    PARTS = "parts"  # packages contain it in pieces: to be joined into the site's folder
    HUB = "hub"  # to be fetched by a run, as no package contains it


class Found(NamedTuple):
    """What will be loaded: `path` exists already if the source is `PACKAGE` or `INSTALLED`."""

    path: Path
    source: Source
    model: Model | None = None


def locate(engine: str, name: str, models_dir: Path) -> Found:
    """Return where a model is, or from where a run would get it. Changes nothing.

    Args:
        engine: the engine that will load it.
        name: a name from `spokenby models list`, where `name@revision` selects a revision and the
            name alone the one fetched last; a local file or folder; or empty for the engine's
            default.
        models_dir: the site's folder of models.

    Raises:
        InputError: the model is unknown, must be fetched with `models fetch`, or is another
            engine's.
    """
    name = name or default_model(engine).name
    plain, _, revision = name.partition("@")
    known = known_model(plain)
    if known:
        _check_engine(known.engine, engine, plain)
        if not known.revision.startswith(revision) and known.files:
            raise InputError(
                f"{plain} is available only at the revision {known.revision or 'of its package'}",
                f"use {plain} without @, or the path of a folder",
            )
        if path := in_package(known):
            return Found(path, Source.PACKAGE, known)
    fitting = [
        (path, record)
        for path, record in installed(models_dir, plain)
        if record.revision.startswith(revision)
    ]
    if fitting:
        return _installed(engine, known, *fitting[-1])
    if known:
        return _to_come(known, name, models_dir)
    if Path(name).exists():
        return Found(_local(engine, Path(name)), Source.INSTALLED)
    choices = [repr(model.name) for model in CATALOGUE if model.engine == engine]
    raise InputError(
        f"model {name!r} is neither known to the engine {engine} nor a folder",
        f"use {', '.join(choices)} or the path of a folder",
    )


def _check_engine(have: str, wanted: str, name: str) -> None:
    if have != wanted:
        raise InputError(
            f"the model {name} is for the engine {have}, not {wanted}",
            "see which are for which: spokenby models list",
        )


def _installed(engine: str, known: Model | None, folder: Path, record: Record) -> Found:
    _check_engine(record.engine, engine, record.name)
    if known and known.files and record.files != known.files:
        raise InputError(
            f"{folder} holds a different model than the {known.name} that spokenby knows",
            f"delete it, or name it by its path: --set …model={folder}",
        )
    return Found(_loaded(engine, folder), Source.INSTALLED, known)


def _to_come(model: Model, name: str, models_dir: Path) -> Found:
    if model.comes_by_itself:
        target = _loaded(model.engine, models_dir / model.name / model.revision)
        whole = model.parts and pieces_of(model)
        return Found(target, Source.PARTS if whole else Source.HUB, model)
    if model.package:
        raise InputError(
            f"the model {model.name} is missing from the package {model.packages[0]}",
            f"run: {reinstall(model)}",
        )
    revision = name.partition("@")[2]
    raise InputError(
        f"the model {name} is not installed",
        f"run: spokenby models fetch {model.name}{f' --revision {revision}' if revision else ''}",
    )


def _loaded(engine: str, folder: Path) -> Path:
    """Return the path that the engine loads of an installed model: the folder, or a file in it."""
    return folder / KINDS[engine].needed[0] if KINDS[engine].is_file else folder


def _local(engine: str, path: Path) -> Path:
    if not path.is_dir():
        return path
    found = (Path(at, file) for at, _, files in os.walk(path) for file in files)
    names = [file.relative_to(path).as_posix() for file in islice(found, _MOST_FILES + 1)]
    if len(names) > _MOST_FILES:
        raise InputError(
            f"{path} holds more than {_MOST_FILES} files: it is not a model",
            "check the path: it must be the folder of one model",
        )
    if engine in KINDS:
        if lacking := KINDS[engine].lacks(names):
            others = [other for other in KINDS if not KINDS[other].lacks(names)]
            raise InputError(
                f"{path} does not look like a model for the engine {engine}: it has no {lacking}",
                f"it fits the engine {others[0]}: set engine={others[0]} as well"
                if others
                else "check the path: it must be the folder that holds this file",
            )
        return _loaded(engine, path)
    return path


def find_model(
    engine: str,
    name: str,
    models_dir: Path,
    *,
    index: DigestIndex | None = None,
    progress: Progress = no_progress,
    on_wait: Callable[[], None] = lambda: None,
) -> Path:
    """Return the file or folder of a model, ready to be loaded.

    A model that packages contain in pieces is joined first. If a model's bytes are known, they are
    verified, once per process and, with an index, only once.

    Args:
        engine: see `locate`.
        name: see `locate`.
        models_dir: see `locate`.
        index: remembers verified files.
        progress: called with the share of bytes joined. May raise `StoppedError`.
        on_wait: called once if another process is joining the same model.

    Raises:
        InputError: it is not installed, or its bytes are wrong.
    """
    found = locate(engine, name, models_dir)
    if found.model is None:
        return found.path
    if found.source is Source.HUB:
        raise InputError(
            f"the model {found.model.name} is not here",
            f"run: uv sync, or: spokenby models fetch {found.model.name}",
        )
    if found.source is Source.PARTS:
        join(found.model, models_dir, progress, on_wait)
    _check(found, index)
    return found.path


def _check(found: Found, index: DigestIndex | None) -> None:
    """Refuse a model whose files differ from the known ones, or that has more for its engine.

    An additional file may change what is loaded, and the model's identity does not cover it.
    """
    model, path = found.model, found.path
    if model is None:
        return
    if model.files and not loads_file(model.engine):
        for extra in sorted(path.rglob("*")):
            name = extra.relative_to(path).as_posix()
            if name not in model.files and KINDS[model.engine].takes(name) and extra.is_file():
                raise InputError(
                    f"{extra} is not part of the {model.name} that spokenby knows, and would be"
                    " loaded with it",
                    f"delete it, or name the folder in a run: --set …model={path}",
                )
    for name, file in model.files.items():
        where = path if loads_file(model.engine) else path / name
        if not _has_bytes(where, file, index):
            next_step = f"delete the folder {where.parent} and run the same command again"
            if found.source is Source.PACKAGE:
                next_step = f"run: {reinstall(model)}"
            raise wrong_bytes(model, name, str(where), next_step)


_compared: set[tuple[Path, int, int]] = set()
"""Files that this process has verified: path, size, time of change."""


def _has_bytes(path: Path, file: File, index: DigestIndex | None) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    key = (path.absolute(), stat.st_size, stat.st_mtime_ns)
    if key in _compared:
        return True
    if stat.st_size != file.size or digest_file(path, index) != file.sha256:
        return False
    _compared.add(key)
    return True


def identify(path: Path, index: DigestIndex) -> str:
    """Return a model's identity from its files: its name and the digest of its bytes."""
    record = read_record(path)
    return f"{record.name if record else path.name}:{digest_tree(path, index)[:16]}"


def identify_model(engine: str, name: str, models_dir: Path, index: DigestIndex) -> str:
    """Return the identity of the model that a run will load, even if it is not installed yet.

    If its bytes are known, nothing is read; every source gives the same identity.

    Raises:
        InputError: see `locate`.
    """
    found = locate(engine, name, models_dir)
    if found.model and found.model.files:
        return f"{found.model.name}:{_fingerprint(found.model)[:16]}"
    return identify(found.path, index)


def _fingerprint(model: Model) -> Digest:
    """Return the result of `digest_tree` for a model whose files are known."""
    if loads_file(model.engine):
        (file,) = model.files.values()
        return file.sha256
    return digest_of(*sorted((name, file.sha256) for name, file in model.files.items()))


def usable(engine: str, models_dir: Path) -> list[str]:
    """Return the names of an engine's models that are installed, or that a run fetches by itself.

    The engine's default comes first.
    """
    names = [model.name for model in CATALOGUE if model.engine == engine]
    names += sorted(record.name for _, record in installed(models_dir) if record.engine == engine)
    found = []
    for name in dict.fromkeys(names):
        with suppress(InputError):  # which says how to get it
            locate(engine, name, models_dir)
            found.append(name)
    return found
