"""A run whose worker was killed: nobody reads what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PROGRAM = """
import sys, threading
from tasks import options
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging

def stage():
    for _ in range(3):
        get_logger("stage").error("is anybody there?")
        print("nobody", file=sys.stderr, flush=True)
    open(sys.argv[1], "w").close()

setup_logging()
thread = threading.Thread(target=stage)
thread.start()
thread.join()
"""


def test_stage_that_prints_to_nobody_goes_on(tmp_path: Path) -> None:
    done = tmp_path / "done"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(done)],
        cwd=ROOT,
        env={
            **os.environ,
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    process.stdout.close()
    assert process.wait(100) == 0
    assert done.exists()
