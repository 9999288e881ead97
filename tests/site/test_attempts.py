from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from postgres import new_schema, place_for

from spokenby.errors import TransientError
from spokenby.site.attempts import CUT, Ledger


@pytest.fixture(params=["host", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Return where attempts are noted that nobody has noted yet."""
    return place_for(request, tmp_path / "cache" / "ledger.sqlite")


@pytest.fixture(params=["host", "server"], scope="module")
def lasting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return Ledger(place_for(request, tmp_path_factory.mktemp("lasting") / "ledger.sqlite"))


@pytest.fixture
def ledger(lasting: Ledger) -> Ledger:
    """Return an empty ledger. It is one for all tests, emptied: a database takes a while."""
    lasting.forget(*lasting.read())
    return lasting


def tried(ledger: Ledger, *ends: str) -> tuple[int, tuple[str, str]] | None:
    """Make attempts that end in some ways; return what the ledger says in the end.

    `cut N` and `N` begin with N stages stored; any other word is the cause of a failure.
    """
    for end in ends:
        word, _, stored = end.partition(" ")
        ledger.begin("key", "video", "/talk.mp4", stored=int(stored or 0))
        if word == "done":
            ledger.forget("key")
        elif word == "stop":
            ledger.stop("key")
        elif word != "cut":
            ledger.fail("key", "transcribe", word)
    row = ledger.read().get("key")
    return row and (row.attempts, row.failure)


@pytest.mark.parametrize(
    ("ends", "ended"),
    [
        ([], None),
        (["first"], (1, ("transcribe", "first"))),
        (["first", "second"], (2, ("transcribe", "second"))),
        (["first", "done"], None),
        (["first", "done", "second"], (1, ("transcribe", "second"))),
        (["cut"], (1, ("", CUT))),
        (["cut", "cut"], (2, ("", CUT))),
        (["cut 1", "cut 3"], (1, ("", CUT))),  # it got further
        (["cut 1", "cut 3", "cut 3"], (2, ("", CUT))),
        (["first 1", "second 3"], (2, ("transcribe", "second"))),
        (["stop"], (0, ("", "stopped on request"))),
        (["first", "stop"], (1, ("transcribe", "first"))),
        (["cut", "first"], (2, ("transcribe", "first"))),
    ],
)
def test_attempts_are_counted_until_one_succeeds(
    ledger: Ledger, ends: list[str], ended: tuple[int, tuple[str, str]] | None
) -> None:
    assert tried(ledger, *ends) == ended


def test_a_request_of_an_earlier_version_has_the_names_of_today(ledger: Ledger) -> None:
    params = '{"diarization": {"num_speakers": 2, "window": "2"}, "voices": {"identify": false}}'
    ledger.begin("a", "video", "/talk.mp4", request=f'{{"profile": "open", "params": {params}}}')
    assert json.loads(ledger.read()["a"].request) == {
        "profile": "open",
        "params": {
            "diarize": {"num_speakers": 2, "clustering": {"window": "2"}},
            "identify": {"enabled": False},
        },
    }


def test_an_attempt_keeps_its_request(ledger: Ledger) -> None:
    ledger.begin("a", "video a", "/old.mp4", request='{"num_speakers": 2}')
    ledger.begin("b", "video b", "/b.mp4")
    ledger.begin("a", "video a", "/new.mp4", request='{"num_speakers": 2}')
    rows = ledger.read()
    assert list(rows) == ["b", "a"]
    assert rows["a"][:4] == ("a", "video a", "/new.mp4", 2)
    assert rows["a"].request == '{"num_speakers": 2}'
    assert rows["a"].ended is None
    ledger.forget("a", "b")
    assert not ledger.read()


def test_any_file_name_and_cause_can_be_noted(ledger: Ledger) -> None:
    ledger.begin("a", "video", "/caf\xe9 \N{GREEK SMALL LETTER OMEGA}.mp4")
    ledger.fail("a", "write", 'it\'s 100 %: "so" :name')
    (row,) = ledger.read().values()
    assert row.path == "/caf\xe9 \N{GREEK SMALL LETTER OMEGA}.mp4"
    assert row.failure == ("write", 'it\'s 100 %: "so" :name')


def test_a_database_that_is_away_stops_no_run_and_is_said(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(new_schema(postgres).replace("spokenby:secret", "spokenby:hunter2"))
    ledger.begin("a", "video", "/talk.mp4")
    (line,) = caplog.messages
    assert line.startswith("an attempt is not noted: the database postgres on 127.0.0.1:")
    assert "check that the server runs" in line
    assert "hunter2" not in line
    with pytest.raises(TransientError, match="cannot be reached"):
        ledger.read()


def test_a_file_that_changed_has_not_failed(ledger: Ledger) -> None:
    for number, video in enumerate(["before", "before", "after"]):
        ledger.begin(f"{video} {number}", video, "/talk.mp4")
    assert [row.video for row in ledger.read().values()] == ["after"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_corrupt_ledger_is_started_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    assert tried(Ledger(path), "first") == (1, ("transcribe", "first"))


def test_a_ledger_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert tried(Ledger(tmp_path / "file" / "ledger.sqlite"), "first", "stop", "done") is None


def test_processes_that_open_a_new_ledger_at_once_share_it(place: Path | str) -> None:
    program = (
        "import sys; from pathlib import Path; from spokenby.site.attempts import Ledger\n"
        "from spokenby import database; database._WAIT_S = 60\n"  # a busy machine writes slowly
        "ledger = Ledger(sys.argv[1] if '://' in sys.argv[1] else Path(sys.argv[1]))\n"
        "for n in range(8):\n"
        "    ledger.begin('same', 'v', 'p'); ledger.begin(f'{sys.argv[2]} {n}', 'v', 'p')\n"
    )
    command = [sys.executable, "-c", program, str(place)]
    for process in [subprocess.Popen([*command, str(n)]) for n in range(3)]:
        assert process.wait(120) == 0
    rows = Ledger(place).read()
    assert len(rows) == 25
    assert rows["same"].attempts == 24


def test_a_ledger_of_another_version_is_started_over_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE attempts (key TEXT, tries INTEGER)")
        database.execute("INSERT INTO attempts VALUES ('key', 1)")
    ledger = Ledger(path)
    assert ledger.read() == {}
    (line,) = caplog.messages
    assert str(path) in line
    assert "another version" in line
    assert tried(ledger, "first") == (1, ("transcribe", "first"))
    assert caplog.messages == [line]
