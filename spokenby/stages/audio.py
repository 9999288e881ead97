"""Extract a video's audio to a file of 32-bit floats, mono, 16 kHz, and map it into memory.

Where each channel or stream is a speaker, the file holds them one after the other: tracks.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spokenby.errors import InputError, TransientError
from spokenby.files import explaining, replacing
from spokenby.stages import tracks
from spokenby.types import (
    SAMPLE_RATE_HZ,
    AudioFile,
    Digest,
    Progress,
    Seconds,
    Span,
    StageParams,
    Track,
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

_LOUDEST_GAIN = 100.0
"""A quiet track is raised to the level of the loudest by 40 dB at most."""

_BLOCK = 3000 * tracks.FRAME_SAMPLES
"""Samples of a track that are changed at a time: 60 s."""

Samples = npt.NDArray[np.float32]

Channels = Literal["mix", "split", "auto"]


class Params(StageParams):
    """Which of a video's sounds is transcribed."""

    ONLY_IF_SET: ClassVar[frozenset[str]] = frozenset({"channels"})

    channels: Channels = Field(
        default="mix",
        description="mix: all channels together; split: each channel, or each audio stream of"
        " several, is one speaker; auto: split where they sound like different speakers",
    )
    audio_stream: int | None = Field(
        default=None, ge=0, description="counted from 0; empty: the one players play"
    )


class Source(NamedTuple):
    """A part of a recording that may hear a speaker of its own: a stream, or a channel of one."""

    path: Path
    stream: int | None
    channel: int | None = None
    name: str = ""
    """Whose it is, as the file says."""
    language: str = ""


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
            channel: counted from 0; `None` for the mix of all channels.
            highpass: remove what is below hearing, and with it an offset.
        """
        ...

    def is_stereo(self, source: Path, audio_stream: int | None) -> bool:
        """Return whether the stream has two channels."""
        ...

    def list_sources(self, source: Path, audio_stream: int | None) -> tuple[Source, ...]:
        """Return all streams if there are several and none is chosen, else one's channels."""
        ...

    def read_excerpts(self, sources: Sequence[Source]) -> list[Samples]:
        """Return the same few minutes of each sound at most, taken evenly; empty: unreadable."""
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
                sources, found = _find_sources(decoder, video, params)
                if sources:
                    _check_room(target_root, len(sources) * video.duration)
                    heard = _decode_tracks(file, decoder, sources, progress)
                else:
                    heard = _decode_best(
                        file, decoder, Path(video.path), params.audio_stream, progress
                    )
            except InputError:
                confirm(video)  # what cannot be decoded may be another file
                raise
            confirm(video)
            if not heard.length:
                raise InputError(
                    f"the audio of {video.path} holds no samples",
                    "play it to see whether it is damaged",
                )
            file.seek(0)
            file.write(_wav_header(heard.length))
    duration = heard.length / SAMPLE_RATE_HZ
    end = max((track.duration for track in heard.tracks), default=duration)
    warnings = (*found, *heard.warnings)
    if end < video.duration - SHORT_BY:
        warnings += (f"the audio ends at {end:.1f} s, the video at {video.duration:.1f} s",)
    return AudioFile(
        digest=digest,
        name=target.name,
        duration=duration,
        sha256=heard.sha256,
        warnings=warnings,
        tracks=heard.tracks,
    )


class _Heard(NamedTuple):
    """What was written: how many samples, their digest, what people should know."""

    length: int
    sha256: str
    warnings: tuple[str, ...]
    tracks: tuple[Track, ...] = ()


class _Meter:
    """Measures samples, and writes them behind the place of a header in `file`, if there is one.

    A later track of the file is written from its sample `begin` on, with silence before it.
    """

    def __init__(self, file: BinaryIO | None = None, begin: int = 0) -> None:
        self.count = 0
        self._file = file
        self._hash = hashlib.sha256()
        self._energy = self._offset = 0.0
        if file and begin:
            file.seek(len(_wav_header(0)) + begin * _FLOAT.itemsize)
        elif file:
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


