"""Runs whose claims are in a database: they wait for each other, and write only with a claim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from commands import Here
from conftest import Site
from postgres import Server, new_schema

from spokenby.locks import Locks, open_locks
from spokenby.review import page
from spokenby.site.attempts import Ledger

TALK = "telephone talk"


@pytest.fixture
def shared(site_copy: Site, postgres: str) -> Site:
    """Return a finished site whose hosts share a database."""
    site_copy.environment["SPOKENBY_DATABASE"] = new_schema(postgres)
    return site_copy


@pytest.fixture
def other(shared: Site) -> Iterator[Locks]:
    """Return the locks of a run on another host."""
    locks = open_locks(shared.environment["SPOKENBY_DATABASE"])
    yield locks
    locks.close()


@pytest.fixture
def before_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return what has something happen just before a run writes."""
    render = page.render

    def arrange(happens: Callable[[], object]) -> None:
        def render_then(*words: Any) -> Any:
            happens()
            return render(*words)

        monkeypatch.setattr(page, "render", render_then)

    return arrange


def end_connections(address: str) -> None:
    """End the connections that hold locks."""
    with psycopg.connect(address) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'spokenby on %'"
        )


def test_a_run_that_was_cut_off_does_not_write_over_another(
    shared: Site, other: Locks, before_writing: Callable[[Callable[[], object]], None]
) -> None:
    address = shared.environment["SPOKENBY_DATABASE"]
    before = {path: path.read_bytes() for path in shared.output(TALK).iterdir()}
    claim = shared.manifest(TALK)["video"]["digest"][:32]

    def cut_off() -> None:
        end_connections(address)
        assert other.take(claim)

    before_writing(cut_off)
    with Here(shared) as here:
        ran = here.run("transcribe", shared.videos / f"{TALK}.mp4", "--force", "merge")
        status = here.run("status", shared.videos / f"{TALK}.mp4")
    assert ran.code == 1
    assert "write: another run took this video over" in " ".join(ran.out.split())
    assert {path: path.read_bytes() for path in shared.output(TALK).iterdir()} == before
    # How it goes on is the other run's to note.
    (attempt,) = Ledger(address).read().values()
    assert (attempt.ended, attempt.attempts) == (None, 1)
    assert "a run works on it" in status.out


def test_a_run_waits_for_another_and_outlives_a_restart_of_the_database(
    shared: Site,
    other: Locks,
    postgres_server: Server,
    before_writing: Callable[[Callable[[], object]], None],
) -> None:
    claim = shared.manifest(TALK)["video"]["digest"][:32]
    before = shared.output(TALK).stat().st_ino
    assert other.take(claim)
    freed: list[float] = []

    def free() -> None:
        assert shared.output(TALK).stat().st_ino == before
        other.free(claim)
        freed.append(time.monotonic())

    def restart() -> None:
        assert freed
        postgres_server.stop()
        threading.Timer(0.5, postgres_server.start).start()

    before_writing(restart)
    threading.Timer(3, free).start()
    with Here(shared) as here:
        ran = here.run("transcribe", shared.videos / f"{TALK}.mp4", "--force", "merge")
    assert ran.code == 0, ran.out
    assert shared.output(TALK).stat().st_ino != before
    assert Ledger(shared.environment["SPOKENBY_DATABASE"]).read() == {}
    assert not other.is_taken(claim)


@pytest.mark.parametrize("was_cut_off", [False, True])
def test_a_voice_named_while_its_first_transcript_is_written_has_the_name_there(
    shared: Site,
    before_writing: Callable[[Callable[[], object]], None],
    was_cut_off: bool,
) -> None:
    named = []

    def name_voice() -> None:
        if named:  # written again
            return
        if was_cut_off:
            end_connections(shared.environment["SPOKENBY_DATABASE"])
        named.append(shared.run("voices", "name", "1", "Ada"))

    before_writing(name_voice)
    with Here(shared) as here:
        ran = here.run("transcribe", shared.videos / f"{TALK}.mp4", "--force", "merge")
    assert ran.code == 0, ran.out
    assert named[0].returncode == 0, named[0].stdout + named[0].stderr
    assert "Ada" in {speaker.name for speaker in shared.transcript(TALK).speakers}
    assert "Ada" in (shared.output(TALK) / "transcript.txt").read_text()
