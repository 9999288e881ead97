"""A command of Prefect that ends when the process that started it does, however, lives here.

That holds the other end of the pipe which is this process's standard input. Who starts it:
flows/server/processes.py. Run as `python -m flows.server.child GRACE_S WORDS…`.
"""

import os
import runpy
import signal
import sys
import threading
import time
from typing import Any

END_WITHIN_S = 30.0
"""A worker that ends reports to the server what became of its runs."""


def end_with_parent(grace_s: float) -> None:
    """Wait for the pipe to close, then end this process: as Ctrl-C does, or by force."""
    while os.read(0, 1024):
        pass
    time.sleep(grace_s)
    if sys.platform == "win32":
        os.kill(os.getpid(), signal.CTRL_BREAK_EVENT)  # to the group that it leads
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_WITHIN_S)
    os._exit(1)


def leave_held_runs() -> None:
    """Let a worker leave a run that it still holds to its next poll.

    It holds one for some time after its process has died, and while it lives though its silence
    was taken for death (the machine slept, the server was away). Who starts that run again, in the
    UI or by recovery.py, would end the worker with an error, and with it every other run.
    (Prefect 3.8.8.)
    """
    from prefect.workers.base import BaseWorker

    submit = BaseWorker._submit_scheduled_flow_runs  # noqa: SLF001

    async def submit_free(worker: Any, flow_run_response: list[Any]) -> list[Any]:
        limiter = worker._limiter  # noqa: SLF001
        held = limiter.statistics().borrowers if limiter else ()
        free = [entry for entry in flow_run_response if entry.flow_run.id not in held]
        return await submit(worker, free)

    BaseWorker._submit_scheduled_flow_runs = submit_free  # type: ignore  # noqa: PGH003, SLF001


if __name__ == "__main__":
    grace_s, *words = sys.argv[1:]
    threading.Thread(target=end_with_parent, args=(float(grace_s),), daemon=True).start()
    if words[0] == "worker":
        leave_held_runs()
    sys.argv = ["prefect", *words]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
