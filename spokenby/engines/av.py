"""Probe video files, read short audio, write small videos and small audio with PyAV.

Long audio is decoded in `engines/ffmpeg_decoder.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Protocol

import av
import numpy as np
import numpy.typing as npt
from av.format import Flags
from pydantic import Field

from spokenby.errors import InputError
from spokenby.types import SAMPLE_RATE_HZ, Frozen, Progress, Seconds, no_progress

FORMATS = (
    "aa aac ac3 ac4 aea aiff amr amrnb amrwb ape asf ast au avi avr caf dhav dsf dts dtshd dv eac3"
    " flac flv g722 g729 gsm gxf iamf iff ircam kux lc3 live_flv loas lxf matroska mlp mmf mov mp3"
    " mpc mpc8 mpeg mpegts mxf nistsphere nsv nut nuv ogg oma paf pva pvf qcp rm sbc sds sox spdif"
    " swf tak truehd tta ty voc vqf w64 wav wsvqa wtv wv xwma"
).replace(" ", ",")
"""ffmpeg's names of formats that contain their audio. Others, such as playlists (hls, concat, dash)
and session descriptions (sdp), name files, addresses and ports that ffmpeg would open."""

_READING = {"format_whitelist": FORMATS, "protocol_whitelist": ""}
"""Python opens the file, so ffmpeg's libraries need no protocol."""

_UNDETERMINED = {"und", ""}

_DECODED = 50
"""Pictures at most for one to show: of a large video, one may take 20 ms."""

_COVER = av.stream.Disposition.attached_pic

_EXCERPTS = 40
_EXCERPT_S: Seconds = 4.0

_OPUS_BLOCK = 10 * SAMPLE_RATE_HZ


class AudioStream(Frozen):
    """One of a video's audio streams: a language, a commentary, a microphone."""

    index: int = Field(description="counted from 0 among the audio streams")
    codec: str
    channels: int
    layout: str = Field(description="ffmpeg's name: mono, stereo, 5.1; '8 channels' if unnamed")
    rate_hz: int
    language: str = Field(description="as the file says, may be empty")
    title: str
    default: bool
    start: Seconds = Field(description="from the start of the video")

    def __str__(self) -> str:
        names = [self.language, self.title and f'"{self.title}"', self.codec, self.layout]
        return f"{self.index}: {' '.join(filter(None, names))}"


class Probe(Frozen):
    """A video file's metadata, unverified."""

    duration: Seconds = Field(description="0 if not known")
    audio: tuple[AudioStream, ...] = Field(description="never empty")
    jumping: bool = Field(description="times may jump, as in a cut broadcast (.ts)")
    recorded: str = Field(default="", description="date, as 2026-03-05, if the file says it")


def probe(path: Path) -> Probe:
    """Read a file's metadata.

    Raises:
        InputError: it is not a video with audio.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a video", "name a file")
    try:
        # Opened by Python: the name is then always a file's, whatever it contains (dashes, colons,
        # bytes that are not text), and a playlist cannot lead to other files.
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(0)
            if not start:
                raise InputError(f"{path} is empty (0 bytes)", "copy or download it again")
            with av.open(file, "r", metadata_errors="replace", options=_READING) as container:
                return _read(container, path)
    except av.error.ArgumentError as error:  # not in FORMATS
        raise InputError(
            f"{path} is a playlist, a text, or of a format that spokenby does not read",
            "name the file that it plays, or convert it to mp4",
        ) from error
    except av.error.InvalidDataError as error:
        if start[4:] == b"ftyp":
            raise InputError(
                f"{path} is cut off: the index at the end of an mp4 file (moov) is missing",
                "copy or download it again, or repair it with a tool such as untrunc",
            ) from error
        raise _not_a_video(path) from error
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check the name") from None
    except PermissionError as error:
        raise InputError(f"no permission to read {path}", "check its permissions") from error
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "check the file and the disk"
        ) from error


def choose_stream(probed: Probe, audio_stream: int | None) -> AudioStream:
    """Return the requested stream; else the one marked as default; else the first.

    Raises:
        InputError: there is no such stream; the message lists those there are.
    """
    if audio_stream is None:
        return next((stream for stream in probed.audio if stream.default), probed.audio[0])
    if not 0 <= audio_stream < len(probed.audio):
        raise InputError(
            f"there is no audio stream {audio_stream}",
            f"choose one of {'; '.join(map(str, probed.audio))}",
        )
    return probed.audio[audio_stream]


def _not_a_video(path: Path) -> InputError:
    return InputError(
        f"{path} is not a video or audio file", "play it to see whether it is damaged"
    )


def _read(container: av.container.InputContainer, path: Path) -> Probe:
    if not container.streams.audio:
        if container.streams.video:
            raise InputError(
                f"{path} has no audio, only a picture", "choose a video with sound, or exclude it"
            )
        raise _not_a_video(path)
    begin = Fraction(container.start_time or 0, av.time_base)
    lengths = [
        stream.duration * stream.time_base
        for stream in container.streams
        if stream.duration and stream.time_base
    ]
    known = Fraction(container.duration or 0, av.time_base) or max(lengths, default=0)
    return Probe(
        duration=max(0.0, float(known)),
        audio=tuple(
            _describe(stream, index, begin) for index, stream in enumerate(container.streams.audio)
        ),
        jumping=Flags.ts_discont in Flags(container.format.flags),
        recorded=_recorded(container.metadata),
    )


def _recorded(metadata: Mapping[str, str]) -> str:
    """Return the date on which a device says that it recorded, if it has a clock that is set."""
    for name in ("com.apple.quicktime.creationdate", "creation_time", "date"):
        if found := re.match(r"(\d{4})-\d\d-\d\d", metadata.get(name, "")):
            return found[0] if int(found[1]) > 1990 else ""
    return ""


def _describe(stream: av.AudioStream, index: int, begin: Fraction) -> AudioStream:
    codec = stream.codec_context  # None: a codec that ffmpeg does not know
    start = (stream.start_time or 0) * (stream.time_base or 0) - begin
    return AudioStream(
        index=index,
        codec=codec.name if codec else "unknown codec",
        channels=codec.channels if codec else 0,
        layout=codec.layout.name if codec else "",
        rate_hz=codec.sample_rate if codec else 0,
        language="" if stream.language in _UNDETERMINED else stream.language or "",
        title=stream.metadata.get("title", ""),
        default=bool(stream.disposition & av.stream.Disposition.default),
        start=max(0.0, float(start)) if stream.start_time is not None else 0.0,
    )


def read_audio(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Decode a short file completely: samples, shape (samples,), and their rate in Hz."""
    with path.open("rb") as file, av.open(file, "r", options=_READING) as container:
        rate_hz = container.streams.audio[0].rate
        return np.concatenate(list(_blocks(container, rate_hz))), rate_hz


