"""A real Prefect server, and sites that spokenby runs on as a user would, live here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from spokenby.output.formats import read_transcript
from spokenby.types import SpeakerTranscript

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Prefect server of its own on a free port; return the address of its API."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    }
    environment.pop("PREFECT_API_URL", None)
    log = (home / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(f"{url}/health", server)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the Prefect server ended at its start"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(url)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # workers of xdist inherit it
        os.environ["TEST_MODELS"] = tempfile.mkdtemp(prefix="spokenby-models-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop("TEST_MODELS"), ignore_errors=True)


def shared_models() -> Path:
    """Return the folder of models that all workers of a test run share."""
    return Path(os.environ["TEST_MODELS"])


@cache
def joined_whisper_base() -> Path:
    """Return the folder of Whisper base, joined once for all workers of a test run."""
    from spokenby.models import find_model

    return find_model("faster_whisper", "", shared_models())


class Site:
    """A folder with videos, transcripts and a cache of its own, and the command line in it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.videos = self.data / "videos"
        self.transcripts = self.data / "transcripts"
        self.results = self.data / "cache" / "results"
        self.videos.mkdir(parents=True, exist_ok=True)
        base = joined_whisper_base()
        linked = self.data / "models" / base.relative_to(shared_models())
        if not linked.exists():
            shutil.copytree(base, linked, copy_function=os.link)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name[:8] != "SPOKENBY_"},
            "SPOKENBY_DATA_DIR": str(self.data),
            "PREFECT_HOME": str(folder / "prefect"),
            "COLUMNS": "160",
            **environment,
        }

    def copy_data(self, other: Site) -> None:
        """Take over what another site has but for its models: this one has its own."""
        models = shutil.ignore_patterns("models")
        shutil.copytree(other.data, self.data, ignore=models, dirs_exist_ok=True)

    def start(self, *words: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start `spokenby` with some words."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *map(str, words)],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `spokenby` with some words to its end."""
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=500)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def output(self, name: str) -> Path:
        """Return the one output folder of the video of that name."""
        (folder,) = self.transcripts.glob(f"{name}-????????")
        return folder

    def manifest(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.output(name) / "manifest.json").read_text())
        return content

    def transcript(self, name: str) -> SpeakerTranscript:
        return read_transcript((self.output(name) / "transcript.json").read_bytes())

    def computed(self, name: str) -> set[str]:
        """Return the stages that the last run computed for a video."""
        stages = self.manifest(name)["stages"]
        return {stage for stage, entry in stages.items() if not entry["from_cache"]}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Site:
    """Return a site on which both sample videos are transcribed, and `finished.first` of that run.

    Shared: tests that change something work on a copy, `site_copy`.
    """
    site = Site(tmp_path_factory.mktemp("finished"), {"PREFECT_API_URL": prefect_server})
    site.first = site.run("transcribe")  # type: ignore[attr-defined]
    assert site.first.returncode == 0, site.first.stdout + site.first.stderr  # type: ignore[attr-defined]
    return site


@pytest.fixture
def site(tmp_path: Path, prefect_server: str) -> Site:
    """Return an empty site."""
    return Site(tmp_path, {"PREFECT_API_URL": prefect_server})


@pytest.fixture
def site_copy(site: Site, finished: Site) -> Site:
    """Return a copy of the finished site."""
    site.copy_data(finished)
    return site


@pytest.fixture(scope="session")
def whisper_base() -> Path:
    """Return the folder of Whisper base, joined once for all workers of a test run."""
    return joined_whisper_base()


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """Refuse connections to other machines, and fail if any was tried."""
    tried = []
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        internet = self.family in {socket.AF_INET, socket.AF_INET6}
        if internet and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            tried.append(address)
            raise ConnectionRefusedError(address)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield
    assert not tried


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    import torch  # slow, and most tests do without

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
