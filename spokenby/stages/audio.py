"""Extract a video's audio to a file of 32-bit floats, mono, 16 kHz, and map it into memory."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spokenby.errors import InputError, TransientError
from spokenby.files import explaining, replacing
from spokenby.types import (
    SAMPLE_RATE_HZ,
    AudioFile,
    Digest,
    Progress,
    Seconds,
    Span,
    StageParams,
    Video,
    Waveform,
    no_progress,
)

VERSION = 2

_QUIET = 0.01
"""A mix below this level (-40 dB) is compared with its channels."""
_CANCELED = 10.0
"""A channel so many times (20 dB) louder than the mix: the channels cancel each other out."""
_AUDIBLE = 0.001
"""Where the louder channel is below this level (-60 dB), it is no better."""
_OFFSET = 0.01
"""A mean that is so far from 0 (-40 dB) is filtered out."""

SHORT_BY: Seconds = 2.0
"""Audio that ends this much before its video is worth a warning: a cut file, a dead microphone."""

_ABANDONED_S = 3600.0
"""Where locks can't tell, a killed run left a partial file that nobody wrote to for so long."""

_FLOAT = np.dtype("<f4")
_FORMAT_FLOAT = 3
_LARGEST = 0xFFFFFFFF

Samples = npt.NDArray[np.float32]


class Params(StageParams):
    """Which of a video's sounds is transcribed."""

    audio_stream: int | None = Field(
        default=None, ge=0, description="counted from 0; empty: the one players play"
    )


class Decoder(Protocol):
    """Reads any video."""

    def decode(
        self,
        source: Path,
        audio_stream: int | None,
        write: Callable[[Samples], None],
        progress: Progress,
        *,
        channel: int | None = None,
        highpass: bool = False,
    ) -> tuple[str, ...]:
        """Write all samples, block by block, mono at 16 kHz; return what people should know.

        The first sample is at the start of the video, however late its audio begins.

        Args:
            source: the video.
            audio_stream: which, counted from 0; `None` for the one that players play.
            write: called with each block.
            progress: told how far it is.
            channel: of stereo, 0 or 1; `None` for the mix of all channels.
            highpass: remove what is below hearing, and with it an offset.
        """
        ...

    def is_stereo(self, source: Path, audio_stream: int | None) -> bool:
        """Return whether the stream has two channels."""
        ...


def extract_audio(
    video: Video,
    target_root: Path,
    decoder: Decoder,
    params: Params,
    *,
    digest: Digest,
    confirm: Callable[[Video], None],
    progress: Progress = no_progress,
) -> AudioFile:
    """Write the video's audio to `<digest>.wav` under `target_root`, all of it or nothing.

    Args:
        video: what to decode.
        target_root: made if it is not there.
        decoder: decodes.
        params: which sound.
        digest: names the file.
        confirm: raises if the file is no longer the video; hours may have passed since it was read.
        progress: told how far decoding is.

    Raises:
        InputError: the video has no such audio, or the target has no room.
        TransientError: decoding hung, or the video was replaced.
    """
    target = target_root / f"{digest}.wav"
    with explaining(target_root, "set another cache folder (an hour of video takes 230 MB)"):
        target_root.mkdir(parents=True, exist_ok=True)
        sweep(target_root)
        _check_room(target_root, video.duration)
        # What is there under this name is as good: the name says what it holds.
        with replacing(target, or_keep=True) as partial, create_locked(partial) as file:
            confirm(video)
            try:
                heard, warnings = _decode_best(
                    file, decoder, Path(video.path), params.audio_stream, progress
                )
            except InputError:
                confirm(video)  # what cannot be decoded may be another file
                raise
            confirm(video)
            if not heard.count:
                raise InputError(
                    f"the audio of {video.path} holds no samples",
                    "play it to see whether it is damaged",
                )
            file.seek(0)
            file.write(_wav_header(heard.count))
    duration = heard.count / SAMPLE_RATE_HZ
    if duration < video.duration - SHORT_BY:
        warnings += (f"the audio ends at {duration:.1f} s, the video at {video.duration:.1f} s",)
    return AudioFile(
        digest=digest, name=target.name, duration=duration, sha256=heard.sha256, warnings=warnings
    )


class _Meter:
    """Measures samples, and writes them behind the place of a header in `file`, if there is one."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self.count = 0
        self._file = file
        self._hash = hashlib.sha256()
        self._energy = self._offset = 0.0
        if file:
            file.seek(0)
            file.truncate()
            file.write(_wav_header(0))

    def write(self, block: Samples) -> None:
        """Measure and write a block."""
        if not (block.min() >= -1 and block.max() <= 1):  # also where there is a NaN
            block = np.clip(np.nan_to_num(block, nan=0.0), -1, 1)
        if self._file:
            data = block.astype(_FLOAT, copy=False).data
            self._file.write(data)
            self._hash.update(data)
        self.count += len(block)
        mean = float(block.mean(dtype=np.float64))
        self._offset += len(block) * mean**2
        self._energy += float(np.square(block, dtype=np.float64).sum())

    @property
    def sha256(self) -> str:
        """The digest of what was written behind the header."""
        return self._hash.hexdigest()

    @property
    def level(self) -> float:
        """The root mean square, without the offset."""
        return math.sqrt(max(self._energy - self._offset, 0.0) / max(self.count, 1))

    @property
    def offset(self) -> float:
        """How far the mean is from 0: the root mean square of the blocks' means."""
        return math.sqrt(self._offset / max(self.count, 1))


