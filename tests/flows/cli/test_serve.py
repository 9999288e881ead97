"""A server with a password, and its stop in the midst of a run: real processes, a real browser."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from conftest import Site, migrate
from playwright.sync_api import Browser, expect
from rich.console import Console
from served import Served

from flows.cli import serve
from flows.server.passwords import kept_password, make_password
from spokenby.errors import InputError
from spokenby.settings import Settings
from spokenby.view.address import pages_of

TALK = "telephone talk"
STOPPED_WITHIN_S = 30
"""It takes 10 s at most where no other tests compute."""


class Guarded(Served):
    """A site that is served with a password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = self.data / "server" / f"password-127.0.0.1-{self.port}"

    def ask(self, path: str, password: str) -> int:
        name, _, secret = password.partition(":")
        return httpx.get(f"{self.url}{path}", auth=(name, secret), timeout=30).status_code


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, finished: Site) -> Iterator[Guarded]:
    """Yield a site with `spokenby serve --password`."""
    if sys.platform == "win32":
        pytest.skip("ends processes the POSIX way")
    site = Guarded(tmp_path_factory.mktemp("guarded"))
    site.copy_data(finished)
    migrate(site)
    site.up("both", "--password")
    site.authorization = httpx.BasicAuth(*site.file.read_text().strip().split(":"))
    yield site
    serve = site.parts["both"]
    serve.terminate()
    serve.wait(120)


def test_nobody_gets_in_without_the_password(guarded: Guarded) -> None:
    password = guarded.file.read_text().strip()
    assert guarded.file.stat().st_mode & 0o777 == 0o600
    told = httpx.get(f"{guarded.url}/admin/version", timeout=30)
    assert told.status_code == 401
    assert guarded.ask("/admin/version", "spokenby:wrong") == 401
    assert guarded.ask("/admin/version", password) == 200
    for log in (guarded.data / "cache" / "logs").iterdir():
        assert password.partition(":")[2] not in log.read_text()


def test_commands_on_the_same_data_folder_get_in(guarded: Guarded, tmp_path: Path) -> None:
    checked = guarded.run("up", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shutil.rmtree(guarded.output(TALK))
    ran = guarded.run("transcribe", str(guarded.videos / f"{TALK}.mp4"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    stranger = guarded.run("up", SPOKENBY_DATA_DIR=str(tmp_path))
    assert stranger.returncode == 2
    (line,) = stranger.stderr.splitlines()
    assert "asks for another password: set PREFECT_API_AUTH_STRING" in line


def test_the_browser_asks_for_the_line_in_the_file(guarded: Guarded, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{guarded.url.removesuffix('/api')}/deployments")
    field = page.locator("input[type=password]")
    field.fill(guarded.file.read_text().strip())
    field.press("Enter")
    expect(page.get_by_text("transcribe-videos").first).to_be_visible()
    page.context.close()


def test_pages_are_served_and_their_end_is_said(guarded: Guarded) -> None:
    home = pages_of(Settings(data_dir=guarded.data))
    key = (guarded.data / "server" / "view-key").read_text().strip()
    later = guarded.videos / "later.mp4"
    later.write_bytes(b"not yet complete")
    with httpx.Client(base_url=home, follow_redirects=True) as client:
        assert client.get("/").status_code == 403
        index = client.get("/", params={"key": key}).text
    assert TALK in index
    assert f'href="{guarded.url.removesuffix("/api")}"' in index  # back to the runs
    assert f'href="{guarded.url.removesuffix("/api")}/deployments/deployment/' in index
    later.unlink()
    viewed = guarded.run("view", "--no-browser")
    assert viewed.stdout == f"these pages are served already:\n{home}/?key={key}\n"
    (pages,) = (
        process
        for process in psutil.Process(guarded.parts["both"].pid).children()
        if "view" in process.cmdline()
    )
    pages.kill()
    assert guarded.ask("/admin/version", guarded.file.read_text().strip()) == 200
    nowhere = guarded.run("view", "nowhere", "--no-browser")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "nowhere does not exist: name videos" in nowhere.stderr
    alone = guarded.start("view", "--no-browser", "--port", "0")
    assert alone.stdout is not None
    address = alone.stdout.readline().strip()
    assert httpx.get(address).status_code == 303
    note = guarded.data / "server" / "view.json"
    assert note.stat().st_mode & 0o777 == 0o600
    alone.send_signal(signal.SIGINT)
    assert alone.wait(120) == 0
    assert not note.exists()


def test_sigterm_ends_server_worker_and_a_run_that_computes(guarded: Guarded) -> None:
    """The last that `guarded` is good for."""
    shutil.rmtree(guarded.output(TALK), ignore_errors=True)
    run = guarded.trigger(paths=[str(guarded.videos / f"{TALK}.mp4")], force=["speech"])
    guarded.wait_for_start(run)
    serve = guarded.parts["both"]
    ours = psutil.Process(serve.pid).children(recursive=True)
    assert len(ours) >= 3, ours  # server, worker, run
    serve.terminate()
    begun = time.monotonic()
    assert serve.wait(120) == 0
    assert time.monotonic() - begun < STOPPED_WITHIN_S
    deadline = time.monotonic() + 5  # what was killed may be listed for a moment
    while left := [process for process in ours if is_alive(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs: one that nobody has asked about since its end does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


URL = "http://127.0.0.1:4200/api"


def test_the_ui_asks_the_address_that_a_container_or_proxy_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "Child", lambda *words: words)

    def asked() -> str:
        child: Any = serve._start_server(Console(), Settings(data_dir=tmp_path), URL, None)
        return str(child[2]["PREFECT_SERVER_UI_API_URL"])

    monkeypatch.delenv("PREFECT_SERVER_UI_API_URL", raising=False)
    assert asked() == URL
    monkeypatch.setenv("PREFECT_SERVER_UI_API_URL", "https://runs.example/api")
    assert asked() == "https://runs.example/api"


def test_a_restart_keeps_the_password_and_a_variable_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    settings = Settings(data_dir=tmp_path)
    assert kept_password(URL, settings) == ""
    make_password(URL, settings)
    first = kept_password(URL, settings)
    assert first.startswith("spokenby:")
    make_password(URL, settings)
    assert kept_password("http://localhost:4200/api", settings) == first
    for other in ("http://127.0.0.1:4201/api", "http://prefect.example:4200/api"):
        assert kept_password(other, settings) == ""
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "ada:secret")
    path = make_password(URL, settings)
    assert kept_password(URL, settings) == "ada:secret"
    assert [*path.parent.iterdir()] == [path]
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "secret")
    with pytest.raises(InputError, match="user:password"):
        make_password(URL, settings)
