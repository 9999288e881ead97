import os
from pathlib import Path

import pytest

from spokenby.errors import InputError
from spokenby.site.find_videos import LeftOut, find_videos, look_for_videos, sum_up_left_out


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(paths: list[Path], folder: Path) -> list[str]:
    assert all(path.is_absolute() for path in paths)
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_searched_and_sorted_as_people_count(tmp_path: Path) -> None:
    touch(tmp_path, "talk 10.mp4", "talk 2.MKV", "Talk 1.wav", "b/3.webm", "a/20.ts", "a/3.ts")
    touch(tmp_path, "notes.txt", "talk.mp4.part", "mp4", "folder.mp4/inside.mp3")
    found = names(find_videos([tmp_path]), tmp_path)
    assert found == [
        "a/3.ts",
        "a/20.ts",
        "b/3.webm",
        "folder.mp4/inside.mp3",
        "Talk 1.wav",
        "talk 2.MKV",
        "talk 10.mp4",
    ]


def test_hidden_and_unfinished_files_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", ".b.mp4", "._a.mp4", "~c.mp4", ".cache/d.mp4", "e.part.mp4")
    touch(tmp_path, "$RECYCLE.BIN/f.mp4", "System Volume Information/g.mp4", "h.temp.mp4")
    assert names(find_videos([tmp_path]), tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    "suffix",
    "amr m4b mts m2ts vob aiff w64 mka ogv oga mxf caf asf 3g2 mp2 ac3".split(),  # noqa: SIM905
)
def test_what_recorders_cameras_and_studios_write_is_found(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"a.{suffix}", f"B.{suffix.upper()}")
    assert names(find_videos([tmp_path]), tmp_path) == [f"a.{suffix}", f"B.{suffix.upper()}"]


@pytest.mark.parametrize(
    "beside", ["a b.f137.mp4.part", "a b.f137.mp4.ytdl", "a b.mp4.part", "a b.temp.mp4"]
)
def test_half_a_download_is_skipped_until_the_other_half_is_there(
    tmp_path: Path, beside: str
) -> None:
    touch(tmp_path, "a b.f251.webm", beside, "other.f251.webm", "x.mp4")
    assert names(find_videos([tmp_path]), tmp_path) == ["other.f251.webm", "x.mp4"]
    (tmp_path / beside).unlink()
    assert "a b.f251.webm" in names(find_videos([tmp_path]), tmp_path)


def test_what_a_folder_search_leaves_out_is_told_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "notes.txt", "a.srt", ".DS_Store", "b.mp4.jpg", "c.mp3.part.torrent")
    left_out: LeftOut = {}
    assert len(find_videos([tmp_path], left_out)) == 1
    assert sum_up_left_out(left_out) == ""
    touch(tmp_path, "c.mp4.part", "c.f251.webm", "d.MKV.crdownload", "x/e.temp.mp4", "._a.mp4")
    touch(tmp_path, "x/f.rmvb", "x/g\x1b.DV")
    found, problems = look_for_videos([tmp_path], left_out)
    assert (names(found, tmp_path), problems) == (["a.mp4"], [])
    assert set(left_out) == {
        *(tmp_path / name for name in ("c.mp4.part", "c.f251.webm", "d.MKV.crdownload", "._a.mp4")),
        *(tmp_path / "x" / name for name in ("e.temp.mp4", "f.rmvb", "g\x1b.DV")),
    }
    assert sum_up_left_out(left_out) == (
        "left out: 4 unfinished (c.f251.webm, c.mp4.part, d.MKV.crdownload and 1 more); "
        "1 hidden (._a.mp4); 2 of another ending (f.rmvb, g\ufffd.DV): "
        "to transcribe such a file, name it"
    )
    look_for_videos([tmp_path / "x", tmp_path / "x" / "f.rmvb"], named := {})
    assert sum_up_left_out(named).count("f.rmvb") == 0
    (tmp_path / "c.mp4.part").unlink()
    after: LeftOut = {}
    find_videos([tmp_path], after)
    assert tmp_path / "c.f251.webm" not in after


def test_named_files_keep_their_order_and_may_be_called_anything(tmp_path: Path) -> None:
    touch(tmp_path, "z.mp4", "a.mp4", "talk", ".hidden.mp4")
    given = [tmp_path / name for name in ("z.mp4", "talk", ".hidden.mp4", "a.mp4")]
    assert find_videos(given) == given


needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")


@needs_links
def test_what_is_found_twice_is_listed_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b/c.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    found = find_videos([tmp_path / "b", tmp_path, str(tmp_path / "a.mp4")])
    assert names(found, tmp_path) == ["b/c.mp4", "a.mp4"]


@needs_links
def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    left_out: LeftOut = {}
    assert names(find_videos([tmp_path], left_out), tmp_path) == ["a.mp4"]
    assert sum_up_left_out(left_out) == "left out: 1 not a file (b.mp4)"


@needs_links
def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "shared/a.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "share").symlink_to(tmp_path / "shared")
    (tmp_path / "shared" / "loop").symlink_to(tmp_path / "videos")
    assert names(find_videos([tmp_path / "videos"]), tmp_path) == ["videos/share/a.mp4"]


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        "quo'te.mp4",
        "emoji 🎬 é.mp4",
        "-dash.mp4",
        "[1] a.mp4",
        pytest.param(
            'new\nline "x" a:b *.mp4',
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows has no such names"),
        ),
    ],
)
def test_odd_names_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    touch(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    assert find_videos([name]) == find_videos([tmp_path]) == [tmp_path / name]


def test_patterns_are_resolved_where_the_shell_did_not(tmp_path: Path) -> None:
    touch(tmp_path, "a10.mp4", "a9.mp4", "b.mp4")
    assert names(find_videos([tmp_path / "a*.mp4"]), tmp_path) == ["a9.mp4", "a10.mp4"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("gone.mp4", "gone.mp4 does not exist: check the name, or put the videos there"),
        ("a.mp4/b.mp4", "b.mp4 does not exist"),
        ("no\0name", "does not exist"),
        ("gone*.mp4", "gone*.mp4 does not exist"),
        ("empty", "empty holds no video: put files there ending in 3g2 3gp aac ac3 aiff"),
        ("new\nline", "new line does not exist"),
    ],
)
def test_what_cannot_be_found_is_one_clear_line(tmp_path: Path, path: str, line: str) -> None:
    touch(tmp_path, "a.mp4", "empty/notes.txt")
    with pytest.raises(InputError) as caught:
        find_videos([tmp_path / "a.mp4", tmp_path / path])
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_named_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no video was named"):
        find_videos([])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        find_videos([tmp_path / "pipe.mp4"])


@pytest.mark.skipif(os.name == "nt", reason="names on Windows are text")
def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"latin\xe9.mp4")).touch()
    with pytest.raises(InputError, match="is not text") as caught:
        find_videos([tmp_path])
    str(caught.value).encode()


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to this user"
)
def test_a_forbidden_folder_is_an_input_error(tmp_path: Path) -> None:
    touch(tmp_path, "closed/a.mp4")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(InputError, match="closed cannot be read"):
            find_videos([tmp_path])
    finally:
        (tmp_path / "closed").chmod(0o700)