def read_blocks(path: Path) -> Iterator[npt.NDArray[np.float32]]:
    """Decode a file of any length, block by block: shape (samples,), mono at 16 kHz.

    Raises:
        InputError: it cannot be decoded.
    """
    try:
        with path.open("rb") as file, av.open(file, "r", options=_READING) as container:
            yield from _blocks(container, SAMPLE_RATE_HZ)
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path} cannot be decoded ({error.strerror})", "check the file and the disk"
        ) from error


def _blocks(
    container: av.container.InputContainer, rate_hz: int
) -> Iterator[npt.NDArray[np.float32]]:
    resampler = av.AudioResampler("flt", "mono", rate_hz)
    for frame in chain(container.decode(audio=0), [None]):
        for block in resampler.resample(frame):
            yield block.to_ndarray()[0]


def read_excerpts(
    path: Path, wanted: Sequence[tuple[int, int | None]], duration: Seconds
) -> list[npt.NDArray[np.float32]]:
    """Return the same excerpts of each stream or channel at 16 kHz, each joined; [] if unreadable.

    They are `_EXCERPTS` of `_EXCERPT_S`, evenly over the file; of a shorter file, all of it.

    Args:
        path: of the file.
        wanted: number of the stream, and the channel, or `None` for the mean of all.
        duration: of the file.
    """
    whole = duration <= _EXCERPTS * _EXCERPT_S
    # Of a file that does not say how long it is, the first few minutes.
    length = (duration or _EXCERPTS * _EXCERPT_S) if whole else _EXCERPT_S
    joined: list[list[npt.NDArray[np.float32]]] = [[] for _ in wanted]
    try:
        with path.open("rb") as file, av.open(file, "r", options=_READING) as container:
            streams = {number: container.streams.audio[number] for number, _ in wanted}
            if any(stream.codec_context is None for stream in streams.values()):
                return []  # a codec that ffmpeg does not know
            begin = (container.start_time or 0) / av.time_base
            for at in [0.0] if whole else np.linspace(0, duration - length, _EXCERPTS).tolist():
                if not whole:
                    container.seek(int((begin + at) * av.time_base))
                heard = _read_excerpt(container, streams, begin + at, length)
                for samples, (number, channel) in zip(joined, wanted, strict=True):
                    one = heard[number]
                    alone = one.mean(axis=0) if channel is None else one[min(channel, len(one) - 1)]
                    samples.append(alone - alone.mean())
    except (OSError, ValueError, av.error.FFmpegError):
        return []
    return [np.concatenate(samples) for samples in joined]


