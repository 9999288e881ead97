"""Give tests a real Prefect server, and sites on which spokenby runs as a user would run it."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import psutil
import pytest
from buckets import bucket, bucket_server, way  # noqa: F401 - one server for all files
from filelock import FileLock
from hypothesis.internal.conjecture import providers
from ports import free_port
from postgres import postgres, postgres_server  # noqa: F401 - likewise

from spokenby.output.formats import read_transcript
from spokenby.types import SpeakerTranscript

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]

SOON_MS = 120_000
"""How long a page may take to show or do something: other tests compute beside it."""

# What all tests import stays to the end: looked at again and again by the garbage collector, it
# costs a tenth of the suite. `pytest_collection_finish` switches it on.
gc.disable()

# pyannote sets it where it is imported, and needs it ever after: also once a test that was the
# first to import it has put its environment back.
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")

hypothesis.settings.register_profile(
    "spokenby",
    max_examples=1000 if os.environ.get("EVERY_EXAMPLE") else 100,
    derandomize=True,  # what failed once fails again; what is found is kept as an @example
    database=None,
    deadline=None,
)
hypothesis.settings.load_profile("spokenby")
# It looks for constants in all modules; speechbrain's lazy ones raise ImportError when looked at.
providers._get_local_constants = lambda: providers._local_constants


def once(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `make` returned in the first of a test run's processes that asked for it."""
    told = shared() / f"{name}.json"
    with FileLock(told.with_suffix(".lock")):
        if not told.exists():
            made = make()
            told.write_text(json.dumps(made), encoding="utf-8")
    found: dict[str, Any] = json.loads(told.read_text("utf-8"))
    return found


@pytest.fixture(scope="session")
def prefect_server() -> str:
    """Start the test run's one Prefect server on a free port; return the address of its API.

    Processes of tests share it: ask it only about runs of your own site. `pytest_unconfigure` ends
    it.
    """
    url: str = once("prefect", _start_server)["url"]
    return url


def _start_server() -> dict[str, Any]:
    home = shared() / "prefect"
    home.mkdir(exist_ok=True)
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        # A worker that a test holds still stays one, however long other tests compute.
        "PREFECT_SERVER_SERVICES_FOREMAN_DEPLOYMENT_LAST_POLLED_TIMEOUT_SECONDS": "600",
    }
    environment.pop("PREFECT_API_URL", None)
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    (shared() / "server.pid").write_text(str(server.pid))
    url = f"http://127.0.0.1:{port}/api"
    _wait_for(f"{url}/health", server)
    with (
        closing(sqlite3.connect(home / "prefect.db")) as database,
        closing(sqlite3.connect(shared() / "migrated.db")) as copy,
    ):
        database.backup(copy)
    return {"url": url}


