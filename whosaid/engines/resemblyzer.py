"""Resemblyzer's speaker encoder lives here; only its weights file is used, never the package.

Which segments stand for a speaker does not; see `embeddings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchaudio

from whosaid.engines.torch import (
    choose_device,
    choose_dtype,
    full_precision,
    in_words,
    release_memory,
)
from whosaid.types import SAMPLE_RATE_HZ, Progress, Seconds, Span, Waveform, no_progress

HOP_SAMPLES = 160
WINDOW_SAMPLES = 400
FRAMES_PER_S = SAMPLE_RATE_HZ / HOP_SAMPLES
MELS = 40
DIMENSION = 256

PARTIAL_FRAMES = 160
"""The encoder was trained on 1.6 s; a longer span is the mean of partials of that length."""

PARTIAL_HOP_FRAMES = 80
SHORTEST_S: Seconds = 0.4
LEVEL_POWER = 10 ** (-30 / 10)
"""Resemblyzer brings speech to -30 dBFS. Its mel is not logarithmic, so the level matters."""

BATCH = {"cpu": 64, "cuda": 1024}
"""Partials in a forward pass. A CPU's cache holds the states of 64, more are slower."""

BLOCK_S: Seconds = 300.0
"""Features of this much sound are held at once: bounds memory whatever the file's length."""


