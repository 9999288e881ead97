"""CAM++, a speaker encoder of 192 dimensions, from its published weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

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
from spokenby.types import SAMPLE_RATE_HZ, Progress, Seconds, Span, Waveform, no_progress

FRAMES_PER_S = 100
FRAME_SAMPLES = 400
HOP_SAMPLES = SAMPLE_RATE_HZ // FRAMES_PER_S
MELS = 80
DIMENSION = 192

SHORTEST_S: Seconds = 0.4
"""Shorter spans hold too little of a voice."""

ALIKE_FRAMES = 20
"""Spans are trimmed on both sides to a multiple of this: those of equal length share a batch, which
needs no padding."""

BATCH_FRAMES = {"cpu": 2500, "cuda": 80_000}
"""Frames in a forward pass: on a CPU 16 windows of 1.6 s, which fit its cache."""

CHANNELS = Path(__file__).with_name("campplus_channels.npy")
"""Eight orthonormal rows: the directions in which telephones, codecs, noise and rooms shift voices.
They are projected out of every vector: of 45 other readers across channels, 82 % of pairs are more
similar than any two readers, instead of 66 %; the equal error rate falls from 2.7 to 1.4 %. Made by
tests/benchmarks/voice_identity.py --directions."""

BLOCK_S: Seconds = 300.0
"""Features are computed for this much audio at once: bounds memory whatever the file's length."""


