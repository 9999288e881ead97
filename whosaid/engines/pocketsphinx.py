"""Drafts of English by pocketsphinx live here: windows handed out to child processes.

The decoding itself does not; see `pocketsphinx_child.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Self, cast

import numpy as np

from whosaid.errors import InputError, TransientError
from whosaid.transcription import Heard, Params, WindowText
from whosaid.types import Progress, Seconds, Span, Waveform, Word

FRAMES_PER_SECOND = 100

HEARTBEAT: Seconds = 0.5
"""Progress is told at least this often, so that who asked to stop need not wait for a window."""

CHILD_BYTES = 150_000_000
"""Memory of one child: at most 124 MB, measured on windows of 30 s."""

FILES = ("en-us/mdef", "en-us.lm.bin", "cmudict-en-us.dict")


class Pocketsphinx:
    """Hear English, as a draft, on every core of the CPU.

    Args:
        model: folder that holds `FILES`, as inside the pocketsphinx package.
        patience: seconds that one window may take before its process counts as hung.
    """

    def __init__(self, model: Path, patience: Seconds = 600.0) -> None:
        missing = [file for file in FILES if not (model / file).is_file()]
        if missing:
            raise InputError(
                f"the pocketsphinx model {model} has no {missing[0]}",
                "name a folder laid out as model/en-us in the pocketsphinx package",
            )
        self.model = model
        self.patience = patience
        self.computes_in = "cpu"
        self.at_once = 1

    def transcribe(
        self, waveform: Waveform, windows: Sequence[Span], params: Params, progress: Progress
    ) -> Heard:
        """Hear every window; the words do not depend on the number of processes.

        Raises:
            InputError: another language than English is asked for.
            TransientError: a process hung or died.
        """
        if params.language not in {None, "en"}:
            raise InputError(
                f"the draft recogniser knows only English, not {params.language!r}",
                "choose a profile with a Whisper model, or set the language to en",
            )
        texts: dict[int, WindowText] = {}
        # Long windows first, so that no process is left alone with one at the end.
        order = sorted(range(len(windows)), key=lambda i: -windows[i].duration)
        total = sum(window.duration for window in windows)
        count = min(params.processes or default_processes(), len(windows))
        idle: SimpleQueue[_Child] = SimpleQueue()

        def hear(i: int) -> WindowText:
            child = idle.get()
            try:
                return child.decode(waveform, windows[i])
            finally:
                idle.put(child)

        with ThreadPoolExecutor(max(count, 1)) as threads, ExitStack() as children:
            for _ in range(count):
                idle.put(children.enter_context(_Child(self.model, self.patience)))
            futures: dict[Future[WindowText], int] = {threads.submit(hear, i): i for i in order}
            try:
                while len(texts) < len(windows):
                    done, _ = wait(futures, timeout=HEARTBEAT, return_when=FIRST_COMPLETED)
                    for future in done:
                        i = futures.pop(future)
                        texts[i] = future.result()
                    progress(sum(windows[i].duration for i in texts) / total)
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
        return Heard(language="en", texts=[texts[i] for i in range(len(windows))])

    def transcribe_again(self, *_: object) -> None:
        """Return None: this engine knows only one way to hear."""


class _Child:
    """A process that decodes one window after the other, ended on leaving the context."""

    def __init__(self, model: Path, patience: Seconds) -> None:
        # By path, with -P: nothing of whosaid, nor of what runs in this process, is imported there.
        script = Path(__file__).with_name("pocketsphinx_child.py")
        self.patience = patience
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            cwd=model,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def decode(self, waveform: Waveform, window: Span) -> WindowText:
        """Return the words of a window; raise `TransientError` if the process hangs or dies."""
        first, last = (round(time * waveform.rate_hz) for time in (window.start, window.end))
        samples = np.clip(waveform.samples[first:last] * 32768.0, -32768, 32767).astype("<i2")
        stdin = cast("IO[bytes]", self.process.stdin)
        stdout = cast("IO[bytes]", self.process.stdout)
        hung = threading.Event()

        def end() -> None:
            hung.set()
            self.process.kill()

        timer = threading.Timer(self.patience, end)
        timer.start()
        try:
            stdin.write(samples.nbytes.to_bytes(8, "little"))
            stdin.write(samples.tobytes())
            stdin.flush()
            answer = stdout.readline()
        except OSError:
            answer = b""
        finally:
            timer.cancel()
        if not answer.endswith(b"\n"):
            what = f"hung for {self.patience:.0f} s" if hung.is_set() else "died"
            raise TransientError(
                f"a pocketsphinx process {what} at {window.start:.0f} s of the video",
                "run again; if it stays so, set fewer processes",
            )
        return _to_text(json.loads(answer), window)


def _to_text(heard: Sequence[tuple[str, int, int, float]], window: Span) -> WindowText:
    """Return the words of what a child answered: names, first and last frame, probability."""
    words = [
        Word(
            start=window.start + first / FRAMES_PER_SECOND,
            end=window.start + last / FRAMES_PER_SECOND,
            # "read(2)" is the second way to say "read"; the dictionary is lower case throughout.
            text=re.sub(r"\(\d+\)$", "", re.sub(r"^i(?='|\(|$)", "I", name)),
            confidence=min(1.0, max(0.0, probability)),
        )
        for name, first, last, probability in heard
        if not name.startswith(("<", "[", "+"))
    ]
    return WindowText(words)


def default_processes() -> int:
    """Return one process a core, fewer where they would take more than half of the memory."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _memory_bytes() // 2 // CHILD_BYTES))


def _memory_bytes() -> int:
    """Return the machine's memory."""
    if sys.platform != "win32":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import ctypes

    status = (ctypes.c_ulonglong * 8)()  # MEMORYSTATUSEX: two uint32, then seven uint64
    ctypes.cast(status, ctypes.POINTER(ctypes.c_ulong))[0] = ctypes.sizeof(status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status[1]  # ullTotalPhys
