from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from postgres import place_for

from spokenby.errors import InputError
from spokenby.locks import Place
from spokenby.site.video_locks import Claims

VIDEO = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture(params=["host", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_for(request, tmp_path / "claims")


def test_a_video_is_claimed_once(place: Place) -> None:
    first, second = Claims(place), Claims(place)
    assert first.take(VIDEO)
    assert not first.take(VIDEO)
    assert not second.take(VIDEO)
    assert second.take(OTHER)
    second.free(VIDEO)  # not its own: nothing happens
    assert second.is_taken(VIDEO)
    first.free(VIDEO)
    assert not second.is_taken(VIDEO)
    assert second.take(VIDEO)


def test_asking_changes_nothing(place: Place) -> None:
    claims, other = Claims(place), Claims(place)
    assert not claims.is_taken(VIDEO)
    assert other.take(VIDEO)
    assert claims.is_taken(VIDEO)
    assert other.is_taken(VIDEO)
    other.free(VIDEO)
    assert not claims.is_taken(VIDEO)


def test_the_end_of_a_run_frees_its_claims(place: Place) -> None:
    with Claims(place) as claims:
        assert claims.take(VIDEO)
        assert claims.take(OTHER)
    assert Claims(place).take(OTHER)
    assert Claims(place).take(VIDEO)


def test_a_killed_process_frees_its_claims(place: Place) -> None:
    program = (
        "import sys, time; from pathlib import Path; from spokenby.site.video_locks import Claims\n"
        "place = sys.argv[1] if '://' in sys.argv[1] else Path(sys.argv[1])\n"
        f"claims = Claims(place); assert claims.take('{VIDEO}')\n"
        "print('taken', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "taken\n"
    claims = Claims(place)
    assert not claims.take(VIDEO)
    assert claims.take(OTHER)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while not claims.take(VIDEO):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_folder_that_holds_no_locks_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot lock a file"):
        Claims(tmp_path / "file").take(VIDEO)