class Resemblyzer:
    """d-vectors of 256 dimensions, minus the mean over many speakers, renormalised.

    Without the subtraction all voices point the same way (the encoder ends in a ReLU). The mean is
    over LibriSpeech train-clean-100's speakers (CC BY 4.0), see `resemblyzer_mean.npy`.

    Args:
        path: `pretrained.pt` of the resemblyzer package.
        device: "auto" is CUDA where there is one.
        batch_size: partials a forward pass; never changes the result.
        compute_type: what the LSTM computes in, see `choose_dtype`. In bfloat16 vectors are those
            of float32 to a cosine of 0.999, and take half the time.

    Raises:
        InputError: a GPU is asked for and there is none.
    """

    model = "resemblyzer-0.1.4-centred"

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        batch_size: int | None = None,
        compute_type: str = "float32",
    ) -> None:
        self._device = choose_device(device)
        self._batch_size = batch_size or BATCH[self._device.type]
        self._lstm = torch.nn.LSTM(MELS, DIMENSION, num_layers=3, batch_first=True)
        self._linear = torch.nn.Linear(DIMENSION, DIMENSION)
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        for name, module in (("lstm", self._lstm), ("linear", self._linear)):
            prefix = f"{name}."
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
            module.to(self._device).eval().requires_grad_(requires_grad=False)
        # A GPU's LSTM in bfloat16 is slow or fast by the version of its library: not measured.
        exact = compute_type == "auto" and self._device.type == "cuda"
        self._dtype = choose_dtype("float32" if exact else compute_type, self._device)
        self._lstm.to(self._dtype)
        self.computes_in = in_words(self._device, self._dtype)
        # As librosa.feature.melspectrogram does it, but padded by the caller.
        self._mel = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE_HZ,
            n_fft=WINDOW_SAMPLES,
            hop_length=HOP_SAMPLES,
            n_mels=MELS,
            norm="slaney",
            mel_scale="slaney",
            center=False,
        ).to(self._device)
        with resources.as_file(resources.files(__package__) / "resemblyzer_mean.npy") as mean:
            self._mean = np.load(mean, allow_pickle=False)

    def embed(
        self, waveform: Waveform, spans: Sequence[Span], progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return unit rows, shape (spans, 256); NaN for a span shorter than 0.4 s."""
        times = np.array([(s.start, s.end) for s in spans], np.float64).reshape(-1, 2)
        result = np.full((len(spans), DIMENSION), np.nan, np.float32)
        first = np.rint(times[:, 0] * FRAMES_PER_S).astype(np.int64)
        last = np.minimum(
            np.rint(times[:, 1] * FRAMES_PER_S).astype(np.int64),
            len(waveform.samples) // HOP_SAMPLES,
        )
        usable = np.flatnonzero(last - first >= round(SHORTEST_S * FRAMES_PER_S))
        block = (times[usable, 0] // BLOCK_S).astype(np.int64)
        done = 0
        for number in np.unique(block):
            rows = usable[block == number]
            result[rows] = self._embed_block(waveform.samples, first[rows], last[rows])
            done += len(rows)
            progress(done / len(usable))
        release_memory(self._device)
        return result

    @torch.inference_mode()
    def _embed_block(
        self,
        samples: npt.NDArray[np.float32],
        first: npt.NDArray[np.int64],
        last: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32]:
        """Embed the frame ranges [first, last), each frame's features computed once."""
        starts, ends = _joined(first, last)
        pieces = [
            self._features(samples, start, end)
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        mel = torch.cat([mel for mel, _ in pieces])
        power = np.concatenate([power for _, power in pieces])
        left_out = starts - np.r_[0, np.cumsum(ends - starts)[:-1]]  # before each piece
        shift = left_out[np.searchsorted(starts, first, "right") - 1]
        span, frames = _partials(first - shift, last - shift)
        level = np.add.reduceat(power[frames].mean(axis=1), _starts(span)) / np.bincount(span)
        gain = torch.from_numpy((LEVEL_POWER / np.maximum(level, 1e-10))[span].astype(np.float32))
        index, gain = torch.from_numpy(frames).to(self._device), gain.to(self._device)
        encoded = torch.cat(
            [
                self._encode(mel[i] * g[:, None, None])
                for i, g in zip(
                    index.split(self._batch_size), gain.split(self._batch_size), strict=True
                )
            ]
        )
        pooled = _unit(np.add.reduceat(encoded.cpu().numpy(), _starts(span)))
        return _unit(pooled - self._mean)

    def _encode(self, mel: torch.Tensor) -> torch.Tensor:
        """Return unit rows for mels of shape (partials, frames, 40)."""
        with full_precision():
            _, (hidden, _) = self._lstm(mel.to(self._dtype))
        return torch.nn.functional.normalize(torch.relu(self._linear(hidden[-1].float())), dim=1)

    def _features(
        self, samples: npt.NDArray[np.float32], first: int, last: int
    ) -> tuple[torch.Tensor, npt.NDArray[np.float64]]:
        """Return mel, shape (frames, 40), and power, shape (frames,), of frames [first, last).

        Frame f is centred on sample 160 f; there are zeros outside the sound.
        """
        margin = WINDOW_SAMPLES // 2
        start, end = first * HOP_SAMPLES - margin, (last - 1) * HOP_SAMPLES + margin
        sound = np.zeros(end - start, np.float32)
        inside = samples[max(start, 0) : end]
        sound[max(-start, 0) :][: len(inside)] = inside
        mel = self._mel(torch.from_numpy(sound).to(self._device)).T.contiguous()
        hops = np.lib.stride_tricks.sliding_window_view(sound, HOP_SAMPLES)[margin::HOP_SAMPLES]
        power = np.einsum("ij,ij->i", hops, hops, dtype=np.float64) / HOP_SAMPLES
        return mel, power


def _partials(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each partial's span, shape (partials,), and its frames, shape (partials, 160).

    Partials of a span are spread evenly over it; a shorter span repeats until 1.6 s are full.
    """
    length = last - first
    free = np.maximum(length - PARTIAL_FRAMES, 0)
    count = -(-free // PARTIAL_HOP_FRAMES) + 1
    span = np.repeat(np.arange(len(first)), count)
    number = np.arange(len(span)) - np.repeat(np.cumsum(count) - count, count)
    offset = number * free[span] // np.maximum(count[span] - 1, 1)
    frames = (offset[:, None] + np.arange(PARTIAL_FRAMES)) % length[span, None]
    return span, first[span, None] + frames


def _joined(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where ranges that touch or overlap start and end together, sorted and apart."""
    order = np.argsort(first, kind="stable")
    start, end = first[order], np.maximum.accumulate(last[order])
    apart = np.flatnonzero(start[1:] > end[:-1])
    return start[np.r_[0, apart + 1]], end[np.r_[apart, -1]]


def _starts(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return where each run of equal values starts."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
