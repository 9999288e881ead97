"""A video's audio as a WAV file of 32-bit floats, mono, 16 kHz, is written and mapped here.

Decoding does not happen here; see `engines/ffmpeg.py`.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spokenby.errors import InputError, TransientError
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

VERSION = 1

SHORT_BY: Seconds = 2.0
"""Audio that ends this much before its video is worth a warning: a cut file, a dead microphone."""

_ABANDONED_S = 3600.0
"""A partial file that nobody wrote to for so long was left by a killed run."""

_FLOAT = np.dtype("<f4")
_FORMAT_FLOAT, _FORMAT_EXTENSIBLE = 3, 0xFFFE
_SIZE_UNKNOWN = 0xFFFFFFFF  # 4 GiB or more: as long as the file goes on

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
    ) -> tuple[str, ...]:
        """Write all samples, block by block, mono at 16 kHz; return what people should know.

        The first sample is at the start of the video, however late its audio begins.
        """
        ...


def extract_audio(
    video: Video,
    target_root: Path,
    decoder: Decoder,
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
) -> AudioFile:
    """Write the video's audio to `<digest>.wav` under `target_root`, all of it or nothing.

    Raises:
        InputError: the video has no such audio, or the target has no room.
        TransientError: decoding hung.
    """
    name = f"{digest}.wav"
    count = 0
    with _replacing(target_root / name) as file:

        def write(block: Samples) -> None:
            nonlocal count
            if not (block.min() >= -1 and block.max() <= 1):  # also where there is a NaN
                block = np.clip(np.nan_to_num(block, nan=0.0), -1, 1)
            with _explained(target_root):
                file.write(block.astype(_FLOAT, copy=False).data)
            count += len(block)

        warnings = decoder.decode(Path(video.path), params.audio_stream, write, progress)
        if not count:
            raise InputError(
                f"the audio of {video.path} holds no samples",
                "play it to see whether it is damaged",
            )
        with _explained(target_root):
            file.seek(0)
            file.write(_wav_header(count))
    duration = count / SAMPLE_RATE_HZ
    if duration < video.duration - SHORT_BY:
        warnings += (f"the audio ends at {duration:.1f} s, the video at {video.duration:.1f} s",)
    return AudioFile(digest=digest, name=name, duration=duration, warnings=warnings)


def open_waveform(path: Path, digest: Digest) -> Waveform:
    """Map a file that `extract_audio` wrote; nothing is read yet.

    Raises:
        TransientError: the file is missing, cut off or of another kind: extract it again.
    """
    data = _find_data(path)
    if data.promised > data.present or not data.promised:
        raise TransientError(f"{path} is cut off", "delete it: it is extracted again")
    mapped = np.memmap(path, _FLOAT, "r", data.offset, (data.promised,))
    return Waveform(np.asarray(mapped, dtype=np.float32), digest)


def cut_waveform(waveform: Waveform, part: Span) -> Waveform:
    """Return a part of a waveform, without copying it."""
    first, last = round(part.start * SAMPLE_RATE_HZ), round(part.end * SAMPLE_RATE_HZ)
    return Waveform(waveform.samples[first:last], f"{waveform.digest}:{first}-{last}")


def is_whole(path: Path, audio: AudioFile) -> bool:
    """Tell whether the file is there and as long as its record says."""
    try:
        data = _find_data(path)
    except TransientError:
        return False
    return data.promised == round(audio.duration * SAMPLE_RATE_HZ) <= data.present


class _Data(NamedTuple):
    offset: int  # of the first sample, in bytes
    promised: int  # samples, as the header says
    present: int  # samples, as the file is long


def _find_data(path: Path) -> _Data:
    """Walk the chunks of a RIFF file to its samples.

    Layout and `WAVE_FORMAT_EXTENSIBLE`: Microsoft, "Multiple channel audio data and WAVE files".
    """
    kind = None
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            riff, _, wave = struct.unpack("<4sI4s", file.read(12))
            while riff == b"RIFF" and wave == b"WAVE":
                chunk, size = struct.unpack("<4sI", file.read(8))
                start = file.tell()
                if chunk == b"fmt ":
                    fields = file.read(min(size, 40))
                    kind = list(struct.unpack("<HHIIHH", fields[:16]))
                    if kind[0] == _FORMAT_EXTENSIBLE:
                        kind[0] = struct.unpack("<H", fields[24:26])[0]
                elif chunk == b"data" and kind == list(_fmt_fields()):
                    present = (end - start) // _FLOAT.itemsize
                    promised = present if size == _SIZE_UNKNOWN else size // _FLOAT.itemsize
                    return _Data(start, promised, present)
                file.seek(start + size + size % 2)  # chunks begin at even offsets
    except (OSError, struct.error) as error:  # struct.error: the file ends inside a header
        raise TransientError(f"{path} cannot be read ({error})", "run again") from error
    raise TransientError(f"{path} is no WAV file of spokenby's", "delete it: it is extracted again")


def _fmt_fields() -> tuple[int, ...]:
    width = _FLOAT.itemsize
    return (_FORMAT_FLOAT, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * width, width, 8 * width)


def _wav_header(count: int) -> bytes:
    """Return what precedes `count` samples: 56 bytes, so that mapped floats are aligned."""
    size = count * _FLOAT.itemsize
    chunks = (
        b"WAVE"
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, *_fmt_fields())
        + struct.pack("<4sII", b"fact", 4, min(count, _SIZE_UNKNOWN))
        + struct.pack("<4sI", b"data", min(size, _SIZE_UNKNOWN))
    )
    return struct.pack("<4sI", b"RIFF", min(len(chunks) + size, _SIZE_UNKNOWN)) + chunks


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a file beside the target that takes its place in the end, or vanishes on an error."""
    partial = target.with_name(f"{target.stem}.{os.getpid()}-{time.monotonic_ns()}.partial")
    with _explained(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        file = partial.open("wb")
    try:
        with file:
            with _explained(target.parent):
                file.write(_wav_header(0))
            yield file
        with _explained(target.parent):
            _replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _replace(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except PermissionError:
        # Windows refuses while somebody has the target mapped. Its name says what it holds, so it
        # is as good as ours.
        if not target.exists():
            raise


def _sweep(folder: Path) -> None:
    for partial in folder.glob("*.partial"):
        with suppress(OSError):  # another process sweeps, too
            if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what a full or forbidden disk raises into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise InputError(
                f"no space is left in {folder}",
                "free some (an hour of video takes 230 MB), or set another cache folder",
            ) from error
        raise InputError(
            f"cannot write to {folder} ({error.strerror})", "check the folder's permissions"
        ) from error
