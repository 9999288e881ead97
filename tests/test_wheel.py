"""spokenby is installed from its checkout, editable, and in no other way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def build(how: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from hatchling import build; getattr(build, sys.argv[1])(sys.argv[2])"
    return subprocess.run(
        [sys.executable, "-c", program, how, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_is_refused_in_one_line(tmp_path: Path) -> None:
    ran = build("build_wheel", tmp_path)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "clone it and run `uv sync`" in line
    assert not list(tmp_path.glob("*.whl"))


def test_checkout_is_installed(tmp_path: Path) -> None:
    ran = build("build_editable", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.glob("*.whl"))
