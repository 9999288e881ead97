"""Test videos are made here with PyAV: sounds of any rate, layout, codec and start.

What spokenby ships as samples is not; see `spokenby/site/sample_videos.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

PICTURES_PER_S = 5


@dataclass(frozen=True)
class Sound:
    """One audio stream. `samples` has shape (channels, samples), in -1…1."""

    samples: npt.NDArray[np.float32]
    rate_hz: int = 16_000
    layout: str = "mono"
    codec: str = "aac"
    start: float = 0.0
    language: str = ""
    title: str = ""
    default: bool = False

    @property
    def end(self) -> float:
        return self.start + self.samples.shape[1] / self.rate_hz


def tone(
    seconds: float,
    hz: float = 440.0,
    *,
    rate_hz: int = 16_000,
    channels: int = 1,
    peak: float = 0.5,
) -> npt.NDArray[np.float32]:
    """Return the same sine in every channel, shape (channels, samples)."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.tile(peak * np.sin(2 * np.pi * hz * time), (channels, 1)).astype(np.float32)


def silence(seconds: float, *, rate_hz: int = 16_000) -> npt.NDArray[np.float32]:
    return np.zeros((1, round(seconds * rate_hz)), np.float32)


def beeps(seconds: float, *at: float, rate_hz: int = 16_000) -> npt.NDArray[np.float32]:
    """Return silence with a tone of 0.2 s at each of the times, shape (1, samples)."""
    samples = silence(seconds, rate_hz=rate_hz)
    beep = tone(0.2, 1000, rate_hz=rate_hz)
    for time in at:
        first = round(time * rate_hz)
        samples[:, first : first + beep.shape[1]] = beep
    return samples


def beeps_at(samples: npt.NDArray[np.float32], rate_hz: int = 16_000) -> list[float]:
    """Return when sound begins, in seconds, rounded to 0.01."""
    loud = np.abs(samples) > 0.1
    smeared = np.convolve(loud, np.ones(rate_hz // 20), "full")[: len(loud)] > 0.5
    return [
        round(float(n) / rate_hz, 2) for n in np.flatnonzero(np.diff(smeared, prepend=False))[::2]
    ]


def make_video(path: Path, *sounds: Sound, picture: bool = True, seconds: float = 0.0) -> Path:
    """Write the sounds, and a grey picture as long as they are (at least `seconds`), to a file.

    The container follows the name's ending.
    """
    seconds = max([seconds, *(sound.end for sound in sounds)])
    with av.open(f"file:{path}", "w") as container:
        video = None
        if picture:
            video = container.add_stream("libx264", rate=PICTURES_PER_S, options={"threads": "1"})
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
        streams = [_add(container, sound) for sound in sounds]
        # All that belongs to a second, then the next: what players expect, and .ts needs.
        for second in range(int(np.ceil(seconds))):
            if video:
                last = min((second + 1) * PICTURES_PER_S, int(np.ceil(seconds * PICTURES_PER_S)))
                for number in range(second * PICTURES_PER_S, last):
                    pixels = np.full((64, 64, 3), number % 200, np.uint8)
                    frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                    frame.pts = number
                    container.mux(video.encode(frame))
            for sound, stream in zip(sounds, streams, strict=True):
                _encode(container, sound, stream, second)
        for stream in [video, *streams] if video else streams:
            container.mux(stream.encode(None))
    return path


def _add(container: av.container.OutputContainer, sound: Sound) -> av.AudioStream:
    stream = container.add_stream(sound.codec, rate=sound.rate_hz, layout=sound.layout)
    stream.codec_context.format = stream.codec.audio_formats[0]
    if sound.language:
        stream.metadata["language"] = sound.language
    if sound.title:
        stream.metadata["title"] = sound.title
    if sound.default:
        stream.disposition = av.stream.Disposition.default
    return stream


def _encode(
    container: av.container.OutputContainer, sound: Sound, stream: av.AudioStream, second: int
) -> None:
    begin = round((second - sound.start) * sound.rate_hz)
    first, last = max(begin, 0), max(begin + sound.rate_hz, 0)
    block = sound.samples[:, first:last]
    if not block.shape[1]:
        return
    # Interleaved: PyAV 18 cannot make frames of 8 planes.
    packed = np.ascontiguousarray(block.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, "flt", sound.layout)
    frame.rate = sound.rate_hz
    frame.pts = first + round(sound.start * sound.rate_hz)
    resampler = av.AudioResampler(stream.codec_context.format, sound.layout, sound.rate_hz)
    for converted in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(converted))
