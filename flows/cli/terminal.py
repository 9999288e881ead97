"""Where the command line prints lives here. What it prints does not; see display.py."""

import os
import sys

from rich.console import Console


def open_console() -> Console:
    """Return standard output: as wide as the terminal, or wide enough for tables in a file."""
    in_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=120 if in_file else None)
