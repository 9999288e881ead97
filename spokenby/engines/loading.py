"""Which class loads which engine, and the one loaded copy of each, lives here.

An engine's code does not: it is in the file named after its library, imported when first asked for.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, assert_never

from spokenby.models import find_model
from spokenby.stages import diarization, embeddings, speech, transcription
from spokenby.stages.diarization import Diarizer
from spokenby.stages.embeddings import Embedder
from spokenby.stages.speech import Segmenter, VoiceActivity
from spokenby.stages.transcription import Transcriber

EmbedderName = Literal["campplus", "speechbrain"]
DeviceName = Literal["auto", "cpu", "cuda"]

_loaded: dict[tuple[Any, ...], tuple[Any, threading.Lock]] = {}
_loading = threading.Lock()


@contextmanager
def _only_one(key: tuple[Any, ...], load: Callable[[], Any]) -> Iterator[Any]:
    """Yield the one copy of a model in this process, to one thread at a time.

    One is loaded after the other: their libraries must not be imported at once. Whoever wants one
    that is there need not wait for that.
    """
    if (found := _loaded.get(key)) is None:
        with _loading:
            if (found := _loaded.get(key)) is None:
                found = _loaded[key] = (load(), threading.Lock())
    model, lock = found
    with lock:
        yield model


def release_models() -> None:
    """Forget every loaded model, so that its memory can be freed."""
    with _loading:
        _loaded.clear()


@contextmanager
def load_voice_activity(models_dir: Path) -> Iterator[VoiceActivity]:
    """Yield the detector of speech."""
    path = find_model("silero", "", models_dir)

    def load() -> VoiceActivity:
        from spokenby.engines.silero import Silero

        return Silero(path)

    with _only_one(("silero", path), load) as model:
        yield model


@contextmanager
def load_segmenter(params: speech.Params, models_dir: Path) -> Iterator[Segmenter]:
    """Yield the network that tells local speakers apart."""
    path = find_model("segmentation", "", models_dir)

    def load() -> Segmenter:
        from spokenby.engines.segmentation import Segmentation

        return Segmentation(path, params.device, params.batch_size)

    with _only_one(("segmentation", path, params.device, params.batch_size), load) as model:
        yield model


@contextmanager
def load_embedder(params: embeddings.Params, models_dir: Path) -> Iterator[Embedder]:
    """Yield the embedder that a run chose."""
    options = (params.device, params.batch_size, params.compute_type)
    with _embedder(params.engine, params.model, models_dir, *options) as it:
        yield it


@contextmanager
def _embedder(
    engine: EmbedderName,
    model: str,
    models_dir: Path,
    device: DeviceName,
    batch_size: int | None,
    compute_type: str,
) -> Iterator[Embedder]:
    path = find_model(engine, model, models_dir)

    def load() -> Embedder:
        match engine:
            case "campplus":
                from spokenby.engines.campplus import CamPlus

                return CamPlus(path, device, batch_size, compute_type)
            case "speechbrain":
                from spokenby.engines.speechbrain import Speechbrain

                return Speechbrain(path, device, batch_size, compute_type)
            case _:
                assert_never(engine)

    with _only_one((engine, path, device, batch_size, compute_type), load) as embedder:
        yield embedder


@contextmanager
def load_diarizer(params: diarization.Params, models_dir: Path) -> Iterator[Diarizer]:
    """Yield the diarizer that a run chose."""
    match params.engine:
        case "clustering":
            from spokenby.engines.clustering import Clustering

            options = (params.device, params.batch_size, params.compute_type)
            with _embedder(params.embedder, params.model, models_dir, *options) as embedder:
                yield Clustering(embedder)
        case "pyannote":
            path = find_model("pyannote", params.model, models_dir)

            def load() -> Diarizer:
                from spokenby.engines.pyannote import Pyannote

                return Pyannote(path, device=params.device, compute_type=params.compute_type)

            key = ("pyannote", path, params.device, params.compute_type)
            with _only_one(key, load) as diarizer:
                yield diarizer
        case _:
            assert_never(params.engine)


@contextmanager
def load_transcriber(params: transcription.Params, models_dir: Path) -> Iterator[Transcriber]:
    """Yield the recogniser that a run chose."""
    path = find_model(params.engine, params.model, models_dir)

    def load() -> Transcriber:
        match params.engine:
            case "faster_whisper":
                from spokenby.engines.faster_whisper import FasterWhisper

                return FasterWhisper(
                    path,
                    device=params.device,
                    compute_type=params.compute_type,
                    cpu_threads=params.cpu_threads,
                    workers=params.workers,
                )
            case _:
                assert_never(params.engine)

    options = (params.device, params.compute_type, params.cpu_threads, params.workers)
    with _only_one((params.engine, path, *options), load) as transcriber:
        yield transcriber
