"""What a sweep takes and leaves, on files of a few bytes: nothing here opens a video."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from spokenby.digests import digest_file
from spokenby.output.folders import MANIFEST
from spokenby.site import new_videos
from spokenby.site.attempts import Ledger
from spokenby.site.batch import Batch, prepare_batch
from spokenby.site.inventory import FIND, Inventory, State, count_states, transcript_key
from spokenby.site.new_videos import Choice, survey
from spokenby.site.video_locks import Claims

OLD = 1_700_000_000


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    (tmp_path / "videos").mkdir()
    return prepare_batch("embedded")


def add(batch: Batch, name: str, content: bytes = b"", age: int = 0) -> Path:
    """Write a file that is not a video, last changed long ago: the longer the higher `age`."""
    path = batch.settings.videos / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or name.encode())
    os.utime(path, (OLD - age, OLD - age))
    return path


def finish(batch: Batch, path: Path) -> Path:
    """Write what a run leaves behind for a video that is done."""
    video = digest_file(path)
    folder = batch.folder_of(path.stem, video)
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(
        json.dumps({"digest": transcript_key(video, batch), "files": {}})
    )
    return folder


def fail(batch: Batch, path: Path, times: int, cause: str = "too loud") -> None:
    ledger, video = Ledger(batch.settings.ledger), digest_file(path)
    for _ in range(times):
        ledger.begin(transcript_key(video, batch), video, str(path))
        ledger.fail(transcript_key(video, batch), "diarize", cause)


def swept(batch: Batch, **choice: object) -> dict[str, tuple[str, str]]:
    statuses = survey((), Inventory(batch), Choice(**choice))  # type: ignore[arg-type]
    return {Path(status.path).name: (status.state, status.note) for status in statuses}


def test_a_new_video_is_ready_and_one_that_is_done_is_not(batch: Batch) -> None:
    add(batch, "new.mp4")
    add(batch, "notes.txt")
    folder = finish(batch, add(batch, "deep/er/done.mp4"))
    assert swept(batch) == {"new.mp4": ("ready", ""), "done.mp4": ("skipped", "unchanged")}
    (folder / MANIFEST).unlink()
    assert swept(batch)["done.mp4"] == ("ready", "")


def test_other_params_make_another_transcript(batch: Batch) -> None:
    finish(batch, add(batch, "done.mp4"))
    other = prepare_batch("embedded", num_speakers=2)
    assert swept(other)["done.mp4"] == ("ready", "")


def test_a_renamed_and_a_moved_video(batch: Batch) -> None:
    path = add(batch, "done.mp4")
    finish(batch, path)
    (batch.settings.videos / "folder").mkdir()
    moved = path.rename(batch.settings.videos / "folder" / "done.mp4")
    assert swept(batch) == {"done.mp4": ("skipped", "unchanged")}
    moved.rename(batch.settings.videos / "other name.mp4")
    assert swept(batch) == {"other name.mp4": ("ready", "")}


def test_a_file_that_changed_lately_is_still_being_written(batch: Batch) -> None:
    path = add(batch, "growing.mp4")
    os.utime(path, (time.time() - 30, time.time() - 30))
    state, note = swept(batch, stable_s=60)["growing.mp4"]
    assert state == "skipped"
    assert note.startswith("still being written: changed 3")
    assert swept(batch, stable_s=20)["growing.mp4"] == ("ready", "")


@pytest.mark.parametrize("grows", [True, False])
def test_a_time_to_come_is_watched_instead(
    batch: Batch, grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add(batch, "from tomorrow.mp4")
    os.utime(path, (time.time() + 10**5, time.time() + 10**5))
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if grows:
            path.write_bytes(b"more than before")

    monkeypatch.setattr(new_videos, "sleep", sleep)
    state, note = swept(batch, stable_s=0.8)["from tomorrow.mp4"]
    assert slept == [0.8]
    assert (state, note) == (
        ("skipped", "still being written: it changed meanwhile") if grows else ("ready", "")
    )


@pytest.mark.parametrize(
    ("newest_first", "taken"), [(False, ["c.mp4", "a.mp4"]), (True, ["d.mp4", "b.mp4"])]
)
def test_a_limit_takes_the_oldest_or_the_newest(
    batch: Batch, newest_first: bool, taken: list[str]
) -> None:
    for name, age in {"a": 3, "b": 2, "c": 4, "d": 1}.items():
        add(batch, f"{name}.mp4", age=age)
    finish(batch, add(batch, "done.mp4", age=9))
    for _ in range(2):  # the second time, some digests are known
        rows = swept(batch, limit=2, newest_first=newest_first)
        assert [name for name, (state, _) in rows.items() if state == "ready"] == taken
        for name in {"a.mp4", "b.mp4", "c.mp4", "d.mp4"} - {*taken}:
            assert rows[name] == ("waiting", "for a later sweep: this one takes 2")


def test_a_video_that_fails_again_and_again_rests_until_its_file_changes(batch: Batch) -> None:
    path = add(batch, "poison.mp4")
    fail(batch, path, 2)
    assert swept(batch)["poison.mp4"] == ("ready", "failed 2 times: diarize: too loud")
    fail(batch, path, 1)
    assert swept(batch)["poison.mp4"] == ("given up", "failed 3 times: diarize: too loud")
    assert swept(batch, max_attempts=4)["poison.mp4"][0] == "ready"
    os.utime(path, (OLD + 5, OLD + 5))  # touched, its bytes are the same
    assert swept(batch)["poison.mp4"][0] == "given up"
    add(batch, "poison.mp4", b"repaired")
    assert swept(batch)["poison.mp4"] == ("ready", "")


def test_a_video_that_a_run_works_on_is_left_to_it(batch: Batch) -> None:
    path = add(batch, "busy.mp4")
    video = digest_file(path)
    Ledger(batch.settings.ledger).begin(transcript_key(video, batch), video, str(path))
    with Claims(batch.settings.claims) as claims:
        assert claims.take(video)
        assert swept(batch)["busy.mp4"] == ("skipped", "a run works on it")
    state, note = swept(batch)["busy.mp4"]  # its run died
    assert state == "ready"
    assert "cut off" in note


def test_a_video_of_a_run_that_has_not_begun_is_left_to_it(batch: Batch) -> None:
    path = add(batch, "queued.mp4")
    assert swept(batch, queued={str(path)})["queued.mp4"][0] == "waiting"


def test_folders_that_are_empty_or_missing(batch: Batch) -> None:
    assert swept(batch) == {}
    missing = str(batch.settings.videos / "missing")
    (status,) = survey([missing], Inventory(batch), Choice())
    assert (status.path, status.state, status.stage) == (missing, State.FAILED, FIND)
    assert status.note.startswith(f"{missing} does not exist")


def test_a_name_that_is_no_text_does_not_cost_the_others(batch: Batch) -> None:
    add(batch, "good.mp4")
    try:
        Path(os.fsdecode(os.fsencode(batch.settings.videos) + b"/\xff.mp4")).touch()
    except OSError:
        pytest.skip("this system takes only text")
    statuses = survey((), Inventory(batch), Choice())
    assert count_states(statuses) == "1 failed, 1 ready"
    (bad,) = [status for status in statuses if status.stage == FIND]
    assert "is not text" in bad.note
    assert bad.path.endswith("/?.mp4")
