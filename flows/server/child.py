"""Run a command of Prefect that ends when the process that started it does.

That holds the other end of the pipe which is this process's standard input. Who starts it:
flows/server/processes.py. Run as `python -m flows.server.child GRACE_S WORDS…`.
"""

import os
import runpy
import signal
import sys
import threading
import time

END_WITHIN_S = 30.0
"""A worker that ends reports to the server how its runs ended."""


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
    if sys.platform != "win32":
        os.killpg(os.getpid(), signal.SIGKILL)  # with the runs that it has started
    os._exit(1)


if __name__ == "__main__":
    grace_s, *words = sys.argv[1:]
    threading.Thread(target=end_with_parent, args=(float(grace_s),), daemon=True).start()
    if words[0] == "view":
        from flows.server.review_server import main

        main(words[1])
        sys.exit()
    if words[0] == "server":
        from flows.server.guard import guard_server

        guard_server()
    sys.argv = ["prefect", *words]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