class CamPlus:
    """Voice vectors of 192 dimensions (Wang et al. 2023, arXiv 2303.00332), not centered.

    `channels`, shape (directions, 192), is projected out of them, see `CHANNELS`.

    Args:
        path: `campplus_cn_en_common.pt`, trained on 200,000 speakers of Chinese and English.
        device: "auto" is CUDA if available.
        batch_size: spans of 1.6 s in a forward pass; changes the result by rounding only.
        compute_type: number type of the network, see `choose_dtype`; features and pooling stay
            float32. In bfloat16, vectors have a cosine of 0.999 to those in float32.

    Raises:
        InputError: a GPU is requested and there is none, or the file is not this network.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        batch_size: int | None = None,
        compute_type: str = "float32",
    ) -> None:
        self._device = choose_device(device)
        self._dtype = choose_dtype(compute_type, self._device)
        self._batch_frames = batch_size * 160 if batch_size else BATCH_FRAMES[self._device.type]
        self._network = _load(path).to(self._device)
        content = path.read_bytes() + CHANNELS.read_bytes()  # both decide on every vector
        self.model = f"campplus-{hashlib.sha256(content).hexdigest()[:16]}"
        self.channels: npt.NDArray[np.float32] = np.load(CHANNELS)
        self.computes_in = in_words(self._device, self._dtype)

    @torch.inference_mode()
    def embed(
        self, waveform: Waveform, spans: Sequence[Span], progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return unit rows, shape (spans, 192); NaN for a span shorter than 0.4 s."""
        result = np.full((len(spans), DIMENSION), np.nan, np.float32)
        first, length = _frames(spans, len(waveform.samples))
        usable = np.flatnonzero(length)
        block = first[usable] // round(BLOCK_S * FRAMES_PER_S)
        done = 0
        for number in np.unique(block).tolist():
            rows = usable[block == number]
            begin = int(first[rows].min())
            features = self._features(waveform, begin, int((first + length)[rows].max()))
            for frames in np.unique(length[rows])[::-1].tolist():
                alike = rows[length[rows] == frames]
                result[alike] = self._embed(features, first[alike] - begin, frames)
                done += len(alike)
                progress(done / len(usable))
        release_memory(self._device)
        result /= np.linalg.norm(result, axis=1, keepdims=True)
        result -= result @ self.channels.T @ self.channels
        return result / np.linalg.norm(result, axis=1, keepdims=True)

    def _embed(
        self, features: torch.Tensor, first: npt.NDArray[np.int64], frames: int
    ) -> npt.NDArray[np.float32]:
        """Embed ranges of `frames` features that begin at `first`."""
        steps = torch.arange(frames, device=self._device)

        def encode(begin: Sequence[int]) -> npt.NDArray[np.float32]:
            rows = features[torch.tensor(begin, device=self._device)[:, None] + steps]
            rows = rows - rows.mean(dim=1, keepdim=True)
            with full_precision(), autocast(self._device, self._dtype):
                return self._network(rows).float().numpy(force=True)

        batches = run_in_batches(
            first.tolist(),
            max(1, self._batch_frames // frames),
            encode,
            key=(self._device.type, f"campplus, of {frames} frames"),
        )
        return np.concatenate(list(batches))

    def _features(self, waveform: Waveform, first: int, last: int) -> torch.Tensor:
        """Return log-mel features of the frames first…last-1, shape (frames, 80), as Kaldi's."""
        sound = waveform.samples[first * HOP_SAMPLES : (last - 1) * HOP_SAMPLES + FRAME_SAMPLES]
        return torchaudio.compliance.kaldi.fbank(
            torch.from_numpy(np.array(sound)).to(self._device)[None],
            num_mel_bins=MELS,
            sample_frequency=SAMPLE_RATE_HZ,
            dither=0.0,
        )


def _frames(
    chosen: Sequence[Span], samples: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each span's first feature frame, and how many to use; 0 if it is too short."""
    times = np.rint(intervals.array(chosen) * FRAMES_PER_S).astype(np.int64)
    there = max(0, (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1)
    # The last frames of a span reach beyond its end.
    last = np.minimum(times[:, 1] - 2, there)
    length = np.maximum(last - times[:, 0], 0)
    kept = length // ALIKE_FRAMES * ALIKE_FRAMES
    long_enough = length + 2 >= SHORTEST_S * FRAMES_PER_S
    kept = np.where(long_enough & (kept < SHORTEST_S * FRAMES_PER_S), length, kept)
    return times[:, 0] + (length - kept) // 2, np.where(long_enough, kept, 0)


def _load(path: Path) -> nn.Module:
    network = _CamPlus()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch and pickle raise without a common class
        raise InputError(
            f"{path} is not the speaker encoder CAM++ ({type(error).__name__})",
            "check the file: spokenby models verify",
        ) from error
    return network.eval().fused().requires_grad_(requires_grad=False)


def _norm_relu(channels: int) -> nn.Module:
    block = nn.Sequential()
    block.add_module("batchnorm", nn.BatchNorm1d(channels))
    block.add_module("relu", nn.ReLU())
    return block


class _Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut, halving the frequency axis where `stride` is 2."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, (stride, 1), bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _Head(nn.Module):
    """Convolutions over time and frequency: (batch, mels, frames) → (batch, 4 · mels, frames)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(_Residual(channels, 2), _Residual(channels, 1))
        self.layer2 = nn.Sequential(_Residual(channels, 2), _Residual(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(1)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.layer2(self.layer1(y))
        return torch.relu(self.bn2(self.conv2(y))).flatten(1, 2)


class _ContextMask(nn.Module):
    """A convolution whose output is weighted by what is around it: the "CAM" of CAM++."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(inputs, inputs // 2, 1)
        self.linear2 = nn.Conv1d(inputs // 2, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.shape[-1]
        near = nn.functional.avg_pool1d(x, 100, 100, ceil_mode=True)
        near = near.repeat_interleave(100, dim=-1)[..., :frames]
        context = x.mean(-1, keepdim=True) + near
        mask = torch.sigmoid(self.linear2(torch.relu(self.linear1(context))))
        return self.linear_local(x) * mask


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int, bottleneck: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _norm_relu(inputs)
        self.linear1 = nn.Conv1d(inputs, bottleneck, 1, bias=False)
        self.nonlinear2 = _norm_relu(bottleneck)
        self.cam_layer = _ContextMask(bottleneck, growth, dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class _DenseBlock(nn.Module):
    def __init__(self, layers: int, inputs: int, dilation: int, growth: int = 32) -> None:
        super().__init__()
        for i in range(layers):
            self.add_module(
                f"tdnnd{i + 1}", _DenseLayer(inputs + i * growth, growth, 4 * growth, dilation)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class _Transit(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.nonlinear = _norm_relu(inputs)
        self.linear = nn.Conv1d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.nonlinear(x))


class _Tdnn(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _norm_relu(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.nonlinear(self.linear(x))


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 1, bias=False)
        self.nonlinear = nn.Sequential()
        self.nonlinear.add_module("batchnorm", nn.BatchNorm1d(outputs, affine=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.nonlinear(self.linear(x.unsqueeze(-1)).squeeze(-1))


class _CamPlus(nn.Module):
    """CAM++ (Wang et al. 2023, arXiv 2303.00332): (batch, frames, 80 mels) → (batch, 192)."""

    def __init__(self, mels: int = 80, dimension: int = 192) -> None:
        super().__init__()
        self.head = _Head()
        xvector = nn.Sequential()
        xvector.add_module("tdnn", _Tdnn(4 * mels, 128))
        channels = 128
        for number, (layers, dilation) in enumerate([(12, 1), (24, 2), (16, 2)], 1):
            xvector.add_module(f"block{number}", _DenseBlock(layers, channels, dilation))
            channels += 32 * layers
            xvector.add_module(f"transit{number}", _Transit(channels))
            channels //= 2
        xvector.add_module("out_nonlinear", _norm_relu(channels))
        xvector.add_module("dense", _Dense(2 * channels, dimension))
        self.xvector = xvector

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.head(features.transpose(1, 2))
        for name, layer in self.xvector.named_children():
            if name != "dense":
                x = layer(x)
        x = x.float()
        x = torch.cat([x.mean(-1), x.std(-1, unbiased=True)], dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            dense: nn.Module = self.xvector.get_submodule("dense")
            pooled: torch.Tensor = dense(x)
            return pooled

    def fused(self) -> _CamPlus:
        """Fold each normalization that follows a convolution into it; return this network."""
        for module in self.modules():
            for first, then in (("conv1", "bn1"), ("conv2", "bn2")):
                if hasattr(module, then):
                    fused = fuse_conv_bn_eval(getattr(module, first), getattr(module, then))
                    setattr(module, first, fused)
                    setattr(module, then, nn.Identity())
            if isinstance(module, _DenseLayer):
                norm: Any = module.nonlinear2.batchnorm
                module.linear1 = fuse_conv_bn_eval(module.linear1, norm)
                module.nonlinear2 = nn.ReLU()
        return self
