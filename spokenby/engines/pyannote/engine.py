"""The diarizer: pyannote's pipeline, run on a waveform in memory."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.core import Annotation

from spokenby.engines.pyannote.loading import load_pipeline
from spokenby.engines.torch import (
    choose_device,
    choose_dtype,
    full_precision,
    in_words,
    release_memory,
)
from spokenby.stages.diarization import Params
from spokenby.types import Device, Progress, SpeechRegions, Turn, Waveform, no_progress, no_release

SEGMENTATION_BATCH = {"cpu": 16, "cuda": 128}
EMBEDDING_BATCH = {"cpu": 4, "cuda": 32}
"""Chunks of 10 s per batch. More only take memory; where that is short, batches get smaller."""

STEPS = {
    "segmentation": (0.0, 0.1),
    "embeddings": (0.1, 0.9),
    "discrete_diarization": (0.9, 1.0),
}
"""The fractions of the work at which each of pyannote's steps starts and ends."""


class Pyannote:
    """A pipeline like community-1 or 3.1, from a folder.

    It reads waveforms, never files, so torchcodec and FFmpeg's libraries don't matter to it.

    Args:
        path: the folder: `config.yaml` and the models it names.
        device: "auto" is CUDA if available.
        compute_type: number type of the speaker network, see `choose_dtype`. "float32" gives
            the same turns as stock pyannote.
        threads: CPU threads; None is torch's choice.

    Raises:
        InputError: the folder holds no such pipeline, or a file in it is missing or broken.
    """

    def __init__(
        self,
        path: Path,
        device: Device = "auto",
        compute_type: str = "float32",
        threads: int | None = None,
    ) -> None:
        self._device = choose_device(device)
        self._threads = threads
        self._pipeline = load_pipeline(Path(path))
        self._pipeline.compute_type = choose_dtype(compute_type, self._device)
        self.computes_in = in_words(self._device, self._pipeline.compute_type)
        self._pipeline.to(self._device)

    def diarize(
        self,
        waveform: Waveform,
        speech: SpeechRegions | None,  # noqa: ARG002 - pyannote finds speech by itself
        params: Params,
        progress: Progress = no_progress,
        release: Callable[[], None] = no_release,
    ) -> tuple[list[Turn], list[Turn]]:
        """Return regular turns, which may overlap, and exclusive turns, which do not."""
        if not len(waveform.samples):
            return [], []
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # holds for the calling thread only
        kind = self._device.type
        pipeline = self._pipeline
        pipeline.segmentation_batch_size = params.batch_size or SEGMENTATION_BATCH[kind]
        pipeline.embedding_batch_size = params.batch_size or EMBEDDING_BATCH[kind]
        sound = torch.from_numpy(np.asarray(waveform.samples))[None]
        file = {"uri": "", "waveform": sound.to(self._device), "sample_rate": waveform.rate_hz}
        with ExitStack() as networks:
            networks.enter_context(full_precision())
            networks.callback(release_memory, self._device)

            def finish() -> None:
                del file["waveform"]
                networks.close()
                release()

            # Not by calling it: that would reset torch's global switches while others compute.
            output: Any = pipeline.apply(
                file,
                num_speakers=params.num_speakers,
                min_speakers=params.min_speakers,
                max_speakers=params.max_speakers,
                hook=_hook(progress, finish),
            )
        return _turns(output.speaker_diarization), _turns(output.exclusive_speaker_diarization)


def _hook(progress: Progress, finish: Callable[[], None]) -> Callable[..., None]:
    """Return the hook that pyannote calls with a step's result or progress."""

    def hook(step: str, result: Any, *, total: int = 1, completed: int = 1, **_file: Any) -> None:
        if step == "embeddings" and result is not None:
            finish()
        if step in STEPS:
            begin, end = STEPS[step]
            progress(begin + (end - begin) * min(completed / total, 1.0))

    return hook


def _turns(annotation: Annotation) -> list[Turn]:
    return [
        Turn(start=segment.start, end=segment.end, speaker=speaker)
        for segment, _, speaker in annotation.itertracks(yield_label=True)
    ]
