"""Make the listening copy of a transcript: its sound, small, as every browser plays it.

Opus in WebM: Chromium, Firefox and, from version 17 on, Safari play it; Ogg is newer in Safari, and
some builds of Chromium lack AAC.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spokenby.engines.av import read_blocks, write_opus
from spokenby.files import explaining
from spokenby.output.manifest import read_manifest
from spokenby.stages.audio import create_locked, is_unchanged, open_waveform, sweep
from spokenby.stages.tracks import Together
from spokenby.types import (
    SAMPLE_RATE_HZ,
    AudioFile,
    Digest,
    Progress,
    Seconds,
    no_progress,
)

FILE = "audio.webm"

TONE_HZ = 1000
"""Heard in place of what was taken out."""
_LOUDNESS = 0.1
_FADE = SAMPLE_RATE_HZ // 100
"""Samples."""


class ListeningCopy(NamedTuple):
    """What a transcript's folder is to hold of it. `missing` says why it holds none."""

    files: Mapping[str, Path] = {}
    of: Digest | None = None
    """Of the audio."""
    missing: str = ""


@contextmanager
def listening_copy(
    audio: AudioFile | None,
    sounds: Path,
    folder: Path,
    progress: Progress = no_progress,
    *,
    wanted: bool = True,
) -> Iterator[ListeningCopy]:
    """Yield the copy that `folder` has of the same audio, else a new one, gone afterwards.

    Args:
        audio: as extracted; `None` if nothing is known of it.
        sounds: folder of extracted audio.
        folder: of the transcript, as it was written before, if it was.
        progress: told how far encoding is.
        wanted: if not, there is none, and nothing is missing.

    Raises:
        SpokenbyError: the folder of extracted audio cannot be written.
    """
    if not wanted:
        yield ListeningCopy()
        return
    if audio and _is_there(folder, audio.digest):
        yield ListeningCopy({FILE: folder / FILE}, audio.digest)
        return
    # It belongs to a host and may be gone.
    if not (audio and is_unchanged(sounds / audio.name, audio)):
        yield ListeningCopy(
            missing="no listening copy: the extracted audio is gone or damaged (the page can play"
            " the video; --force extract makes the copy, and computes all again)"
        )
        return
    waveform = open_waveform(sounds / audio.name, audio.digest)
    partial = sounds / f".{audio.digest}.{secrets.token_hex(4)}.partial"
    elsewhere = "set another cache folder"
    try:
        with explaining(sounds, elsewhere):
            sweep(sounds)
            file = create_locked(partial)
        with file:  # open, and so locked, until it was copied
            with explaining(sounds, elsewhere):
                sound = Together(waveform.samples, audio.tracks)
                write_opus(sound, file, progress=progress)
                file.flush()
            yield ListeningCopy({FILE: partial}, audio.digest)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def covered(copy: Path, spans: Sequence[tuple[Seconds, Seconds]]) -> Iterator[Path]:
    """Yield a copy, gone afterwards, of which some spans are a tone; nothing else is heard there.

    Args:
        copy: another listening copy.
        spans: start and end, in order.

    Raises:
        InputError: the copy cannot be decoded.
    """
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = "set TMPDIR to a folder with more space"
        target = Path(folder, FILE)
        with explaining(Path(folder), elsewhere), Path(folder, "samples").open("w+b") as file:
            file.writelines(block.tobytes() for block in read_blocks(copy))
            file.flush()
            samples = np.memmap(file, np.float32, "r+")
            for start, end in spans:
                first, last = (round(time * SAMPLE_RATE_HZ) for time in (start, end))
                samples[first:last] = _tone(len(samples[first:last]))
            with target.open("w+b") as encoded:
                write_opus(samples, encoded)
            del samples  # Windows deletes no file that is mapped
        yield target


def _tone(length: int) -> npt.NDArray[np.float32]:
    """Return so many samples of a tone that fades in and out."""
    places = np.arange(length)
    edge = np.minimum(places, places[::-1]) / _FADE
    tone = np.sin(2 * np.pi * TONE_HZ / SAMPLE_RATE_HZ * places)
    return np.asarray(_LOUDNESS * np.minimum(edge, 1) * tone, np.float32)


def _is_there(folder: Path, audio: Digest) -> bool:
    """Return whether the folder holds a whole copy of this audio."""
    about = read_manifest(folder)
    if about is None or about.get("listening_copy") != audio:
        return False
    with suppress(OSError, KeyError, TypeError), (folder / FILE).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return bool(found == about["files"][FILE]["sha256"])
    return False
