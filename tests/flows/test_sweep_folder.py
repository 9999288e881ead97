"""Sweeps on real videos, with a real Prefect server, through the command line and a deployment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from commands import Here
from conftest import ROOT, Site
from media import Sound, make_video, silence, tone

from spokenby.errors import InputError
from spokenby.plan.stages import Stage
from spokenby.site.attempts import Attempt, Ledger

OLD = 1_700_000_000

SERVED = "served to one test"
"""A deployment by another name than the site's: the sweeps of other tests, which share the server,
must not be given to its worker."""


def add(site: Site, name: str, seconds: float = 1.0, hz: float = 0.0) -> Path:
    """Make a video that has been at rest for long."""
    sound = tone(seconds, hz) if hz else silence(seconds)
    path = make_video(site.videos / name, Sound(sound))
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def cli(site: Site) -> Iterator[Here]:
    with Here(site) as commands:
        yield commands


def ask(site: Site, what: str, **question: Any) -> Any:
    """Ask the Prefect server."""
    request = urllib.request.Request(
        f"{site.environment['PREFECT_API_URL']}/{what}",
        json.dumps(question).encode() if question else None,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def computed(site: Site, *names: str) -> Counter[str]:
    """Return how often each stage of some videos was computed, not taken from the cache."""
    wanted = {
        "name": {"any_": [f"{stage} {name}" for stage in ("extract", "diarize") for name in names]}
    }
    runs = ask(site, "task_runs/filter", task_runs=wanted)
    return Counter(run["name"] for run in runs if run["state"]["name"] == "Completed")


def latest_table(site: Site) -> dict[str, tuple[str, str]]:
    """Return the table of the last sweep in the UI."""
    return {
        Path(row["video"]).name: (row["state"], row["note"]) for row in latest_sweep(site)["rows"]
    }


def latest_sweep(site: Site) -> dict[str, Any]:
    """Return the table of the site's last sweep, as `rows`, and the id of its run."""
    wanted = {"key": {"any_": ["sweep"]}}
    for artifact in ask(site, "artifacts/filter", artifacts=wanted, sort="CREATED_DESC"):
        rows = json.loads(re.sub(r"\\\\(\W|_)", r"\1", artifact["data"]))  # of Markdown
        if any(row["video"].startswith(str(site.folder)) for row in rows):  # of no other test's
            return {**artifact, "rows": rows}
    raise AssertionError


def ledger_of(site: Site) -> Ledger:
    return Ledger(site.data / "cache" / "ledger.sqlite")


def wait_for_attempt(site: Site, *processes: subprocess.Popen[str]) -> Attempt:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for attempt in ledger_of(site).read().values():
            if attempt.ended is None:
                return attempt
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def growing(site: Site) -> Iterator[Path]:
    """Write a file on and on."""
    path = site.videos / "growing.mp4"
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with path.open("ab") as file:
                file.write(b"more")
            time.sleep(0.2)

    writer = threading.Thread(target=write)
    writer.start()
    yield path
    stop.set()
    writer.join()


