"""Run a site with its own Prefect server and worker, which tests can kill.

They are two `spokenby serve --only …`, so that each can be killed separately.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from conftest import ROOT, Site
from ports import free_port

CUTTING = ROOT / "tests" / "cutting"

LOST = ("diarize", "embed")
"""What is to be computed again after a video's diarization was forgotten."""


class Served(Site):
    """A site with a Prefect server of its own, and what its API tells."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"SPOKENBY_GPU_LANES": "1"})
        self.port = free_port()
        self.home = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.home}/api"
        self.environments = folder / "environments of runs"
        self.environments.mkdir(exist_ok=True)
        self.environment |= {
            "PREFECT_API_URL": self.url,
            "RUN_ENVIRONMENTS": str(self.environments),
            "PYTHONPATH": os.pathsep.join((str(CUTTING), str(ROOT))),
        }
        self._client = httpx.Client(timeout=60)
        self._token: dict[str, str] = {}
        self.authorization: httpx.BasicAuth | None = None
        self.parts: dict[str, subprocess.Popen[str]] = {}
        self.pages = ""
        """Address of the pages, with the secret in it."""

    def up(self, part: str, *words: str, before: Sequence[str] = ()) -> str:
        """Start the "server", the "worker", or "both" as one process; return what it says."""
        only = () if part == "both" else ("--only", part)
        words = ("serve", *only, "--port", str(self.port), *words)
        self.parts[part] = self.start(*words, before=before, PREFECT_WORKER_QUERY_SECONDS="2")
        told = ""
        for line in self.parts[part].stdout:  # type: ignore[union-attr]
            told += line
            if "Ctrl-C" in line:
                return told
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
            answer = self._client.request(
                method,
                f"{self.url}{path}",
                json=body,
                headers=self._token,
                auth=self.authorization,
            )
            if answer.status_code == HTTPStatus.FORBIDDEN:
                self._token = csrf_token(self.url, self.authorization)
            elif answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            else:
                time.sleep(0.5)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def trigger(
        self,
        deployment: str = "transcribe-videos",
        environment: dict[str, str] | None = None,
        **parameters: Any,
    ) -> str:
        """Start a run of a deployment, with more in its environment."""
        found = self.api("GET", f"/deployments/name/{deployment}/{deployment}")
        body = {"parameters": parameters}
        run: str = self.api("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"]
        fresh = self.environments / f"{run}.new"
        fresh.write_text(json.dumps(environment or {}))
        fresh.rename(fresh.with_suffix(".json"))
        return run

    def run_of(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/flow_runs/{run}")
        return found

    def history_of(self, run: str) -> str:
        """Return the states that a run has been in, with their messages."""
        states = self.api("GET", f"/flow_run_states/?flow_run_id={run}")
        return "\n".join(f"{state['name']}: {state['message']}" for state in states)

    def wait_for(self, run: str, *states: str, seconds: float = 300) -> dict[str, Any]:
        def reached() -> Any:
            found = self.run_of(run)
            return found if found["state"]["name"] in states else None

        return wait(reached, seconds, lambda: self.run_of(run)["state"])

    def wait_for_start(self, run: str) -> None:
        """Wait until the run has begun: its stages take some seconds.

        The server tells of those only once a second, which can be too late.
        """

        def running() -> bool:
            return bool(self.run_of(run)["state"]["name"] == "Running")

        wait(running, 120, lambda: self.run_of(run), every=0.1)

    def cut(self, video: Path, stage: str, by: signal.Signals) -> CutRun:
        """Start a run of a video that gets a signal in the middle of a stage, on a new site.

        Several at a time share nothing but server and worker: each does all of its stages.
        """
        site = Site(self.folder / f"{stage} {by.name} {time.monotonic_ns()}", {})
        shutil.copy(video, site.videos)
        mark = site.folder / "cut"
        environment = {
            "SPOKENBY_DATA_DIR": str(site.data),
            "SPOKENBY_GPU_TAG": "none",
            "CUT_STAGE": stage,
            "CUT_SIGNAL": str(by.value),
            "CUT_MARK": str(mark),
        }
        return CutRun(
            self.trigger(environment=environment, paths=[str(site.videos / video.name)]), site, mark
        )


def forget_diarization(site: Site, video: str) -> None:
    """Lose a video's diarization and transcript; all else stays stored."""
    stages = site.manifest(video)["stages"]
    for stage in LOST:
        (site.results / stage / f"{stages[stage]['digest']}.json").unlink()
    shutil.rmtree(site.output(video))


def csrf_token(api: str, auth: httpx.BasicAuth | None = None) -> dict[str, str]:
    """Return the headers that let a client change something on a server."""
    client = str(uuid.uuid4())
    answer = httpx.get(f"{api}/csrf-token", params={"client": client}, timeout=60, auth=auth)
    token = answer.json()["token"]
    return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}


class CutRun(NamedTuple):
    """A run that is cut. Once it is, the file `mark` tells of it; see cutting/sitecustomize.py."""

    run: str
    site: Site
    mark: Path

    def wait(self) -> tuple[int, dict[str, int]]:
        """Return its process, and which stages were stored when it was cut, since when."""
        told = json.loads(
            wait(lambda: self.mark.exists() and self.mark.read_text(), 400, lambda: self)
        )
        return told["process"], told["stored"]

    def stored(self) -> dict[str, int]:
        """Return which stages are stored now, and since when."""
        results = self.site.results.glob("*/*.json")
        return {path.parent.name: path.stat().st_mtime_ns for path in results}


def wait(
    probe: Callable[[], Any], seconds: float, tell: Callable[[], Any], every: float = 1.0
) -> Any:
    """Return the first true answer. A question costs a server 20 ms, and this can take minutes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := probe():
                return found
        except httpx.TransportError:  # the server is being restarted
            pass
        time.sleep(every)
    raise TimeoutError(tell())


def children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in listed.stdout.split()]
