"""Run a Prefect server and a worker as child processes: start, watch, stop, log."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil

from spokenby.errors import SpokenbyError, StoppedError
from spokenby.files import explaining
from spokenby.progress import is_stopping
from spokenby.settings import PREFIX, Settings

STOP_WITHIN_S = 5.0
"""A worker that is stopped ends its runs first, which report to the server. Containers are killed
after 10 s."""

HEALTHY_WITHIN_S = 180.0
"""The first start migrates the database: 24 s on a busy machine."""


class ChildError(SpokenbyError):
    """A child process ended by itself."""


class Child:
    """A process of Prefect's command line, in a group of its own.

    A Ctrl-C at the terminal reaches only spokenby, which then stops its children in order. Should
    spokenby be killed, they end by themselves.

    Args:
        name: what it is called in messages.
        words: Prefect's command.
        env: its environment.
        log: file for its output.
        outlives_s: how long it stays when spokenby was killed.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        outlives_s: float = 0.0,
    ) -> None:
        self.name = name
        self.log = log
        with explaining(log.parent, "set SPOKENBY_CACHE_DIR to another folder"):
            log.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError, PermissionError):  # not on Windows while it is open
                log.replace(log.with_suffix(".before.log"))
            out = log.open("wb")
        with out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.server.child", str(outlives_s), *words],
                env=dict(env),
                stdin=subprocess.PIPE,  # nothing is written: it closes when this process is gone
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # without effect on Windows, as the next one elsewhere
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    def check(self) -> None:
        """Raise if the process has ended.

        Raises:
            ChildError: with the last line of its log.
        """
        if (code := self._process.poll()) is not None:
            raise ChildError(
                f"the {self.name} ended (exit code {code}): {last_line(self.log)}",
                f"see {self.log}",
            )

    def runs(self) -> set[UUID]:
        """Return the flow runs whose processes a worker has started."""
        found = set()
        with suppress(psutil.Error):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.Error, ValueError):
                    found.add(UUID(process.environ().get("PREFECT__FLOW_RUN_ID", "")))
        return found

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """End the process, gently first; then by force, with what it has started."""
        if self._process.poll() is not None:
            return
        if sys.platform == "win32":
            self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def wait_until_healthy(url: str, child: Child | None = None) -> None:
    """Wait for a server to answer at the address of its API.

    Raises:
        ChildError: the server's process ended, or did not answer in time.
        StoppedError: this process was asked to stop.
    """
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while not is_healthy(url):
        if is_stopping():
            raise StoppedError("stopped on request")
        if child:
            child.check()
        if time.monotonic() > deadline:
            raise ChildError(
                f"no Prefect server answers at {url} after {HEALTHY_WITHIN_S:.0f} s",
                f"see {child.log}" if child else "start one: spokenby serve",
            )
        time.sleep(0.3)


def is_healthy(url: str) -> bool:
    """Return whether a Prefect server answers at the address of its API."""
    import httpx  # slow to import, and most commands ask no server

    try:
        return httpx.get(f"{url}/health", timeout=5).json() is True
    except (httpx.HTTPError, ValueError):
        return False


def is_taken(host: str, port: int) -> bool:
    """Return whether a program listens on a port."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":  # elsewhere this would allow to take a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return True
    return False


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
    spoken = [line for line in lines if line and line != "Server stopped!"]
    return spoken[-1] if spoken else "it left no log"


def absolute(settings: Settings) -> dict[str, str]:
    """Return the site's paths as absolute environment variables.

    A worker runs flows in another folder than the one in which it was started.
    """
    paths = {name: value for name, value in settings if isinstance(value, Path)}
    if settings.ffmpeg and Path(settings.ffmpeg).name != settings.ffmpeg:
        paths["ffmpeg"] = Path(settings.ffmpeg)
    if settings.storage and not settings.bucket:
        paths["storage"] = Path(settings.storage)
    return {PREFIX + name.upper(): os.path.abspath(path) for name, path in paths.items()}
