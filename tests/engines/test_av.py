import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from media import Sound, make_video, silence, tone

from spokenby.engines.av import choose_stream, probe, read_audio, read_picture, write_video
from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.errors import InputError


def test_probe_describes_every_audio_stream(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mkv",
        Sound(tone(2), language="ger", title="Saal"),
        Sound(tone(1, rate_hz=48_000, channels=2), 48_000, "stereo", "flac", 0.5, default=True),
    )
    probed = probe(path)
    assert probed.duration == pytest.approx(2, abs=0.1)
    assert not probed.jumping
    first, second = (stream.model_dump(exclude={"start"}) for stream in probed.audio)
    assert first == {
        "index": 0,
        "codec": "aac",
        "channels": 1,
        "layout": "mono",
        "rate_hz": 16_000,
        "language": "ger",
        "title": "Saal",
        "default": False,
    }
    assert second == {
        "index": 1,
        "codec": "flac",
        "channels": 2,
        "layout": "stereo",
        "rate_hz": 48_000,
        "language": "",
        "title": "",
        "default": True,
    }
    assert [stream.start for stream in probed.audio] == pytest.approx([0, 0.5], abs=0.01)


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("av") / "a.mkv"
    other = Sound(tone(0.5), language="eng", title="Booth", default=True)
    return make_video(path, Sound(tone(0.5), language="ger"), other)


@pytest.mark.parametrize(("asked", "chosen"), [(None, 1), (0, 0), (1, 1)])
def test_the_default_stream_is_chosen_unless_another_is_asked_for(
    bilingual: Path, asked: int | None, chosen: int
) -> None:
    assert choose_stream(probe(bilingual), asked).index == chosen


def test_the_first_stream_is_chosen_where_none_is_marked(bilingual: Path) -> None:
    probed = probe(bilingual)
    unmarked = tuple(stream.model_copy(update={"default": False}) for stream in probed.audio)
    assert choose_stream(probed.model_copy(update={"audio": unmarked}), None).index == 0


@pytest.mark.parametrize("asked", [2, -1])
def test_a_stream_that_is_not_there_lists_those_that_are(bilingual: Path, asked: int) -> None:
    with pytest.raises(InputError) as caught:
        choose_stream(probe(bilingual), asked)
    assert str(caught.value) == (
        f'there is no audio stream {asked}: choose one of 0: ger aac mono; 1: eng "Booth" aac mono'
    )


def make_bad(folder: Path, kind: str) -> Path:
    path = folder / (f"{kind}.m3u8" if kind == "playlist" else f"{kind}.mp4")
    make_video(folder / "near.ts", Sound(tone(1)))  # what lists of files name
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("These are minutes of the meeting.\n" * 100)
        case "subtitles":
            path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
        case "playlist":
            path.write_text(
                "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nnear.ts\n#EXT-X-ENDLIST\n"
            )
        case "concatenation":
            path.write_text("ffconcat version 1.0\nfile near.ts\n")
        case "session":
            lines = "v=0", "o=- 0 0 IN IP4 ::1", "s=x", "c=IN IP4 ::1", "m=audio 50123 RTP/AVP 0"
            path.write_text("\r\n".join(lines))
        case "noise":
            path.write_bytes(np.random.default_rng(0).bytes(10_000))
        case "cut":
            content = make_video(folder / "whole.mp4", Sound(tone(2))).read_bytes()
            path.write_bytes(content[: len(content) // 2])
        case "mute":
            make_video(path, seconds=1)
    return path


REPAIR = "copy or download it again, or repair it with a tool such as untrunc"
LIST = (
    "is a playlist, a text, or of a format that spokenby does not read: name the file that it"
    " plays, or convert it to mp4"
)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("gone", "does not exist: check the name"),
        ("folder", "is a folder, not a video: name a file"),
        ("empty", "is empty (0 bytes): copy or download it again"),
        ("text", "is not a video or audio file: play it to see whether it is damaged"),
        ("subtitles", LIST),
        ("playlist", LIST),
        ("concatenation", LIST),
        ("session", LIST),
        ("noise", "is not a video or audio file: play it to see whether it is damaged"),
        ("cut", "is cut off: the index at the end of an mp4 file (moov) is missing: " + REPAIR),
        ("mute", "has no audio, only a picture: choose a video with sound, or exclude it"),
    ],
)
def test_what_cannot_be_transcribed_says_why(tmp_path: Path, kind: str, line: str) -> None:
    path = make_bad(tmp_path, kind)
    with pytest.raises(InputError) as caught:
        probe(path)
    assert str(caught.value) == f"{path} {line}"


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to this user"
)
def test_a_forbidden_file_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(0.3)))
    path.chmod(0)
    with pytest.raises(InputError, match=r"no permission to read .*: check its permissions"):
        probe(path)


def test_a_written_video_reads_back_in_time_and_is_the_same_every_time(tmp_path: Path) -> None:
    samples = tone(2.5)[0] * np.repeat([0, 1, 0, 1, 0], 8000)

    def draw(time: float) -> np.ndarray:
        return np.full((64, 96, 3), int(50 * time), np.uint8)

    for name in ("one.mp4", "two.mp4"):
        write_video(tmp_path / name, samples, 16_000, draw)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    probed = probe(tmp_path / "one.mp4")
    assert probed.duration == pytest.approx(2.5)
    assert probed.audio[0].codec == "aac"
    heard, rate_hz = read_audio(tmp_path / "one.mp4")
    assert (rate_hz, heard.dtype) == (16_000, np.float32)
    assert np.corrcoef(heard[: len(samples)], samples)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("says", "recorded"),
    [
        (["creation_time=2026-03-05T10:00:00Z"], "2026-03-05"),
        (["creation_time=1970-01-01T00:00:00Z"], ""),  # of a clock that was never set
        ([], ""),
    ],
)
def test_the_date_of_a_recording_is_what_the_file_says(tmp_path, says, recorded):
    video = make_video(tmp_path / "plain.mp4", Sound(silence(1)))
    dated = tmp_path / "dated.mp4"
    metadata = [word for each in says for word in ("-metadata", each)]
    command = [str(find_ffmpeg()), "-v", "error", "-i", str(video), "-c", "copy", *metadata]
    subprocess.run([*command, str(dated)], check=True)
    assert probe(dated).recorded == recorded


def test_picture_of_a_video_is_small_and_upright(tmp_path: Path) -> None:
    def draw(second: float) -> np.ndarray:
        return np.full((90, 160, 3), 0 if second < 0.5 else 200, np.uint8)  # it begins black

    path = tmp_path / "talk.mp4"
    write_video(path, tone(10)[0], 16_000, draw)
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(read_picture(path, 64))
    with av.open(picture) as opened:
        (frame,) = opened.decode(video=0)
    assert (frame.width, frame.height) == (64, 36)
    assert frame.to_ndarray(format="gray").mean() > 0


def test_what_has_no_picture(tmp_path: Path) -> None:
    sound = make_video(tmp_path / "sound.mkv", Sound(tone(1)), picture=False)
    assert read_picture(sound, 64) == b""
    sound.write_bytes(b"no video")
    assert read_picture(sound, 64) == b""
    assert read_picture(tmp_path / "gone.mp4", 64) == b""
