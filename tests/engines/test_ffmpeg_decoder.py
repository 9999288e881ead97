import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from media import Sound, beeps, beeps_at, make_video, silence, tone

from spokenby.engines.av import choose_stream, probe
from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.engines.ffmpeg_decoder import FfmpegDecoder, _arguments, _filters
from spokenby.errors import InputError, StoppedError, TransientError

RATE_HZ = 16_000
COMMAND = find_ffmpeg()


def decode(path: Path, audio_stream: int | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    blocks: list[np.ndarray] = []
    warnings = FfmpegDecoder(COMMAND).decode(
        path, audio_stream, lambda block: blocks.append(block.copy())
    )
    return np.concatenate(blocks), warnings


def pitch_hz(samples: np.ndarray) -> int:
    return round(np.abs(np.fft.rfft(samples[:RATE_HZ])).argmax() * RATE_HZ / len(samples[:RATE_HZ]))


@pytest.mark.parametrize(
    ("layout", "channels", "rate_hz", "codec", "name"),
    [
        ("mono", 1, 8_000, "aac", "a.mp4"),
        ("mono", 1, 16_000, "flac", "a.flac"),
        ("mono", 1, 44_100, "aac", "a.m4a"),
        ("stereo", 2, 44_100, "libmp3lame", "a.mp3"),
        ("stereo", 2, 48_000, "aac", "a.mov"),
        ("stereo", 2, 48_000, "libopus", "a.webm"),
        ("stereo", 2, 96_000, "pcm_s24le", "a.wav"),
        ("5.1", 6, 48_000, "aac", "a.mp4"),
        ("7.1", 8, 48_000, "aac", "a.mp4"),
        ("7.1", 8, 48_000, "pcm_s16le", "a.wav"),
        ("stereo", 2, 48_000, "pcm_s16be", "a.aiff"),
        ("stereo", 2, 48_000, "pcm_s16le", "a.w64"),
        ("stereo", 2, 48_000, "pcm_s16le", "a.caf"),
        ("stereo", 2, 48_000, "aac", "a.m2ts"),
        ("stereo", 2, 48_000, "ac3", "a.vob"),
        ("stereo", 2, 48_000, "aac", "a.mka"),
        ("stereo", 2, 48_000, "libopus", "a.oga"),
        ("stereo", 2, 48_000, "mp2", "a.mp2"),
        ("5.1", 6, 48_000, "ac3", "a.ac3"),
        ("stereo", 2, 44_100, "libmp3lame", "a.asf"),
        ("mono", 1, 8_000, "aac", "a.3g2"),
    ],
)
def test_any_audio_becomes_mono_at_16_khz(
    tmp_path: Path, layout: str, channels: int, rate_hz: int, codec: str, name: str
) -> None:
    samples = tone(2, 440, rate_hz=rate_hz, channels=channels)
    picture = name.endswith(("mp4", "mov"))
    path = make_video(tmp_path / name, Sound(samples, rate_hz, layout, codec), picture=picture)
    heard, warnings = decode(path)
    assert heard.dtype == np.float32
    assert len(heard) / RATE_HZ == pytest.approx(2, abs=0.1)
    assert pitch_hz(heard) == 440
    assert np.abs(heard[1000:-3000]).max() == pytest.approx(0.5, abs=0.1)
    assert warnings == ()


@pytest.mark.parametrize("channels", [2, 6, 8])
def test_a_downmix_does_not_clip(tmp_path: Path, channels: int) -> None:
    layout = {2: "stereo", 6: "5.1", 8: "7.1"}[channels]
    loud = tone(1, rate_hz=48_000, channels=channels, peak=1.0)
    path = make_video(tmp_path / "a.wav", Sound(loud, 48_000, layout, "pcm_f32le"), picture=False)
    assert np.abs(decode(path)[0]).max() <= 1.001


def test_one_silent_channel_leaves_the_other(tmp_path: Path) -> None:
    samples = tone(1, channels=2)
    samples[1] = 0
    path = make_video(tmp_path / "a.wav", Sound(samples, RATE_HZ, "stereo", "flac"), picture=False)
    assert np.abs(decode(path)[0]).max() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("channels", [3, 4, 8, 10])
def test_every_microphone_of_a_recorder_is_heard(tmp_path: Path, channels: int) -> None:
    """Its files don't say which loudspeakers the channels are for: 4th of 8 is no subwoofer."""
    import wave

    for speaking in range(channels):
        samples = np.zeros((RATE_HZ // 2, channels), "<i2")
        samples[:, speaking] = tone(0.5)[0] * 32767
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setparams((channels, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
        heard, _ = decode(tmp_path / "a.wav")
        assert np.abs(heard).max() == pytest.approx(0.5 / channels, rel=0.01)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "aac"),
        ("a.mkv", "aac"),
        ("a.mov", "pcm_s16le"),
        ("a.ts", "aac"),
        ("a.mpg", "mp2"),
        ("a.flv", "aac"),
    ],
)
@pytest.mark.parametrize("start", [0.0, 2.5])
def test_times_are_those_of_the_video_however_late_its_audio_begins(
    tmp_path: Path, name: str, codec: str, start: float
) -> None:
    sound = Sound(beeps(3, 0.5, 1.5, rate_hz=44_100), 44_100, codec=codec, start=start)
    heard, warnings = decode(make_video(tmp_path / name, sound))
    assert beeps_at(heard) == pytest.approx([start + 0.5, start + 1.5], abs=0.03)
    assert warnings == ()


def test_a_gap_in_the_audio_is_filled(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", Sound(beeps(6, 0.5, 5.0, rate_hz=48_000), 48_000))
    content = path.read_bytes()
    third = len(content) // 188 // 3 * 188  # packets of a transport stream have 188 bytes
    path.write_bytes(content[:third] + content[third + third // 2 // 188 * 188 :])
    heard, _ = decode(path)
    assert beeps_at(heard)[-1] == pytest.approx(5.0, abs=0.05)


SPLICED_BEEPS = [start + at for start in (0, 10, 20) for at in (1, 5)]


def spliced(layout: str, rate_hz: int, codec: str) -> Sound:
    """Return 10 s with a beep at 1 and at 5 s."""
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    samples = beeps(10, 1, 5, rate_hz=rate_hz).repeat(channels, 0)
    return Sound(samples, rate_hz, layout, codec)


def test_an_advert_of_another_rate_shifts_nothing_behind_it(tmp_path: Path) -> None:
    talk = spliced("stereo", 44_100, "libmp3lame")
    advert = spliced("mono", 22_050, "libmp3lame")
    parts = [
        make_video(tmp_path / f"{n}.mp3", sound, picture=False).read_bytes()
        for n, sound in enumerate([talk, advert, talk])
    ]
    (tmp_path / "a.mp3").write_bytes(b"".join(parts))
    heard, _ = decode(tmp_path / "a.mp3")
    assert len(heard) / RATE_HZ == pytest.approx(30, abs=0.3)
    # Each splice adds a frame or two of its own: players hear it so, too.
    assert beeps_at(heard) == pytest.approx(SPLICED_BEEPS, abs=0.16)


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_a_change_of_channels_shifts_nothing_behind_it(tmp_path: Path, name: str) -> None:
    for n, layout in enumerate(["stereo", "5.1", "stereo"]):
        sound = spliced(layout, 48_000, "ac3")
        make_video(tmp_path / f"{n}{Path(name).suffix}", sound, picture=False)
    parts = "".join(f"file '{n}{Path(name).suffix}'\n" for n in range(3))
    (tmp_path / "list.txt").write_text(parts)
    join = ["-loglevel", "error", "-f", "concat", "-i", tmp_path / "list.txt", "-c", "copy"]
    subprocess.run([COMMAND, *join, tmp_path / name], check=True)
    heard, warnings = decode(tmp_path / name)
    assert beeps_at(heard) == pytest.approx(SPLICED_BEEPS, abs=0.05)
    assert warnings == ()


def test_the_stream_asked_for_is_heard(tmp_path: Path) -> None:
    streams = [Sound(tone(1, hz), default=hz == 880) for hz in (440, 880, 1320)]
    path = make_video(tmp_path / "a.mkv", *streams)
    assert [pitch_hz(decode(path, n)[0]) for n in (None, 0, 1, 2)] == [880, 440, 880, 1320]
    with pytest.raises(InputError, match="no audio stream 3"):
        decode(path, 3)


@pytest.mark.parametrize("seconds", [0.3, 0.01])
def test_a_very_short_video(tmp_path: Path, seconds: float) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(seconds)))
    assert len(decode(path)[0]) / RATE_HZ == pytest.approx(seconds, abs=0.06)


def test_silence_is_silent(tmp_path: Path) -> None:
    heard, warnings = decode(make_video(tmp_path / "a.mp4", Sound(silence(2))))
    assert (len(heard), np.abs(heard).max(), warnings) == (2 * RATE_HZ, 0, ())


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        "quo'te, [x]; %03d=é 🎬.mp4",
        "-dash.mp4",
        pytest.param(
            'new\nline "x" http:a|b\\c *.mp4',
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows has no such names"),
        ),
    ],
)
def test_odd_names_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_video(tmp_path / "a.mp4", Sound(tone(0.5))).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(decode(tmp_path / name)[0]) == len(decode(Path(name))[0]) == RATE_HZ // 2


def test_a_cut_file_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", Sound(tone(10)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    heard, warnings = decode(path)
    assert 3 < len(heard) / RATE_HZ < 7
    assert warnings == (
        "some audio may be damaged (ffmpeg reported problems: 1, first: File ended prematurely)",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nnear.ts\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "ffconcat version 1.0\nfile near.ts\n"),
    ],
    ids=["playlist", "ffconcat"],
)
def test_a_list_that_took_a_videos_place_after_probing_leads_ffmpeg_nowhere(
    tmp_path: Path, name: str, text: str
) -> None:
    near = make_video(tmp_path / "near.ts", Sound(tone(1)))
    probed = probe(near)
    (tmp_path / name).write_text(text)
    stream = choose_stream(probed, None)
    arguments = _arguments(COMMAND, tmp_path / name, probed, stream, _filters(stream))
    ended = subprocess.run(arguments, capture_output=True, check=False)
    assert (ended.returncode != 0, ended.stdout) == (True, b"")
    assert b"whitelist" in ended.stderr


