"""A server that stays up, on real processes: setting up, triggering, crashes, the GPU limit.

Server and worker are two `spokenby serve --only …`, so that each can be killed for itself.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Here
from conftest import ROOT, Site, migrate
from media import Sound, make_video
from served import LOST, CutRun, Served, children, forget_diarization, wait

from flows.cli import doctor
from flows.deployment_runs import count_hosts, dealt
from flows.server import resources
from flows.server.connection import connected
from flows.server.gpu_limits import drop_limits_of_dead
from spokenby.engines.av import read_audio
from spokenby.settings import read_settings
from tasks.forms import DEPLOYMENT

TALK = "telephone talk"
CLIP_S = 6
CUT_STAGES = ("extract", "speech", "diarize", "embed", "transcribe", "merge", "rename", "write")
"""Where runs can be cut: in the midst of each stage, before and after outputs are in place."""

REBOOTED, KILLED = (("embed", *CUT_STAGES), CUT_STAGES)  # the first survives
if "EVERY_FAULT" not in os.environ:  # 15 s of computing for each; tests/faults does it in less
    REBOOTED, KILLED = ("extract", "diarize"), ("rename",)


ONCE_A_DAY = {"active": False, "schedule": {"cron": "0 3 * * *", "timezone": "UTC"}}
"""A schedule that a person added in the UI."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, finished: Site) -> Iterator[Served]:
    if sys.platform == "win32":
        pytest.skip("kills processes the POSIX way")
    site = Served(tmp_path_factory.mktemp("served"))
    site.copy_data(finished)
    migrate(site)
    try:
        site.up("server")
        with Here(site) as here:
            site.before = here.run("up", "--check")  # type: ignore[attr-defined]
        site.up("worker", "--workers-limit", "32")
        yield site
    finally:
        codes = [site.down(part) for part in ("worker", "server") if part in site.parts]
    assert set(codes) <= {0}


@pytest.fixture(scope="module")
def talk(served: Served) -> str:
    return str(served.videos / f"{TALK}.mp4")


def test_check_lists_what_a_bare_server_lacks(served: Served) -> None:
    before = served.before  # type: ignore[attr-defined]
    assert before.code == 1, before.out
    for missing in (
        "work pool spokenby: missing",
        "deployment transcribe-videos: missing",
        "deployment enroll-voice: missing",
        "deployment name-voice: missing",
        "deployment sweep-folder: missing",
        'automation "spokenby: mark dead runs": missing',
    ):
        assert missing in before.out


def limits(served: Served) -> dict[str, int]:
    found = served.api("POST", "/concurrency_limits/filter", {"limit": 200})
    return {limit["tag"]: limit["concurrency_limit"] for limit in found}


def test_a_host_has_its_limit_while_it_has_a_worker(served: Served, here: Here) -> None:
    tag = read_settings().gpu_tag
    assert tag == f"gpu-{platform.node()}"
    assert limits(served) == {tag: 2}
    assert f"limit 2 on the tag {tag}" in doctor._prefect(read_settings()).message
    assert served.down("worker") == 0
    assert limits(served) == {}
    assert "no GPU worker of this host" in doctor._prefect(read_settings()).message
    assert f"created: limit 2 on the tag {tag}" in served.up("worker", "--workers-limit", "32")
    assert limits(served) == {tag: 2}


