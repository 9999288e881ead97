"""Makes files that people and attackers put among videos: each one a function of its path."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from media import Sound, make_video, silence, tone

Make = Callable[[Path], object]

SHORT_S = 1


def content(data: bytes | str) -> Make:
    given = data.encode() if isinstance(data, str) else data
    return lambda path: path.write_bytes(given)


def whole(path: Path) -> bytes:
    """Return a good mp4 file, as bytes."""
    return make_video(path, Sound(silence(SHORT_S))).read_bytes()


def changed(change: Callable[[bytes], bytes]) -> Make:
    """Return what makes a good mp4 file and changes its bytes."""
    return lambda path: path.write_bytes(change(whole(path)))


def no_media_data(data: bytes) -> bytes:
    """Keep all but the samples, as a download that reserved its space."""
    begin = data.index(b"mdat") + 4
    length = int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
    return data[:begin] + bytes(length) + data[begin + length :]


def encrypted(data: bytes) -> bytes:
    """Scramble the samples, and say so where players look for it."""
    begin = data.index(b"mdat") + 4
    length = int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
    samples = np.random.default_rng(0).bytes(length)
    return (data[:begin] + samples + data[begin + length :]).replace(b"mp4a", b"enca")


def wav(
    frames: int = 16_000,
    *,
    rate_hz: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    claims: int | None = None,
    kind: int = 1,
) -> bytes:
    """Return a WAV file of silence whose header claims so many bytes; `None`: as many as it has."""
    frame = channels * bits // 8
    data = bytes(frames * frame)
    size = len(data) if claims is None else claims
    form = struct.pack(
        "<HHIIHH", kind, channels, rate_hz, rate_hz * frame & 0xFFFFFFFF, frame & 0xFFFF, bits
    )
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + head + data


def box(kind: bytes, inside: bytes) -> bytes:
    return struct.pack(">I", len(inside) + 8) + kind + inside


def nested(depth: int) -> bytes:
    inside = b""
    for _ in range(depth):
        inside = box(b"moov", inside)
    return box(b"ftyp", b"isom\0\0\2\0isom") + inside


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("talk.mp4", bytes(2**25))


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def id3(frame: bytes, data: bytes) -> bytes:
    body = frame + struct.pack(">I", len(data)) + b"\0\0" + data
    size = len(body)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + synchsafe + body


def encoded(kind: str, codec: str, seconds: float = SHORT_S, rate_hz: int = 16_000) -> bytes:
    """Return a tone as bytes of a format that ffmpeg names `kind`."""
    memory = io.BytesIO()
    with av.open(memory, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        stream.codec_context.format = stream.codec.audio_formats[0]
        frame = av.AudioFrame.from_ndarray(tone(seconds, rate_hz=rate_hz), "flt", "mono")
        frame.rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate_hz)
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return memory.getvalue()


def with_tags(**tags: str) -> Make:
    def make(path: Path) -> None:
        with av.open(path, "w") as container:
            container.metadata.update(tags)
            chapter = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000)}
            container.set_chapters([{**chapter, "metadata": tags}])
            stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "mono")
            frame.rate, frame.pts = 16_000, 0
            container.mux(stream.encode(frame))

    return make


def negative_times(path: Path) -> None:
    with av.open(path, "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for number in range(-8, 8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
            frame.rate, frame.pts = 16_000, number * 1600
            container.mux(stream.encode(frame))


def link_to(target: str) -> Make:
    return lambda path: path.symlink_to(target)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # such names are short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(whole(path)))
