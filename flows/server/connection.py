"""See to it that a Prefect server answers: the one that is set, or one for this process alone."""

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus

import httpx
from packaging.version import InvalidVersion, Version
from prefect import flow_engine
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import refresh_global_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from flows.server import prefect_settings
from flows.server.passwords import new_password
from flows.server.processes import Child, free_port, wait_until_healthy
from flows.server.site_server import server_of
from spokenby.errors import InputError, TransientError
from spokenby.progress import calling_on_exit
from spokenby.settings import read_settings
from tasks.again import TEMPORARY
from tasks.prefect_patches import leave_sigterm_to_command

OWN_SERVER = "http://127.0.0.1:4200/api"
"""Where `spokenby serve` answers by default."""

CONNECT_WITHIN_S = 3.0
ANSWER_WITHIN_S = 10.0
"""A busy server on SQLite takes seconds."""

STOP_WITHIN_S = 2.0
"""For the temporary server: all that is of worth is stored elsewhere."""


def have_server() -> None:
    """Have a server for the flows of this process.

    The one that is set, else that of the site's `spokenby serve`, else a temporary one. That has a
    password, for any program could send requests to its port, and ends with this process.

    Raises:
        InputError: the one that is set cannot be used.
        ChildError: the temporary one does not start.
        StoppedError: this process was asked to stop.
    """
    leave_sigterm_to_command(flow_engine)
    if get_current_settings().api.url or server_of(read_settings()):
        with connected():
            return
    url = f"http://127.0.0.1:{free_port()}/api"
    password = new_password()
    server = Child(
        "temporary server",
        prefect_settings.server_command(url),
        prefect_settings.for_child(
            {**prefect_settings.SERVER, **prefect_settings.origins(url)},
            **{TEMPORARY: "1"},  # without UI, nor services that look after runs of deployments
            PREFECT_SERVER_API_AUTH_STRING=password,
        ),
        read_settings().cache.absolute() / "logs" / "temporary-server.log",
    )
    stop = partial(server.stop, STOP_WITHIN_S)
    at_end = ExitStack()
    at_end.callback(stop)
    at_end.enter_context(calling_on_exit(stop))
    atexit.register(at_end.close)
    wait_until_healthy(url, server)
    os.environ |= {TEMPORARY: "1", "PREFECT_API_AUTH_STRING": password}
    use(url)


@contextmanager
def using_server() -> Iterator[None]:
    """Have a server for the flows inside (see `have_server`).

    Raises:
        TransientError: it is gone, and does not come back.
    """
    have_server()
    try:
        yield
    except httpx.TransportError as error:
        raise TransientError(
            f"the Prefect server is gone ({error})",
            "start it and run again: finished work is kept",
        ) from error


def use(url: str) -> None:
    """Let this process, and those that it starts, use a server."""
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """Yield a client of the server that Prefect's settings name, else of the site's own.

    Raises:
        InputError: it does not answer, asks for another password or is of another version.
    """
    api = get_current_settings().api
    url = api.url or server_of(read_settings()) or OWN_SERVER
    known = bool(api.auth_string or api.key) or not prefect_settings.use_kept_password(url)
    if not (api.url and known):
        use(url)
    with get_client(sync_client=True) as client:
        _check(client)
        yield client


def _check(client: SyncPrefectClient) -> None:
    """Refuse a server that can't be used, by a client's own address and password."""
    url = client.api_url
    unset = "set PREFECT_API_URL to another one, or unset it"
    timeout = httpx.Timeout(ANSWER_WITHIN_S, connect=CONNECT_WITHIN_S)
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            if client.server_type is ServerType.CLOUD:
                client.request("GET", "/health", timeout=timeout)
                return
            answer = client.request("GET", "/admin/version", timeout=timeout)
        version = Version(answer.json())
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise InputError(
                f"the Prefect server at {url} asks for another password",
                "set PREFECT_API_AUTH_STRING to its user:password"
                " (of Prefect Cloud, PREFECT_API_KEY)",
            ) from None
        raise InputError(f"{url} answers with status {status}", unset) from None
    except httpx.HTTPError as error:
        raise InputError(
            f"no Prefect server answers at {url} ({type(error).__name__})",
            f"start one with `spokenby serve`; {unset}",
        ) from None
    except (ValueError, TypeError, InvalidVersion):
        raise InputError(
            f"what answers at {url} is not the API of a Prefect server",
            "set PREFECT_API_URL to an address that ends with /api",
        ) from None
    needed = Version(client.client_version())
    if version.major != needed.major:
        raise InputError(
            f"the server at {url} is Prefect {version}, spokenby needs {needed}", unset
        )