def test_a_worker_that_died_leaves_no_limit(served: Served, here: Here) -> None:
    tag = read_settings().gpu_tag
    for host in ("living", "dead"):
        beat = {"name": host, "heartbeat_interval_seconds": 30}
        served.api("POST", "/work_pools/spokenby/workers/heartbeat", beat)
    for name in ("gpu-living", "gpu-dead", "gpu-of-somebody-else"):
        served.api("POST", "/concurrency_limits/", {"tag": name, "concurrency_limit": 2})
    with sqlite3.connect(Path(served.environment["PREFECT_HOME"]) / "prefect.db") as database:
        database.execute("UPDATE worker SET status = 'OFFLINE' WHERE name = 'dead'")
    database.close()
    with connected() as client:
        # Work is dealt out to the hosts that have a worker: this one and the one that lives.
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        wait(lambda: count_hosts(client, deployment) == 2, 60, lambda: deployment)
        assert dealt(["a", "b", "c"], 2) == [["a", "c"], ["b"]]
        assert dealt(["a"], 2) == [["a"]]
        assert drop_limits_of_dead(client, read_settings()) == ["gpu-dead"]
        assert drop_limits_of_dead(client, read_settings()) == []
    assert limits(served).keys() == {tag, "gpu-living", "gpu-of-somebody-else"}
    for name in ("gpu-living", "gpu-of-somebody-else"):
        served.api("DELETE", f"/concurrency_limits/tag/{name}")


def test_a_parameter_that_no_flow_has_is_refused_before_a_run_exists(served: Served) -> None:
    with pytest.raises(AssertionError, match="num_speaker'"):
        served.trigger(paths=[], num_speaker=2)


@pytest.fixture
def here(served: Served) -> Iterator[Here]:
    with Here(served) as commands:
        yield commands


def test_setting_up_again_changes_nothing(served: Served, here: Here) -> None:
    stamp = "/deployments/name/sweep-folder/sweep-folder"
    deployed = served.api("GET", stamp)
    schedule = deployed["schedules"][0]
    assert not schedule["active"]
    where = f"/deployments/{deployed['id']}/schedules/{schedule['id']}"
    edited = {
        "active": True,
        "schedule": {"interval": 3600.0, "timezone": "Europe/Berlin"},
        "parameters": {"folders": ["/elsewhere"]},
    }
    served.api("PATCH", where, edited)
    served.api("POST", f"/deployments/{deployed['id']}/schedules", [ONCE_A_DAY])
    set_by_hand = {"parameters": {"max_attempts": 5}, "paused": True}
    served.api("PATCH", f"/deployments/{deployed['id']}", set_by_hand)
    schedules_before = served.api("GET", stamp)["schedules"]
    updated = served.api("GET", stamp)["updated"]
    assert "everything is there" in here.run("setup").out
    assert served.api("GET", stamp)["updated"] == updated
    # What is of another version of spokenby is put right; what people switched on stays on.
    served.api("PATCH", f"/deployments/{deployed['id']}", {"description": "old"})
    checked = here.run("up", "--check")
    assert (checked.code, checked.out.count("\n")) == (1, 2), checked.out
    assert "differs from this installation (description)" in checked.out
    assert "updated: deployment sweep-folder" in here.run("setup").out
    after = served.api("GET", stamp)
    assert after["schedules"] == schedules_before
    assert {name: after[name] for name in set_by_hand} == set_by_hand
    served.api("PATCH", f"/deployments/{deployed['id']}", {"parameters": {}, "paused": False})
    schedules = after["schedules"]
    (schedule,) = [s for s in schedules if s["slug"] == schedule["slug"]]
    assert schedule["active"]
    assert schedule["schedule"]["interval"] == 3600
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert schedule["parameters"] == {"folders": ["/elsewhere"]}
    (own,) = [s for s in schedules if s["slug"] != schedule["slug"]]
    assert own["schedule"]["cron"] == ONCE_A_DAY["schedule"]["cron"]
    served.api("DELETE", f"/deployments/{deployed['id']}/schedules/{own['id']}")
    where = f"/deployments/{deployed['id']}/schedules/{schedule['id']}"
    served.api("POST", f"/deployments/{deployed['id']}/schedule", {"min_runs": 1})
    served.api("PATCH", where, {"active": False})


