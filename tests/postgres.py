"""Start a PostgreSQL server for tests on a free port, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def programs_of_server() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them out of the PATH."""
    found = shutil.which("postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += [Path(found).parent] if found else []
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _other_user() -> dict[str, object]:
    """Return how to start what refuses to run as root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {}


class Server:
    """A PostgreSQL server that tests can restart."""

    def __init__(self, programs: Path, host: str = "127.0.0.1") -> None:
        # Not under pytest's folders: only their owner may enter those.
        self._home = Path(tempfile.mkdtemp(prefix="spokenby-postgres-"))
        user = _other_user()
        if user:
            os.chown(self._home, user["user"], user["group"])  # type: ignore[arg-type]
        environment = {**os.environ, "LC_ALL": "C", "HOME": str(self._home)}
        self._options: dict[str, Any] = {"cwd": self._home, "env": environment, **user}
        self._programs, port = programs, free_port()
        data = self._home / "data"
        self._words = [
            *("-D", data, "-p", str(port), "-c", f"listen_addresses={host}"),
            *("-c", f"unix_socket_directories={self._home}"),
            *(word for setting in UNSAFE_BUT_FAST for word in ("-c", setting)),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.address = f"postgresql://spokenby:secret@{host}:{port}/postgres"
        _initialise(programs, data, self._options)
        if host != "127.0.0.1":
            with (data / "pg_hba.conf").open("a") as permits:
                permits.write("host all all samenet scram-sha-256\n")

    def start(self) -> None:
        log = self._home / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._programs / "postgres", *self._words],
                stdout=output,
                stderr=subprocess.STDOUT,
                **self._options,
            )
        _wait_for(self.address, self._process, log)

    def stop(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGINT)  # ends connections, keeps what was written
        self._process.wait(120)

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing is kept
            self._process.wait(120)
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Start a PostgreSQL server."""
    programs = programs_of_server()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    server = Server(programs)
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def postgres(postgres_server: Server) -> str:
    """Return the address of the first database of a server."""
    return postgres_server.address


def place_for(request: pytest.FixtureRequest, on_host: Path) -> Path | str:
    """Return where a test's locks or attempts are: on its host, or on a server, by its param."""
    return on_host if request.param == "host" else new_schema(request.getfixturevalue("postgres"))


def new_schema(server: str) -> str:
    """Return the address of an empty place on a server."""
    import psycopg

    name = f"voices_{uuid.uuid4().hex}"
    with psycopg.connect(server) as connection:
        connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[arg-type]
    return f"{server}?options=-csearch_path%3D{name}"


def _initialise(programs: Path, data: Path, options: dict[str, Any]) -> None:
    password = data.with_name("password")
    password.write_text("secret")
    password.chmod(0o644)
    subprocess.run(
        [
            programs / "initdb",
            *("-D", data, "-U", "spokenby", "--auth=scram-sha-256", f"--pwfile={password}"),
            *("--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C"),
        ],
        check=True,
        capture_output=True,
        **options,
    )


def _wait_for(
    address: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 120
) -> None:
    import psycopg

    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
