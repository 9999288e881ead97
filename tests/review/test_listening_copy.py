"""The copy has the sound at its times, is made once, and where it cannot be made that is said."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import av
import numpy as np
import pytest
from media import beeps, beeps_at

from spokenby.engines.av import read_audio, write_opus
from spokenby.errors import StoppedError
from spokenby.output import folders, manifest
from spokenby.review.listening_copy import FILE, listening_copy
from spokenby.stages.audio import _wav_header, open_waveform
from spokenby.types import AudioFile

AT = (0.5, 3.25, 61.4, 99.0)
SAMPLES = beeps(100.0, *AT)[0].astype("<f4")
AUDIO = AudioFile(
    digest="abc",
    name="abc.wav",
    duration=100.0,
    sha256=hashlib.sha256(SAMPLES.tobytes()).hexdigest(),
)


def encoded(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_opus(samples, file)
    return file.getvalue()


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Return a folder with the extracted audio of a video: a minute and a half of beeps."""
    folder = tmp_path / "audio"
    folder.mkdir()
    (folder / "abc.wav").write_bytes(_wav_header(len(SAMPLES)) + SAMPLES.tobytes())
    open_waveform(folder / "abc.wav", "abc")
    return folder


def write(folder: Path, sounds: Path, audio: AudioFile | None = AUDIO) -> str:
    with listening_copy(audio, sounds, folder) as copy:
        files = {"transcript.txt": b"text", **copy.files}
        about = {"digest": "d", "listening_copy": copy.of}
        folders.write_folder(folder, manifest.with_files(about, files))
    return copy.missing


def test_sound_is_at_its_times_and_small(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talk-12345678"
    assert write(folder, sounds) == ""
    samples, rate_hz = read_audio(folder / FILE)
    assert len(samples) / rate_hz == pytest.approx(100, abs=0.1)
    assert beeps_at(samples, rate_hz) == pytest.approx(AT, abs=0.02)
    with av.open(str(folder / FILE)) as file:
        (stream,) = file.streams
        assert (file.format.name, stream.codec_context.name) == ("matroska,webm", "opus")
        assert stream.codec_context.channels == 1
        assert file.duration == pytest.approx(100e6, abs=1e5)  # which players need to seek
    assert (folder / FILE).stat().st_size < 32_000 / 8 * 100
    assert [path.name for path in sounds.iterdir()] == ["abc.wav"]


def test_same_samples_give_the_same_bytes() -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000).astype(np.float32)
    assert encoded(noise) == encoded(noise)
    assert encoded(noise) != encoded(noise[:-9000])


def test_it_is_encoded_once_for_the_same_audio(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talk-12345678"
    write(folder, sounds)
    first = (folder / FILE).read_bytes()
    (sounds / "abc.wav").unlink()  # so that it could not be made again
    assert write(folder, sounds) == ""
    assert (folder / FILE).read_bytes() == first
    assert not folders.is_edited(folder)


def test_another_audio_or_a_damaged_copy_is_encoded_again(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talk-12345678"
    write(folder, sounds)
    first = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(first[:-100])
    assert write(folder, sounds) == ""
    assert (folder / FILE).read_bytes() == first
    (sounds / "abc.wav").rename(sounds / "new.wav")
    other = AUDIO.model_copy(update={"digest": "new", "name": "new.wav"})
    with listening_copy(other, sounds, folder) as copy:
        assert copy.files[FILE].parent == sounds
        assert copy.of == "new"


@pytest.mark.parametrize(
    "audio",
    [
        None,
        AUDIO.model_copy(update={"name": "gone.wav"}),
        AUDIO.model_copy(update={"sha256": "of samples before a bit of them changed"}),
    ],
)
def test_audio_that_is_gone_is_said(sounds: Path, tmp_path: Path, audio: AudioFile | None) -> None:
    folder = tmp_path / "talk-12345678"
    assert "no listening copy: the extracted audio is gone" in write(folder, sounds, audio)
    assert not (folder / FILE).exists()
    about = manifest.read_manifest(folder)
    assert about is not None
    assert about["listening_copy"] is None


def test_without_it_nothing_is_missing(sounds: Path, tmp_path: Path) -> None:
    with listening_copy(AUDIO, sounds, tmp_path / "talk", wanted=False) as copy:
        assert (copy.files, copy.of, copy.missing) == ({}, None, "")


def test_nothing_is_left_when_encoding_is_stopped(sounds: Path, tmp_path: Path) -> None:
    def stop(fraction: float) -> None:
        raise StoppedError("stopped", "run again")

    with pytest.raises(StoppedError), listening_copy(AUDIO, sounds, tmp_path, stop):
        pass
    assert [path.name for path in sounds.iterdir()] == ["abc.wav"]
