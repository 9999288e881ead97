"""Prefect settings that spokenby needs, each with its reason.

Import this before Prefect, which reads the environment when it is imported. Variables that the user
has set are kept.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit
from urllib.request import getproxies

from flows.server.passwords import kept_password
from flows.server.site_server import server_of
from spokenby.errors import InputError
from spokenby.settings import read_settings

HEARTBEAT_S = 30
"""How often a running flow says that it lives. Prefect's least; its default is 180."""

DEAD_AFTER_S = 3 * HEARTBEAT_S
"""A flow that was silent for this long is dead. With fewer heartbeats, runs that live die: one
that is late on a busy machine is enough."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""A company's proxy would look for its own server there."""

SETTINGS = {
    # Nothing leaves the machine unasked.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # A killed process leaves its run Running for ever unless its silence can be told from work.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    # A run goes on when its worker, which reads what it prints, was killed.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "tasks.prefect_patches.LastingConsoleHandler",
    # A user's own `flows` or `tasks` in the current directory must not be imported for ours.
    "PYTHONSAFEPATH": "1",
    # What the stages and their libraries log belongs to the run that made them log it.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "spokenby,faster_whisper,pyannote,speechbrain",
    # A library's log line outside of a run, at import, is not a reason to warn.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}

FLOW_RUN_SETTINGS = {
    name: SETTINGS[name]
    for name in (
        "DO_NOT_TRACK",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS",
        "PYTHONSAFEPATH",
    )
}
"""What runs of workers that spokenby did not start need, too: the work pool gives it to them."""

TERMINAL = {
    # The terminal belongs to the progress display; the run's log in the UI keeps everything.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}

SERVER = {
    # Leases of GPU slots that are kept in memory are lost when the server restarts, and the slots
    # they stood for leak for good.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # A task that waits for a slot asks again after up to this long: the GPU's idle time (10).
    "PREFECT_SERVER_TASKS_TAG_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    # What changes something needs a token that other sites cannot read; see guard.py.
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    # Prefect's second UI asks an outside service for its settings; the first one asks nobody.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The log file of a server that runs for months is for what went wrong.
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
}

WORKER = {
    # A run waits up to 4 minutes for a server that is away, 2 + 4 + ... + 128 s, not one (5).
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    # What a server answers while its PostgreSQL restarts: the run would fail.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    # How long a click in the UI waits before the worker sees it (10).
    "PREFECT_WORKER_QUERY_SECONDS": "5",
}


def apply(*, verbose: bool = False) -> None:
    """Put the settings into this process's environment, where they are not set already.

    Args:
        verbose: let Prefect's log through to the terminal.
    """
    for name, value in {**SETTINGS, **({} if verbose else TERMINAL)}.items():
        os.environ.setdefault(name, value)
    reach_without_proxy(*LOOPBACK)
    use_kept_password(os.environ.get("PREFECT_API_URL", ""))


def use_kept_password(url: str) -> bool:
    """Let this process and its children use the kept password of a server; return if there is one.

    One that the user has set is kept.
    """
    if {"PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"} & os.environ.keys():
        return False
    with suppress(InputError):  # a setting that does not fit is told where it is needed
        if password := kept_password(url, read_settings()):
            os.environ["PREFECT_API_AUTH_STRING"] = password
            return True
    return False


def starting() -> str:
    """Say that Prefect starts, which takes some seconds of silence, and more the first time."""
    if "PREFECT_API_URL" in os.environ or server_of(read_settings()):
        return "starting Prefect"
    return f"starting Prefect{first_time()}"


def first_time() -> str:
    """Say how long a server takes to start on a new database; empty if there is one."""
    there = (_home() / "prefect.db").exists()
    return "" if there else " (the first time takes about 25 s)"


def _home() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


def check_address() -> None:
    """Refuse a PREFECT_API_URL with which Prefect would fail as it is imported.

    Raises:
        InputError: it is not an address.
    """
    if not (url := os.environ.get("PREFECT_API_URL")):
        return
    try:
        address = urlsplit(url)
        fits = address.scheme in {"http", "https"} and address.hostname and address.port != 0
    except ValueError:  # of the port, or of an IPv6 address
        fits = False
    if not fits:
        raise InputError(
            f"PREFECT_API_URL is {url!r}, which is not an address",
            "write it as http://127.0.0.1:4200/api, or unset it",
        )


def check_before_import() -> None:
    """Refuse an address or a home that flows cannot use, before Prefect is imported.

    Without a server that is set, the temporary one needs the home.

    Raises:
        InputError: one of them does not fit.
    """
    check_address()
    if os.environ.get("PREFECT_API_URL"):
        return
    home = _home()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise InputError(
            f"Prefect cannot keep its database in {home} ({error.strerror})",
            "set PREFECT_HOME to a folder that can be written",
        ) from None


def reach_without_proxy(*hosts: str) -> None:
    """Let no HTTP proxy stand between this process or its children and some hosts.

    What the user excludes stays excluded.
    """
    proxies = getproxies()
    excluded = [host.strip() for host in proxies.pop("no", "").split(",") if host.strip()]
    if not proxies or "*" in excluded:
        return
    for scheme, proxy in proxies.items():  # on Windows and macOS, maybe not from the environment
        if not {f"{scheme}_proxy", f"{scheme}_PROXY".upper()} & os.environ.keys():
            os.environ[f"{scheme}_proxy"] = proxy
    without = ",".join(dict.fromkeys([*excluded, *hosts]))
    os.environ |= {"NO_PROXY": without, "no_proxy": without}


def server_command(url: str) -> list[str]:
    """Return Prefect's command for a server.

    Args:
        url: of its API.
    """
    address = urlsplit(url)
    return ["server", "start", "--host", str(address.hostname), "--port", str(address.port)]


def origins(url: str) -> dict[str, str]:
    """Return the setting that names the pages which may use a server: its own UI's.

    Behind a proxy, set it to the proxy's address as well.

    Args:
        url: of the server's API.
    """
    address = urlsplit(url)
    names = dict.fromkeys((address.netloc, f"localhost:{address.port}"))
    allowed = ",".join(f"{address.scheme}://{name}" for name in names)
    return {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": allowed}


def for_child(process: Mapping[str, str], **given: str) -> dict[str, str]:
    """Return the environment of a server or worker.

    Args:
        process: `SERVER` or `WORKER`.
        given: what spokenby decides; all else may be set by the user.
    """
    return {**SETTINGS, **process, **os.environ, **given}
