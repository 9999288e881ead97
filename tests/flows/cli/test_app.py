"""The command line as installed: its version, completion in a shell, and former variables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import SPOKENBY


def spokenby(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SPOKENBY, *words],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_version_is_the_distribution_s() -> None:
    ran = spokenby("--version")
    assert (ran.returncode, ran.stdout.strip()) == (0, version("spokenby"))


COMPLETE = """
source "$1"
COMP_WORDS=($2) COMP_CWORD=$(($3))
$(complete -p spokenby | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home directory in which completion is installed."""
    home = tmp_path_factory.mktemp("home")
    ran = spokenby("--install-completion", "--shell", "bash", HOME=str(home))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return home


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.skipif(sys.platform == "win32", reason="a home directory is elsewhere there")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("spokenby tr", {"transcribe"}),
        ("spokenby voices me", {"merge"}),
        ("spokenby transcribe --prof", {"--profile"}),
    ],
)
def test_completion_that_is_installed_completes(home: Path, line: str, offered: set[str]) -> None:
    (script,) = home.glob(".local/share/bash-completion/completions/spokenby")
    assert str(script) in (home / ".bashrc").read_text()
    last = len(line.split()) - 1
    words = ["bash", "--norc", "-c", COMPLETE, "bash", str(script), line, str(last)]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert {word.strip() for word in told.stdout.split()} == offered


def test_a_former_variable_is_one_line_that_names_the_new_one() -> None:
    ran = spokenby("status", WHOSAID_DATA_DIR="x")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "spokenby: WHOSAID_DATA_DIR is now called SPOKENBY_DATA_DIR: "
        "set SPOKENBY_DATA_DIR and unset WHOSAID_DATA_DIR\n"
    )


def test_params_of_a_profile_say_where_each_value_comes_from(tmp_path: Path) -> None:
    ran = spokenby(
        "params",
        "--profile",
        "studio",
        SPOKENBY_VOICE_ENCODER="speechbrain",
        SPOKENBY_DATA_DIR=str(tmp_path),
        COLUMNS="160",
    )
    assert ran.returncode == 0, ran.stderr
    rows = [[part.strip() for part in line.split("│")[1:4]] for line in ran.stdout.splitlines()]
    assert ["diarize.engine", "pyannote", "profile studio"] in rows
    assert ["embed.engine", "speechbrain", "this site"] in rows
    assert ["merge.max_pause", "1.0", "default"] in rows
