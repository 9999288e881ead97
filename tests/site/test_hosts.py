"""Locks on a server whose connections are cut: who is cut off notices, and nobody waits long."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from postgres import Server, new_schema

from spokenby import advisory_locks, connections
from spokenby.advisory_locks import AWAY_S
from spokenby.errors import SpokenbyError, TransientError
from spokenby.site.video_locks import Claims, confirm_claim

VIDEO = "ab" * 32
OTHER = "cd" * 32


class Forwarder:
    """A way to a server that can stop to carry anything, with all connections open."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.carries = threading.Event()
        self.carries.set()
        self._pairs: dict[socket.socket, socket.socket] = {}
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self) -> None:
        while self._listener.fileno() >= 0:
            self.carries.wait()
            with suppress(OSError, ValueError):
                for ready in select.select([self._listener, *self._pairs], [], [], 0.05)[0]:
                    self._one(ready)

    def _one(self, ready: socket.socket) -> None:
        if not self.carries.is_set():
            return
        if ready is self._listener:
            near, far = (
                self._listener.accept()[0],
                socket.create_connection(("127.0.0.1", self._to)),
            )
            self._pairs |= {near: far, far: near}
        elif content := ready.recv(65536):
            self._pairs[ready].sendall(content)
        else:
            for end in (ready, self._pairs[ready]):
                del self._pairs[end]
                end.close()

    def close(self) -> None:
        self.carries.set()
        self._listener.close()


@pytest.fixture
def way(postgres_server: Server) -> Iterator[Forwarder]:
    way = Forwarder(postgres_server.port)
    yield way
    way.close()


@pytest.fixture
def address(postgres: str) -> str:
    return new_schema(postgres)


def cut(address: str) -> None:
    """End the connections of all who hold locks."""
    with psycopg.connect(address) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'spokenby on %'"
        )


def test_a_run_that_lost_a_claim_to_another_notices(address: str) -> None:
    with Claims(address) as first, Claims(address) as second:
        assert first.take(VIDEO)
        assert first.take(OTHER)
        confirm_claim(VIDEO)
        cut(address)
        assert second.take(VIDEO)
        with pytest.raises(SpokenbyError, match="another run took this video over") as lost:
            first.confirm(VIDEO)
        assert not isinstance(lost.value, TransientError)  # trying again could not help
        first.confirm(OTHER)  # taken again, as nobody else had it
        assert not second.take(OTHER)
        first.free(VIDEO)  # not its own any more: nothing happens
        second.confirm(VIDEO)


def test_what_is_not_claimed_needs_no_claim_to_write() -> None:
    confirm_claim(VIDEO)


def test_a_connection_that_was_cut_is_opened_again_with_its_claims(address: str) -> None:
    with Claims(address) as claims, Claims(address) as other:
        assert claims.take(VIDEO)
        cut(address)
        confirm_claim(VIDEO)
        assert not other.take(VIDEO)


def test_a_server_that_is_restarted_is_waited_for(address: str, postgres_server: Server) -> None:
    with Claims(address) as claims, Claims(address) as other:
        assert claims.take(VIDEO)
        postgres_server.stop()
        back = threading.Timer(1, postgres_server.start)
        back.start()
        confirm_claim(VIDEO)
        back.join()
        assert not other.take(VIDEO)


def test_who_is_cut_off_writes_nothing_and_goes_on_when_the_network_is_back(
    address: str, postgres_server: Server, way: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_S", 2)  # libpq's least
    through = address.replace(f":{postgres_server.port}/", f":{way.port}/")
    with Claims(through) as claims, Claims(address) as other:
        assert claims.take(VIDEO)
        way.carries.clear()
        begun = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(advisory_locks, "ANSWER_S", 0.3)
            patch.setattr(advisory_locks, "AWAY_S", 0.2)
            with pytest.raises(TransientError, match=r"cannot be reached .* SPOKENBY_DATABASE"):
                confirm_claim(VIDEO)
        assert time.monotonic() - begun < 0.8 * AWAY_S
        way.carries.set()
        # The server still has the connection from before, which the new one ends.
        confirm_claim(VIDEO)
        assert not other.take(VIDEO)
        claims.free(VIDEO)
        assert other.take(VIDEO)


def test_a_server_gives_up_a_silent_host_within_a_minute(address: str) -> None:
    engine = connections.make_engine(connections.parse_address(address), 0)
    with engine.connect() as connection:
        idle, interval, count = (
            int(connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar_one())
            for name in ("idle", "interval", "count")
        )
        timeout = connection.exec_driver_sql("SHOW tcp_user_timeout").scalar_one()
    assert idle + interval * count <= 60
    assert int(timeout) in {50_000, 0}  # not every system has it
