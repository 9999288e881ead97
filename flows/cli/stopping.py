"""End a command on Ctrl-C: gently the first time, at once the second."""

import os
import signal
import threading
from typing import Any

from rich.console import Console

from flows.cli.terminal import STOPPED

STOP_WITHIN_S = 5.0
"""How long running stages may take to end after Ctrl-C."""


def stop_on_ctrl_c(console: Console) -> None:
    """Let running stages end at their next sign of progress; stop at once at a second Ctrl-C."""
    from spokenby.progress import is_stopping, run_exit_callbacks, stop_all

    def leave() -> None:
        run_exit_callbacks()
        console.show_cursor()
        console.print("stopped; finished work is kept: run the same command again to continue")
        os._exit(STOPPED)  # threads in native code can't be ended in any other way

    def on_signal(*_: Any) -> None:
        if is_stopping():
            leave()
        console.print("stopping (press Ctrl-C again to stop at once)")
        stop_all()
        # The same Ctrl-C reaches Prefect's temporary server: do not wait for it to answer.
        timer = threading.Timer(STOP_WITHIN_S, leave)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGINT, on_signal)
