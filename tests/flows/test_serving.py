"""A server that stays up, on real processes: setting up, triggering, crashes, the GPU limit.

Server and worker are two `whosaid serve --only …`, so that each can be killed for itself.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, Site, free_port

TALK = "telephone talk"
LOST = ("diarize", "embed")
"""What is to be computed again after a talk's diarization was deleted."""


class Served(Site):
    """A site with a Prefect server of its own, and what its API tells."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, {"WHOSAID_GPU_LANES": "1"})
        self.port = port
        self.url = f"http://127.0.0.1:{port}/api"
        self.environment["PREFECT_API_URL"] = self.url
        self.parts: dict[str, subprocess.Popen[str]] = {}

    def up(self, part: str) -> None:
        self.parts[part] = self.start(
            "serve", "--only", part, "--port", str(self.port), PREFECT_WORKER_QUERY_SECONDS="1"
        )
        told = ""
        for line in self.parts[part].stdout:  # type: ignore[union-attr]
            told += line
            if line.startswith("ready"):
                return
        raise AssertionError(told + self.parts[part].communicate()[1])

    def down(self, part: str) -> int:
        self.parts[part].send_signal(signal.SIGINT)
        return self.parts[part].wait(90)

    def kill_child(self, part: str) -> str:
        """Kill -9 the server or worker that a part watches over; return what the part says."""
        for child in children(self.parts[part].pid):
            os.kill(child, signal.SIGKILL)
        return self.parts[part].communicate(timeout=60)[1]

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask, and ask again while SQLite is locked, as Prefect's own clients do."""
        for _ in range(20):
            answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=60)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.5)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def trigger(self, **parameters: Any) -> str:
        deployment = self.api("GET", "/deployments/name/transcribe-videos/transcribe-videos")
        body = {"parameters": parameters}
        run: str = self.api("POST", f"/deployments/{deployment['id']}/create_flow_run", body)["id"]
        return run

    def run_of(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/flow_runs/{run}")
        return found

    def wait_for(self, run: str, *states: str, seconds: float = 300) -> dict[str, Any]:
        def reached() -> Any:
            found = self.run_of(run)
            return found if found["state"]["name"] in states else None

        return wait(reached, seconds, lambda: self.run_of(run)["state"])

    def wait_for_stage(self, run: str, name: str) -> None:
        """Wait until a stage of the run is computing."""
        body = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"name": {"any_": [name]}, "state": {"name": {"any_": ["Running"]}}},
        }
        wait(lambda: self.api("POST", "/task_runs/filter", body), 120, lambda: self.run_of(run))

    def forget_diarization(self) -> None:
        """Lose the talk's diarization and transcript; all else stays stored."""
        stages = self.manifest(TALK)["stages"]
        for stage in LOST:
            (self.results / stage / f"{stages[stage]['digest']}.json").unlink()
        shutil.rmtree(self.output(TALK))


def wait(probe: Callable[[], Any], seconds: float, tell: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := probe():
                return found
        except httpx.TransportError:  # the server is being restarted
            pass
        time.sleep(0.2)
    raise TimeoutError(tell())


def children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in listed.stdout.split()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, finished: Site) -> Iterator[Served]:
    if sys.platform == "win32":
        pytest.skip("kills processes the POSIX way")
    site = Served(tmp_path_factory.mktemp("served"), free_port())
    shutil.copytree(finished.data, site.data, dirs_exist_ok=True)
    site.up("server")
    site.before = site.run("up", "--check")  # type: ignore[attr-defined]
    site.up("worker")
    yield site
    codes = [site.down(part) for part in ("worker", "server")]
    assert codes == [0, 0]


@pytest.fixture(scope="module")
def talk(served: Served) -> str:
    return str(served.videos / f"{TALK}.mp4")


def test_check_lists_what_a_bare_server_lacks(served: Served) -> None:
    before = served.before  # type: ignore[attr-defined]
    assert before.returncode == 1, before.stdout + before.stderr
    for missing in (
        "limit 2 on the tag gpu: missing",
        "work pool whosaid: missing",
        "deployment transcribe-videos: missing",
        "deployment sweep-folder: missing",
        "automation «whosaid: mark dead runs»: missing",
    ):
        assert missing in before.stdout


