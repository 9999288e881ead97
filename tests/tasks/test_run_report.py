from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spokenby.progress import holding_slot, reset_stop, showing, stop_all
from spokenby.settings import Settings
from spokenby.telemetry.record import Record, Sample
from spokenby.telemetry.sampler import watching
from tasks import run_report
from tasks.run_report import keep, take_lines, watch_run

BEGAN = datetime(2026, 11, 22, 13, 20, 5, tzinfo=UTC)


def record(began: datetime = BEGAN) -> Record:
    return Record([Sample(1, 50, 2**30, *[0.0] * 4)], started=began)


def test_picture_and_samples_lie_side_by_side(tmp_path: Path) -> None:
    picture = keep(record(), "<svg/>", tmp_path / "runs")
    assert picture == tmp_path / "runs" / "2026-11-22T13-20-05Z.svg"
    assert picture.read_text() == "<svg/>"
    assert json.loads(picture.with_suffix(".json").read_text())["figures"]["cpu"] == 50


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    first, second = (keep(record(), f"<svg id='{n}'/>", tmp_path) for n in (1, 2))
    assert first != second
    assert "id='1'" in first.read_text()


def test_the_last_runs_are_kept_and_other_files_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_report, "RUNS_KEPT", 2)
    (tmp_path / "notes.json").touch()
    kept = [keep(record(BEGAN.replace(minute=n)), "<svg/>", tmp_path) for n in (1, 2, 3)]
    assert sorted(tmp_path.iterdir()) == sorted(
        [tmp_path / "notes.json", *kept[1:], *(path.with_suffix(".json") for path in kept[1:])]
    )


def test_stage_tells_when_it_waited_and_ran() -> None:
    with watching() as watch:
        with holding_slot(watch._began), showing("talk.mp4", "diarize"):
            pass
        with pytest.raises(ZeroDivisionError), showing("talk.mp4", "embed"):
            raise ZeroDivisionError
    diarize, embed = watch.record().spans
    assert (diarize.stage, diarize.failed) == ("diarize", False)
    assert 0 == diarize.asked < diarize.start <= diarize.ready <= diarize.end
    assert (embed.stage, embed.failed) == ("embed", True)
    assert embed.asked == embed.start == embed.ready < embed.end


@pytest.mark.parametrize("stops", [False, True])
def test_run_that_computed_nothing_or_was_stopped_leaves_nothing(
    tmp_path: Path, stops: bool
) -> None:
    take_lines()  # of other tests
    settings = Settings(data_dir=tmp_path)
    with watch_run("run", settings), showing("talk.mp4", "speech" if stops else "inspect"):
        if stops:
            stop_all()
    reset_stop()
    assert take_lines() == []
    assert list(tmp_path.iterdir()) == []


def test_record_that_cannot_be_kept_does_not_fail_the_run(tmp_path: Path) -> None:
    take_lines()  # of other tests
    (tmp_path / "runs").write_text("a file where the folder should be")
    with watch_run("run", Settings(data_dir=tmp_path)), showing("talk.mp4", "speech"):
        pass
    assert "CPU" in take_lines()[0]
