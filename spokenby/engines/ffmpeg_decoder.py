"""Decode audio with an ffmpeg process, whose samples are read from a pipe."""

from __future__ import annotations

import io
import math
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import av
import ffmpeg
import numpy as np

from spokenby.engines.av import FORMATS, AudioStream, Probe, choose_stream, probe, read_excerpts
from spokenby.errors import InputError, TransientError
from spokenby.stages.audio import Samples, Source
from spokenby.stages.tracks import person_in
from spokenby.types import SAMPLE_RATE_HZ, Progress, Seconds, no_progress

_BLOCK_BYTES = 2**18  # 4 s of samples
_WIDTH = 4
"""Bytes of a sample."""
_QUEUED_BLOCKS = 8
_LOOK_S: Seconds = 0.5
"""How often progress is reported and a request to stop is seen."""
_NUT = b"nut/multimedia container"
_ENDING_S: Seconds = 10.0
_MESSAGES = 20
_HIGHPASS_HZ = 20
_MOST_CHANNELS = 64
"""Of libswresample."""


class FfmpegDecoder:
    """Decodes with the ffmpeg at `command`; gives up when it is silent for `stall_timeout`.

    Refuses files that last longer than `max_hours`, or claim to.
    """

    def __init__(
        self, command: Path, stall_timeout: Seconds = 60.0, max_hours: float = 24.0
    ) -> None:
        self.command = command
        self.stall_timeout = stall_timeout
        self.max_hours = max_hours

    def decode(
        self,
        source: Path,
        audio_stream: int | None,
        write: Callable[[Samples], None],
        progress: Progress = no_progress,
        *,
        channel: int | None = None,
        highpass: bool = False,
    ) -> tuple[str, ...]:
        """See `spokenby.stages.audio.Decoder`.

        Raises:
            InputError: it is not a video with such an audio, or cannot be decoded.
            TransientError: ffmpeg hung and was killed.
        """
        probed = probe(source)
        stream = choose_stream(probed, audio_stream)
        if stream.channels > _MOST_CHANNELS:
            raise InputError(
                f"{source} has {stream.channels} channels, ffmpeg converts at most"
                f" {_MOST_CHANNELS}",
                "split it into files with fewer",
            )
        if not probed.jumping and probed.duration > self.max_hours * 3600:
            raise self._too_long(source, f"says it lasts {probed.duration / 3600:.1f} hours,")
        filters = _filters(stream, channel, highpass=highpass)
        arguments = _arguments(self.command, source, probed, stream, filters)
        messages = self._run(arguments, source, write, probed.duration, progress)
        if not messages:
            return ()
        complaints = f"ffmpeg reported problems: {len(messages)}, first: {messages[0]}"
        return (f"some audio may be damaged ({complaints})",)

    def is_stereo(self, source: Path, audio_stream: int | None) -> bool:
        """See `spokenby.stages.audio.Decoder`."""
        return choose_stream(probe(source), audio_stream).channels == 2

    def list_sources(self, source: Path, audio_stream: int | None) -> tuple[Source, ...]:
        """See `spokenby.stages.audio.Decoder`."""
        probed = probe(source)
        if audio_stream is None and len(probed.audio) > 1:
            return tuple(
                Source(source, stream.index, name=person_in(stream.title), language=stream.language)
                for stream in probed.audio
            )
        stream = choose_stream(probed, audio_stream)
        return tuple(Source(source, stream.index, channel) for channel in range(stream.channels))

    def read_excerpts(self, sources: Sequence[Source]) -> list[Samples]:
        """See `spokenby.stages.audio.Decoder`."""
        path = sources[0].path
        wanted = [(source.stream or 0, source.channel) for source in sources]
        return read_excerpts(path, wanted, probe(path).duration)

    def _run(
        self,
        arguments: list[str],
        source: Path,
        write: Callable[[Samples], None],
        duration: Seconds,
        progress: Progress,
    ) -> list[str]:
        """Run ffmpeg to its end, write its output, return its error messages."""
        try:
            # Its output is a pipe: if this process is killed, ffmpeg's next write ends it, too.
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C at the terminal is handled by this process, see `progress`.
                start_new_session=True,  # ignored on Windows, which has the flag
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise InputError(
                f"{self.command} does not start ({error.strerror})", "check the ffmpeg setting"
            ) from error
        output = _Output(cast("io.BufferedReader", process.stdout))
        complaints = _Complaints(cast("IO[bytes]", process.stderr))
        try:
            done, total = 0, duration * SAMPLE_RATE_HZ or math.inf
            received = reported = time.monotonic()
            while (block := output.next()) is not _END:
                now = time.monotonic()
                if block is not None:
                    samples = np.frombuffer(block, "<f4")
                    done += len(samples)
                    if done > self.max_hours * 3600 * SAMPLE_RATE_HZ:
                        raise self._too_long(source, "lasts")
                    write(samples)
                    received = now
                elif now - received > self.stall_timeout:
                    raise self._hung(source)
                if now - reported >= _LOOK_S:
                    progress(min(done / total, 1.0))
                    reported = now
            status = process.wait(self.stall_timeout)
        except subprocess.TimeoutExpired as error:
            raise self._hung(source) from error
        finally:
            process.kill()  # does nothing where it has ended
            process.wait()
            output.abandon()
        messages = complaints.lines()
        self._check_end(status, messages, output, source)
        progress(1.0)
        return messages

    def _check_end(self, status: int, messages: list[str], output: _Output, source: Path) -> None:
        """Raise an error if ffmpeg ended early."""
        if status < 0:  # not on Windows
            raise TransientError(
                f"ffmpeg was killed by signal {-status} in {source}", "see whether memory is short"
            )
        if status:
            raise InputError(
                f"{source} cannot be decoded ({messages[0] if messages else f'status {status}'})",
                "play it to see whether it is damaged",
            )
        if output.error:
            raise InputError(
                f"the output of {self.command} is not audio ({output.error})",
                "check the ffmpeg setting",
            )

    def _too_long(self, source: Path, lasts: str) -> InputError:
        return InputError(
            f"{source} {lasts} more than {self.max_hours:g} hours",
            "check its times, or set SPOKENBY_MAX_HOURS",
        )

    def _hung(self, source: Path) -> TransientError:
        return TransientError(
            f"ffmpeg stalled in {source} for {self.stall_timeout:g} s and was stopped",
            "check the disk or the network share, then run again",
        )


