"""Print on the terminal, and say by an exit code how a command ended."""

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from spokenby.wording import one_line, printable

FAILED = 1
"""Exit code: something failed, as printed before. Of `find`, as of grep: nothing was found."""

STOPPED = 130
"""Exit code: stopped by Ctrl-C, as shells have it. By SIGTERM it becomes 143; see stopping.py."""


_FOLDED = 24
"""Longer texts are folded, such as paths."""


def open_console() -> Console:
    """Return standard output: as wide as the terminal, or wide enough for tables in a file."""
    in_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=120 if in_file else None)


def say(console: Console, line: str) -> None:
    """Print a line as it is, but for what a terminal would obey."""
    with _printing:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


_printing = threading.RLock()


class LiveTable(Live):
    """A table below the lines of `say`; gone once stopped.

    Rich renders a line together with the table and writes both a moment later. If the table
    stopped in between, that late copy would stay on the screen.
    """

    def stop(self) -> None:
        """Take the table away, once no line is being printed above it."""
        with _printing:
            super().stop()


def cell(text: str, style: str = "") -> Text:
    """Return an outside text for a table: neither markup nor control characters count."""
    return Text(one_line(text) if text else "", style, overflow="fold")


def print_table(console: Console, table: Table, *optional: str) -> None:
    """Print a table; on a narrow terminal, without columns that it does not have room for.

    No word is cut: words that are too long go on in the next line.

    Args:
        console: where to.
        table: to print.
        optional: headings of columns that may be left out, the least important first.
    """
    for column in table.columns:
        column.overflow = "fold"
    shown = list(table.columns)
    for heading in optional:
        if _width(shown) <= console.width:
            break
        shown = [column for column in shown if column.header != heading]
    table.columns = [replace(column, _index=place) for place, column in enumerate(shown)]
    console.print(table)


def _width(columns: Sequence[Column]) -> int:
    """Return the width in which columns can be read, with lines between them."""
    widest = (max(cell_len(str(text)) for text in (each.header, *each.cells)) for each in columns)
    return sum(min(width, _FOLDED) + 3 for width in widest) + 1


def print_json(content: Any) -> None:
    """Print what a program is to read; in ASCII if a terminal would obey something in it."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    if any(printable(line) != line for line in text.split("\n")):
        text = json.dumps(content, indent=1)
    print(text)  # noqa: T201 - for programs