def test_sweeps_over_the_life_of_a_folder(site: Site, cli: Here, growing: Path) -> None:
    path = add(site, "new.mp4")
    broken = site.videos / "broken.mp4"
    broken.write_bytes(b"no video")
    os.utime(broken, (OLD, OLD))

    (site.videos / "half.mp4.part").touch()
    for command in (("sweep", "--dry-run"), ("plan", site.videos), ("status",)):
        ran = cli.run(*command)
        assert "left out: 1 unfinished (half.mp4.part)" in ran.out
        assert ("2 ready, 1 skipped" in ran.out) == ("sweep" in command)
    assert not site.transcripts.exists()

    names = site.folder / "names.txt"
    names.write_text("Ada Lovelace\n")
    sweep = ("sweep", site.videos, "--max-attempts", 2, "--vocabulary", names)
    first = cli.run(*sweep)
    assert first.code == 1, first.out
    assert "1 failed, 1 done, 1 skipped" in first.out
    assert "left out: 1 unfinished (half.mp4.part)" in first.out
    assert "timeline: " in first.out
    table = latest_table(site)
    assert table["new.mp4"] == ("done", str(site.output("new")))
    assert table["growing.mp4"][1].startswith("still being written")
    assert table["broken.mp4"][0] == "failed"
    assert table["broken.mp4"][1].startswith("failed once: inspect: ")
    assert site.computed("new") == {stage.value for stage in Stage} - {"edges", "merge"}
    run = ask(site, f"flow_runs/{latest_sweep(site)['flow_run_id']}")
    assert run["state"]["type"] == "FAILED"
    assert "(1 failed, 1 done, 1 skipped)" in run["state"]["message"]

    path.rename(site.videos / "renamed.mp4")
    second = cli.run(*sweep)
    assert "1 failed, 1 done, 1 skipped" in second.out
    assert site.computed("renamed") == set()

    third = cli.run(*sweep)
    assert third.code == 0, third.out
    assert "1 given up, 2 skipped" in third.out
    state, note = latest_table(site)["broken.mp4"]
    assert state == "given up"
    assert note.startswith("failed 2 times: inspect: ")

    add(site, "broken.mp4", hz=500)
    fourth = cli.run(*sweep)
    assert fourth.code == 0, fourth.out
    assert site.manifest("broken")["params"]["transcribe"]["vocabulary"] == "Ada Lovelace"
    broken = site.videos / "broken.mp4"
    assert "1 done" in cli.run("status", broken, "--vocabulary", names).out
    assert "1 waiting" in cli.run("status", broken).out
    with pytest.raises(InputError, match=r"gone\.txt cannot be read .*: check its name"):
        cli.run("status", "--vocabulary", site.folder / "gone.txt")
    assert latest_table(site)["broken.mp4"][0] == "done"
    assert not ledger_of(site).read()


def test_sweeps_at_once_and_a_run_by_hand_do_no_video_twice(site: Site, cli: Here) -> None:
    names = [f"at once {number}" for number in range(4)]
    for number, name in enumerate(names):
        add(site, f"{name}.mp4", hz=400 + 50 * number)
    processes = [site.start("sweep"), site.start("sweep")]
    wait_for_attempt(site, *processes)
    by_hand = cli.run("transcribe")
    said = [by_hand.out, *(process.communicate(timeout=300) for process in processes)]
    assert [by_hand.code, *(process.returncode for process in processes)] == [0, 0, 0], said
    assert {site.output(name).is_dir() for name in names} == {True}
    assert set(computed(site, *names).values()) == {1}, said
    assert not ledger_of(site).read()


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be paused")
def test_a_killed_run_shows_and_who_waited_for_it_ends_its_work(site: Site, cli: Here) -> None:
    video = add(site, "cut.mp4", seconds=10, hz=300)
    first = site.start("transcribe")
    attempt = wait_for_attempt(site, first)
    first.send_signal(signal.SIGSTOP)  # it takes as long as this test needs it to
    assert attempt.path == str(video)
    assert "1 running" in cli.run("status").out
    assert "1 skipped" in cli.run("sweep", "--dry-run").out
    second = site.start("transcribe")
    assert second.stdout
    while "waiting for another run of this video" not in second.stdout.readline():
        assert second.poll() is None
    first.kill()
    first.wait()
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, out + err
    assert cli.run("status").code == 0
    assert not ledger_of(site).read()


def test_what_a_killed_run_leaves_is_ended_by_the_next_sweep(site: Site, cli: Here) -> None:
    add(site, "cut.mp4", seconds=10, hz=300)
    process = site.start("transcribe")
    wait_for_attempt(site, process)
    process.kill()
    process.wait()
    shown = cli.run("status")
    assert shown.code == 1
    assert "its run was cut off" in shown.out
    ran = cli.run("sweep")
    assert ran.code == 0, ran.out
    assert not ledger_of(site).read()