def test_port_that_is_taken_is_one_line(served: Served) -> None:
    ran = served.run("serve", "--port", str(served.port))
    assert ran.returncode == 2
    assert "a Prefect server already answers" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"paths": ["x"], "profile": "imaginary"}, "'imaginary' is not one of"),
        ({"paths": ["x"], "num_speakers": -1}, "less than the minimum"),
        ({"paths": ["x"], "language": "klingon"}, "'klingon' is not one of"),
        ({"paths": ["x"], "params": {"merge": {"max_puase": 1}}}, "max_puase"),
        ({"paths": ["x"], "params": {"merge": {"max_pause": -1}}}, "max_pause"),
        ({"paths": ["x"], "params": {"merging": {}}}, "'merging' was unexpected"),
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
    assert (run["name"], run["state"]["message"]) == (f"{TALK}.mp4", "1 video done")
    assert served.computed(TALK) == set()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Site:
    """Return a site on which a short video was transcribed undisturbed."""
    site = Site(tmp_path_factory.mktemp("undisturbed"), {"PREFECT_API_URL": served.url})
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    make_video(site.videos / "clip.mp4", Sound(samples[None, : CLIP_S * rate_hz], rate_hz))
    with Here(site) as here:
        ran = here.run("transcribe")
    assert ran.code == 0, ran.out
    return site


@pytest.fixture(scope="module")
def cut(served: Served, clip: Site) -> list[CutRun]:
    """Cut flow, worker and server at once, which is a reboot; then flows alone.

    The first run lives on: server and worker come back. That the others ended is told by nobody:
    their silence tells, after a minute and a half. Meanwhile, other tests have their turn.
    """
    video = clip.videos / "clip.mp4"
    cuts = [served.cut(video, stage, signal.SIGSTOP) for stage in REBOOTED]
    left, *killed = [cut.wait()[0] for cut in cuts]
    (worker,) = children(served.parts["worker"].pid)
    for process in (worker, *killed):
        os.kill(process, signal.SIGKILL)
    assert "the worker ended (exit code -9)" in served.parts["worker"].communicate(timeout=60)[1]
    assert "the server ended (exit code -9)" in served.kill_child("server")
    os.kill(left, signal.SIGCONT)
    served.up("server")
    served.up("worker", "--workers-limit", "32")
    return cuts + [served.cut(video, stage, signal.SIGKILL) for stage in KILLED]


def test_a_run_that_outlives_server_and_worker_ends(served: Served, cut: list[CutRun]) -> None:
    ended = served.wait_for(cut[0].run, "Completed", "Failed", seconds=400)
    assert (ended["state"]["name"], ended["run_count"]) == ("Completed", 1)


def test_a_sweep_hands_over_what_it_finds_and_links_to_the_run(served: Served, clip: Site) -> None:
    folder = served.folder / "swept"
    folder.mkdir()
    shutil.copy(clip.videos / "clip.mp4", folder)
    first = served.trigger("sweep-folder", folders=[str(folder)], stable_s=0)
    second = served.trigger("sweep-folder", folders=[str(folder)], stable_s=0)
    ended = [served.wait_for(run, "Completed", "Failed", "Cancelled") for run in (first, second)]
    assert [run["state"]["name"] for run in ended] == ["Completed"] * 2
    wanted = {"flow_runs": {"name": {"any_": ["clip.mp4"]}}}
    named = served.api("POST", "/flow_runs/filter", wanted)
    (run,) = [run for run in named if run["parameters"]["paths"] == [str(folder / "clip.mp4")]]
    links = served.api(
        "POST", "/artifacts/filter", {"artifacts": {"key": {"any_": ["run-of-sweep"]}}}
    )
    assert links
    assert all(f"/runs/flow-run/{run['id']}" in link["data"] for link in links)
    assert served.wait_for(run["id"], "Completed", "Failed")["state"]["name"] == "Completed"
    assert (served.output("clip") / "transcript.srt").exists()


EIGHT_RUNS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from prefect import flow, task
from spokenby.settings import read_settings
from spokenby.site.gpu_slots import gpu_slot

