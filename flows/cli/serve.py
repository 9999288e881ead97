"""Run a Prefect server, a worker and the pages, and set up what they need."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console

from flows.server import prefect_settings
from flows.server.passwords import make_password
from flows.server.processes import (
    Child,
    ChildError,
    absolute,
    free_port,
    is_healthy,
    is_taken,
    wait_until_healthy,
)
from flows.server.review_server import HOST, address
from flows.server.site_server import known_to_site, server_of
from spokenby.errors import InputError, SpokenbyError
from spokenby.settings import Settings, host_name, read_settings
from spokenby.view.address import make_key, pages_of

PORT = 4200

MISSING = 1
"""Exit code: something is missing on the server, or a process of it ended by itself."""

RECOVER_EVERY_S = 10

LIMITS_EVERY_S = 60

_LAST_PORT = 65535

STOP_SERVER_WITHIN_S = 3.0

OUTLIVES_S = 10.0
"""How long the server stays when spokenby was killed: the worker takes 3 s to report its runs."""


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    workers_limit: int = 2,
    password: bool = False,
    watch: tuple[Path, ...] = (),
    only: Literal["server", "worker"] | None = None,
) -> int:
    """Keep a Prefect server, a worker and the pages of `view` running, until Ctrl-C or SIGTERM.

    Then start, watch and rerun transcriptions in the browser, read and hear them, and name voices.
    First creates what the server needs, as `spokenby setup` does.

    For example:

        spokenby serve
        spokenby serve --workers-limit 4
        spokenby serve --password
        spokenby serve --watch recordings --watch /media/lectures
        spokenby serve --only worker

    Args:
        host: Address to listen on. Anyone who can reach it can start runs: stay on this machine, or
            use --password and a proxy that encrypts.
        port: Port to listen on. The pages of `view` are on the next one, or on a free one.
        workers_limit: Number of runs at once; each loads its own models.
        password: Ask for a password: that of PREFECT_SERVER_API_AUTH_STRING, else a random one. It
            is kept in the data folder, where your own commands and workers find it.
        watch: A folder in which to look for new videos every 15 minutes; may be given several
            times. It stays watched until its schedule is switched off in the browser.
        only: Start just this one, without the pages, for service managers. The worker then works
            for the server at PREFECT_API_URL.
    """
    prefect_settings.apply(verbose=True)
    settings = read_settings()
    console = Console()
    _check_options(only, password=password, watch=watch)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/api"
    if only == "worker":
        running = server_of(settings) if port == PORT else ""
        url = os.environ.get("PREFECT_API_URL") or running or url
    else:
        prefect_settings.check_before_import()
    prefect_settings.reach_without_proxy(host)
    kept = make_password(url, settings) if password else None
    if kept:
        os.environ["PREFECT_API_AUTH_STRING"] = kept.read_text("utf-8").strip()
    _end_on_signals()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        try:
            children = []
            if only != "worker":
                _check_free(host, port, url)
                children.append(_start_server(console, settings, url, kept))
                stack.callback(children[0].stop, STOP_SERVER_WITHIN_S)
            wait_until_healthy(url, *children)
            if only != "worker":
                stack.enter_context(known_to_site(url, settings))
            pages = None if only else _start_pages(console, settings, port + 1)
            if pages:
                stack.callback(pages.child.stop)
            if only != "server":
                children.append(_start_worker(console, settings, url, workers_limit))
                stack.callback(_stop_worker, console, settings, children[-1])
                _watch(console, watch)
            _tell_what_next(console, url, kept, pages)
            _look_after(console, settings, children, pages, works=only != "server")
        finally:
            _let_nothing_interrupt()
            _say(console, "stopping")
    return 0


def _check_options(only: str | None, *, password: bool, watch: tuple[Path, ...]) -> None:
    if password and only == "worker":
        raise InputError("--password is for the server", "start that with it: workers find it")
    if watch and only == "server":
        raise InputError("--watch is for the worker", "start that with it")
    for folder in watch:
        if not folder.is_dir():
            raise InputError(
                f"--watch {folder}: there is no such folder", "create it, or name another"
            )


def _look_after(
    console: Console,
    settings: Settings,
    children: list[Child],
    pages: _Pages | None,
    *,
    works: bool,
) -> None:
    """Watch over the processes, and start crashed runs again, until one but the pages' ends."""
    waiting: set[str] = set()
    for second in count():
        for child in children:
            child.check()
        if pages:
            try:
                pages.child.check()
            except ChildError as error:
                _say(console, f"{error}; all else goes on; to open them again: spokenby view")
                pages = None
        if works and second % RECOVER_EVERY_S == 0:
            waiting = _look_at_runs(console, waiting)
        if works and second and second % LIMITS_EVERY_S == 0:
            _look_at_limits(console, settings)
        time.sleep(1)


def _check_free(host: str, port: int, url: str) -> None:
    if is_healthy(url):
        raise InputError(
            f"a Prefect server already answers at {url}",
            f"to use it, set PREFECT_API_URL={url} and run spokenby setup; or choose another"
            " --port",
        )
    if is_taken(host, port):
        raise InputError(f"another program listens on port {port}", "choose another --port")


