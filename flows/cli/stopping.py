"""End a command on Ctrl-C or SIGTERM: gently the first time, at once the second."""

import os
import signal
import threading
from types import FrameType
from typing import NoReturn

from rich.console import Console

from flows.cli.terminal import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)

MESSAGE = "stopped; finished work is kept: run the same command again to continue"

STOP_WITHIN_S = 5.0
"""How long running stages may take to end. Containers are killed after 10 s; the temporary server
ends within the rest."""

_number = signal.SIGINT


def exit_code() -> int:
    """Return what the shell expects of a process that ended by the last signal: 130 or 143."""
    return 128 + _number


def interrupt_on_signals() -> None:
    """Let a signal interrupt commands that have nothing to finish; a second one ends them."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    _note(number)
    for each in SIGNALS:
        signal.signal(each, _end)
    raise KeyboardInterrupt


def _end(*_: object) -> NoReturn:
    os._exit(exit_code())


def stop_on_signals(console: Console) -> None:
    """Let running stages end at their next sign of progress; stop at once at a second signal."""
    from spokenby.progress import is_stopping, run_exit_callbacks, stop_all

    def leave() -> None:
        run_exit_callbacks()
        console.show_cursor()
        console.print(MESSAGE)
        os._exit(exit_code())  # threads in native code can't be ended in any other way

    def on_signal(number: int, _frame: FrameType | None) -> None:
        _note(number)
        if is_stopping():
            leave()
        again = " (press Ctrl-C again to stop at once)" if number == signal.SIGINT else ""
        stop_all()
        # Not from here: this may have interrupted the console in the midst of a line.
        threading.Thread(target=say, args=(console, f"stopping{again}"), daemon=True).start()
        timer = threading.Timer(STOP_WITHIN_S, leave)
        timer.daemon = True
        timer.start()

    for number in SIGNALS:
        signal.signal(number, on_signal)


def _note(number: int) -> None:
    global _number  # noqa: PLW0603 - one a process, as its signals are
    _number = signal.Signals(number)
