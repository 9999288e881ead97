"""Videos in a bucket: found by name, on this host's disk only while they are read."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from media import Sound, make_video, tone

from spokenby import digests
from spokenby.buckets import Bucket, Stored
from spokenby.digests import DigestIndex, digest_file
from spokenby.errors import InputError, TransientError
from spokenby.progress import Event, Step, listening
from spokenby.settings import read_settings
from spokenby.site import track_folders
from spokenby.site.find_videos import find_videos, look_for_videos, sum_up_left_out
from spokenby.site.inventory import confirm_unchanged, inspect
from spokenby.site.remote_videos import (
    address_of,
    learn_digests,
    note_digest,
    on_disk,
    recall_digest,
    release,
    stamp_of,
)
from spokenby.site.track_folders import digest_recording, newest_stat


@pytest.fixture
def videos(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty folder of videos, of a site whose bucket is the same."""
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("SPOKENBY_STORAGE", bucket)
    return f"{bucket}/videos"


def copies(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "site/cache/videos").glob("*/[!.]*"))


def test_a_folder_in_a_bucket_is_looked_into_as_one_on_a_disk(videos: str) -> None:
    there = Bucket(videos)
    for key in ("10.mp4", "2 b #%?.wav", "notes.txt", "deep/er/1.mkv", ".hidden/x.mp4",
                "a.mp4.part", "empty/", "talk.tracks/ada.wav"):  # fmt: skip
        there.put(key, b"x")
    left_out: dict[Path, str] = {}
    found, problems = look_for_videos([videos], left_out)
    assert [*map(address_of, found)] == [
        f"{videos}/2 b #%?.wav",
        f"{videos}/10.mp4",
        f"{videos}/deep/er/1.mkv",
    ]
    assert [problem.path for problem in problems] == [f"{videos}/talk.tracks/ada.wav"]
    assert "a.mp4.part" in sum_up_left_out(left_out)
    # A video that is named may have any ending. A folder's name has to match whole.
    assert [*map(address_of, find_videos([f"{videos}/notes.txt"]))] == [f"{videos}/notes.txt"]
    for absent in (f"{videos}/1", f"{videos}/deep/e", "s3://no-such-bucket/x"):
        with pytest.raises(InputError, match="there is n"):
            find_videos([absent])
    with pytest.raises(InputError, match="names no bucket"):
        find_videos(["s3://"])
    # Recordings of one file a person are no videos, whatever is named.
    with pytest.raises(InputError, match=r"talk\.tracks is a folder of tracks"):
        find_videos([f"{videos}/talk.tracks"])
    there.put("empty-folder/notes.txt", b"x")
    with pytest.raises(InputError, match=rf"the folder {videos}/empty-folder holds no video"):
        find_videos([f"{videos}/empty-folder"])


def test_what_has_no_path_is_named(videos: str) -> None:
    # SeaweedFS takes none such.
    keys = ["odd//a.mp4", "odd/./b.mp4", "odd//notes.txt", "odd/c.mp4", "odd/folder/"]
    below = videos.removeprefix("s3://").partition("/")[2]
    stored = [Stored(f"{below}/{key}", "e", 1, 0.0) for key in keys]
    with patch.object(Bucket, "list", lambda *_: iter(stored)):
        left_out: dict[Path, str] = {}
        found, problems = look_for_videos([f"{videos}/odd"], left_out)
    assert [*map(address_of, found)] == [f"{videos}/odd/c.mp4"]
    assert not problems
    assert sum_up_left_out(left_out).startswith("left out: 2 with a name that no file can have (a")


