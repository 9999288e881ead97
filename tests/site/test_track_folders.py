"""A folder of one file a person is one recording, with the names of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from media import Sound, beeps, make_video

from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.engines.ffmpeg_decoder import FfmpegDecoder
from spokenby.errors import InputError, TransientError
from spokenby.plan.profiles import Profile
from spokenby.plan.stages import Stage
from spokenby.site.batch import plan_for, prepare_batch
from spokenby.site.find_videos import (
    LeftOut,
    find_videos,
    look_for_videos,
    sum_up_left_out,
)
from spokenby.site.inventory import Inventory, State, confirm_unchanged, inspect
from spokenby.site.track_folders import digest_recording, newest_stat, track_names
from spokenby.stages.audio import Params, extract_audio

OLD = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the tracks of Ada, and of Bob, who leaves early, in the videos of a site."""
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    folder = tmp_path / "videos" / "meeting.tracks"
    folder.mkdir(parents=True)
    make_video(folder / "01 - Ada.m4a", Sound(beeps(6, 0.5, 4)), picture=False)
    make_video(
        folder / "audioBobSmith21234.wav", Sound(beeps(2, 1), codec="pcm_s16le"), picture=False
    )
    (folder / "notes.txt").write_text("not a track")
    for path in folder.iterdir():
        os.utime(path, (OLD, OLD))
    return folder


def test_the_folder_is_found_as_one_recording(folder: Path) -> None:
    other = make_video(folder.parent / "talk.mp4", Sound(beeps(1, 0.5)))
    assert find_videos([folder.parent]) == [folder, other]
    assert find_videos([folder]) == [folder]
    assert find_videos([folder / "01 - Ada.m4a"]) == [folder / "01 - Ada.m4a"]


def test_each_file_is_a_track_with_its_name(folder: Path, tmp_path: Path) -> None:
    video = inspect(folder)
    assert (video.name, video.audio_streams) == ("meeting", 2)
    assert video.duration == pytest.approx(6, abs=0.1)
    assert [name for _, name in video.tracks] == ["Ada", "Bob Smith"]
    audio = extract_audio(
        video,
        tmp_path / "audio",
        FfmpegDecoder(find_ffmpeg()),
        Params(channels="split"),
        digest="d",
        confirm=confirm_unchanged,
    )
    assert [track.name for track in audio.tracks] == ["Ada", "Bob Smith"]
    (warning,) = audio.warnings
    assert warning.startswith("the tracks are 2.0 to 6.")
    assert warning.endswith("they were taken to begin at the same time")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Ada Lovelace.wav", "Ada Lovelace"),
        ("2_Ada.flac", "Ada"),
        ("audioAdaLovelace11234567890.m4a", "Ada Lovelace"),
        ("ada_lovelace.mp3", "ada lovelace"),
        ("07.wav", ""),
        ("Track 1.wav", ""),
        ("02 - Speaker_2.wav", ""),
        ("SPEAKER_01.wav", ""),
        ("speaker a.wav", ""),
        ("Unknown speaker B.wav", ""),
        ("audioMic1234.m4a", ""),
        ("Speaker Ada.wav", "Speaker Ada"),
        ("Mica.wav", "Mica"),
    ],
)
def test_a_file_says_whose_it_is(tmp_path: Path, file: str, name: str) -> None:
    folder = tmp_path / "a.tracks"
    folder.mkdir()
    for each in (file, "zz.wav"):
        (folder / each).touch()
    assert (file, name) in track_names(folder)


def test_what_is_no_track_is_said(folder: Path) -> None:
    for name in ("eve.aif", "zoe.dss", ".ada.wav"):
        (folder / name).touch()
    left_out: LeftOut = {}
    assert find_videos([folder], left_out) == [folder]
    assert sum_up_left_out(left_out) == (
        "left out: 1 hidden (.ada.wav); 2 of another ending in a folder of tracks (eve.aif,"
        " zoe.dss): convert such a track, as to FLAC"
    )
    again: LeftOut = {}
    assert look_for_videos([folder.parent], again) == ([folder], [])
    assert again == left_out
    assert len(track_names(folder)) == 2


def test_a_folder_is_split_whatever_the_run_says(folder: Path) -> None:
    batch = prepare_batch(Profile.EMBEDDED, channels="mix")
    video = inspect(folder)
    assert batch.for_video(str(folder)).recipe.extract.channels == "split"
    assert batch.for_video("talk.mp4").recipe.extract.channels == "mix"
    split = prepare_batch(Profile.EMBEDDED, channels="split")
    assert plan_for(video, batch).digests == plan_for(video, split).digests
    assert Stage.EXTRACT in plan_for(video, batch).run


def test_a_file_that_changes_or_is_renamed_changes_the_digest(folder: Path) -> None:
    before, video = digest_recording(folder), inspect(folder)
    (folder / "notes.txt").write_text("no track")
    assert digest_recording(folder) == before == video.digest
    confirm_unchanged(video)
    first = folder / "01 - Ada.m4a"
    first.rename(folder / "01 - Eve.m4a")
    assert digest_recording(folder) != before
    with pytest.raises(TransientError, match="changed after the run had read it"):
        confirm_unchanged(video)
    (folder / "01 - Eve.m4a").rename(first)
    assert digest_recording(folder) == before
    first.write_bytes(first.read_bytes() + b"0")
    assert digest_recording(folder) != before


def test_the_file_that_is_still_written_is_the_newest(folder: Path) -> None:
    os.utime(folder / "01 - Ada.m4a", (OLD + 60, OLD + 60))
    os.utime(folder, (OLD, OLD))
    assert newest_stat(folder).st_mtime == OLD + 60


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda f: (f / "01 - Ada.m4a").write_bytes(b"x" * 99), "01 - Ada.m4a is not a video or"),
        (lambda f: (f / "01 - Ada.m4a").unlink(), "meeting.tracks holds one recording: a folder"),
        (
            lambda f: (f / "dan.wav.part").touch(),
            "meeting.tracks holds an unfinished file, dan.wav.part: wait until it is complete",
        ),
        (
            lambda f: [p.unlink() for p in f.iterdir()],
            "meeting.tracks holds no recording: a folder",
        ),
    ],
)
def test_a_broken_folder_is_one_clear_line(folder: Path, break_it, problem: str) -> None:
    break_it(folder)
    with pytest.raises(InputError, match=problem):
        inspect(folder)
    (status,) = Inventory(prepare_batch(Profile.EMBEDDED)).look_below([str(folder)])
    assert status.state is State.FAILED
    assert problem in status.cause
    assert "\n" not in status.cause
