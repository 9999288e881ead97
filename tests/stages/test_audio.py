import hashlib
import os
import shutil
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from media import Sound, beeps, beeps_at, make_video, silence, tone

from spokenby.engines.av import read_audio
from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.engines.ffmpeg_decoder import FfmpegDecoder
from spokenby.errors import InputError, SpokenbyError, StoppedError, TransientError
from spokenby.stages.audio import (
    Decoder,
    Params,
    Samples,
    Source,
    _wav_header,
    create_locked,
    extract_audio,
    is_unchanged,
    is_whole,
    open_waveform,
    sweep,
)
from spokenby.stages.tracks import are_speakers, measure
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
        **_other: object,
    ) -> tuple[str, ...]:
        for block in self.blocks:
            write(block)
        if self.error:
            raise self.error
        return ("from the decoder",) if audio_stream == 1 else ()

    def is_stereo(self, source: Path, audio_stream: int | None) -> bool:
        return False

    def list_sources(self, source: Path, audio_stream: int | None) -> tuple[Source, ...]:
        return (Source(source, 0, 0),)

    def read_excerpts(self, sources: Sequence[Source]) -> list[Samples]:
        return []


def extract(folder: Path, decoder: Decoder, video: Video = VIDEO, **params: Any) -> AudioFile:
    return extract_audio(
        video, folder, decoder, Params(**params), digest="abc", confirm=lambda video: None
    )


def test_what_was_decoded_is_mapped_as_it_was(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 48_001).astype(np.float32)
    folder = tmp_path / "new" / "folder"
    audio = extract(folder, Blocks(noise[:1], noise[1:20_000], noise[20_000:]))
    digest = hashlib.sha256(noise.astype("<f4").tobytes()).hexdigest()
    assert audio == AudioFile(digest="abc", name="abc.wav", duration=48_001 / 16_000, sha256=digest)
    waveform = open_waveform(folder / audio.name, "abc")
    assert waveform.samples.dtype == np.float32
    assert waveform.samples.tolist() == noise.tolist()
    assert waveform.duration == audio.duration
    assert waveform.digest == "abc"
    assert is_unchanged(folder / audio.name, audio)


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


CONVERSATION = Path(__file__).parents[2] / "data" / "samples" / "conversation.flac"
DECODER = FfmpegDecoder(find_ffmpeg())


def heard_in(path: Path, channels: Samples) -> tuple[Samples, tuple[str, ...]]:
    """Return what is extracted of a file with these channels, and the warnings."""
    sound = Sound(channels, 16_000, {1: "mono", 2: "stereo"}[len(channels)], "pcm_f32le")
    make_video(path, sound, picture=False)
    audio = extract(path.parent, DECODER, VIDEO.model_copy(update={"path": str(path)}))
    return open_waveform(path.parent / audio.name, "abc").samples, audio.warnings


@pytest.fixture(scope="module")
def speech() -> Samples:
    """Return 20 s of real speech, at half its level: room for an offset."""
    return read_audio(CONVERSATION)[0][: 20 * 16_000] / 2


@pytest.mark.parametrize(("left", "right"), [(1.0, -0.98), (-0.95, 1.0)])
def test_channels_that_cancel_each_other_are_heard_as_the_louder_one(
    tmp_path: Path, speech: Samples, left: float, right: float
) -> None:
    """The same samples as of a file with that channel alone: so the same words."""
    apart, warnings = heard_in(tmp_path / "a.wav", np.stack([left * speech, right * speech]))
    louder = 0 if abs(left) > abs(right) else 1
    (warning,) = warnings
    assert "cancel each other out" in warning
    assert ("left", "right")[louder] in warning
    alone, warnings = heard_in(tmp_path / "b.wav", [left * speech, right * speech][louder][None])
    assert warnings == ()
    np.testing.assert_array_equal(apart, alone)


def test_quiet_stereo_is_mixed_as_ever(tmp_path: Path, speech: Samples) -> None:
    quiet = speech / 50
    mixed, warnings = heard_in(tmp_path / "a.wav", np.stack([quiet, quiet * 0.5]))
    assert warnings == ()
    np.testing.assert_allclose(mixed, quiet * 0.75, atol=1e-6)


