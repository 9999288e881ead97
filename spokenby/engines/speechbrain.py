"""SpeechBrain's ECAPA-TDNN speaker encoder, batched by length."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
# On import it would switch TF32 on and the JIT's profiling off, for the whole process.
os.environ["SB_DISABLE_QUIRKS"] = "allow_tf32,disable_jit_profiling"

import numpy as np
import numpy.typing as npt
import ruamel.yaml
import torch
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.utils.fetching import FetchConfig, LocalStrategy

from spokenby.engines.torch import (
    autocast,
    choose_device,
    choose_dtype,
    full_precision,
    in_words,
    release_memory,
    run_in_batches,
)
from spokenby.errors import InputError
from spokenby.stages import intervals
from spokenby.types import SAMPLE_RATE_HZ, Device, Progress, Seconds, Span, Waveform, no_progress

# HyperPyYAML 1.2.2 makes ruamel's Loader by itself, and ruamel.yaml 0.19 looks for a limit there.
vars(ruamel.yaml)["Loader"].max_depth = 0
logging.getLogger("speechbrain").setLevel(logging.ERROR)

FETCH = "run: spokenby models fetch --profile studio"

SHORTEST_S: Seconds = 0.4
"""Shorter spans hold too little of a voice."""

LEAST_FILLED = 0.8
"""A batch holds no span shorter than this share of its longest: padding is wasted work."""

CPU_BATCH_S: Seconds = 16.0
"""Audio in a batch on a CPU. More does not fit its cache."""

GPU_BATCH_S: Seconds = 6.0
"""Audio in a batch per GiB of GPU memory: at about 50 MB a second, a third of it."""


class Speechbrain:
    """ECAPA-TDNN vectors, from a folder like `spkrec-ecapa-voxceleb`.

    Args:
        path: the folder: `hyperparams.yaml`, `embedding_model.ckpt` and other files it names.
        device: "auto" is CUDA if available.
        batch_size: most spans in a forward pass; None chooses by their length.
        compute_type: number type of the network, see `choose_dtype`; features stay float32. In
            bfloat16, vectors have a cosine of 0.999 to those in float32, and take half the time.

    Raises:
        InputError: the folder holds no such encoder, or a file in it is missing or broken.
    """

    def __init__(
        self,
        path: Path,
        device: Device = "auto",
        batch_size: int | None = None,
        compute_type: str = "float32",
    ) -> None:
        self._device = choose_device(device).type
        self._batch_size = batch_size
        self._batch_samples = SAMPLE_RATE_HZ * (
            GPU_BATCH_S * torch.cuda.get_device_properties(0).total_memory / 2**30
            if self._device == "cuda"
            else CPU_BATCH_S
        )
        self._encoder = _load(Path(path).resolve(), {"cpu": "cpu", "cuda": "cuda:0"}[self._device])
        network = self._encoder.mods["embedding_model"]
        device_used = torch.device(self._device)
        dtype = choose_dtype(compute_type, device_used)
        network.forward = _in_type(network.forward, dtype)
        self.computes_in = in_words(device_used, dtype)
        self._dimension = self._encode([np.zeros(SAMPLE_RATE_HZ, np.float32)]).shape[1]
        self.model = f"ecapa:{_digest(Path(path) / 'embedding_model.ckpt')}"

    def embed(
        self, waveform: Waveform, spans: Sequence[Span], progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return unit rows, shape (spans, dimension); NaN for a span shorter than 0.4 s."""
        first, last = np.rint(intervals.array(spans) * SAMPLE_RATE_HZ).astype(np.int64).T
        length = np.minimum(last, len(waveform.samples)) - first
        usable = int((length >= SHORTEST_S * SAMPLE_RATE_HZ).sum())
        result = np.full((len(spans), self._dimension), np.nan, np.float32)

        def encode(rows: Sequence[int]) -> npt.NDArray[np.float32]:
            return self._encode([waveform.samples[first[r] : first[r] + length[r]] for r in rows])

        done = 0
        for rows in self._batches(length, np.argsort(-length, kind="stable")[:usable]):
            seconds = math.ceil(length[rows[0]] / SAMPLE_RATE_HZ)
            parts = run_in_batches(
                rows.tolist(),
                len(rows),
                encode,
                key=(self._device, f"speechbrain, of {seconds} s"),
            )
            result[rows] = np.concatenate(list(parts))
            done += len(rows)
            progress(done / usable)
        release_memory(torch.device(self._device))
        return result / np.linalg.norm(result, axis=1, keepdims=True)

    def _batches(
        self, length: npt.NDArray[np.int64], order: npt.NDArray[np.intp]
    ) -> Iterator[npt.NDArray[np.intp]]:
        """Yield rows of similar length, the longest first."""
        while len(order):
            longest = length[order[0]]
            alike = int((length[order] >= LEAST_FILLED * longest).sum())
            count = min(alike, self._batch_size or max(1, int(self._batch_samples / longest)))
            yield order[:count]
            order = order[count:]

    @torch.inference_mode()
    def _encode(self, sounds: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return vectors, shape (sounds, dimension).

        Short audio is padded with its mirror image, which the pooling leaves out but the
        convolutions reach: with zeros, a second's vector would change by a cosine of 0.99 or less.
        """
        length = torch.tensor([len(sound) for sound in sounds])
        longest = int(length.max())
        batch = np.stack([np.pad(s, (0, longest - len(s)), mode="symmetric") for s in sounds])
        with full_precision():
            vectors = self._encoder.encode_batch(torch.from_numpy(batch), length / longest)
        return vectors.squeeze(1).float().numpy(force=True)


def _in_type(forward: Callable[..., Any], dtype: torch.dtype) -> Callable[..., Any]:
    """Return a network's forward function that computes in a number type."""

    def run(features: torch.Tensor, *rest: Any) -> torch.Tensor:
        with autocast(features.device, dtype):
            return forward(features, *rest)

    return run


def _load(folder: Path, device: str) -> EncoderClassifier:
    if not (folder / "hyperparams.yaml").is_file():
        raise InputError(
            f"{folder} is not a speechbrain encoder: it has no hyperparams.yaml", FETCH
        )
    try:
        encoder = EncoderClassifier.from_hparams(
            source=str(folder),
            # Wherever it was when it was made or fetched: the files are in this folder.
            overrides={"pretrained_path": folder.as_posix()},
            overrides_must_match=False,
            savedir=None,
            local_strategy=LocalStrategy.NO_LINK,
            fetch_config=FetchConfig(allow_network=False),
            run_opts={"device": device},
        )
        # It only warns about weights that don't fit, and continues with random ones.
        weights = torch.load(folder / "embedding_model.ckpt", "cpu", weights_only=True)
        encoder.mods["embedding_model"].load_state_dict(weights)
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 200, placeholder=" …")
        raise InputError(f"cannot use the encoder in {folder} ({reason})", FETCH) from error
    return encoder


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
