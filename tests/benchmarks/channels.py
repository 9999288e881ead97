"""Sounds as telephones, codecs, noise and rooms leave them: 16 kHz mono, as long as before."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

from spokenby.types import SAMPLE_RATE_HZ

Samples = npt.NDArray[np.float32]
CODERS = {
    "mp3": ("libmp3lame", "mp3", SAMPLE_RATE_HZ),
    "opus": ("libopus", "ogg", SAMPLE_RATE_HZ),
    "amr": ("libopencore_amrnb", "amr", 8000),
}
"""What ffmpeg calls a codec, the ending of its files, and its sample rate in Hz."""


def noisy(sound: Samples, noise: npt.NDArray[np.floating], below_db: float) -> Samples:
    """Return a sound with a noise as many dB below its own level, pauses included."""
    level = float(sound.std()) * 10 ** (-below_db / 20) / noise.std()
    return np.asarray(sound + level * noise, dtype=np.float32)


def pink_noise(length: int, draw: np.random.Generator) -> Samples:
    """Return noise whose power falls by 3 dB an octave, as that of most places."""
    spectrum = np.fft.rfft(draw.standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return np.fft.irfft(spectrum, length).astype(np.float32)


def in_a_room(sound: Samples, draw: np.random.Generator) -> Samples:
    """Return a sound with an echo of 0.25 to 0.6 s until -60 dB, as loud as what comes directly."""
    decay = np.exp(-6.9 * np.arange(8000) / (draw.uniform(0.25, 0.6) * SAMPLE_RATE_HZ))
    echo = decay * draw.standard_normal(8000)
    echo /= np.linalg.norm(echo)
    echo[0] += 1
    out = fftconvolve(sound, echo)[: len(sound)]
    return np.asarray(out * sound.std() / out.std(), dtype=np.float32)


def telephone(sound: Samples) -> Samples:
    """Return a sound at 8 kHz, from 300 to 3400 Hz, in the 8 bits of G.711's mu-law."""
    narrow = resample_poly(sound, 1, 2)
    band = butter(4, [300, 3400], "bandpass", fs=SAMPLE_RATE_HZ // 2, output="sos")
    narrow = sosfiltfilt(band, narrow)
    level = np.sign(narrow) * np.log1p(255 * np.abs(narrow).clip(0, 1)) / np.log(256)
    level = np.round(127 * level) / 127
    narrow = np.sign(level) * (256 ** np.abs(level) - 1) / 255
    return np.asarray(resample_poly(narrow, 2, 1)[: len(sound)], dtype=np.float32)


def compressed(sound: Samples, codec: str, bit_rate: str) -> Samples:
    """Return a sound that went through a codec of `CODERS`; `bit_rate` as ffmpeg reads it."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    form = ["-f", "f32le", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1"]
    coder, ending, rate_hz = CODERS[codec]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / f"sound.{ending}"
        encode = ["-c:a", coder, "-ar", str(rate_hz), "-b:a", bit_rate, packed]
        subprocess.run([*ffmpeg, *form, "-i", "-", *encode], input=sound.tobytes(), check=True)
        raw = subprocess.run([*ffmpeg, "-i", packed, *form, "-"], capture_output=True, check=True)
    out = np.frombuffer(raw.stdout, np.float32)[: len(sound)]
    return np.pad(out, (0, len(sound) - len(out)))
