"""The two sample videos of the first run are made here, from recordings that are installed anyway.

How videos are written is not known here; see `engines/av.py`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spokenby.engines.av import Picture, read_audio, write_video
from spokenby.files import replacing
from spokenby.types import Seconds

_HEIGHT, _WIDTH = 180, 640
_BACKGROUND, _WAVE, _PLAYED, _BAR = (18, 24, 32), (70, 90, 110), (80, 170, 220), (245, 245, 245)


def install_samples(folder: Path, root: Path) -> list[Path]:
    """Put sample videos into a folder that holds nothing visible yet; return their paths.

    Args:
        folder: is made if it is missing.
        root: of the project; where it lacks `data/samples`, as when spokenby is installed as a
            package, only the telephone talk is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        return []
    sources = {
        "telephone talk.mp4": _telephone_talk(),
        "conversation.mp4": root / "data" / "samples" / "conversation.flac",
    }
    made = []
    for name, source in sources.items():
        if source is not None and source.is_file():
            made.append(_make(source, folder / name))
    return made


def _telephone_talk() -> Path | None:
    """Find the 30 s of two people that come with pyannote.audio, without its slow import."""
    spec = importlib.util.find_spec("pyannote.audio")
    return Path(spec.origin).parent / "sample" / "sample.wav" if spec and spec.origin else None


def _make(source: Path, target: Path) -> Path:
    samples, rate_hz = read_audio(source)
    drawing = _Drawing(samples, len(samples) / rate_hz)
    with replacing(target) as partial:
        write_video(partial, samples, rate_hz, drawing.at)
    return target


class _Drawing:
    """The sound's outline, with a bar where it is being played."""

    def __init__(self, samples: npt.NDArray[np.float32], duration: Seconds) -> None:
        self._duration = duration
        edges = np.linspace(0, len(samples), _WIDTH, endpoint=False).astype(int)
        loudness = np.maximum.reduceat(np.abs(samples), edges)
        rows = np.abs(np.arange(_HEIGHT) - _HEIGHT // 2)[:, np.newaxis]
        outline = rows <= loudness / max(loudness.max(), 1e-6) * (_HEIGHT // 2 - 10)
        self._ahead, self._behind = (
            np.where(outline[:, :, np.newaxis], np.array(colour), _BACKGROUND).astype(np.uint8)
            for colour in (_WAVE, _PLAYED)
        )

    def at(self, time: Seconds) -> Picture:
        bar = min(int(time / self._duration * _WIDTH), _WIDTH - 2)
        picture = self._ahead.copy()
        picture[:, :bar] = self._behind[:, :bar]
        picture[:, bar : bar + 2] = _BAR
        return picture