def _find_sources(
    decoder: Decoder, video: Video, params: Params
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """Return the sources to split a recording into, none for their mix, and what to say of it.

    Raises:
        InputError: there is nothing to split.
    """
    path = Path(video.path)
    if video.tracks:
        return tuple(Source(path / file, None, name=name) for file, name in video.tracks), ()
    sources = decoder.list_sources(path, params.audio_stream)
    if params.channels == "split":
        if len(sources) < 2:
            raise InputError(
                f"{path} is mono: there are no channels to split", "choose the channels mix or auto"
            )
        return sources, ()
    speakers = _are_speakers(decoder, sources)
    if speakers is None and params.channels == "auto":
        return (), ("the channels could not be compared: they were transcribed together",)
    if not speakers:
        return (), ()
    several = f"the {len(sources)} {'streams' if sources[0].channel is None else 'channels'}"
    if params.channels == "auto":
        return sources, (f"{several} sound like different speakers: each was transcribed as one",)
    return (), (
        f"{several} sound like different speakers: --channels split transcribes each as one",
    )


def _are_speakers(decoder: Decoder, sources: Sequence[Source]) -> bool | None:
    """Return whether stereo or several streams are different speakers, by excerpts of them.

    More channels are loudspeakers; streams of several languages are translations. `None`: the
    excerpts cannot be read.
    """
    if len(sources) < 2 or (len(sources) > 2 and sources[0].channel is not None):
        return False
    if len({source.language for source in sources if source.language}) > 1:
        return False
    energies = [tracks.measure(samples) for samples in decoder.read_excerpts(sources)]
    if not energies:
        return None
    mixes = tracks.find_mixes(energies)
    return tracks.are_speakers([each for n, each in enumerate(energies) if n not in mixes])


def _decode_tracks(
    file: BinaryIO, decoder: Decoder, sources: Sequence[Source], progress: Progress
) -> _Heard:
    """Write each sound by itself, one after the other, all as loud as the loudest.

    Where a track holds only what leaks into it from another one, it is silenced.
    """
    found: list[Track] = []
    numbers: list[int] = []
    warnings: list[str] = []
    count = 0
    for number, source in enumerate(sources):
        begin = count + round(tracks.GAP_S * SAMPLE_RATE_HZ) if found else 0
        meter = _Meter(file, begin)
        said = decoder.decode(
            source.path,
            source.stream,
            meter.write,
            lambda done, before=number: progress((before + done) / len(sources)),  # type: ignore[misc]
            channel=source.channel,
            highpass=True,
        )
        warnings += [f"{_track_name(number, source)}: {each}" for each in said]
        if meter.count:
            count = begin + meter.count
            start, end = begin / SAMPLE_RATE_HZ, count / SAMPLE_RATE_HZ
            found.append(Track(start=start, end=end, name=source.name))
            numbers.append(number)
        else:
            warnings.append(f"{_track_name(number, source)} is empty")
    if not found:
        return _Heard(0, "", ())
    ends = [track.duration for track in found]
    if len({source.path for source in sources}) > 1 and max(ends) - min(ends) > SHORT_BY:
        warnings.append(
            f"the tracks are {min(ends):.1f} to {max(ends):.1f} s long: they were taken to begin"
            " at the same time"
        )
    file.flush()
    samples = np.memmap(file, _FLOAT, "r+", len(_wav_header(0)), (count,))
    parts = [samples[round(t.start * SAMPLE_RATE_HZ) :][: _samples_in(t)] for t in found]
    energies = [tracks.measure(part) for part in parts]
    mixes = tracks.find_mixes(energies)
    names = [_track_name(number, track) for number, track in zip(numbers, found, strict=True)]
    for place in mixes:
        energies[place] = np.zeros_like(energies[place])
        warnings.append(f"{names[place]} is the mix of the others: left out")
    levels = [tracks.measure_level(each) for each in energies]
    for place, level in enumerate(levels):
        if level <= tracks.AUDIBLE and place not in mixes:
            warnings.append(f"{names[place]} is silent")
    for part, level, own in zip(parts, levels, tracks.find_own(energies), strict=True):
        audible = level > tracks.AUDIBLE
        gain = min(math.sqrt(max(levels) / level), _LOUDEST_GAIN) if audible else 0.0
        _silence(part, gain * own)
    digest = hashlib.sha256()
    for first in range(0, count, _BLOCK):
        digest.update(samples[first : first + _BLOCK].data)
    return _Heard(count, digest.hexdigest(), tuple(warnings), tuple(found))


def _silence(samples: Samples, gains: npt.NDArray[np.float64]) -> None:
    """Multiply samples in place by the gains of their frames, faded from one to the next."""
    middles = (np.arange(len(gains)) + 0.5) * tracks.FRAME_SAMPLES
    for first in range(0, len(samples), _BLOCK):
        block = samples[first : first + _BLOCK]
        block *= np.interp(np.arange(first, first + len(block)), middles, gains).astype(_FLOAT)
        np.clip(block, -1, 1, out=block)


def _samples_in(track: Track) -> int:
    return round(track.duration * SAMPLE_RATE_HZ)


def _track_name(number: int, track: Track | Source) -> str:
    return f"track {number + 1} ({track.name})" if track.name else f"track {number + 1}"


def _decode_best(
    file: BinaryIO,
    decoder: Decoder,
    source: Path,
    audio_stream: int | None,
    progress: Progress,
) -> _Heard:
    """Write the mix of all channels, or what has to be heard in its place."""
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
    return _Heard(heard.count, heard.sha256, warnings)


def open_waveform(path: Path, digest: Digest, parts: tuple[Track, ...] = ()) -> Waveform:
    """Map a file that `extract_audio` wrote, with its tracks; nothing is read yet.

    Raises:
        TransientError: the file is missing, cut off or of another kind: extract it again.
    """
    mapped = np.memmap(path, _FLOAT, "r", len(_wav_header(0)), (_count_samples(path),))
    return Waveform(np.asarray(mapped, dtype=np.float32), digest, parts)


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