def test_a_video_is_read_once_by_all_hosts(
    videos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "talk.mp4"
    make_video(file, Sound(tone(2)))
    Bucket(videos).put("talk.mp4", file)
    path = find_videos([videos])[0]
    told: list[Event] = []
    with listening(told.append):
        video = inspect(path)
    assert (video.path, video.name) == (f"{videos}/talk.mp4", "talk")
    assert video.digest == digest_file(file)
    assert video.duration == pytest.approx(2, abs=0.2)
    confirm_unchanged(video)
    assert copies(tmp_path) == ["talk.mp4"]
    assert any(isinstance(step, Step) and step.state == "running" for step in told)  # the copy
    release(video.path)
    assert copies(tmp_path) == []
    # Another host, which has not seen it, need not read it.
    index = DigestIndex(tmp_path / "other.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(track_folders, "on_disk", None)
        assert digest_recording(path, index) == video.digest
    # Nor is it asked again in the bucket, even of many at a time.
    monkeypatch.setattr(digests, "_SETTLED_NS", 0)
    learnt = DigestIndex(tmp_path / "third.sqlite")
    assert digest_recording(path, index) == video.digest
    learn_digests([path, tmp_path / "not in a bucket.mp4"], learnt)
    there = Bucket(read_settings().bucket)
    there.delete(*[each.key for each in there.list("digests/")])
    assert recall_digest(path, index) == recall_digest(path, learnt) == video.digest
    assert newest_stat(path).st_size == file.stat().st_size
    Bucket(videos).put("talk.mp4", b"another")
    with pytest.raises(TransientError, match=r"s3://.*/talk.mp4 changed after the run"):
        confirm_unchanged(video)
    Bucket(videos).delete("talk.mp4")
    with pytest.raises(TransientError, match="can no longer be read"):
        confirm_unchanged(video)


def test_a_digest_is_noted_only_of_what_was_read(videos: str, tmp_path: Path) -> None:
    Bucket(videos).put("talk.mp4", b"old")
    path = find_videos([videos])[0]
    index = DigestIndex(tmp_path / "index.sqlite")
    with on_disk(path) as file:
        digest = digest_file(file)
        Bucket(videos).put("talk.mp4", b"new")
        stamp_of(path)  # which looks again
        note_digest(path, digest, index)
    assert recall_digest(path, index) is None
    assert digest_recording(path, index) == hashlib.sha256(b"new").hexdigest()


def test_copies_take_no_more_than_they_may(
    videos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"a": 300, "b": 300, "c": 300, "big": 900}.items():
        Bucket(videos).put(f"{name}.mp4", name.encode() * size)
    monkeypatch.setenv("SPOKENBY_STAGING_GB", str(700e-9))
    a, b, _, _ = paths = [Path(f"{videos}/{name}.mp4") for name in ("a", "b", "c", "big")]
    for place, path in enumerate(paths[:2]):
        with on_disk(path) as file:
            assert file.read_bytes() == path.stem.encode() * 300
        os.utime(file.parent, (place, place))
    with on_disk(a):  # in use: the other one makes room
        with on_disk(paths[2]):
            assert copies(tmp_path) == ["a.mp4", "c.mp4"]
            release(address_of(a))
            assert copies(tmp_path) == ["a.mp4", "c.mp4"]
            # Where all are in use, one waits.
            entered = threading.Event()

            def read() -> None:
                with on_disk(b):
                    entered.set()

            waiting = threading.Thread(target=read)
            waiting.start()
            assert not entered.wait(0.3)
        waiting.join(60)
        assert entered.is_set()
    release(b)
    # Copies that begin at the same time count with the room that they will take.
    downloads = threading.Barrier(2)

    def download(*_: object) -> None:
        with suppress(threading.BrokenBarrierError):
            downloads.wait(0.5)
        raise TransientError("away", "wait")

    def copy(path: Path) -> None:
        with pytest.raises(TransientError, match="away"), on_disk(path):
            pass

    monkeypatch.setenv("SPOKENBY_STAGING_GB", str(500e-9))
    with patch.object(Bucket, "download", download):
        both = [threading.Thread(target=copy, args=(path,)) for path in (b, paths[2])]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(30)
    assert downloads.broken  # they never met
    monkeypatch.setenv("SPOKENBY_STAGING_GB", str(700e-9))
    with (
        pytest.raises(InputError, match=r"more than the .* raise SPOKENBY_STAGING_GB"),
        on_disk(paths[3]),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"none.mp4 does not exist"),
        on_disk(Path(f"{videos}/none.mp4")),
    ):
        pass