def _read_excerpt(
    container: av.container.InputContainer,
    streams: Mapping[int, av.AudioStream],
    begin: Seconds,
    length: Seconds,
) -> dict[int, npt.NDArray[np.float32]]:
    """Return so many seconds of each stream from a time on, shape (channels, samples)."""
    count = round(length * SAMPLE_RATE_HZ)
    heard, resamplers = {}, {}
    for number, stream in streams.items():
        channels = stream.codec_context.channels
        heard[number] = np.zeros((channels, count), np.float32)
        resamplers[number] = av.AudioResampler("fltp", stream.codec_context.layout, SAMPLE_RATE_HZ)
    number_of = {stream.index: number for number, stream in streams.items()}
    places: dict[int, int] = {}
    for packet in container.demux(*streams.values()):
        number = number_of[packet.stream.index]
        for frame in packet.decode():
            if not isinstance(frame, av.AudioFrame) or frame.time is None:
                continue
            place = places.setdefault(number, round((frame.time - begin) * SAMPLE_RATE_HZ))
            for block in resamplers[number].resample(frame):
                samples = block.to_ndarray()
                inside = samples[:, max(-place, 0) : max(count - place, 0)]
                if inside.shape[1]:
                    first = max(place, 0)
                    heard[number][:, first : first + inside.shape[1]] = inside
                place += samples.shape[1]
            places[number] = place
        if len(places) == len(streams) and min(places.values()) >= count:
            break
    return heard


def read_picture(path: Path, width: int) -> bytes:
    """Return a picture of a video as JPEG, so many pixels wide; empty if none can be read.

    It is from a tenth of the way in: many videos begin black.
    """
    frame: av.VideoFrame | None = None
    try:
        with path.open("rb") as file, av.open(file, "r", options=_READING) as container:
            # A cover of a song is a stream of one picture.
            streams = [each for each in container.streams.video if not each.disposition & _COVER]
            if not streams:
                return b""
            target = (container.duration or 0) // 10
            container.seek(target)  # to the key frame before
            for frame in islice(container.decode(streams[0]), _DECODED):
                if (frame.time or 0.0) * av.time_base >= target:
                    break
    except (OSError, ValueError, av.error.FFmpegError):
        return b""
    if frame is None:
        return b""
    height = max(2, round(width * frame.height / frame.width / 2) * 2)
    frame = frame.reformat(width, height, "yuvj420p")
    frame.pts, frame.time_base = 0, Fraction(1)
    coder = av.VideoCodecContext.create("mjpeg", "w")
    coder.width, coder.height, coder.pix_fmt = width, height, "yuvj420p"
    coder.time_base = Fraction(1)
    return b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)])


Picture = npt.NDArray[np.uint8]
"""Shape (height, width, 3), red green blue; height and width even."""


def write_video(
    path: Path,
    samples: npt.NDArray[np.float32],
    rate_hz: int,
    draw: Callable[[Seconds], Picture],
    *,
    pictures_per_s: int = 4,
) -> None:
    """Write mono samples, shape (samples,), with drawn pictures as MP4: H.264 and AAC.

    The same input gives the same bytes.
    """
    first = draw(0.0)
    # One thread: x264's output depends on how many there are.
    options = {"threads": "1", "preset": "veryfast"}
    with av.open(f"file:{path}", "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        picture = container.add_stream("libx264", rate=pictures_per_s, options=options)
        picture.height, picture.width = first.shape[:2]
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=rate_hz, layout="mono")
        pictures = math.ceil(len(samples) / rate_hz * pictures_per_s)
        for second in range(math.ceil(len(samples) / rate_hz)):
            first_number = second * pictures_per_s
            for number in range(first_number, min(first_number + pictures_per_s, pictures)):
                frame = av.VideoFrame.from_ndarray(draw(number / pictures_per_s), "rgb24")
                frame.pts = number
                container.mux(picture.encode(frame))
            block = samples[np.newaxis, second * rate_hz : (second + 1) * rate_hz]
            audio = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block, np.float32), "fltp", "mono"
            )
            audio.rate, audio.pts = rate_hz, second * rate_hz
            container.mux(sound.encode(audio))
        for stream in (picture, sound):
            container.mux(stream.encode(None))


class Sliced(Protocol):
    """Samples of which a slice is asked for at a time, as of an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> npt.NDArray[np.float32]: ...


def write_opus(
    samples: Sliced,
    target: BinaryIO,
    *,
    bits_per_s: int = 28_000,
    progress: Progress = no_progress,
) -> None:
    """Write mono samples at 16 kHz as Opus in WebM; the same samples give the same bytes.

    Args:
        samples: shape (samples,), in -1…1.
        target: a new file; it is sought in.
        bits_per_s: of the sound, on average.
        progress: told how far it is.
    """
    with av.open(target, "w", format="webm", container_options={"fflags": "+bitexact"}) as file:
        # Long frames save a tenth of the file. Compression at level 5 of 10 takes a third of the
        # time of the default; speech sounds the same.
        options = {"frame_duration": "60", "compression_level": "5"}
        stream = file.add_stream("libopus", rate=SAMPLE_RATE_HZ, layout="mono", options=options)
        stream.bit_rate = bits_per_s
        for start in range(0, len(samples), _OPUS_BLOCK):
            block = samples[start : start + _OPUS_BLOCK][None]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "flt", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
            file.mux(stream.encode(frame))
            progress(min(1.0, (start + _OPUS_BLOCK) / len(samples)))
        file.mux(stream.encode(None))
