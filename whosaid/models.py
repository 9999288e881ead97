"""Which models there are, where their files lie and what identifies them, lives here.

Loading them does not; see `engines/loading.py`.
"""

from importlib.util import find_spec
from pathlib import Path

from whosaid.digests import DigestIndex, digest_tree
from whosaid.errors import InputError
from whosaid.types import Frozen


class Model(Frozen):
    """A model that whosaid knows by name.

    `package` and `inside` name the installed Python package whose files hold the model. Only such
    models need no download.
    """

    name: str
    engine: str
    package: str
    inside: str


CATALOGUE = (
    Model(
        name="silero-vad",
        engine="silero",
        package="faster_whisper",
        inside="assets/silero_vad_v6.onnx",
    ),
    Model(
        name="resemblyzer",
        engine="resemblyzer",
        package="resemblyzer",
        inside="pretrained.pt",
    ),
    Model(
        name="pocketsphinx-en-us",
        engine="pocketsphinx",
        package="pocketsphinx",
        inside="model/en-us",
    ),
)


def default_model(engine: str) -> Model:
    """Return the model that an engine uses where the run names none."""
    return next(model for model in CATALOGUE if model.engine == engine)


def find_model(engine: str, name: str, models_dir: Path) -> Path:
    """Return the file or folder that holds a model.

    Args:
        engine: the engine that will load it.
        name: a catalogue name, a local folder, or empty for the engine's default.
        models_dir: the site's folder of fetched models.

    Raises:
        InputError: the model is unknown or its files are not here.
    """
    if name and Path(name).exists():
        return Path(name)
    model = default_model(engine)
    if name and name != model.name:
        raise InputError(
            f"model {name!r} is neither known to the engine {engine} nor a folder",
            f"use {model.name!r} or the path of a folder",
        )
    path = _in_package(model)
    if not path.exists():
        raise InputError(
            f"the model {model.name} is missing from the installed package {model.package}",
            f"reinstall it: uv sync --reinstall-package {model.package.replace('_', '-')}",
        )
    return path


def _in_package(model: Model) -> Path:
    spec = find_spec(model.package)  # finds the folder without importing the library
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {model.package} is not installed", "run: uv sync")
    return Path(spec.submodule_search_locations[0]) / model.inside


def identify(path: Path, index: DigestIndex) -> str:
    """Name a model by what is on disk: its file name and the fingerprint of its bytes."""
    return f"{path.name}:{digest_tree(path, index)[:16]}"