def _arguments(
    command: Path, source: Path, probed: Probe, stream: AudioStream, filters: str
) -> list[str]:
    # "file:" keeps a leading dash or a colon in the name from being read as something else.
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    if probed.jumping and stream.start:
        # For such formats ffmpeg counts from the start of the streams it reads, not of the file.
        options["itsoffset"] = f"{stream.start:.6f}"
    decoded = ffmpeg.input(f"file:{source}", **options)[f"a:{stream.index}"]
    result = decoded.output(
        "pipe:1",
        af=filters,
        format="nut",
        acodec="pcm_f32le",
        ac=1,
        ar=SAMPLE_RATE_HZ,
        avoid_negative_ts="disabled",
    ).global_args("-nostdin", "-hide_banner", "-nostats", "-loglevel", "error")
    return [str(argument) for argument in result.compile(cmd=str(command))]


def _filters(stream: AudioStream, channel: int | None = None, *, highpass: bool = False) -> str:
    # async=1 fills gaps with silence: times stay the video's. A late start is not filled here:
    # where rate or channels change inside a file, ffmpeg rebuilds its filters, and they would
    # fill all that came before again. See `_samples_of`.
    # rematrix_maxval=1 keeps a downmix from clipping, which ffmpeg ensures for integers only.
    resample = f"aresample={SAMPLE_RATE_HZ}:async=1:rematrix_maxval=1,atrim=start=0"
    if (
        channel is None
        and stream.channels > 2
        and re.match(r"\d+ channels|ambisonic", stream.layout)
    ):
        # Channels without a layout are microphones, one per person. ffmpeg would take them for
        # loudspeakers and leave out the fourth, the subwoofer.
        shares = [f"{1 / stream.channels:.6f}*c{channel}" for channel in range(stream.channels)]
        resample = f"pan=mono|c0={'+'.join(shares)},{resample}"
    if channel is not None:
        # Stereo first: a part of the file may be mono.
        stereo = "aformat=channel_layouts=stereo," if stream.channels == 2 else ""
        resample = f"{stereo}pan=mono|c0=c{channel},{resample}"
    if highpass:
        # In floats, and before samples are held in range. Of the second order: 20 dB less at 6 Hz.
        resample += f",aformat=sample_fmts=fltp,highpass=f={_HIGHPASS_HZ}"
    return resample


_END = b""


class _Output:
    """Reads a process's output in a thread, so that waiting for it can be given up."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.error: Exception | None = None
        """Why it could not be read to its end; also set if the process was killed."""
        self._stream = stream
        self._blocks: queue.Queue[bytes] = queue.Queue(_QUEUED_BLOCKS)
        self._abandoned = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> bytes | None:
        """Return the next block, `_END` after the last, `None` if none came for a while."""
        try:
            return self._blocks.get(timeout=_LOOK_S)
        except queue.Empty:
            return None

    def abandon(self) -> None:
        """End the thread, whatever it is waiting for."""
        self._abandoned.set()
        with suppress(queue.Empty):
            while True:
                self._blocks.get_nowait()

    def _read(self) -> None:
        with self._stream:
            try:
                for block in _samples_of(self._stream):
                    self._blocks.put(block)
                    if self._abandoned.is_set():
                        return
            except (av.error.FFmpegError, OSError, ValueError, LookupError) as error:
                self.error = error
            self._blocks.put(_END)


def _samples_of(stream: io.BufferedReader) -> Iterator[bytes]:
    """Yield the samples of a NUT stream in blocks, each sample at its time.

    Gaps are filled with silence: before a late start, and where ffmpeg rebuilt its filters. Samples
    that come twice there are dropped the second time.
    """
    if not (begin := stream.peek(1)):
        return
    try:
        container = av.open(stream, "r", format="nut")
    except av.error.InvalidDataError:
        if begin.startswith(_NUT):  # a head, and no sample behind it
            return
        raise
    with container:
        due, count = bytearray(), 0
        for packet in container.demux(audio=0):
            if packet.pts is None:  # after the last
                continue
            gap = packet.pts - count
            samples = bytes(packet)[max(-gap, 0) * _WIDTH :]
            count += max(gap, 0) + len(samples) // _WIDTH
            while gap > 0:
                step = min(gap, _BLOCK_BYTES // _WIDTH)
                due += bytes(step * _WIDTH)
                gap -= step
                if len(due) >= _BLOCK_BYTES:
                    yield bytes(due)
                    due.clear()
            due += samples
            if len(due) >= _BLOCK_BYTES:
                yield bytes(due)
                due.clear()
        if due:
            yield bytes(due)


class _Complaints:
    """Collects a process's error messages in a thread, so that it never waits for a reader."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> list[str]:
        """Return the messages, without ffmpeg's notes of their origin.

        After the first few they are empty: a broken file gives one per packet.
        """
        self._thread.join(_ENDING_S)
        return list(self._lines)

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                text = re.sub(r"^(\[[^]]*\] *)+", "", line.decode(errors="replace")).strip()
                if text:
                    self._lines.append(text if len(self._lines) < _MESSAGES else "")