@pytest.fixture
def worker(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """Serve a deployment, as a worker does, until the test ends."""
    program = (
        "from flows.server import prefect_settings; prefect_settings.apply()\n"
        "from flows.transcribe_videos import transcribe_videos\n"
        f"transcribe_videos.serve({SERVED!r}, pause_on_shutdown=False)"
    )
    log = (site.folder / "served.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**site.environment, "PREFECT_RUNNER_POLL_FREQUENCY": "1"},
        stdout=log,
        stderr=log,
    )
    name = f"deployments/name/transcribe-videos/{quote(SERVED)}"
    deadline = time.monotonic() + 300
    deployment: dict[str, Any] = {}
    while deployment.get("status") != "READY":
        assert time.monotonic() < deadline, Path(log.name).read_text()
        assert process.poll() is None, Path(log.name).read_text()
        time.sleep(0.2)
        try:
            deployment = ask(site, name)
        except OSError:
            continue
    yield process
    process.terminate()
    process.wait(120)
    log.close()
    gone = urllib.request.Request(
        f"{site.environment['PREFECT_API_URL']}/deployments/{deployment['id']}", method="DELETE"
    )
    urllib.request.urlopen(gone, timeout=120).close()


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be paused")
def test_a_worker_does_what_sweeps_find_and_nothing_is_queued_twice(
    site: Site,
    cli: Here,
    worker: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(site, "by a worker.mp4", hz=700)
    (site.videos / "no video.mp4").write_bytes(b"no video")
    os.utime(site.videos / "no video.mp4", (OLD, OLD))

    monkeypatch.setattr("flows.deployment_runs.DEPLOYMENT", f"transcribe-videos/{SERVED}")
    worker.send_signal(signal.SIGSTOP)
    monkeypatch.setattr("flows.deployment_runs.START_WITHIN_S", 1)
    ran = cli.run("sweep")
    assert (ran.code, ", on a worker" in ran.out) == (0, True)
    assert "has not started" in latest_table(site)["by a worker.mp4"][1]
    add(site, "later.mp4", hz=800)
    cli.run("sweep")
    queued = ("waiting", "in a run that has not come to it yet")
    assert latest_table(site)["by a worker.mp4"] == queued

    worker.send_signal(signal.SIGCONT)
    monkeypatch.setattr("flows.deployment_runs.START_WITHIN_S", 120)
    runs = wait_for_runs(site)
    assert sorted(len(run["parameters"]["paths"]) for run in runs) == [1, 2]
    assert {run["state"]["type"] for run in runs} == {"COMPLETED", "FAILED"}
    (failed,) = [run for run in runs if run["state"]["type"] == "FAILED"]
    log = whole_log(site, failed["id"])
    assert "(1 of 2 videos failed)" in log
    assert "Traceback" not in log
    # The broken one again: another attempt, so another run.
    ran = cli.run("sweep")
    assert (ran.code, "1 failed, 2 skipped" in ran.out) == (1, True)
    assert latest_table(site)["no video.mp4"][1].startswith("failed 2 times")
    assert len(wait_for_runs(site)) == 3


def whole_log(site: Site, run: str) -> str:
    """Return a run's log when its process has sent the end of it."""
    deadline = time.monotonic() + 120
    log = ""
    while "Finished in state" not in log:
        assert time.monotonic() < deadline, log
        time.sleep(0.5)
        found = ask(site, "logs/filter", logs={"flow_run_id": {"any_": [run]}})
        log = "\n".join(line["message"] for line in found if not line["task_run_id"])
    return log


def wait_for_runs(site: Site) -> list[dict[str, Any]]:
    """Return the deployment's runs when all have ended."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        runs: list[dict[str, Any]] = ask(
            site, "flow_runs/filter", deployments={"name": {"any_": [SERVED]}}
        )
        if all(run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED") for run in runs):
            return runs
        time.sleep(0.5)
    raise TimeoutError
