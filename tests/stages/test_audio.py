import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spokenby.errors import InputError, SpokenbyError, StoppedError, TransientError
from spokenby.stages.audio import (
    Params,
    Samples,
    _explained,
    extract_audio,
    is_whole,
    open_waveform,
)
from spokenby.types import AudioFile, Progress, Video, no_progress

VIDEO = Video(path="talk.mp4", name="talk", digest="d", duration=3.0, audio_streams=1)


class Blocks:
    """A decoder whose video holds exactly these blocks, and then raises `error`."""

    def __init__(self, *blocks: list[float] | Samples, error: Exception | None = None) -> None:
        self.blocks = [np.asarray(block, np.float32) for block in blocks]
        self.error = error

    def decode(
        self,
        source: Path,
        audio_stream: int | None,
        write: Callable[[Samples], None],
        progress: Progress = no_progress,
    ) -> tuple[str, ...]:
        for block in self.blocks:
            write(block)
        if self.error:
            raise self.error
        return ("from the decoder",) if audio_stream == 1 else ()


def extract(folder: Path, decoder: Blocks, video: Video = VIDEO, **params: int) -> AudioFile:
    return extract_audio(video, folder, decoder, Params(**params), digest="abc")


def test_what_was_decoded_is_mapped_as_it_was(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 48_001).astype(np.float32)
    folder = tmp_path / "new" / "folder"
    audio = extract(folder, Blocks(noise[:1], noise[1:20_000], noise[20_000:]))
    assert audio == AudioFile(digest="abc", name="abc.wav", duration=48_001 / 16_000)
    waveform = open_waveform(folder / audio.name, "abc")
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.tolist() == noise.tolist()
    assert waveform.duration == audio.duration
    assert waveform.digest == "abc"
    assert is_whole(folder / audio.name, audio)


def test_a_waveform_is_mapped_aligned_and_cannot_be_changed(tmp_path: Path) -> None:
    extract(tmp_path, Blocks([0.0]))
    samples = open_waveform(tmp_path / "abc.wav", "abc").samples
    assert samples.flags.aligned
    assert not samples.flags.writeable
    assert not samples.flags.owndata


def test_samples_are_held_in_range(tmp_path: Path) -> None:
    extract(tmp_path, Blocks([0.5, 1.2, -7.0], [np.nan, np.inf, -np.inf, -0.5]))
    samples = open_waveform(tmp_path / "abc.wav", "abc").samples
    assert samples.tolist() == [0.5, 1, -1, 0, 1, -1, -0.5]


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    from spokenby.engines.av import read_audio

    noise = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    extract(tmp_path, Blocks(noise))
    samples, rate_hz = read_audio(tmp_path / "abc.wav")
    assert (samples.tolist(), rate_hz) == (noise.tolist(), 16_000)


@pytest.mark.parametrize(
    ("duration", "said", "warnings"),
    [
        (3.0, 3.0, ()),
        (1.5, 3.0, ()),
        (1.0, 3.5, ("the audio ends at 1.0 s, the video at 3.5 s",)),
        (3.0, 0.0, ()),
    ],
)
def test_audio_that_ends_early_is_said(
    tmp_path: Path, duration: float, said: float, warnings: tuple[str, ...]
) -> None:
    video = VIDEO.model_copy(update={"duration": said})
    decoder = Blocks(np.zeros(round(duration * 16_000)))
    assert extract(tmp_path, decoder, video).warnings == warnings
    assert extract(tmp_path, decoder, video, audio_stream=1).warnings == (
        "from the decoder",
        *warnings,
    )


@pytest.mark.parametrize(
    ("decoder", "error"),
    [
        (Blocks([0.1], error=StoppedError("stop")), StoppedError),
        (Blocks([0.1], error=TransientError("hung")), TransientError),
        (Blocks(), InputError),
    ],
)
def test_a_failure_leaves_nothing_behind_and_what_was_there_alone(
    tmp_path: Path, decoder: Blocks, error: type[SpokenbyError]
) -> None:
    with pytest.raises(error):
        extract(tmp_path, decoder)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "abc.wav").write_bytes(b"before")
    with pytest.raises(error):
        extract(tmp_path, decoder)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_partial_files_of_killed_runs_are_removed_when_they_are_old(tmp_path: Path) -> None:
    for name, age_s in (("old.1.partial", 7200), ("new.1.partial", 60), ("old.wav", 7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    extract(tmp_path, Blocks([0.1]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "abc.wav",
        "new.1.partial",
        "old.wav",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_input_error_with_a_way_out() -> None:
    with (
        pytest.raises(InputError, match="no space is left in cache: free some"),
        _explained(Path("cache")),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_a_target_that_cannot_be_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write to"):
        extract(tmp_path / "file" / "folder", Blocks([0.1]))


FORMAT = struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
EXTENSIBLE = (
    struct.pack("<HHIIHH", 0xFFFE, 1, 16_000, 64_000, 4, 32)
    + struct.pack("<HHI", 22, 32, 4)
    + struct.pack("<H", 3)
    + bytes.fromhex("000000001000800000aa00389b71")
)


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    length = len(content) if size is None else size
    return name + struct.pack("<I", length) + content + b"\0" * (len(content) % 2)


def riff(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


SAMPLES = struct.pack("<3f", 0.25, -0.5, 1.0)


@pytest.mark.parametrize(
    "content",
    [
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES)),
        riff(chunk(b"fmt ", FORMAT + b"\0\0"), chunk(b"data", SAMPLES)),
        riff(chunk(b"fmt ", EXTENSIBLE), chunk(b"data", SAMPLES)),
        riff(chunk(b"LIST", b"odd"), chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES), b"LIST"),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES, 0xFFFFFFFF)),
    ],
    ids=["plain", "with extra size", "extensible", "other chunks", "4 GiB or more"],
)
def test_samples_are_found_in_any_wav_file_of_their_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert open_waveform(path, "a").samples.tolist() == [0.25, -0.5, 1.0]


WHOLE = riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES))


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", WHOLE[:10], WHOLE[:30], WHOLE[:-1], b"text" * 100),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", b"")),
        riff(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)), WHOLE[-20:]),
        riff(chunk(b"fmt ", struct.pack("<HHIIHH", 3, 2, 16_000, 128_000, 8, 32)), WHOLE[-20:]),
    ],
    ids=["gone", "0", "10", "30", "all but 1", "text", "no samples", "16 bit", "stereo"],
)
def test_any_other_file_is_to_be_extracted_again(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TransientError):
        open_waveform(path, "a")
    assert not is_whole(path, AudioFile(digest="a", name="a.wav", duration=3 / 16_000))


@pytest.mark.parametrize(("count", "whole"), [(3, True), (2, False), (4, False)])
def test_a_file_is_whole_when_it_is_as_long_as_its_record(
    tmp_path: Path, count: int, whole: bool
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WHOLE)
    assert is_whole(path, AudioFile(digest="a", name="a", duration=count / 16_000)) is whole
