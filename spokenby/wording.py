"""Write times and foreign text as people read them."""

from spokenby.types import Seconds


def clock(seconds: Seconds) -> str:
    """Return a length of time as 1:02:03 or 2:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def position(seconds: Seconds) -> str:
    """Return a moment to play from as 1:02:03 or 2:03: rounded down, so that nothing is missed."""
    return clock(int(seconds))


def one_line(text: str) -> str:
    """Return a text, such as a file name with a line break, on one line."""
    return " ".join(text.split()) or "?"


def markdown_cell(text: str) -> str:
    """Return a text as a heading or a table's cell of a Markdown page can hold it."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")
