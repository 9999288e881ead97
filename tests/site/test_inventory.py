"""One status of a video, whoever asks, and files are read only when their turn comes."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from media import Sound, make_video, silence
from postgres import new_schema

from spokenby.digests import digest_file
from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.engines.ffmpeg_decoder import FfmpegDecoder
from spokenby.errors import InputError, TransientError
from spokenby.plan.stages import Stage
from spokenby.settings import read_settings
from spokenby.site import inventory as inventory_module
from spokenby.site.batch import Batch, prepare_batch
from spokenby.site.inventory import (
    FIND,
    INSPECT,
    Inventory,
    State,
    VideoStatus,
    confirm_unchanged,
    follow_up,
    inspect,
    list_failed,
    list_site,
    needs_run,
    request_of,
    shared_inventory,
    sharing,
)
from spokenby.stages.audio import Params, extract_audio
from spokenby.view.videos import _Look

OLD = 1_700_000_000


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    (tmp_path / "videos").mkdir()
    return prepare_batch("embedded")


def add(batch: Batch, name: str, content: bytes = b"") -> Path:
    path = batch.settings.videos / name
    path.write_bytes(content or name.encode())
    os.utime(path, (OLD, OLD))
    return path


def fail(batch: Batch, path: Path, stage: str = "diarize", cause: str = "too: loud") -> None:
    inventory, video = Inventory(batch), digest_file(path)
    key = inventory.transcript_key(str(path), video)
    inventory.ledger.begin(key, video, str(path), request=request_of(batch, {}))
    inventory.ledger.fail(key, stage, cause)


def test_a_bad_path_is_a_problem_with_that_path(batch: Batch) -> None:
    missing = str(batch.settings.videos / "missing")
    empty = batch.settings.videos / "empty"
    empty.mkdir()
    (lost, hollow) = Inventory(batch).look_below([missing, str(empty)])
    assert (lost.path, lost.state, lost.stage, lost.digest) == (missing, State.FAILED, FIND, "")
    assert lost.problem == lost.cause == f"{missing} does not exist: " + lost.cause.split(": ")[1]
    assert (hollow.path, hollow.stage) == (str(empty), FIND)
    (listed,) = list_site([missing], Inventory(batch))
    assert listed == lost


def test_files_are_read_when_their_turn_comes_and_once(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_video(batch.settings.videos / f"{number}.mp4", Sound(silence(number + 1)))
    (batch.settings.videos / "3.mp4").write_bytes(b"no video")
    read: list[str] = []
    inspect = inventory_module.inspect
    monkeypatch.setattr(
        inventory_module, "inspect", lambda path: read.append(path.name) or inspect(path)
    )
    inventory, paths = Inventory(batch), [str(batch.settings.videos)]
    looking = inventory.look_below(paths)
    assert not read
    first = next(looking)
    assert (first.state, needs_run(first), read) == (State.WAITING, True, ["0.mp4"])

    def read_later(path: Path) -> inventory_module.Video:
        read.append(f"{path.name} later")
        return inspect(path)

    statuses = list(inventory.look_below(paths, read_later))
    assert read == ["0.mp4", "1.mp4 later", "2.mp4 later", "3.mp4 later"]
    assert statuses[0] == first
    assert [status.video and status.video.duration for status in statuses] == [
        pytest.approx(1, abs=0.1),
        pytest.approx(2, abs=0.1),
        pytest.approx(3, abs=0.1),
        None,
    ]
    assert (statuses[3].stage, needs_run(statuses[3], [Stage.EMBED])) == (INSPECT, False)


def replace_alike(path: Path) -> None:
    """Put other bytes there with the same size and time, as a copying program may."""
    stat, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replace_alike, "changed after the run had read it: run again when it is complete"),
        (grow, "changed after the run had read it: run again when it is complete"),
        (Path.unlink, "was there when the run began and can no longer be read: put it back"),
    ],
)
def test_no_words_of_another_file_under_a_videos_digest(
    batch: Batch, change: Callable[[Path], None], says: str
) -> None:
    path = make_video(batch.settings.videos / "a.mp4", Sound(silence(1)))
    os.utime(path, (OLD, OLD))  # long enough ago for the index to know it by
    video = inspect(path)
    target = batch.settings.audio

    def extract(during: Callable[[float], None]) -> None:
        decoder = FfmpegDecoder(find_ffmpeg())
        extract_audio(
            video,
            target,
            decoder,
            Params(),
            digest="d",
            confirm=confirm_unchanged,
            progress=during,
        )

    with pytest.raises(TransientError) as during:
        extract(lambda fraction: change(path) if path.exists() else None)
    with pytest.raises(TransientError) as after:
        extract(lambda fraction: None)
    assert str(during.value) == str(after.value) == f"{path} {says}"
    assert list(target.iterdir()) == []


def test_a_copy_with_the_same_bytes_is_the_same_video(batch: Batch) -> None:
    path = make_video(batch.settings.videos / "a.mp4", Sound(silence(1)))
    video = inspect(path)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    confirm_unchanged(video)


def test_stage_and_cause_are_fields(batch: Batch) -> None:
    path = add(batch, "talk.mp4")
    fail(batch, path)
    fail(batch, path)
    (status,) = list_site([], Inventory(batch))
    assert (status.stage, status.cause, status.attempts) == ("diarize", "too: loud", 2)
    assert status.note == "failed 2 times: diarize: too: loud"


def test_an_attempt_with_other_params_or_elsewhere_is_shown(batch: Batch, tmp_path: Path) -> None:
    other = prepare_batch("embedded", num_speakers=2)
    fail(other, add(batch, "here.mp4"))
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes(b"elsewhere")
    fail(batch, elsewhere)
    add(batch, "new.mp4")
    shown = {Path(status.path).name: status.state for status in list_site([], Inventory(batch))}
    assert shown == {
        "here.mp4": State.FAILED,
        "new.mp4": State.WAITING,
        "elsewhere.mp4": State.FAILED,
    }
    named = list_site([str(batch.settings.videos)], Inventory(batch))
    assert {Path(status.path).name for status in named} == {"here.mp4", "new.mp4"}


def test_failed_attempts_are_found_where_the_video_is_now(batch: Batch) -> None:
    moved, gone, named = (add(batch, f"{name}.mp4") for name in ("moved", "gone", "named"))
    for path in (moved, gone, named):
        fail(batch, path)
    now = moved.rename(batch.settings.videos / "now.mp4")
    gone.unlink()
    found = {Path(s.path).name: s.state for _, s in list_failed([], batch.settings)}
    assert found == {
        "moved.mp4": State.SKIPPED,
        "gone.mp4": State.SKIPPED,
        "named.mp4": State.FAILED,
    }
    ((attempt, status),) = list_failed([str(now)], batch.settings)
    assert (attempt.path, status.path, status.stage) == (str(moved), str(now), "diarize")
    with pytest.raises(InputError, match="does not exist"):
        list(list_failed([str(gone)], batch.settings))


def test_looks_leave_no_connection_to_a_database(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    address = new_schema(postgres)
    monkeypatch.setenv("SPOKENBY_DATABASE", address)
    fail(prepare_batch("embedded"), add(batch, "failed.mp4"))
    cut = add(batch, "cut off.mp4")
    Inventory(prepare_batch("embedded")).ledger.begin("key", digest_file(cut), str(cut))

    def connections() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'spokenby on %'"
        with psycopg.connect(address) as connection:
            return int(connection.execute(query).fetchone()[0])

    gc.collect()
    before = connections()
    gc.disable()  # it would close them, sooner or later
    try:
        for look in (
            lambda: list(list_failed([], read_settings())),
            _Look([], read_settings(), wanted=True)._run,
        ):
            look()
            deadline = time.monotonic() + 30
            while connections() > before and time.monotonic() < deadline:
                time.sleep(0.05)  # the server notices a moment later
            assert connections() <= before  # one of an earlier test may end meanwhile
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("ended", "state"), [(True, State.FAILED), (False, State.WAITING)], ids=["ended", "goes on"]
)
def test_what_a_run_did_not_get_to_has_its_message(batch: Batch, ended: bool, state: State) -> None:
    paths = [add(batch, f"{name}.mp4") for name in ("untouched", "failed")]
    ready = [VideoStatus(str(path), State.READY, digest_file(path)) for path in paths]
    left_out = VideoStatus("other.mp4", State.SKIPPED, cause="unchanged")
    fail(batch, paths[1])
    after = follow_up([*ready, left_out], Inventory(batch), ended=ended, message="run x: died")
    assert [(status.state, status.note) for status in after] == [
        (state, "run x: died"),
        (State.FAILED, "failed once: diarize: too: loud"),
        (State.SKIPPED, "unchanged"),
    ]


def test_only_who_is_inside_shares_an_inventory(batch: Batch) -> None:
    inventory = Inventory(batch)
    with sharing(inventory):
        assert shared_inventory(lambda: pytest.fail("prepared twice")) is inventory
    assert shared_inventory(lambda: batch) is not inventory
