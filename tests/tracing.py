"""Run a command and return the hosts outside of this machine that it looked up or connected to."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from conftest import Site

STRACE = shutil.which("strace")
NAME_SERVICE = "53"
QUIETED = re.compile(
    "ORT_DISABLE|HF_HUB_DISABLE|PYANNOTE_METRICS|DO_NOT_TRACK|XDG_CACHE_HOME|CI$|CI_|GITHUB|GITLAB|BUILD|TF_BUILD"
    "|TRAVIS|CIRCLECI|JENKINS|TEAMCITY"
)
"""Variables of this process by which libraries would be quiet: those that spokenby sets, and those
by which they know a build machine."""
_ADDRESS = re.compile(
    r"sin6?_port=htons\((?P<port>\d+)\).*?"
    r"(?:inet_addr\(|inet_pton\(AF_INET6, )\"(?P<host>[^\"]+)\""
)


def tracer(log: Path) -> list[str]:
    """Return the words before a command that note every address which it and its children use."""
    if STRACE is None:
        return []
    # -D: the command stays the caller's child. The filter in the kernel keeps it fast.
    options = ["-D", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none"]
    return [STRACE, *options, "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]


def hosts_in(log: Path) -> set[str]:
    """Return the hosts that a log names, but for this machine; a name service is never this one."""
    found = (_ADDRESS.search(line) for line in log.read_text("utf-8", "replace").splitlines())
    return {
        match["host"]
        for match in found
        if match
        and (match["port"] == NAME_SERVICE or not match["host"].startswith(("127.", "::1")))
    }


def can_trace() -> bool:
    """Return whether this machine has strace and lets it work."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        reach = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
        words = [*tracer(log), "python3", "-c", reach]
        tried = subprocess.run(words, capture_output=True, check=False)
        return tried.returncode == 0 and log.exists() and "127.0.0.1" in log.read_text()


def run_traced(
    site: Site, *words: str | Path
) -> tuple[subprocess.CompletedProcess[str], set[str] | None]:
    """Run `spokenby` with some words; return how it ended and the hosts, `None` if not known."""
    if not can_trace():
        return site.run(*words), None
    log = site.folder / "connections"
    process = site.start(*words, before=tracer(log))
    out, err = process.communicate(timeout=500)
    return subprocess.CompletedProcess(words, process.returncode, out, err), hosts_in(log)
