"""Nothing leaves this machine: what commands and their children look up or connect to is recorded.

The recorder sees system calls, whichever library makes them.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import soundfile
from conftest import Site
from media import Sound, make_video, silence
from recordings import CONVERSATION, sound_of
from served import Served

from spokenby.types import SAMPLE_RATE_HZ

RECORDER = ("strace", "-D", "-A", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none",
            "-e", "trace=connect,sendto,sendmsg,sendmmsg")  # fmt: skip
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.")
LOOKUP = "53"
"""The port of name servers: asking one on this machine is a lookup, too."""

BUILD_MACHINE = re.compile(
    "CI$|CI_|GITHUB|GITLAB|BUILD|TF_BUILD|TRAVIS|CIRCLECI|JENKINS|TEAMCITY|APPVEYOR"
)
"""Variables by which onnxruntime and Prefect know a build machine, from which they don't report."""

recorded = pytest.mark.skipif(
    shutil.which("strace") is None, reason="there is no strace here to record with"
)


def at_home(home: Path) -> dict[str, str]:
    """Return the environment of a user, not of tests: nothing of it keeps a library quiet."""
    kept = {name: value for name, value in os.environ.items() if not BUILD_MACHINE.match(name)}
    for name in ("ORT_DISABLE_TELEMETRY", "PYANNOTE_METRICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY",
                 "DO_NOT_TRACK", "XDG_CACHE_HOME"):  # fmt: skip
        kept.pop(name, None)
    return {**kept, "HOME": str(home)}


def record(site: Site, name: str) -> Path:
    """Let the site's commands be recorded from now on; return the file of the record."""
    site.environment = {
        **at_home(site.folder),
        **{
            name: value for name, value in site.environment.items() if os.environ.get(name) != value
        },
    }
    record = site.folder / f"{name}.calls"
    site.command = (*RECORDER, "-o", str(record), *site.command)
    return record


def outside(record: Path) -> set[str]:
    """Return what was asked outside of this machine, and every name server."""
    asked = ADDRESS.findall(record.read_text(errors="replace"))
    assert asked, "nothing was recorded"
    return {
        f"{address}:{port}"
        for port, address in asked
        if port == LOOKUP or not LOOPBACK.match(address)
    }


def speech(folder: Path) -> Path:
    path = folder / "speech.wav"
    soundfile.write(path, sound_of(CONVERSATION).samples[: 8 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
    return path


@recorded
def test_a_transcription_asks_nobody(tmp_path: Path) -> None:
    site = Site(tmp_path, {})
    site.environment.pop("PREFECT_API_URL", None)  # it starts a server of its own
    calls = record(site, "transcribe")
    ran = site.run("transcribe", speech(site.videos))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert outside(calls) == set()
    assert not (site.folder / ".cache").exists()


@recorded
def test_neither_does_a_server_nor_a_look_at_the_machine(tmp_path: Path) -> None:
    served = Served(tmp_path)
    calls = record(served, "serve")
    served.up("both")
    try:
        for words in (("doctor",), ("models", "list")):
            ran = served.run(*words)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        quiet = make_video(served.videos / "quiet.mp4", Sound(silence(2)), picture=False)
        run = served.trigger(paths=[str(quiet)])  # its search for speech loads onnxruntime
        served.wait_for(run, "Completed")
    finally:
        served.down("both")
    assert outside(calls) == set()
    assert not (served.folder / ".cache").exists()