@task(tags=[read_settings().gpu_tag])
def compute(note):
    begun = time.time()
    with gpu_slot():
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
        line for process in processes for line in process.communicate(timeout=400)[0].split("\n")
    ]
    times = [list(map(float, line.split()[1:])) for line in told if line.startswith("NOTE")]
    assert len(times) == 16
    assert most_at_once([(begun, ended) for begun, _, _, ended in times]) == 2
    assert most_at_once([(got, freed) for _, got, freed, _ in times]) == 1


def test_killed_at_each_stage_a_run_continues_where_it_was_cut(
    served: Served, clip: Site, cut: list[CutRun]
) -> None:
    for number, run in enumerate(cut):
        _, before = run.wait()
        ended = served.wait_for(run.run, "Completed", "Failed", seconds=400)
        assert ended["state"]["name"] == "Completed", run
        if number:
            silent = number < len(REBOOTED)  # nobody was left to say that it had ended
            told = "no heartbeat" if silent else "Process exited with status code: -9"
            assert told in served.history_of(run.run), run
            assert ("no heartbeat" in served.history_of(run.run)) == silent, run
            assert not silent or "status code: -9" not in served.history_of(run.run), run
            assert ended["run_count"] == 2, run
        assert before.items() <= run.stored().items(), run  # nothing was computed twice
        for written in clip.output("clip").iterdir():
            if written.name != "manifest.json":  # which tells what took how long
                there = run.site.output("clip") / written.name
                assert there.read_bytes() == written.read_bytes(), there


def test_server_restarted_during_a_run_does_not_harm_it(
    served: Served, finished: Site, talk: str
) -> None:
    forget_diarization(served, TALK)
    run = served.trigger(paths=[talk])
    served.wait_for_start(run)
    served.kill_child("server")
    served.up("server")
    ended = served.wait_for(run, "Completed", "Failed", "Crashed")
    assert (ended["state"]["name"], ended["run_count"]) == ("Completed", 1)
    assert served.computed(TALK) == set(LOST)
    assert _transcript(served) == _transcript(finished)


def test_no_slot_leaks(served: Served) -> None:
    """After the kills above: what a dead task held comes free within its lease of 60 s."""
    limit = f"/concurrency_limits/tag/{read_settings().gpu_tag}"
    wait(
        lambda: not served.api("GET", limit)["active_slots"],
        90,
        lambda: served.api("GET", limit),
    )


def test_flows_and_tasks_of_the_users_own_are_not_imported(served: Served) -> None:
    """All of the above was started in a folder that has some."""
    assert served.strangers_imported == ""


def test_killed_serve_takes_server_and_worker_along(served: Served) -> None:
    """The last test here: both are gone after it."""
    for part in ("worker", "server"):
        (child,) = children(served.parts[part].pid)
        watcher = served.parts.pop(part)
        watcher.kill()
        watcher.communicate()
        wait(lambda gone=child: not is_there(gone), 60, lambda name=part: name)


def is_there(process: int) -> bool:
    return (
        subprocess.run(
            ["ps", "-p", str(process)], stdout=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )


def most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, change in edges:
        running += change
        most = max(most, running)
    return most


def _transcript(site: Site) -> bytes:
    return (site.output(TALK) / "transcript.json").read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "dropped"),
    [
        ({"language": "de", "num_speakers": 2}, {"language": "de – German", "num_speakers": 2}, ""),
        ({"language": "detect"}, {"language": "detect"}, ""),
        ({"speakers": 3, "num_speakers": -1, "output": "/a"}, {"output": "/a"}, "num_speakers"),
    ],
)
def test_parameters_of_an_earlier_form_are_kept_where_they_fit(
    before: dict[str, Any],
    after: dict[str, Any],
    dropped: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (entry,) = [entry for entry in resources._entries() if entry["name"] == "transcribe-videos"]
    assert resources._fitting(before, resources._form_of(entry)) == after
    assert dropped in caplog.text
    assert bool(dropped) == bool(caplog.records)