def _start_server(console: Console, settings: Settings, url: str, kept: Path | None) -> Child:
    logs = _logs(settings)
    _say(console, f"starting the Prefect server{prefect_settings.first_time()}")
    _say(console, f"  its log: {logs / 'server.log'}")
    given = {}
    if kept:
        given["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"]
    return Child(
        "server",
        prefect_settings.server_command(url),
        prefect_settings.for_child(
            {
                **prefect_settings.SERVER,
                **prefect_settings.origins(url),
                # The UI would ask port 4200, whatever --port says. Containers and proxies set it.
                "PREFECT_SERVER_UI_API_URL": url,
            },
            **given,
        ),
        logs / "server.log",
        OUTLIVES_S,
    )


def _logs(settings: Settings) -> Path:
    return settings.cache.absolute() / "logs"


def _start_worker(console: Console, settings: Settings, url: str, limit: int) -> Child:
    os.environ |= {"PREFECT_API_URL": url, **absolute(settings)}
    from flows.server.resources import POOL, set_up

    for line in set_up():
        _say(console, line)
    _look_at_limits(console, settings)
    return Child(
        "worker",
        ["worker", "start", "--pool", POOL, "--name", host_name(), "--limit", str(limit)],
        prefect_settings.for_child(prefect_settings.WORKER),
        _logs(settings) / "worker.log",
    )


class _Pages(NamedTuple):
    """The pages of the site: the process that serves them, and their address with the secret."""

    child: Child
    address: str


def _start_pages(console: Console, settings: Settings, port: int) -> _Pages | None:
    """Serve the pages; `None`, and a line, if that cannot be."""
    if pages_of(settings):
        _say(console, "the pages are served already, by spokenby view: it opens them")
        return None
    port = free_port() if port > _LAST_PORT or is_taken(HOST, port) else port
    try:
        key = make_key(settings)
        child = Child(
            "server of the pages",
            ["view", str(port)],
            {**os.environ, **absolute(settings)},
            _logs(settings) / "view.log",
        )
    except (SpokenbyError, OSError) as error:
        _say(console, f"the pages are not served: {error}")
        return None
    return _Pages(child, address(port, key))


def _look_at_runs(console: Console, waiting: set[str]) -> set[str]:
    """Start crashed runs again, and say which wait for a place; return the latter.

    Args:
        console: where to say it.
        waiting: which waited before.
    """
    from httpx import HTTPError

    from flows.server.connection import connected
    from flows.server.crashed_runs import late_runs, restart_crashed
    from flows.server.resources import deployment_names

    # A server that is away for a while must not end the worker, whose runs go on.
    with suppress(HTTPError, SpokenbyError), connected() as client:
        for name in restart_crashed(client, deployment_names()):
            _say(console, f"restarted after a crash: {name}")
        late = set(late_runs(client, deployment_names()))
        for name in sorted(late - waiting):
            _say(console, f"waits until another run ends (see --workers-limit): {name}")
        return late
    return waiting


def _look_at_limits(console: Console, settings: Settings) -> None:
    """Have the limit on this host's GPU tag, and none of hosts whose workers are gone."""
    from httpx import HTTPError

    from flows.server.connection import connected
    from flows.server.gpu_limits import drop_limits_of_dead, keep_limit

    with suppress(HTTPError, SpokenbyError), connected() as client:
        if line := keep_limit(client, settings):
            _say(console, line)
        for tag in drop_limits_of_dead(client, settings):
            _say(console, f"removed: limit on the tag {tag}, whose worker is gone")


def _watch(console: Console, folders: Sequence[Path]) -> None:
    if not folders:
        return
    from flows.server.resources import SWEEP, watch

    places = [folder.absolute() for folder in folders]
    watch(places)
    for place in places:
        _say(console, f"watching for new videos: {place}")
    _say(console, f"  to change or end that: Deployments, {SWEEP}, in the browser")


def _stop_worker(console: Console, settings: Settings, worker: Child) -> None:
    """Stop the worker with its runs, which go on when `serve` is started again."""
    from httpx import HTTPError

    from flows.server.connection import connected
    from flows.server.crashed_runs import continue_later
    from flows.server.gpu_limits import drop_limit

    runs = worker.runs()
    worker.stop()
    # Without a server, or if this is cut, they are found to be dead later.
    with suppress(HTTPError, SpokenbyError), connected() as client:
        for name in continue_later(client, runs):
            _say(console, f"stopped, continues with the next spokenby serve: {name}")
        drop_limit(client, settings.gpu_tag)


def _tell_what_next(console: Console, url: str, kept: Path | None, pages: _Pages | None) -> None:
    _say(console, f"ready: {url.removesuffix('/api')}")
    if kept:
        _say(console, f"  the browser asks for a password: enter the line in {kept}")
    _say(console, "  to transcribe: Deployments, transcribe-videos, Run, in the browser;")
    _say(console, "  runs of the command line show there, too")
    if pages:
        _say(console, "  to find, hear, read and correct them, and to name voices:")
        _say(console, f"  {pages.address}")
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
        url = str(client.api_url).rstrip("/")
    missing = missing_on()
    for line in missing:
        _say(console, line)
    state = "to create what is missing, run: spokenby setup" if missing else "nothing is missing"
    _say(console, f"{url}: {state}")
    return MISSING if missing and check else 0


def setup() -> int:
    """Create on the Prefect server what spokenby needs: work pool, deployments, automations.

    The server is the one at PREFECT_API_URL (your own or Prefect Cloud), else the one of
    `spokenby serve`. What is there stays as it is.

    For example:

        spokenby setup
    """
    prefect_settings.apply()
    prefect_settings.check_address()
    from flows.server.resources import set_up

    console = Console()
    lines = set_up()
    for line in lines or ["everything is there"]:
        _say(console, line)
    return 0


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