def test_setting_up_again_changes_nothing(served: Served) -> None:
    stamp = "/deployments/name/sweep-folder/sweep-folder"
    deployed = served.api("GET", stamp)
    schedule = deployed["schedules"][0]
    assert not schedule["active"]
    where = f"/deployments/{deployed['id']}/schedules/{schedule['id']}"
    served.api("PATCH", where, {"active": True})
    updated = served.api("GET", stamp)["updated"]
    again = served.run("setup")
    assert "everything is there" in again.stdout, again.stdout + again.stderr
    assert served.api("GET", stamp)["updated"] == updated
    # What is of another version of whosaid is put right; what people switched on stays on.
    served.api("PATCH", f"/deployments/{deployed['id']}", {"description": "old"})
    checked = served.run("up", "--check")
    assert (checked.returncode, checked.stdout.count("\n")) == (1, 2), checked.stdout
    assert "another version of whosaid (description)" in checked.stdout
    assert "created: deployment sweep-folder" in served.run("setup").stdout
    (schedule,) = served.api("GET", stamp)["schedules"]
    assert schedule["active"]
    where = f"/deployments/{deployed['id']}/schedules/{schedule['id']}"
    served.api("POST", f"/deployments/{deployed['id']}/schedule", {"min_runs": 1})
    served.api("PATCH", where, {"active": False})
    assert served.api("GET", stamp)["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


def test_port_that_is_taken_is_one_line(served: Served) -> None:
    ran = served.run("serve", "--port", str(served.port))
    assert ran.returncode == 2
    assert "a Prefect server already answers" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "'paths' is a required property"),
        ({"paths": ["x"], "profile": "imaginary"}, "'imaginary' is not one of"),
        ({"paths": ["x"], "num_speakers": -1}, "less than the minimum"),
        ({"paths": ["x"], "language": "klingon"}, "'klingon' is not one of"),
    ],
)
def test_form_refuses_what_does_not_fit(
    served: Served, parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(AssertionError, match=re.escape(says)):
        served.trigger(**parameters)


def test_triggered_run_is_named_after_its_video_and_done(served: Served, talk: str) -> None:
    shutil.rmtree(served.output(TALK))
    shown = {"profile": "default", "language": "detect", "num_speakers": 0, "output": ""}
    run = served.wait_for(served.trigger(paths=[talk], **shown), "Completed", "Failed", "Crashed")
    assert (run["name"], run["state"]["message"]) == (f"{TALK}.mp4", "1 videos done")
    assert served.computed(TALK) == set()


def test_killed_flow_continues_where_it_was_cut(served: Served, finished: Site, talk: str) -> None:
    served.forget_diarization()
    run = served.trigger(paths=[talk])
    served.wait_for_stage(run, f"diarize {TALK}")
    os.kill(int(served.run_of(run)["infrastructure_pid"]), signal.SIGKILL)
    served.wait_for(run, "Crashed", seconds=30)
    again = served.wait_for(run, "Completed", "Failed")
    assert (again["state"]["name"], again["run_count"]) == ("Completed", 2)
    assert served.computed(TALK) == set(LOST)
    assert _transcript(served) == _transcript(finished)


def test_killed_worker_and_server_come_back(served: Served, finished: Site, talk: str) -> None:
    """A reboot: nobody is left to say that the run ended."""
    served.forget_diarization()
    run = served.trigger(paths=[talk])
    served.wait_for_stage(run, f"diarize {TALK}")
    (worker,) = children(served.parts["worker"].pid)
    flow = int(served.run_of(run)["infrastructure_pid"])
    os.kill(worker, signal.SIGKILL)
    os.kill(flow, signal.SIGKILL)
    assert "the worker ended (exit code -9)" in served.parts["worker"].communicate(timeout=60)[1]
    assert "the server ended (exit code -9)" in served.kill_child("server")
    served.up("server")
    served.up("worker")
    assert served.run_of(run)["state"]["name"] == "Running"
    again = served.wait_for(run, "Completed", "Failed")
    assert (again["state"]["name"], again["run_count"]) == ("Completed", 2)
    assert served.computed(TALK) == set(LOST)
    assert _transcript(served) == _transcript(finished)


def test_server_restarted_during_a_run_does_not_harm_it(served: Served, talk: str) -> None:
    served.forget_diarization()
    run = served.trigger(paths=[talk])
    served.wait_for_stage(run, f"diarize {TALK}")
    served.kill_child("server")
    served.up("server")
    ended = served.wait_for(run, "Completed", "Failed", "Crashed")
    assert (ended["state"]["name"], ended["run_count"]) == ("Completed", 1)
    assert served.computed(TALK) == set(LOST)


def test_no_slot_leaks(served: Served) -> None:
    """After the kills above: what a dead task held comes free within its lease of 60 s."""
    wait(
        lambda: not served.api("GET", "/concurrency_limits/tag/gpu")["active_slots"],
        90,
        lambda: served.api("GET", "/concurrency_limits/tag/gpu"),
    )


EIGHT_RUNS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from prefect import flow, task
from tasks.lanes import gpu_lane

@task(tags=["gpu"])
def compute(note):
    begun = time.time()
    with gpu_lane():
        got = time.time()
        time.sleep(0.3)
        print("NOTE", begun, got, time.time(), time.time(), flush=True)

@flow
def small(note):
    for future in [compute.submit(note) for _ in range(2)]:
        future.wait()

with ThreadPoolExecutor(4) as runs:
    list(runs.map(small, range(4)))
"""


def test_limit_holds_with_eight_runs_at_once(served: Served) -> None:
    """Two processes of four runs of two GPU tasks: 2 are admitted, 1 computes, at any time."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EIGHT_RUNS],
            cwd=ROOT,
            env={**served.environment, "PREFECT_LOGGING_LEVEL": "ERROR"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [
        line for process in processes for line in process.communicate(timeout=200)[0].split("\n")
    ]
    times = [list(map(float, line.split()[1:])) for line in told if line.startswith("NOTE")]
    assert len(times) == 16
    assert most_at_once([(begun, ended) for begun, _, _, ended in times]) == 2
    assert most_at_once([(got, freed) for _, got, freed, _ in times]) == 1


def most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, change in edges:
        running += change
        most = max(most, running)
    return most


def _transcript(site: Site) -> bytes:
    return (site.output(TALK) / "transcript.json").read_bytes()