@pytest.mark.parametrize("offset", [0.6, -0.3])
def test_an_offset_is_filtered_out_and_shifts_nothing(
    tmp_path: Path, speech: Samples, offset: float
) -> None:
    heard, (warning,) = heard_in(tmp_path / "a.wav", (speech + offset)[None])
    assert "offset" in warning
    assert len(heard) == len(speech)
    off = heard[1600:] - speech[1600:]
    level = np.sqrt(np.mean(np.square(speech)))
    assert np.sqrt(np.mean(np.square(off))) < level / 5
    lags = range(-8, 9)
    alike = [float(np.dot(heard[1600:-1600], np.roll(speech, lag)[1600:-1600])) for lag in lags]
    assert lags[int(np.argmax(alike))] == 0


def test_other_programs_read_the_file(tmp_path: Path) -> None:
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


def test_a_video_replaced_while_it_was_decoded_leaves_nothing_behind(tmp_path: Path) -> None:
    asked = []

    def confirm(video: Video) -> None:
        asked.append(video.path)
        if len(asked) == 2:
            raise TransientError("changed")

    for decoder in (Blocks([0.1]), Blocks([0.1], error=InputError("cannot be decoded"))):
        asked.clear()
        with pytest.raises(TransientError, match="changed"):
            extract_audio(VIDEO, tmp_path, decoder, Params(), digest="abc", confirm=confirm)
        assert asked == ["talk.mp4", "talk.mp4"]
        assert list(tmp_path.iterdir()) == []


def test_audio_that_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path) -> None:
    needed = shutil.disk_usage(tmp_path).total / (4 * 16_000)
    video = VIDEO.model_copy(update={"duration": needed + 1})
    decoder = Blocks([0.1], error=AssertionError("was begun"))
    with pytest.raises(InputError, match=r"is full \(\d+ MB needed, \d+ free\): free some space"):
        extract(tmp_path, decoder, video)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="age alone tells there")
def test_partial_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    for name, age_s in (("old.1.partial", 7200), ("new.1.partial", 1), ("old.wav", 7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)

    def extract_another(_video: Video) -> None:
        extract(tmp_path, Blocks([0.2]))
        assert len(list(tmp_path.glob("*.partial"))) == 1  # of the one that lives

    extract_audio(VIDEO, tmp_path, Blocks([0.1]), Params(), digest="abc", confirm=extract_another)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["abc.wav", "old.wav"]


def test_a_target_that_cannot_be_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        extract(tmp_path / "file" / "folder", Blocks([0.1]))


def whole_file(tmp_path: Path) -> bytes:
    extract(tmp_path, Blocks([0.25, -0.5, 1.0]))
    return (tmp_path / "abc.wav").read_bytes()


def test_files_of_versions_before_are_still_read(tmp_path: Path) -> None:
    size, rate = struct.pack("<I", 60), struct.pack("<II", 16_000, 64_000)
    header = b"RIFF" + size + b"WAVEfmt \x10\0\0\0\x03\0\x01\0" + rate + b"\x04\0\x20\0"
    header += b"fact\x04\0\0\0\x03\0\0\0data\x0c\0\0\0"
    assert whole_file(tmp_path) == header + struct.pack("<3f", 0.25, -0.5, 1.0)


def test_a_file_of_4_gib_is_read_to_its_end(tmp_path: Path) -> None:
    path, count = tmp_path / "a.wav", 2**30 + 3
    with path.open("wb") as file:
        file.write(_wav_header(count))
        file.truncate(file.tell() + 4 * count)  # a hole: takes no room on the disk
    assert len(open_waveform(path, "a").samples) == count


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: None,
        lambda whole: b"",
        lambda whole: whole[:10],
        lambda whole: whole[:30],
        lambda whole: whole[:-1],
        lambda whole: whole[:-4],
        lambda whole: whole + b"\0" * 4,
        lambda whole: _wav_header(0),
        lambda whole: b"text" * 100,
        lambda whole: whole.replace(struct.pack("<I", 16_000), struct.pack("<I", 8_000)),
    ],
    ids=["gone", "0", "10", "30", "-1", "-4", "+4", "no samples", "text", "8 kHz"],
)
def test_any_other_file_is_to_be_extracted_again(
    tmp_path: Path, change: Callable[[bytes], bytes | None]
) -> None:
    path, content = tmp_path / "a.wav", change(whole_file(tmp_path))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TransientError):
        open_waveform(path, "a")
    assert not is_whole(path, AudioFile(digest="a", name="a.wav", duration=3 / 16_000, sha256=""))