def _decode_best(
    file: BinaryIO,
    decoder: Decoder,
    source: Path,
    audio_stream: int | None,
    progress: Progress,
) -> tuple[_Meter, tuple[str, ...]]:
    """Write the mix of all channels, or what has to be heard in its place.

    Return its measures and what people should know.
    """
    best = None
    heard = _Meter(file)
    warnings = decoder.decode(source, audio_stream, heard.write, progress)
    if heard.count and heard.level < _QUIET and decoder.is_stereo(source, audio_stream):
        levels = []
        for channel in (0, 1):
            alone = _Meter()
            decoder.decode(source, audio_stream, alone.write, progress, channel=channel)
            levels.append(alone.level)
        if max(levels) > max(_CANCELED * heard.level, _AUDIBLE):
            best = int(np.argmax(levels))
            heard = _Meter(file)
            decoder.decode(source, audio_stream, heard.write, progress, channel=best)
            side = ("left", "right")[best]
            warnings += (f"the channels cancel each other out: only the {side} one was used",)
    if heard.offset > _OFFSET:
        offset, heard = heard.offset, _Meter(file)
        decoder.decode(source, audio_stream, heard.write, progress, channel=best, highpass=True)
        warnings += (f"an offset of {offset:.2f} was filtered out of the audio",)
    return heard, warnings


def open_waveform(path: Path, digest: Digest) -> Waveform:
    """Map a file that `extract_audio` wrote; nothing is read yet.

    Raises:
        TransientError: the file is missing, cut off or of another kind: extract it again.
    """
    mapped = np.memmap(path, _FLOAT, "r", len(_wav_header(0)), (_count_samples(path),))
    return Waveform(np.asarray(mapped, dtype=np.float32), digest)


def cut_waveform(waveform: Waveform, part: Span) -> Waveform:
    """Return a part of a waveform, without copying it."""
    first, last = round(part.start * SAMPLE_RATE_HZ), round(part.end * SAMPLE_RATE_HZ)
    return Waveform(waveform.samples[first:last], f"{waveform.digest}:{first}-{last}")


def is_whole(path: Path, audio: AudioFile) -> bool:
    """Return whether the file is there and as long as its record says."""
    try:
        return _count_samples(path) == round(audio.duration * SAMPLE_RATE_HZ)
    except TransientError:
        return False


def is_unchanged(path: Path, audio: AudioFile) -> bool:
    """Return whether the file is whole, and holds what was written; it is read to its end."""
    if not is_whole(path, audio):
        return False
    try:
        with path.open("rb") as file:
            file.seek(len(_wav_header(0)))
            return hashlib.file_digest(file, "sha256").hexdigest() == audio.sha256
    except OSError:
        return False


def _count_samples(path: Path) -> int:
    """Return how many samples a file holds.

    Raises:
        TransientError: `extract_audio` did not write it, or not all of it is there.
    """
    try:
        with path.open("rb") as file:
            header = file.read(len(_wav_header(0)))
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise TransientError(f"{path} cannot be read ({error})", "run again") from error
    count, rest = divmod(size - len(header), _FLOAT.itemsize)
    if count < 1 or rest or header != _wav_header(count):
        raise TransientError(
            f"{path} is cut off, or not a file that spokenby wrote",
            "delete it: it is extracted again",
        )
    return count


def _wav_header(count: int) -> bytes:
    """Return what precedes `count` samples: 56 bytes, so that mapped floats are aligned.

    Layout: Microsoft, "Multiple channel audio data and WAVE files". Players take the largest size
    that a field can hold, 4 GiB, for: as long as the file goes on.
    """
    width = _FLOAT.itemsize
    kind = (_FORMAT_FLOAT, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * width, width, 8 * width)
    chunks = (
        b"WAVE"
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, *kind)
        + struct.pack("<4sII", b"fact", 4, min(count, _LARGEST))
        + struct.pack("<4sI", b"data", min(count * width, _LARGEST))
    )
    return struct.pack("<4sI", b"RIFF", min(len(chunks) + count * width, _LARGEST)) + chunks


def _check_room(folder: Path, duration: Seconds) -> None:
    """Raise what writing so much audio would end with, hours earlier."""
    due, free = duration * SAMPLE_RATE_HZ * _FLOAT.itemsize, shutil.disk_usage(folder).free
    if due > free:
        raise OSError(errno.ENOSPC, f"{due / 1e6:.0f} MB needed, {free / 1e6:.0f} free")


def sweep(folder: Path) -> None:
    """Remove the partial files that killed runs left."""
    for partial in folder.glob("*.partial"):
        with suppress(OSError):  # another process sweeps, or writes this one
            if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink()
                continue
            with partial.open("rb+") as file:
                _lock(file)
                if _is_at(file, partial):  # else another removed it, and it was created again
                    partial.unlink()


def create_locked(partial: Path) -> BinaryIO:
    """Create a partial file, locked until it is closed or this process is dead.

    `sweep` does not remove it then. Between its creation and its lock it may: it is created again.
    """
    while True:
        file = partial.open("w+b")
        try:
            _lock(file)
            if _is_at(file, partial):
                return file
        except (BlockingIOError, FileNotFoundError):
            pass  # it is just being removed, or was
        except OSError:
            return file  # there are no locks here, and so nobody removes it
        file.close()


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether the file that is open is the one that a path leads to."""
    return os.path.samestat(os.fstat(file.fileno()), path.stat())


def _lock(file: IO[bytes]) -> None:
    """Lock a file.

    Raises:
        OSError: another process did, or there are no such locks: on Windows, on some shares.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOLCK, "no locks that end with a process")
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
