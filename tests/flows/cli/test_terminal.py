"""What a person sees: commands in a terminal of 80 or 130 columns, without color, and stopped."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import SPOKENBY, Site

if sys.platform == "win32":
    pytest.skip("terminals as POSIX has them", allow_module_level=True)

import fcntl
import pty
import struct
import termios

import pyte
from rich.console import Console, RenderHook
from rich.table import Table

from flows.cli.stopping import MESSAGE
from flows.cli.terminal import LiveTable, print_table, say

ROWS = 60
CTRL_C = b"\x03"
HEADINGS = ["video", "length", "speakers", "words", "covered", "seconds", "x real time"]


def on_terminal(
    site: Site, columns: int, *words: str | Path, until: bytes = b"", **environment: str
) -> tuple[int, bytes, list[str]]:
    """Run a command in a terminal; press Ctrl-C once it printed something.

    Returns:
        its exit code, all that it printed, and the lines that are left on the screen.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    given = {name: value for name, value in site.environment.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, SPOKENBY, *map(str, words)],
        cwd=site.elsewhere,
        env=given | {"TERM": "xterm-256color"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux: nobody holds the other end any more
            break
        if not part:
            break
        printed += part
        stream.feed(part)
        if until and until in printed:
            os.write(ours, CTRL_C)
            until = b""
    os.close(ours)
    return process.wait(60), printed, [line.rstrip() for line in screen.display if line.strip()]


IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C arrives as a signal
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_run_on_80_columns_leaves_a_table_that_can_be_read(site_copy: Site) -> None:
    code, printed, left = on_terminal(site_copy, 80, "transcribe", "--force", "merge")
    assert code == 0, left
    assert b"\x1b[" in printed
    assert b"of 2 done" in printed  # while it ran
    assert not any("of 2 done" in line for line in left), left
    (head,) = [line for line in left if line.startswith("┃")]
    assert [word.strip() for word in head.strip("┃").split("┃")] == HEADINGS[:6]
    for name in ("telephone talk.mp4", "conversation.mp4"):
        assert any(name in line for line in left), left
    assert any(line.startswith("2 of 2 videos transcribed; ") for line in left), left
    assert not any("…" in line for line in left), left


@pytest.mark.parametrize("no_color", [False, True])
def test_130_columns_have_room_for_all(site_copy: Site, no_color: bool) -> None:
    off = {"NO_COLOR": "1"} if no_color else {}
    code, printed, left = on_terminal(site_copy, 130, "transcribe", **off)
    assert code == 0, left
    (head,) = [line for line in left if line.startswith("┃")]
    assert [word.strip() for word in head.strip("┃").split("┃")] == [*HEADINGS, "from cache"]
    assert left[-1] == "2 of 2 videos transcribed; already up to date"
    assert bool(re.search(rb"\x1b\[(\d+;)*3\d", printed)) != no_color


def test_ctrl_c_leaves_one_line_and_no_half_table(site_copy: Site) -> None:
    code, _, left = on_terminal(
        site_copy, 80, "transcribe", "--force", "transcribe", until=b"of 2 done"
    )
    assert code == 130, left
    assert left[-1] == MESSAGE, left
    assert not any("━" in line or "%" in line for line in left), "\n".join(left)


def test_a_line_printed_while_the_live_table_stops_leaves_no_copy_of_it() -> None:
    rendering, stopping, printed = threading.Event(), threading.Event(), io.StringIO()

    class Slow(RenderHook):
        def process_renderables(self, renderables: list[Any]) -> list[Any]:
            if threading.current_thread() is line:
                rendering.set()
                stopping.wait(10)
                time.sleep(0.2)  # time enough for the table to stop, if nothing holds it up
            return renderables

    console = Console(file=printed, force_terminal=True, width=80)
    console.push_render_hook(Slow())
    line = threading.Thread(target=say, args=(console, "stopping"))
    live = LiveTable("a table", console=console, auto_refresh=False, transient=True)
    live.start()
    line.start()
    assert rendering.wait(60)
    stopping.set()
    live.stop()
    line.join()
    screen = pyte.Screen(80, 10)
    pyte.Stream(screen).feed(printed.getvalue().replace("\n", "\r\n"))
    assert [text.rstrip() for text in screen.display if text.strip()] == ["stopping"]


def test_a_narrow_table_loses_columns_and_no_words() -> None:
    table = Table("video", "state", "note", "stored")
    table.add_row("/a/long/path/to/a/video/with a name.mp4", "done", "a word", "extract")
    console = Console(width=44, record=True, file=io.StringIO())
    print_table(console, table, "stored", "note")
    text = console.export_text()
    assert "stored" not in text
    assert "…" not in text
    folded = "".join(line.split("│")[1].strip() for line in text.splitlines() if "│" in line)
    assert folded.replace(" ", "") == "/a/long/path/to/a/video/withaname.mp4"