def migrate(site: Site) -> None:
    """Give a site that gets a server of its own a database that was migrated already: 6 s less."""
    home = Path(site.environment["PREFECT_HOME"])
    home.mkdir(exist_ok=True)
    shutil.copy(shared() / "migrated.db", home / "prefect.db")


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
        os.environ["TEST_SHARED"] = tempfile.mkdtemp(prefix="spokenby-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    with suppress(FileNotFoundError, psutil.NoSuchProcess):
        server = psutil.Process(int((shared() / "server.pid").read_text()))
        server.terminate()
        try:
            server.wait(15)
        except psutil.TimeoutExpired:
            server.kill()
    shutil.rmtree(os.environ.pop("TEST_SHARED"), ignore_errors=True)


FIRST = (
    "tests/flows/test_transcribe_videos.py",  # makes the finished site
    "tests/flows/test_sweep_folder.py",
    "tests/flows/cli/test_privacy.py",
    "tests/flows/test_stops.py",
    "tests/faults/test_faults.py",
    "tests/flows/test_real_models.py",
    "tests/flows/server/test_resources.py",
    "tests/flows/test_ui.py",
    "tests/flows/test_voices.py",
    "tests/flows/cli/test_serve.py",
)
"""Files of few tests that take minutes. Left to itself, pytest-xdist begins with the files of most
tests; begun last, one of these would leave the other processes without work. Those that need the
finished site come last among them: they would wait for it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    places = {ROOT / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def shared() -> Path:
    """Return the folder that all processes of a test run share."""
    return Path(os.environ["TEST_SHARED"])


def shared_models() -> Path:
    """Return the folder of models that all processes of a test run share."""
    return shared() / "models"


@cache
def joined_whisper_base() -> Path:
    """Return the folder of Whisper base, joined once for all processes of a test run."""
    from spokenby.models import find_model

    return find_model("faster_whisper", "", shared_models())


STRANGER = """
import sys
with open({imported!r}, "a") as file:
    print(__name__, sys.orig_argv, file=file)
raise ImportError(__name__ + " of the user's own was imported")
"""

SPOKENBY = shutil.which("spokenby", path=Path(sys.executable).parent) or "spokenby"
"""The command of this environment."""

STRANGERS = ("flows", "flows.cli", "flows.server", "tasks.server_start", "tasks", "spokenby")
"""Modules that a user's folder may hold, too."""


class Site:
    """A folder with videos, transcripts and a cache of its own, and the command line on it.

    Commands run in a folder that has other `flows` and `tasks`: whoever imports one ends up in
    `strangers_imported`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.videos = self.data / "videos"
        self.transcripts = self.data / "transcripts"
        self.results = self.data / "cache" / "results"
        self.videos.mkdir(parents=True, exist_ok=True)
        self.elsewhere = folder / "elsewhere"
        self._imported = self.elsewhere / "imported"
        for name in STRANGERS:
            path = self.elsewhere.joinpath(*name.split("."), "__init__.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(STRANGER.format(imported=str(self._imported)))
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

    @property
    def strangers_imported(self) -> str:
        """Modules of the user's own that were imported for spokenby's, and by which commands."""
        return self._imported.read_text() if self._imported.exists() else ""

    def copy_data(self, other: Site) -> None:
        """Take over what another site has but for its models: this one has its own."""
        models = shutil.ignore_patterns("models")
        shutil.copytree(other.data, self.data, ignore=models, dirs_exist_ok=True)

    def start(
        self, *words: str | Path, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[str]:
        """Start `spokenby` with some words, and others before it on the command line."""
        return subprocess.Popen(
            [*before, SPOKENBY, *map(str, words)],
            cwd=self.elsewhere,
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

    def processes(self) -> list[list[str]]:
        """Return the commands of all processes that run on the site."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SPOKENBY_DATA_DIR") == str(self.data):
                    found.append(process.cmdline())
            except psutil.Error:
                continue
        return found

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
def finished(prefect_server: str) -> Site:
    """Return a site on which both sample videos are transcribed, and `finished.first` of that run.

    Shared, also with other processes: tests that change something work on a copy, `site_copy`.
    """
    folder, environment = shared() / "finished", {"PREFECT_API_URL": prefect_server}

    def transcribe() -> dict[str, Any]:
        ran = Site(folder, environment).run("transcribe")
        return {"returncode": ran.returncode, "stdout": ran.stdout, "stderr": ran.stderr}

    first = subprocess.CompletedProcess(("transcribe",), **once("finished", transcribe))
    assert first.returncode == 0, first.stdout + first.stderr
    site = Site(folder, environment)
    site.first = first  # type: ignore[attr-defined]
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
    """Return the folder of Whisper base, joined once for all processes of a test run."""
    return joined_whisper_base()


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Browser]]:
    """Return what starts a Chromium with some arguments.

    The one without a window takes a third less CPU (Debian: `chromium-headless-shell`).
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium-headless-shell")
    from playwright.sync_api import expect, sync_playwright  # slow, and most tests do without

    expect.set_options(timeout=SOON_MS)
    # Without a GPU, a graph of Prefect's that is drawn 60 times a second would take a whole core.
    quiet = ("--no-sandbox", "--disable-3d-apis")
    with sync_playwright() as playwright:

        def launched(*arguments: str) -> Browser:
            browser = playwright.chromium.launch(executable_path=path, args=[*quiet, *arguments])
            browser.on("context", lambda context: context.set_default_timeout(SOON_MS))
            return browser

        yield launched


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """Return a Chromium; tests are skipped where there is none."""
    browser = launch()
    yield browser
    browser.close()


def wait_in(page: Page, condition: str) -> None:
    """Wait until something is true in a page.

    `wait_for_function` asks but once where a page's policy forbids `eval`: then it raises.
    """
    page.evaluate(
        f"""async () => {{
            const end = performance.now() + {SOON_MS};
            while (!({condition})) {{
                if (performance.now() > end) throw new Error({condition!r});
                await new Promise(done => setTimeout(done, 20));
            }}
        }}"""
    )


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
