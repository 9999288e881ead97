"""pyannote's segmentation-3.0: which of up to three speakers are active, 10 s at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.torch_version import TorchVersion

from spokenby.engines.torch import (
    choose_device,
    full_precision,
    in_words,
    release_memory,
    run_in_batches,
)
from spokenby.errors import InputError
from spokenby.stages.local_speakers import CHUNK_S, CHUNK_STEP_S, count_chunks
from spokenby.types import SAMPLE_RATE_HZ, Progress, Waveform, no_progress

BATCH = {"cpu": 8, "cuda": 256}
"""Chunks in a forward pass. More do not fit a CPU's cache."""

CHUNK_SAMPLES = round(CHUNK_S * SAMPLE_RATE_HZ)
STEP_SAMPLES = round(CHUNK_STEP_S * SAMPLE_RATE_HZ)
CLASS_COUNT = 7

LOWEST_HZ = 50
NARROWEST_HZ = 50
"""SincNet's filters begin at least this high and are at least this wide."""

_PICKLED = ("Specifications", "Problem", "Resolution")
"""pyannote's classes that the checkpoint names. Placeholders allow reading it without pyannote."""


class Segmentation:
    """The network in float32: half precision speeds its LSTM up little and moves boundaries.

    Args:
        path: `pytorch_model.bin` of pyannote/segmentation-3.0.
        device: "auto" is CUDA if available.
        batch_size: chunks in a forward pass; changes the result by rounding only.

    Raises:
        InputError: a GPU is requested and there is none, or the file is not this network.
    """

    def __init__(self, path: Path, device: str = "auto", batch_size: int | None = None) -> None:
        self._device = choose_device(device)
        self._batch_size = batch_size or BATCH[self._device.type]
        self._network = _load(path).to(self._device)
        self.computes_in = in_words(self._device, torch.float32)

    @torch.inference_mode()
    def segment(
        self, waveform: Waveform, progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return probabilities of the powerset classes, shape (chunks, frames, 7)."""
        samples = waveform.samples
        chunks = range(count_chunks(waveform.duration))

        def classify(batch: Sequence[int]) -> npt.NDArray[np.float32]:
            sounds = np.zeros((len(batch), CHUNK_SAMPLES), np.float32)
            for sound, chunk in zip(sounds, batch, strict=True):
                inside = samples[chunk * STEP_SAMPLES :][:CHUNK_SAMPLES]
                sound[: len(inside)] = inside
            with full_precision():
                classes = self._network(torch.from_numpy(sounds).to(self._device))
            return classes.exp().numpy(force=True)

        results = []
        for classes in run_in_batches(
            chunks,
            self._batch_size,
            classify,
            key=(self._device.type, "segmentation"),
        ):
            results.append(classes)
            progress(min(1.0, sum(map(len, results)) / len(chunks)))
        release_memory(self._device)
        return np.concatenate(results)


class _PyanNet(nn.Module):
    """(batch, samples) → log-probabilities of the classes, (batch, frames, 7).

    SincNet, four bidirectional LSTM layers and two linear ones (Bredin and Laurent 2021,
    arXiv 2104.04045), with powerset classes (Plaquet and Bredin 2023, arXiv 2310.13025).
    """

    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList(
            [
                nn.Conv1d(1, 80, 251, stride=10, bias=False),
                nn.Conv1d(80, 60, 5),
                nn.Conv1d(60, 60, 5),
            ]
        )
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(width, affine=True) for width in (80, 60, 60))
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, CLASS_COUNT)

    def forward(self, sounds: torch.Tensor) -> torch.Tensor:
        x = self.wav_norm1d(sounds.unsqueeze(1))
        for layer, (convolve, norm) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            x = convolve(x)
            x = norm(nn.functional.max_pool1d(x if layer else x.abs(), 3))
            x = nn.functional.leaky_relu(x)
        x, _ = self.lstm(x.transpose(1, 2))
        for linear in self.linear:
            x = nn.functional.leaky_relu(linear(x))
        return torch.log_softmax(self.classifier(x), dim=-1)


def _load(path: Path) -> _PyanNet:
    stand_ins = [
        (type(name, (_StandIn,), {}), f"pyannote.audio.core.task.{name}") for name in _PICKLED
    ]
    try:
        with torch.serialization.safe_globals([*stand_ins, TorchVersion]):
            state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        first = "sincnet.conv1d.0.filterbank."
        filters = [state.pop(first + name) for name in ("low_hz_", "band_hz_", "window_", "n_")]
        weights = {name.removeprefix("sincnet."): value for name, value in state.items()}
        network = _PyanNet()
        network.load_state_dict({**weights, "conv1d.0.weight": _sinc_filters(*filters)})
    except Exception as error:  # torch and pickle raise without a common class
        raise InputError(
            f"{path} is not pyannote's segmentation-3.0 ({type(error).__name__})",
            "check the file: spokenby models verify",
        ) from error
    return network.eval().requires_grad_(requires_grad=False)


class _StandIn:
    """Replaces a class of pyannote's while its checkpoint is read."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _sinc_filters(
    low: torch.Tensor, band: torch.Tensor, window: torch.Tensor, n: torch.Tensor
) -> torch.Tensor:
    """Return SincNet's band-pass filters as weights of a convolution, shape (80, 1, 251).

    Half of them are even and half odd (Ravanelli and Bengio 2018, arXiv 1808.00158; Pariente et
    al. 2020, arXiv 1910.10400).

    Args:
        low: lower edges in Hz above `LOWEST_HZ`, shape (40, 1).
        band: widths in Hz above `NARROWEST_HZ`, shape (40, 1).
        window: the left half of a Hamming window, shape (125,).
        n: angle per Hz of each of the taps left of the middle, shape (1, 125).
    """
    low = LOWEST_HZ + low.abs()
    high = (low + NARROWEST_HZ + band.abs()).clamp(LOWEST_HZ, SAMPLE_RATE_HZ / 2)
    at_low, at_high, width = low @ n, high @ n, high - low
    even = (at_high.sin() - at_low.sin()) / (n / 2) * window
    odd = (at_low.cos() - at_high.cos()) / (n / 2) * window
    filters = torch.cat(
        [
            torch.cat([even, 2 * width, even.flip(1)], dim=1),
            torch.cat([odd, torch.zeros_like(width), -odd.flip(1)], dim=1),
        ]
    )
    return (filters / (2 * width).repeat(2, 1)).unsqueeze(1)
