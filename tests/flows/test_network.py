"""What stands between spokenby and a Prefect server: proxies, wrong addresses, strangers.

That a run and its temporary server meet without the user's proxy is in `cli/test_privacy`.
"""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.request import getproxies_environment

import pytest
from commands import Here
from conftest import Site
from media import Sound, make_video, tone
from ports import free_port

from flows.server.prefect_settings import check_address, check_before_import, reach_without_proxy
from spokenby.errors import InputError


@pytest.mark.parametrize(
    ("given", "without"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://proxy"}, "localhost,127.0.0.1,::1"),
        ({"all_proxy": "http://proxy", "NO_PROXY": "a, .b"}, "a,.b,localhost,127.0.0.1,::1"),
        ({"https_proxy": "http://proxy", "no_proxy": "localhost"}, "localhost,127.0.0.1,::1"),
        ({"HTTP_PROXY": "http://proxy", "no_proxy": "*"}, "*"),
    ],
)
def test_what_the_user_excludes_stays_excluded(
    given: dict[str, str], without: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "")  # so that it is undone
    monkeypatch.setenv("NO_PROXY", "")
    del os.environ["no_proxy"], os.environ["NO_PROXY"]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        reach_without_proxy("localhost", "127.0.0.1", "::1")
        assert getproxies_environment().get("no") == without


def test_an_address_that_nobody_answers_is_one_line(site: Site) -> None:
    make_video(site.videos / "a.mp4", Sound(tone(1)))
    url = site.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{free_port()}/api"
    with Here(site) as here, pytest.raises(InputError) as raised:
        here.run("transcribe")
    line = str(raised.value)
    assert line.startswith(f"no Prefect server answers at {url}/ (ConnectError): start")
    assert "PREFECT_API_URL" in line
    assert "\n" not in line


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with what `told` says."""

    told: tuple[int, str] = (200, "")
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.told[0])
        self.end_headers()
        self.wfile.write(self.told[1].encode())

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ((401, "{}"), "asks for another password: set PREFECT_API_AUTH_STRING"),
        ((200, "<html>"), "is not the API of a Prefect server: set PREFECT_API_URL"),
        ((404, "{}"), "answers with status 404: set PREFECT_API_URL to another one"),
        ((503, "{}"), "answers with status 503: set PREFECT_API_URL to another one"),
        ((200, json.dumps("2.20.1")), "is Prefect 2.20.1, spokenby needs 3."),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(
    site: Site, told: tuple[int, str], says: str
) -> None:
    asked: list[str] = []
    stranger = type("Told", (Stranger,), {"told": told, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{server.server_port}/api"
    with Here(site) as here, pytest.raises(InputError) as raised:
        here.run("up")
    server.shutdown()
    assert says in str(raised.value)
    assert len(asked) == len(set(asked)), asked  # not tried again, which would take a minute


@pytest.mark.parametrize(
    "url", ["http://[::1/api", "http://127.0.0.1:0/api", "127.0.0.1:4200", "http:///api"]
)
def test_what_is_no_address_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(InputError, match="which is not an address: write it as"):
        check_address()


def test_what_is_no_address_is_one_line_of_each_command(site: Site) -> None:
    url = "http://127.0.0.1:abc/api"
    make_video(site.videos / "a.mp4", Sound(tone(1)))
    for command in ("up", "transcribe"):
        ran = site.run(command, PREFECT_API_URL=url)
        assert ran.returncode == 2
        (line,) = ran.stderr.splitlines()
        assert f"PREFECT_API_URL is '{url}', which is not an address: write it as" in line
    ran = site.run("doctor", PREFECT_API_URL=url)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert f"red    Prefect: PREFECT_API_URL is '{url}'" in ran.stdout
    assert site.run("models", "list", PREFECT_API_URL=url).returncode == 0  # asks no server


def test_a_home_that_cannot_be_made_is_one_line(site: Site) -> None:
    site.environment.pop("PREFECT_API_URL")
    make_video(site.videos / "a.mp4", Sound(tone(1)))
    home = site.folder / "file"
    home.touch()
    ran = site.run("transcribe", PREFECT_HOME=str(home))
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"spokenby: Prefect cannot keep its database in {home} (File exists): ")


def test_a_home_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", "/proc/prefect")
    with pytest.raises(InputError, match="Prefect cannot keep its database in /proc/prefect"):
        check_before_import()
