"""Run a Prefect server and a worker, and set up what they need: `serve`, `up`, `setup`."""

import os
import signal
import time
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Literal

from rich.console import Console

from flows.server import prefect_settings
from flows.server.passwords import make_password
from flows.server.processes import Child, absolute, is_healthy, is_taken, wait_until_healthy
from spokenby.errors import InputError, SpokenbyError
from spokenby.settings import Settings, read_settings

MISSING = 1
"""Exit code: something is missing on the server, or a process of it ended by itself."""

RECOVER_EVERY_S = 10

STOP_SERVER_WITHIN_S = 3.0

OUTLIVES_S = 10.0
"""How long the server stays when spokenby was killed: the worker takes 3 s to report its runs."""


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 4200,
    workers_limit: int = 2,
    password: bool = False,
    only: Literal["server", "worker"] | None = None,
) -> int:
    """Keep a Prefect server and a worker running, until Ctrl-C or SIGTERM.

    Then start, watch and rerun transcriptions in the browser. First creates what the server needs,
    as `spokenby setup` does.

    For example:

        spokenby serve
        spokenby serve --workers-limit 4
        spokenby serve --password
        spokenby serve --only worker

    Args:
        host: Address to listen on. Anyone who can reach it can start runs: stay on this machine, or
            use --password and a proxy that encrypts.
        port: Port to listen on.
        workers_limit: Number of runs at once; each loads its own models.
        password: Ask for a password: that of PREFECT_SERVER_API_AUTH_STRING, else a random one. It
            is kept in the data folder, where your own commands and workers find it.
        only: Start just one of the two, for service managers. The worker then works for the server
            at PREFECT_API_URL.
    """
    prefect_settings.apply(verbose=True)
    settings = read_settings()
    console = Console()
    logs = settings.cache.absolute() / "logs"
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/api"
    if only == "worker":
        url = os.environ.get("PREFECT_API_URL") or url
    else:
        prefect_settings.check_before_import()
    prefect_settings.reach_without_proxy(host)
    if password and only == "worker":
        raise InputError("--password is for the server", "start that with it: workers find it")
    kept = make_password(url, settings) if password else None
    if kept:
        os.environ["PREFECT_API_AUTH_STRING"] = kept.read_text("utf-8").strip()
    _end_on_signals()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        try:
            children = []
            if only != "worker":
                _check_free(host, port, url)
                children.append(_start_server(console, url, kept, logs))
                stack.callback(children[0].stop, STOP_SERVER_WITHIN_S)
            wait_until_healthy(url, *children)
            if only != "server":
                children.append(_start_worker(console, settings, url, workers_limit, logs))
                stack.callback(children[-1].stop)
            _tell_what_next(console, url, kept)
            for second in count():
                for child in children:
                    child.check()
                if only != "server" and second % RECOVER_EVERY_S == 0:
                    _restart_crashed(console)
                time.sleep(1)
        finally:
            _let_nothing_interrupt()
            _say(console, "stopping")
    return 0


def _check_free(host: str, port: int, url: str) -> None:
    if is_healthy(url):
        raise InputError(
            f"a Prefect server already answers at {url}",
            f"to use it, set PREFECT_API_URL={url} and run spokenby setup; or choose another"
            " --port",
        )
    if is_taken(host, port):
        raise InputError(f"another program listens on port {port}", "choose another --port")


def _start_server(console: Console, url: str, kept: Path | None, logs: Path) -> Child:
    _say(console, f"starting the Prefect server (log: {logs / 'server.log'})")
    given = {"PREFECT_SERVER_UI_API_URL": url}  # the UI would ask port 4200, whatever --port says
    if kept:
        given["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"]
    return Child(
        "server",
        prefect_settings.server_command(url),
        prefect_settings.for_child(
            {**prefect_settings.SERVER, **prefect_settings.origins(url)}, **given
        ),
        logs / "server.log",
        OUTLIVES_S,
    )


def _start_worker(console: Console, settings: Settings, url: str, limit: int, logs: Path) -> Child:
    os.environ |= {"PREFECT_API_URL": url, **absolute(settings)}
    from flows.server.resources import POOL, set_up

    for created in set_up(settings):
        _say(console, f"created: {created}")
    return Child(
        "worker",
        ["worker", "start", "--pool", POOL, "--limit", str(limit)],
        prefect_settings.for_child(prefect_settings.WORKER),
        logs / "worker.log",
    )


def _restart_crashed(console: Console) -> None:
    from httpx import HTTPError

    from flows.server.connection import connected
    from flows.server.crashed_runs import restart_crashed
    from flows.server.resources import deployment_names

    # A server that is away for a while must not end the worker, whose runs go on.
    with suppress(HTTPError, SpokenbyError), connected() as client:
        for name in restart_crashed(client, deployment_names()):
            _say(console, f"restarted after a crash: {name}")


def _tell_what_next(console: Console, url: str, kept: Path | None) -> None:
    _say(console, f"ready: {url.removesuffix('/api')}")
    if kept:
        _say(console, f"  the browser asks for a password: enter the line in {kept}")
    _say(console, "  to transcribe: Deployments, transcribe-videos, Run, in the browser")
    _say(console, f"  to see runs of the command line there, too: set PREFECT_API_URL={url}")
    _say(console, "  Ctrl-C stops everything; finished work is kept")


def _end_on_signals() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.default_int_handler)


def _let_nothing_interrupt() -> None:
    """Stop in peace, which takes limited time: make and uv pass on one Ctrl-C several times."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)


def up(*, check: bool = False) -> int:
    """Report what is missing on the Prefect server that spokenby uses.

    The server at PREFECT_API_URL (your own or Prefect Cloud), else that of `spokenby serve`.

    For example:

        spokenby up
        spokenby up --check

    Args:
        check: Set exit code 1 if something is missing.
    """
    prefect_settings.apply()
    prefect_settings.check_address()
    from flows.server.connection import connected
    from flows.server.resources import check as missing_on

    console = Console()
    with connected() as client:
        url = client.api_url
    missing = missing_on(read_settings())
    for line in missing:
        _say(console, line)
    state = "to create what is missing, run: spokenby setup" if missing else "nothing is missing"
    _say(console, f"{url}: {state}")
    return MISSING if missing and check else 0


def setup() -> int:
    """Create on the Prefect server what spokenby needs: limit, work pool, deployments, automations.

    The server is the one at PREFECT_API_URL (your own or Prefect Cloud), else the one of
    `spokenby serve`. What is there stays as it is.

    For example:

        spokenby setup
    """
    prefect_settings.apply()
    prefect_settings.check_address()
    from flows.server.resources import set_up

    console = Console()
    created = set_up(read_settings())
    for what in created:
        _say(console, f"created: {what}")
    if not created:
        _say(console, "everything is there")
    return 0


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
