"""Write times and outside text as people read them: safe on a terminal and in Markdown."""

import re
from itertools import groupby

from spokenby.types import Seconds


def clock(seconds: Seconds) -> str:
    """Return a length of time as 1:02:03 or 2:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def position(seconds: Seconds) -> str:
    """Return a moment to play from as 1:02:03 or 2:03: rounded down, so that nothing is missed."""
    return clock(int(seconds))


def count_of(number: int, noun: str) -> str:
    """Return a number of things: 1 video, 2 videos."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_DIRECTIONS = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Invisible; they make a text look like another."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Terminals obey them, ESC and its one-byte forms above all; surrogates cannot be printed."""
_MARKDOWN = re.compile(r"[\\`*_\[\]|~]")


def printable(text: str) -> str:
    """Return an outside text, such as a file's or a person's name, as a terminal may show it."""
    return _CONTROLS.sub("\ufffd", _DIRECTIONS.sub("", _BREAKS.sub(" ", text)))


def one_line(text: str) -> str:
    """Return an outside text, such as a file name with a line break, on one line, printable."""
    return " ".join(printable(text).split()) or "?"


def markdown_cell(text: str) -> str:
    """Return an outside text as a heading or a table's cell of a Markdown page can hold it.

    It is shown as it is: it becomes no image, and no link that reads otherwise.
    """
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\g<0>", plain)


def markdown_code(text: str) -> str:
    """Return an outside text, such as a path, as code on a Markdown page."""
    plain = one_line(text)
    longest = max((len(list(run)) for tick, run in groupby(plain) if tick == "`"), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{plain}{space}{fence}"
