"""Every fault at every stage: the next run is done, with equal outputs, and computes little again.

A clip is transcribed once. For each case, its finished site is copied, loses what one stage stored,
and is disturbed while it computes that. `EVERY_FAULT=1` tries all; else each fault hits one stage.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Site
from media import Sound, make_video
from ports import free_port

from spokenby.engines.av import read_audio
from spokenby.site.video_locks import Claims

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, signals, limits")

CLIP_S = 6
STAGES = ("extract", "speech", "diarize", "embed", "transcribe", "edges", "merge", "identify")
DURING = ("kill -9", "SIGTERM", "disk full", "read-only", "server gone", "database locked")
STORED = ("truncated", "flipped", "audio flipped")

PASSES = {"database locked"}
"""The run that was disturbed is done, without another."""

ALWAYS = {
    ("kill -9", "extract"),
    ("kill -9", "transcribe"),
    ("SIGTERM", "embed"),
    ("disk full", "extract"),
    ("disk full", "diarize"),
    ("read-only", "speech"),
    ("server gone", "merge"),
    ("database locked", "identify"),
    ("truncated", "edges"),
    ("flipped", "transcribe"),
    ("audio flipped", "diarize"),
}
CASES = [
    (fault, stage)
    for fault in (*DURING, *STORED)
    for stage in STAGES
    if not (fault in STORED and stage in {"merge", "identify"})  # nothing is stored of these
    if not (fault == "audio flipped" and stage == "extract")  # which does not read it
    and ("EVERY_FAULT" in os.environ or (fault, stage) in ALWAYS)
]
CASES.sort(key=lambda case: case not in ALWAYS)


class Forks:
    """Runs `spokenby` without the seconds that it takes to import everything."""

    def __init__(self, folder: Path, server: str) -> None:
        self._server = int(server.rpartition(":")[2].partition("/")[0])
        self._port = free_port()
        self._output = folder / "output"
        self.forward()
        environment = {
            **os.environ,
            "CUT_STAGE": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "tests" / "cutting"), str(ROOT))),
            "PREFECT_API_URL": f"http://127.0.0.1:{self._port}/api",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_CLIENT_MAX_RETRIES": "1",
            "COLUMNS": "160",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", ROOT / "tests" / "faults" / "forks.py"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def forward(self) -> None:
        """Lead the address that runs know to the server."""
        self._forwarder = subprocess.Popen(
            [
                sys.executable,
                ROOT / "tests" / "faults" / "forwarder.py",
                str(self._server),
                str(self._port),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._forwarder.stdout
        assert self._forwarder.stdout.readline() == "ready\n"

    def run(self, site: Site, **environment: str) -> tuple[int, str]:
        """Return how `transcribe` ended on a site, and what it said."""
        if self._forwarder.poll() is not None:
            self.forward()
        wanted = {
            "words": ["transcribe", "--set", "edges.enabled=true"],
            "environment": {
                "SPOKENBY_DATA_DIR": str(site.data),
                "CUT_SERVER": str(self._forwarder.pid),
                **environment,
            },
            "output": str(self._output),
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        return int(self._answer()), self._output.read_text("utf-8")

    def end(self) -> None:
        self._process.communicate(timeout=120)
        self._forwarder.kill()
        self._forwarder.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("forks"), prefect_server)
    yield forks
    forks.end()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Site:
    site = Site(tmp_path_factory.mktemp("undisturbed"), {})
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    make_video(site.videos / "clip.mp4", Sound(samples[None, : CLIP_S * rate_hz], rate_hz))
    code, said = forks.run(site)
    assert code == 0, said
    return site


@pytest.mark.parametrize(("fault", "stage"), CASES)
def test_after_a_fault_the_next_run_ends_as_if_there_had_been_none(
    fault: str, stage: str, forks: Forks, undisturbed: Site, tmp_path: Path
) -> None:
    site = Site(tmp_path, {})
    site.copy_data(undisturbed)
    shutil.rmtree(site.output("clip"))
    if fault == "audio flipped":
        lose(site, stage)
        (audio,) = (site.data / "cache" / "audio").glob("*.wav")
        flip(audio)
    elif fault in STORED:
        damage(site, stage, fault)
    else:
        lose(site, stage)
        mark = tmp_path / "mark"
        code, said = forks.run(site, CUT_STAGE=stage, CUT_BY=fault, CUT_MARK=str(mark))
        assert mark.exists(), said
        assert code == {"kill -9": -9, "SIGTERM": 143, "server gone": 2}.get(
            fault, fault not in PASSES
        ), said
        assert "Traceback" not in said
        if code == 1:
            (line,) = [line for line in said.splitlines() if line.startswith("failed: ")]
            assert "clip.mp4" in line
        assert_nothing_is_left(site)
    before = stored(site)
    code, said = forks.run(site, CUT_STAGE="")
    assert code == 0, said
    again = {name for name, when in before.items() if stored(site)[name] != when}
    if fault == "audio flipped":
        assert again == {"extract"}
    else:  # a full disk may leave half a result, which is found out and replaced
        assert again <= ({stage} if fault in {*STORED, "disk full"} else set())
    for written in undisturbed.output("clip").iterdir():
        if written.name != "manifest.json":  # which tells what took how long
            there = site.output("clip") / written.name
            assert there.read_bytes() == written.read_bytes(), there
    assert_nothing_is_left(site)
    assert files(site) == files(undisturbed)


def lose(site: Site, stage: str) -> None:
    """Delete what a stage left behind."""
    if stage == "identify":
        shutil.rmtree(site.data / "voices")
    lost = {"extract": ["extract", "speech"]}.get(stage, [stage])  # else no audio is needed
    for name in lost:
        for result in (site.results / name).glob("*.json"):
            result.unlink()
    if stage == "extract":
        shutil.rmtree(site.data / "cache" / "audio")


def damage(site: Site, stage: str, how: str) -> None:
    (result,) = (site.results / stage).glob("*.json")
    if how == "truncated":
        os.truncate(result, result.stat().st_size // 2)
    else:
        flip(result)


def flip(path: Path) -> None:
    """Change a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def stored(site: Site) -> dict[str, int]:
    results = site.results.glob("*/*.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in results}


def files(site: Site) -> set[Path]:
    """Return what is there but for models, records of runs, and exceptions that Prefect stored."""
    found = {path.relative_to(site.data) for path in site.data.rglob("*") if path.is_file()}
    exceptions = {path for path in found if path.parent == Path("cache/results")}
    return {path for path in found - exceptions if path.parts[0] not in {"models", "runs"}}


def assert_nothing_is_left(site: Site) -> None:
    deadline = time.monotonic() + 60
    while left := site.processes():  # an ffmpeg notices that nobody reads
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    for claim in (site.data / "cache" / "claims").glob("*"):
        assert not Claims(claim.parent).is_taken(claim.stem)
