"""A run is stopped by a signal, with real processes: nothing stays behind, and a rerun goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from conftest import ROOT, SPOKENBY, Site, migrate
from media import Sound, make_video

from flows.cli.stopping import MESSAGE
from spokenby.engines.av import read_audio
from spokenby.site.video_locks import Claims

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

WITHIN_S = 30
"""Containers are killed after 10 s. Here, other tests compute beside what ends."""

GONE_WITHIN_S = 5
"""What the command has ended may be listed for a moment longer than the command itself."""

COMPUTING = ": preload done"
"""Printed just before the first network computes."""

Kill = Callable[["subprocess.Popen[str]"], None]


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Site:
    """Return a site without a server, with a video of 12 s."""
    site = Site(tmp_path_factory.mktemp("lonely"), {})
    site.environment.pop("PREFECT_API_URL", None)
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    make_video(site.videos / "talk.mp4", Sound(samples[None, : 12 * rate_hz], rate_hz))
    migrate(site)
    return site


def term(process: subprocess.Popen[str]) -> None:
    process.terminate()


def term_twice(process: subprocess.Popen[str]) -> None:
    process.terminate()
    time.sleep(0.2)
    process.terminate()


def interrupt_group(process: subprocess.Popen[str]) -> None:
    """Signal everything that a terminal started, as its Ctrl-C does."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("words", "when", "how", "code"),
    [
        (["transcribe"], "starting Prefect", term_twice, 143),
        (["transcribe"], COMPUTING, term, 143),
        (["voices", "enroll", "Ada", "{video}"], COMPUTING, interrupt_group, 130),
        (["transcribe"], COMPUTING, subprocess.Popen.kill, -9),
    ],
    ids=lambda each: each if isinstance(each, str) else getattr(each, "__name__", None),
)
def test_a_signal_stops_a_run_and_its_temporary_server(
    lonely: Site, words: list[str], when: str, how: Kill, code: int
) -> None:
    (video,) = lonely.videos.iterdir()
    process = subprocess.Popen(
        [SPOKENBY, *(word.format(video=video) for word in words)],
        cwd=lonely.elsewhere,
        env=lonely.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    told = ""
    for line in process.stdout:  # type: ignore[union-attr]
        told += line
        if when in line:
            break
    else:
        pytest.fail(told)
    signaled = time.monotonic()
    how(process)
    said = process.communicate(timeout=120)[0].splitlines()
    ended = time.monotonic()
    while left := lonely.processes():
        assert time.monotonic() - signaled < WITHIN_S, (left, said)
        killed = how is subprocess.Popen.kill
        assert killed or time.monotonic() - ended < GONE_WITHIN_S, left
        time.sleep(0.2)
    assert time.monotonic() - signaled < WITHIN_S
    assert process.returncode == code, said
    if code > 0:
        assert [line for line in said if line][-1] == MESSAGE
        assert "Traceback" not in "".join(said)
        assert len(said) < 25, said
    assert not list(lonely.transcripts.glob("*"))
    assert {path.suffix for path in (lonely.data / "cache" / "audio").glob("*")} <= {".wav"}
    for claim in (lonely.data / "cache" / "claims").glob("*"):
        assert not Claims(claim.parent).is_taken(claim.stem)


def test_a_rerun_goes_on_where_the_signals_stopped_it(lonely: Site, prefect_server: str) -> None:
    ran = lonely.run("transcribe", PREFECT_API_URL=prefect_server)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "extract" not in lonely.computed("talk")
    assert lonely.strangers_imported == ""