def test_what_cannot_be_decoded_is_one_line(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(5, rate_hz=48_000), 48_000), picture=False)
    content = bytearray(path.read_bytes())
    sound = slice(content.index(b"mdat") + 4, content.index(b"moov") - 4)
    content[sound] = np.random.default_rng(0).bytes(len(content[sound]))
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path} cannot be decoded (")
    assert "\n" not in str(caught.value)


def write_wav(path: Path, rate_hz: int, channels: int, frames: int) -> Path:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(bytes(2 * channels * frames))
    return path


def test_what_claims_to_last_for_days_is_refused_at_once(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", 1, 1, 2_500_000)
    with pytest.raises(InputError) as caught:
        decode(path)
    assert str(caught.value) == (
        f"{path} says it lasts 694.4 hours, more than 24 hours: check its times, or set"
        " SPOKENBY_MAX_HOURS"
    )


def test_what_lasts_longer_than_it_says_is_refused_there(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", Sound(tone(30)))
    heard: list[np.ndarray] = []
    decoder = FfmpegDecoder(COMMAND, max_hours=10 / 3600)
    assert probe(path).jumping  # what such a file says is not believed
    with pytest.raises(InputError, match=r"a\.ts lasts more than 0\.00277778 hours"):
        decoder.decode(path, None, heard.append)
    assert sum(map(len, heard)) <= 10 * RATE_HZ


@pytest.mark.parametrize("channels", [64, 65, 255])
def test_more_channels_than_ffmpeg_converts_are_one_line(tmp_path: Path, channels: int) -> None:
    path = write_wav(tmp_path / "a.wav", RATE_HZ, channels, RATE_HZ // 10)
    if channels == 64:
        assert len(decode(path)[0]) == RATE_HZ // 10
        return
    with pytest.raises(InputError) as caught:
        decode(path)
    assert str(caught.value) == (
        f"{path} has {channels} channels, ffmpeg converts at most 64: split it into files with"
        " fewer"
    )


def test_progress_ends_at_1_and_can_stop(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(1)))
    told: list[float] = []
    FfmpegDecoder(COMMAND).decode(path, None, lambda block: None, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0

    def stop(fraction: float) -> None:
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        FfmpegDecoder(COMMAND).decode(path, None, lambda block: None, stop)


def fake_ffmpeg(folder: Path, program: str) -> Path:
    """Write a program that stands in for an ffmpeg that hangs: the real one cannot be made to."""
    source = folder / "fake.py"
    source.write_text(program)
    if os.name == "nt":
        command = folder / "fake.cmd"
        command.write_text(f'@"{sys.executable}" "{source}"\n')
    else:
        command = folder / "fake"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{source}"\n')
        command.chmod(0o755)
    return command


HANGS_AT_ONCE = "import time; time.sleep(600)"
HANGS_LATER = "import os, time; os.write(1, bytes(2**19)); time.sleep(600)"
HANGS_IN_THE_END = "import os, time; os.close(1); os.close(2); time.sleep(600)"


@pytest.mark.parametrize(
    "program",
    [HANGS_AT_ONCE, HANGS_LATER, HANGS_IN_THE_END],
    ids=["at once", "later", "in the end"],
)
def test_a_hung_ffmpeg_is_stopped(tmp_path: Path, program: str) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(0.3)))
    decoder = FfmpegDecoder(fake_ffmpeg(tmp_path, program), stall_timeout=1)
    begin = time.monotonic()
    with pytest.raises(TransientError, match=r"stalled in .*a\.mp4 for 1 s"):
        decoder.decode(path, None, lambda block: None)
    assert time.monotonic() - begin < 60


def test_a_hung_ffmpeg_can_be_stopped_by_the_user(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(0.3)))

    def stop(fraction: float) -> None:
        raise StoppedError("stopped")

    begin = time.monotonic()
    with pytest.raises(StoppedError):
        FfmpegDecoder(fake_ffmpeg(tmp_path, HANGS_AT_ONCE)).decode(path, None, print, stop)
    assert time.monotonic() - begin < 60


def test_many_complaints_do_not_block(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(0.3)))
    program = "import sys\nfor n in range(50_000): print('[aac @ 0x1] bad', n, file=sys.stderr)"
    decoder = FfmpegDecoder(fake_ffmpeg(tmp_path, program))
    warnings = decoder.decode(path, None, lambda block: None)
    (warning,) = warnings
    assert warning == "some audio may be damaged (ffmpeg reported problems: 50000, first: bad 0)"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_killed_ffmpeg_may_be_tried_again(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(0.3)))
    program = "import os; os.write(1, bytes(4 * 1000 + 1)); os.kill(os.getpid(), 9)"
    with pytest.raises(TransientError, match="killed by signal 9"):
        FfmpegDecoder(fake_ffmpeg(tmp_path, program)).decode(path, None, print)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are listed in /proc")
def test_ffmpeg_ends_when_we_are_killed(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(silence(300)), picture=False)
    program = (
        "import sys, time; from pathlib import Path\n"
        "from spokenby.engines.ffmpeg import find_ffmpeg\n"
        "from spokenby.engines.ffmpeg_decoder import FfmpegDecoder\n"
        "FfmpegDecoder(find_ffmpeg()).decode(Path(sys.argv[1]), None, lambda b: time.sleep(600))"
    )
    ours = subprocess.Popen([sys.executable, "-c", program, str(path)])
    deadline = time.monotonic() + 60
    while not (running := children(ours.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running
    ours.send_signal(signal.SIGKILL)
    ours.wait()
    while any(map(is_running, running)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, running))


def test_a_program_that_does_not_start_is_an_input_error(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", Sound(tone(0.3)))
    with pytest.raises(InputError, match="does not start"):
        FfmpegDecoder(tmp_path / "gone").decode(path, None, lambda block: None)
