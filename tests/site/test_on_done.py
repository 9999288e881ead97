"""Who wants to know is told of a transcript; whatever goes wrong there is one line."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from examples import webhook_receiver
from spokenby.errors import InputError
from spokenby.settings import Settings
from spokenby.site import on_done
from spokenby.site.on_done import check, described, tell

ROOT = Path(__file__).parents[2]

MANIFEST = {
    "video": {"name": "Größe.mp4", "recorded": None, "duration": 90.0},
    "speakers": 2,
    "words": 3,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "Größe-0123abcd"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    (folder / "transcript.txt").write_text("[00:00] Ada: Hello.\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(on_done, "RETRY_AFTER", (0.0, 0.01, 0.02))


def settings_of(tmp_path: Path, **given: object) -> Settings:
    return Settings(data_dir=tmp_path, **{"on_done_s": 60, **given})  # type: ignore[arg-type]


def python(program: str) -> str:
    return shlex.join([sys.executable, "-c", program])


def test_a_command_gets_folder_and_manifest_as_the_example_needs_them(
    folder: Path, tmp_path: Path
) -> None:
    command = shlex.join(
        [sys.executable, str(ROOT / "examples" / "obsidian.py"), str(tmp_path / "a vault")]
    )
    assert tell(command, folder, settings_of(tmp_path)) == ""
    note = (tmp_path / "a vault" / "Größe-0123abcd.md").read_text("utf-8")
    assert note.startswith('---\nvideo: "Größe.mp4"\nrecorded: null\nminutes: 1.5\nspeakers: 2\n')
    assert note.endswith("---\n\n[00:00] Ada: Hello.\n")


@pytest.mark.parametrize(
    ("program", "on_done_s", "says"),
    [
        ("print('first'); raise SystemExit('no room')", 60, "exit code 1: no room"),
        ("raise SystemExit(3)", 60, "exit code 3: it printed nothing"),
        ("import time; time.sleep(600)", 1, "ended after 1 s"),
        ("while True: print('x' * 100_000)", 1, "ended after 1 s"),
    ],
)
def test_a_command_that_fails_is_one_line(
    folder: Path, tmp_path: Path, program: str, on_done_s: float, says: str
) -> None:
    began = time.monotonic()
    told = tell(python(program), folder, settings_of(tmp_path, on_done_s=on_done_s))
    assert told == f"on-done: {sys.executable}: {says}"
    assert time.monotonic() - began < 60  # a busy machine is late; the program takes 600


def test_a_gigabyte_is_read_and_dropped(folder: Path, tmp_path: Path) -> None:
    before = psutil.Process().memory_info().rss
    program = "import os\nfor _ in range(1000): os.write(1, b'x' * 2**20)\nprint(); print('end')"
    told = tell(python(program + "\nraise SystemExit(1)"), folder, settings_of(tmp_path))
    assert told.endswith("exit code 1: end")
    assert psutil.Process().memory_info().rss - before < 50e6


@pytest.mark.skipif(sys.platform == "win32", reason="sh")
def test_what_a_command_has_started_ends_with_it(folder: Path, tmp_path: Path) -> None:
    seconds = f"3600.{os.getpid()}"  # of no other test run
    command = f"sh -c 'sleep {seconds} & wait' x"
    told = tell(command, folder, settings_of(tmp_path, on_done_s=0.5))
    assert told == "on-done: sh: ended after 0.5 s"

    def commands() -> Iterator[list[str]]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                yield process.cmdline()

    deadline = time.monotonic() + 30
    while ["sleep", seconds] in commands():  # it was killed, and may be listed for a moment
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_is_signed_as_the_example_checks_it(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_receiver.Receiver, "secret", "s3cret")
    with served(webhook_receiver.Receiver) as host:
        good = settings_of(tmp_path, webhook_hosts=host, webhook_secret="s3cret")
        assert tell(f"http://{host}/hook", folder, good) == ""
        bad = settings_of(tmp_path, webhook_hosts=host, webhook_secret="guessed")
        assert tell(f"http://{host}/hook", folder, bad).endswith("/…: it answered 401")
        unsigned = settings_of(tmp_path, webhook_hosts=host)
        assert tell(f"http://{host}/hook", folder, unsigned).endswith("it answered 401")
    assert capfd.readouterr().out == "Größe.mp4: 2 speakers\n"


def answering(*codes: int) -> tuple[type[BaseHTTPRequestHandler], list[str]]:
    """Return a handler that answers so, one after the other, and the deliveries it got."""
    seen: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["Spokenby-Delivery"])
            self.send_response(codes[len(seen) - 1])
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Answers, seen


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ((503, 429, 200), ""),
        ((500, 500, 502), "it answered 502"),
        ((404,), "it answered 404"),
        ((302,), "it answered 302"),  # it may lead to a host that the site does not name
    ],
)
def test_a_webhook_is_tried_again_where_that_may_help(
    folder: Path, tmp_path: Path, codes: tuple[int, ...], says: str
) -> None:
    handler, seen = answering(*codes)
    with served(handler) as host:
        told = tell(f"http://{host}/", folder, settings_of(tmp_path, webhook_hosts=host))
    assert told == (f"on-done: http://{host}/…: {says}" if says else "")
    assert len(seen) == len(codes)
    assert len(set(seen)) == 1


def test_a_webhook_that_hangs_is_left_after_its_time(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"

        def drip() -> None:
            connection, _ = listener.accept()
            with suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        settings = settings_of(tmp_path, webhook_hosts=host, on_done_s=0.5)
        assert tell(f"http://{host}/", folder, settings).endswith("no answer within 0.5 s")
        assert time.monotonic() - began < 30  # the whole answer takes 50


def test_nobody_there_is_said_without_the_address(folder: Path, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, webhook_hosts="127.0.0.1:9")
    told = tell("http://127.0.0.1:9/t0ken", folder, settings)
    assert told.startswith("on-done: http://127.0.0.1:9/…: ConnectError")
    assert "t0ken" not in told


def test_whatever_the_attempt_ran_into_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setattr("spokenby.site.on_done.RETRY_AFTER", (0.0,))
    told = tell("https://a.example/x", folder, settings_of(tmp_path, webhook_hosts="a.example"))
    assert told.startswith("on-done: https://a.example/…: FileNotFoundError"), told


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("https://evil.example/x", r"does not name the host evil\.example: allow it: SPOKENBY_WEB"),
        ("https://hooks.example:8443/x", "does not name the host hooks.example:8443"),
        ("https://hooks.example@evil.example/", r"the host evil\.example:"),
        ("https:///x", "the webhook's address is not one"),
        ("https://[x", "the webhook's address is not one"),
        ("no-such-program --now", "there is no program no-such-program: name one on the PATH"),
        ("sh -c 'echo", "the command sh … cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_runs(
    tmp_path: Path, given: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        check(given, settings_of(tmp_path, webhook_hosts="hooks.example"))


def test_secrets_of_an_address_are_not_shown() -> None:
    assert described("https://user:pw@hooks.example/t0ken") == "https://hooks.example/…"
    assert described("curl -H 'Authorization: Bearer 123' https://a.b") == "curl …"
    assert described("notes.py") == "notes.py"
