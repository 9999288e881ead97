from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from spokenby.errors import InputError
from spokenby.site.video_locks import Claims

VIDEO = "ab" * 32
OTHER = "cd" * 32


def test_a_video_is_claimed_once(tmp_path: Path) -> None:
    first, second = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert first.take(VIDEO)
    assert not first.take(VIDEO)
    assert not second.take(VIDEO)
    assert second.take(OTHER)
    second.free(VIDEO)  # not its own: nothing happens
    assert second.is_taken(VIDEO)
    first.free(VIDEO)
    assert not second.is_taken(VIDEO)
    assert second.take(VIDEO)


def test_asking_changes_nothing(tmp_path: Path) -> None:
    claims, other = Claims(tmp_path), Claims(tmp_path)
    assert not claims.is_taken(VIDEO)
    assert other.take(VIDEO)
    assert claims.is_taken(VIDEO)
    assert other.is_taken(VIDEO)
    other.free(VIDEO)
    assert not claims.is_taken(VIDEO)


def test_the_end_of_a_run_frees_its_claims(tmp_path: Path) -> None:
    with Claims(tmp_path) as claims:
        assert claims.take(VIDEO)
        assert claims.take(OTHER)
    assert Claims(tmp_path).take(OTHER)
    assert Claims(tmp_path).take(VIDEO)


def test_a_killed_process_frees_its_claims(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from spokenby.site.video_locks import Claims\n"
        f"claims = Claims(Path(sys.argv[1])); assert claims.take('{VIDEO}')\n"
        "print('taken', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "taken\n"
    claims = Claims(tmp_path)
    assert not claims.take(VIDEO)
    assert claims.take(OTHER)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while not claims.take(VIDEO):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_folder_that_holds_no_locks_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot lock a file"):
        Claims(tmp_path / "file").take(VIDEO)
