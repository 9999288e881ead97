"""The engines by name, and the one copy of each model that a process loads."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.models import find_model
from spokenby.stages import diarization, embeddings, speech, transcription
from spokenby.stages.diarization import Diarizer
from spokenby.stages.embeddings import Embedder
from spokenby.stages.speech import Segmenter, VoiceActivity
from spokenby.stages.transcription import Transcriber
from spokenby.types import StageParams


class Engine(NamedTuple):
    """An engine that loads a model; its module in this package has its name.

    Attributes:
        loads: the class in that module; its first argument is the model's path.
        options: its other arguments, which are params of the same names.
        packages: the Python packages whose versions affect its results.
    """

    loads: str
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


ENGINES = {
    "silero": Engine("Silero"),
    "segmentation": Engine("Segmentation", ("device", "batch_size"), ("torch",)),
    "campplus": Engine("CamPlus", ("device", "batch_size", "compute_type"), ("torch",)),
    "speechbrain": Engine(
        "Speechbrain", ("device", "batch_size", "compute_type"), ("torch", "speechbrain")
    ),
    "pyannote": Engine("Pyannote", ("device", "compute_type"), ("torch", "pyannote.audio")),
    "faster_whisper": Engine(
        "FasterWhisper",
        ("device", "compute_type", "cpu_threads", "workers"),
        ("faster-whisper", "ctranslate2"),
    ),
}

_loaded: dict[tuple[Any, ...], tuple[Any, threading.Lock]] = {}
_loading = threading.Lock()


@contextmanager
def _only_one(key: tuple[Any, ...], load: Callable[[], Any]) -> Iterator[Any]:
    """Yield the one copy of a model in this process, to one thread at a time.

    Models are loaded one after the other, since their libraries must not be imported concurrently.
    A model that is loaded already does not wait for that.
    """
    if (found := _loaded.get(key)) is None:
        with _loading:
            if (found := _loaded.get(key)) is None:
                found = _loaded[key] = (load(), threading.Lock())
    model, lock = found
    with lock:
        yield model


@contextmanager
def _engine(
    name: str, model: str, models_dir: Path, params: StageParams | None = None
) -> Iterator[Any]:
    """Yield an engine. Its options are fields of the params, or of the engine's params in them."""
    engine, path = ENGINES[name], find_model(name, model, models_dir)
    engine_params = getattr(params, name, None)
    options = {
        option: getattr(engine_params if hasattr(engine_params, option) else params, option)
        for option in engine.options
    }

    def load() -> Any:
        module = import_module(f"spokenby.engines.{name}")
        return getattr(module, engine.loads)(path, **options)

    with _only_one((name, path, *options.values()), load) as loaded:
        yield loaded


def load_voice_activity(models_dir: Path) -> AbstractContextManager[VoiceActivity]:
    """Return a context that yields the voice activity detector."""
    return _engine("silero", "", models_dir)


def load_segmenter(params: speech.Params, models_dir: Path) -> AbstractContextManager[Segmenter]:
    """Return a context that yields the segmentation network."""
    return _engine("segmentation", "", models_dir, params)


def load_embedder(params: embeddings.Params, models_dir: Path) -> AbstractContextManager[Embedder]:
    """Return a context that yields the speaker encoder that the params choose."""
    return _engine(params.engine, params.model, models_dir, params)


@contextmanager
def load_diarizer(params: diarization.Params, models_dir: Path) -> Iterator[Diarizer]:
    """Yield the diarizer that the params choose."""
    ((name, model),) = params.models()
    with _engine(name, model, models_dir, params) as loaded:
        if params.engine == "clustering":  # has no model but its speaker encoder's
            from spokenby.engines.clustering import Clustering

            yield Clustering(loaded)
        else:
            yield loaded


def load_transcriber(
    params: transcription.Params, models_dir: Path
) -> AbstractContextManager[Transcriber]:
    """Return a context that yields the recognizer that the params choose."""
    return _engine(params.engine, params.model, models_dir, params)
