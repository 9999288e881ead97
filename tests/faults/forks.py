"""Runs `spokenby` in forks of one process that has imported everything: a run starts at once.

Started with tests/cutting in its PYTHONPATH and CUT_STAGE in its environment, so that a fork can be
disturbed. A line of its input is a run as JSON (words, environment, file for its output); it
answers with the exit code.
"""

import json
import os
import sys

from flows.cli.app import main
from flows.server import prefect_settings

prefect_settings.apply()
import ctranslate2  # noqa: E402, F401 - imported, not used: threads would not survive a fork
import faster_whisper  # noqa: E402, F401
import torch  # noqa: E402, F401

import flows.transcribe_videos  # noqa: E402, F401


def run(words: list[str], environment: dict[str, str], output: str) -> None:
    os.environ.update(environment)
    os.chdir(os.path.dirname(output))  # noqa: PTH120
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.argv = ["spokenby", *words]
    main()


print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    process = os.fork()
    if not process:
        run(**wanted)
    _, status = os.waitpid(process, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