@pytest.mark.parametrize(("count", "whole"), [(3, True), (2, False), (4, False)])
def test_a_file_is_whole_when_it_is_as_long_as_its_record(
    tmp_path: Path, count: int, whole: bool
) -> None:
    whole_file(tmp_path)
    audio = AudioFile(digest="a", name="a", duration=count / 16_000, sha256="")
    assert is_whole(tmp_path / "abc.wav", audio) is whole


@pytest.mark.parametrize("place", [57, -1])
def test_a_changed_bit_is_noticed_where_the_file_is_read(tmp_path: Path, place: int) -> None:
    audio = extract(tmp_path, Blocks([0.5, 0.25], [0.125]))
    path = tmp_path / audio.name
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert is_whole(path, audio)
    assert not is_unchanged(path, audio)
    path.unlink()
    assert not is_unchanged(path, audio)


@pytest.mark.skipif(sys.platform == "win32", reason="no locks that end with a process")
def test_a_file_that_is_being_written_is_never_swept(tmp_path: Path) -> None:
    ended = threading.Event()

    def keep_sweeping() -> None:
        while not ended.is_set():
            sweep(tmp_path)

    sweepers = [threading.Thread(target=keep_sweeping) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for number in range(300):
            partial = tmp_path / f".{number}.partial"
            with create_locked(partial):
                for _ in range(20):
                    assert partial.exists(), number
    finally:
        ended.set()
        for sweeper in sweepers:
            sweeper.join()
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def split(folder: Path, path: Path, channels: str = "split", **params: int) -> AudioFile:
    video = VIDEO.model_copy(update={"path": str(path), "duration": 0.0})
    return extract(folder, DECODER, video, channels=channels, **params)


def tracks_of(folder: Path, audio: AudioFile) -> list[Samples]:
    """Return the samples of each track; between them is silence."""
    samples = open_waveform(folder / audio.name, audio.digest, audio.tracks).samples
    spans = [(round(16_000 * it.start), round(16_000 * it.end)) for it in audio.tracks]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(samples)
    for (_, end), (begin, _) in pairwise(spans):
        assert begin - end == 30 * 16_000
        assert not samples[end:begin].any()
    assert is_unchanged(folder / audio.name, audio)
    return [samples[first:last] for first, last in spans]


@pytest.mark.parametrize(
    ("codec", "ending"), [("pcm_f32le", "wav"), ("aac", "m4a"), ("libopus", "webm")]
)
def test_channels_are_tracks_one_behind_the_other(tmp_path: Path, codec: str, ending: str) -> None:
    left, right = beeps(4, 0.5, 3, rate_hz=48_000), beeps(4, 1.5, rate_hz=48_000)
    channels = np.concatenate([left + 0.05 * right, 0.04 * (right + 0.05 * left)])
    sound = Sound(channels, 48_000, "stereo", codec)
    audio = split(tmp_path, make_video(tmp_path / f"a.{ending}", sound, picture=False))
    assert audio.warnings == ()
    left, right = tracks_of(tmp_path, audio)
    # The quiet one is as loud as the other, and without its crosstalk.
    assert beeps_at(left) == pytest.approx([0.5, 3.0], abs=0.02)
    assert beeps_at(right) == pytest.approx([1.5], abs=0.02)
    assert np.abs(right).max() == pytest.approx(np.abs(left).max(), rel=0.15)
    for samples, foreign in ((left, 1.5), (right, 0.5)):
        assert np.abs(samples[round(16_000 * foreign) :][1600:3200]).max() < 0.002


def test_streams_are_tracks_with_their_names_and_starts(tmp_path: Path) -> None:
    sounds = [
        Sound(beeps(3, 0.5), title="Ada"),
        Sound(beeps(2, 0.3), title="Track 2", start=1.0),
        Sound(silence(3), title="Bob"),
    ]
    path = make_video(tmp_path / "a.mkv", *sounds)
    audio = split(tmp_path, path)
    assert [track.name for track in audio.tracks] == ["Ada", "", "Bob"]
    assert audio.warnings == ("track 3 (Bob) is silent",)
    assert [beeps_at(samples) for samples in tracks_of(tmp_path, audio)] == [
        pytest.approx([0.5], abs=0.02),
        pytest.approx([1.3], abs=0.02),
        [],
    ]


def test_a_stream_that_is_the_mix_of_the_others_is_left_out(tmp_path: Path) -> None:
    one, two = beeps(6, 0.5, 2.5), beeps(6, 1.5, 3.5, 4.5)
    sounds = [Sound(both, title=name) for both, name in ((one + two, ""), (one, "A"), (two, "B"))]
    audio = split(tmp_path, make_video(tmp_path / "obs.mkv", *sounds))
    assert audio.warnings == ("track 1 is the mix of the others: left out",)
    mixed, first, second = tracks_of(tmp_path, audio)
    assert not mixed.any()
    assert beeps_at(first) == pytest.approx([0.5, 2.5], abs=0.02)
    assert beeps_at(second) == pytest.approx([1.5, 3.5, 4.5], abs=0.02)


def test_warnings_number_tracks_as_they_were_given(tmp_path: Path) -> None:
    """Also behind one without any sound."""
    named = {"a.wav": "Ada", "b.wav": "Bob", "c.wav": "Eve"}
    for (name, _), samples in zip(named.items(), (beeps(4, 1)[0], [], silence(4)[0]), strict=True):
        soundfile.write(tmp_path / name, samples, 16_000)
    video = VIDEO.model_copy(update={"path": str(tmp_path), "tracks": tuple(named.items())})
    audio = extract(tmp_path, DECODER, video, channels="split")
    assert audio.warnings == ("track 2 (Bob) is empty", "track 3 (Eve) is silent")


def test_mono_has_no_channels_to_split(tmp_path: Path) -> None:
    path = make_video(tmp_path / "mono.m4a", Sound(beeps(2, 1)), picture=False)
    with pytest.raises(InputError, match=r"mono\.m4a is mono: there are no channels to split"):
        split(tmp_path, path)
    stereo = make_video(
        tmp_path / "a.mkv", Sound(beeps(2, 1)), Sound(tone(2, channels=2), layout="stereo")
    )
    assert len(split(tmp_path, stereo, audio_stream=1).tracks) == 2


def turn_about(seconds: float) -> Samples:
    """Return two channels of sound, each of which is loud for so long, then the other."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 8 * 16_000)).astype(np.float32)
    left = (np.arange(noise.shape[1]) / (seconds * 16_000)).astype(int) % 2 == 0
    return noise * np.where([left, ~left], 1.0, 0.01).astype(np.float32)


def test_auto_splits_where_channels_are_speakers_and_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.m4a", Sound(turn_about(1.5), layout="stereo"), picture=False)
    audio = split(tmp_path, path, "auto")
    assert len(audio.tracks) == 2
    said = "the 2 channels sound like different speakers"
    assert audio.warnings == (f"{said}: each was transcribed as one",)
    mixed = split(tmp_path / "mix", path, "mix")
    assert mixed.tracks == ()
    assert mixed.warnings == (f"{said}: --channels split transcribes each as one",)


@pytest.mark.parametrize("name", ["music", "languages", "surround"])
def test_auto_leaves_what_is_no_two_speakers_as_it_is(tmp_path: Path, name: str) -> None:
    fast, slow = turn_about(0.1), turn_about(1.5)
    sounds = {
        "music": [Sound(fast, layout="stereo")],
        "languages": [
            Sound(slow[:1], language="eng"),
            Sound(slow[1:], language="deu"),
        ],
        "surround": [Sound(np.concatenate([slow, 0 * slow[:1]]), layout="2.1")],
    }[name]
    path = make_video(tmp_path / "a.mkv", *sounds)
    audio, mixed = split(tmp_path, path, "auto"), split(tmp_path / "mix", path, "mix")
    assert audio == mixed
    assert (audio.tracks, audio.warnings) == ((), ())


def test_long_recordings_are_judged_by_excerpts(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.wav",
        Sound(np.tile(turn_about(2), 25), layout="stereo", codec="pcm_s16le"),
        picture=False,
    )
    excerpts = DECODER.read_excerpts(DECODER.list_sources(path, None))
    assert [len(each) for each in excerpts] == [160 * 16_000] * 2
    assert are_speakers([measure(each) for each in excerpts])


def test_auto_says_where_it_cannot_compare_channels(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.wav",
        Sound(turn_about(1.5), layout="stereo", codec="pcm_s16le"),
        picture=False,
    )

    class Unreadable(FfmpegDecoder):
        def read_excerpts(self, sources: Sequence[Source]) -> list[Samples]:
            return []

    video = VIDEO.model_copy(update={"path": str(path), "duration": 0.0})
    decoder = Unreadable(find_ffmpeg())
    audio = extract(tmp_path, decoder, video, channels="auto")
    assert audio.tracks == ()
    assert audio.warnings == ("the channels could not be compared: they were transcribed together",)
