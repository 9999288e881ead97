"""Prefect as patched: clients across a restart, output nobody reads, patches that do not fit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from conftest import ROOT
from ports import free_port
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient

from flows.server import prefect_settings
from spokenby.errors import InputError
from tasks.prefect_patches import lock_at_start, wait_out_restarts

STAGE = """
import sys, threading
import prefect.main
from prefect.logging import get_logger

def stage():
    for _ in range(3):
        get_logger("stage").error("is anybody there?")
        print("nobody", file=sys.stderr, flush=True)
    open(sys.argv[1], "w").close()

thread = threading.Thread(target=stage)
thread.start()
thread.join()
"""


def test_stage_that_prints_to_nobody_goes_on(tmp_path: Path) -> None:
    done = tmp_path / "done"
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE, str(done)],
        cwd=ROOT,
        env={
            **prefect_settings.for_child(prefect_settings.WORKER),
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    process.stdout.close()
    assert process.wait(100) == 0
    assert done.exists()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def ask(port: int) -> int:
    """Ask once, with a new client."""
    with PrefectHttpxSyncClient(
        base_url=f"http://127.0.0.1:{port}", enable_csrf_support=False
    ) as it:
        return it.get("/").status_code


def test_new_client_waits_for_a_server_that_restarts() -> None:
    wait_out_restarts()
    port = free_port()
    with HTTPServer(("127.0.0.1", port), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert ask(port) == httpx.codes.OK
        thread.join()
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(port)))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()  # refused, and not the end of it
    with HTTPServer(("127.0.0.1", port), Answer) as server:
        server.handle_request()
    waiting.join(60)
    assert answers == [httpx.codes.OK]


@pytest.mark.parametrize("kind", [PrefectHttpxAsyncClient, PrefectHttpxSyncClient])
def test_client_that_has_changed_is_said(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    monkeypatch.setattr(kind, "send", lambda self, request: request)
    with pytest.raises(InputError, match=rf"has changed {kind.__name__}\._has_connected") as raised:
        wait_out_restarts()
    assert "\n" not in str(raised.value)


def without_mode(database: ModuleType) -> None:
    del database.SQLITE_BEGIN_MODE


def with_another_begin(database: ModuleType) -> None:
    database.AioSqliteConfiguration.begin_transaction = lambda self, session, mode: None


def with_another_statement(database: ModuleType) -> None:
    database.AioSqliteConfiguration.begin_sqlite_stmt = lambda self, connection: None


@pytest.mark.parametrize("change", [without_mode, with_another_begin, with_another_statement])
def test_transactions_that_have_changed_are_said(change: Callable[[ModuleType], None]) -> None:
    from prefect.server.database import configurations

    database = ModuleType("changed")
    database.AioSqliteConfiguration = type(  # type: ignore[attr-defined]
        "AioSqliteConfiguration", (configurations.AioSqliteConfiguration,), {}
    )
    database.SQLITE_BEGIN_MODE = configurations.SQLITE_BEGIN_MODE  # type: ignore[attr-defined]
    change(database)
    with pytest.raises(InputError, match="has changed how its server begins transactions"):
        lock_at_start(database)


SERVER = """
from prefect.server.database import configurations
configurations.AioSqliteConfiguration.begin_sqlite_stmt = lambda self, connection: None
from prefect.plugins import load_prefect_collections
load_prefect_collections()
print("serving")
"""


def test_server_does_not_start_without_its_patch() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SERVER],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    (said,) = ran.stderr.splitlines()
    assert said.startswith("spokenby: Prefect ")
    assert "has changed how its server begins transactions on SQLite" in said
