"""Print on the terminal, and say by an exit code how a command ended."""

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from spokenby.wording import one_line, printable

FAILED = 1
"""Exit code: something failed, as printed before. Of `find`, as of grep: nothing was found."""

STOPPED = 130
"""Exit code: stopped by Ctrl-C, as shells have it. By SIGTERM it becomes 143; see stopping.py."""


def open_console() -> Console:
    """Return standard output: as wide as the terminal, or wide enough for tables in a file."""
    in_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=120 if in_file else None)


def say(console: Console, line: str) -> None:
    """Print a line as it is, but for what a terminal would obey."""
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def cell(text: str, style: str = "") -> Text:
    """Return an outside text for a table: neither markup nor control characters count."""
    return Text(one_line(text) if text else "", style, overflow="fold")


def print_json(content: Any) -> None:
    """Print what a program is to read; in ASCII if a terminal would obey something in it."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    if any(printable(line) != line for line in text.split("\n")):
        text = json.dumps(content, indent=1)
    print(text)  # noqa: T201 - for programs
