"""Compute the log-mel spectrogram that Whisper reads with torch.

faster-whisper's own, in numpy, takes twice the time and holds the GIL for much of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from faster_whisper.feature_extractor import FeatureExtractor

from spokenby.engines.torch import full_precision


class LogMel:
    """What `FeatureExtractor` computes, to 1e-4.

    Args:
        mels: how many bands the model reads.
        device: where to compute, "cpu" or "cuda".
    """

    def __init__(self, mels: int, device: str) -> None:
        self._like = FeatureExtractor(feature_size=mels)
        self._filters = torch.from_numpy(self._like.mel_filters.astype(np.float32)).to(device)
        self._window = torch.hann_window(self._like.n_fft, device=device)

    @torch.inference_mode()
    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the spectrogram, shape (mels, frames of 30 s), of audio padded with silence.

        The audio is padded, as in Whisper's training; faster-whisper pads the spectrogram with
        zeros, which are not silence.
        """
        samples = samples[: self._like.n_samples]
        padded = np.pad(samples, (0, self._like.n_samples - len(samples)))
        with full_precision():
            spectrum = torch.stft(
                torch.from_numpy(padded).to(self._window.device),
                self._like.n_fft,
                self._like.hop_length,
                window=self._window,
                return_complex=True,
            )[:, :-1]
            mel = self._filters @ (spectrum.real.square() + spectrum.imag.square())
        log = mel.clamp(min=1e-10).log10()
        return ((log.maximum(log.max() - 8.0) + 4.0) / 4.0).numpy(force=True)
