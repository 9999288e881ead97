import hashlib
import os
import random
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spokenby import database
from spokenby.digests import DigestIndex, digest_file, digest_of, digest_tree
from spokenby.errors import InputError, StoppedError, TransientError


@pytest.fixture
def index(tmp_path: Path) -> DigestIndex:
    return DigestIndex(tmp_path / "cache" / "digests.sqlite")


def old_file(path: Path, content: bytes) -> Path:
    """Write a file that has been at rest for a while, as videos have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    return path


def hashed_bytes(path: Path, index: DigestIndex | None) -> list[float]:
    told: list[float] = []
    digest_file(path, index, told.append)
    return told


@pytest.mark.parametrize("size", [0, 1, 4 * 2**20, 4 * 2**20 + 1])
def test_a_digest_is_the_sha256_of_the_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    digest = digest_file(old_file(tmp_path / "a", content))
    assert digest == hashlib.sha256(content).hexdigest()


def test_a_renamed_file_keeps_its_digest(tmp_path: Path, index: DigestIndex) -> None:
    path = old_file(tmp_path / "a.mp4", b"content")
    before = digest_file(path, index)
    renamed = path.rename(tmp_path / "b ü.mp4")
    assert digest_file(renamed, index) == before


def test_an_unchanged_file_is_read_once(tmp_path: Path, index: DigestIndex) -> None:
    path = old_file(tmp_path / "a", b"x" * 10)
    assert hashed_bytes(path, index) == [1.0]
    assert hashed_bytes(path, index) == []
    assert digest_file(path, index) == digest_file(path)


@pytest.mark.parametrize("content", [b"other", b"a longer one"])
def test_a_changed_file_is_read_again(tmp_path: Path, index: DigestIndex, content: bytes) -> None:
    path = old_file(tmp_path / "a", b"first")
    digest_file(path, index)
    path.write_bytes(content)
    assert digest_file(path, index) == hashlib.sha256(content).hexdigest()


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path, index: DigestIndex) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    assert hashed_bytes(path, index) == hashed_bytes(path, index) == [1.0]


@pytest.mark.parametrize("rubbish", [b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_index_starts_over(tmp_path: Path, index: DigestIndex, rubbish: bytes) -> None:
    old_file(index.path, rubbish)
    path = old_file(tmp_path / "a", b"x")
    assert hashed_bytes(path, index) == [1.0]
    assert hashed_bytes(path, index) == []


def test_a_flipped_bit_never_gives_a_wrong_digest(tmp_path: Path, index: DigestIndex) -> None:
    stats = {}
    for number in range(20):
        path = old_file(tmp_path / f"{number}", b"x" * number)
        stats[path] = path.stat()
    right = {path: digest_file(path, index) for path in stats}
    whole, lost = index.path.read_bytes(), 0
    bits = random.Random(0)
    for _ in range(400):
        flipped, bit = bytearray(whole), bits.randrange(8 * len(whole))
        flipped[bit // 8] ^= 1 << bit % 8
        index.path.write_bytes(flipped)
        found = index.recall_all(stats)
        lost += found != right
        assert found.items() <= right.items()
    assert lost > 20


def test_a_damaged_row_is_said_and_read_again(
    tmp_path: Path, index: DigestIndex, caplog: pytest.LogCaptureFixture
) -> None:
    path = old_file(tmp_path / "a", b"x")
    right = digest_file(path, index)
    index.path.write_bytes(index.path.read_bytes().replace(right.encode(), b"0" * 64))
    assert digest_file(path, index) == right
    assert "is damaged" in caplog.text
    assert hashed_bytes(path, index) == []


def test_an_index_that_cannot_be_opened_is_done_without(tmp_path: Path) -> None:
    old_file(tmp_path / "file", b"")
    path = old_file(tmp_path / "a", b"x")
    for place in (tmp_path, tmp_path / "file" / "index"):  # a folder; below a file
        assert hashed_bytes(path, DigestIndex(place)) == [1.0]


def test_a_locked_index_is_done_without(
    tmp_path: Path, index: DigestIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old_file(tmp_path / "a", b"x")
    digest_file(path, index)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.1))
    other = connect(index.path)
    other.execute("BEGIN EXCLUSIVE")
    assert hashed_bytes(path, index) == [1.0]
    other.close()
    assert hashed_bytes(path, index) == []


def test_threads_and_processes_share_an_index(
    tmp_path: Path, index: DigestIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_S", 60)  # a busy machine writes slowly
    paths = [old_file(tmp_path / f"{n}", b"x" * n) for n in range(20)]
    program = (
        "import sys; from pathlib import Path; from spokenby.digests import *\n"
        "from spokenby import database; database._WAIT_S = 60\n"
        "for path in sys.argv[2:]: print(digest_file(Path(path), DigestIndex(Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", program, str(index.path), *map(str, paths)]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        ours = list(pool.map(lambda path: digest_file(path, index), paths))
    assert [other.communicate()[0].split() for other in others] == [ours, ours]
    assert all(hashed_bytes(path, index) == [] for path in paths)


def test_a_file_being_written_is_refused_for_now(tmp_path: Path) -> None:
    path = old_file(tmp_path / "a", b"x")

    def write_more(fraction: float) -> None:
        if path.stat().st_size == 1:
            path.write_bytes(b"xy")

    with pytest.raises(TransientError, match="changed while it was read"):
        digest_file(path, None, write_more)


def test_digesting_can_be_stopped(tmp_path: Path, index: DigestIndex) -> None:
    path = old_file(tmp_path / "a", b"x")

    def stop(fraction: float) -> None:
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        digest_file(path, index, stop)
    assert hashed_bytes(path, index) == [1.0]


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone does not exist"):
        digest_file(tmp_path / "gone")


def test_digest_of_is_of_values_not_of_order_or_types() -> None:
    assert digest_of("a", {"x": 1, "y": (2, 3)}) == digest_of("a", {"y": [2, 3], "x": 1})
    assert digest_of("ab") != digest_of("a", "b")
    assert digest_of(1) != digest_of("1")
    # Written down: a change of this value discards every cache there is.
    written = b'["speech",1,{"onset":0.5}]'
    assert digest_of("speech", 1, {"onset": 0.5}) == hashlib.sha256(written).hexdigest()
    with pytest.raises(ValueError, match="JSON"):
        digest_of(float("nan"))


def test_digest_tree_is_of_relative_names_and_contents(tmp_path: Path) -> None:
    for top in ("one", "two"):
        old_file(tmp_path / top / "model.bin", b"weights")
        old_file(tmp_path / top / "sub" / "config.yaml", b"config")
    old_file(tmp_path / "two" / ".cache" / "when", b"2024")
    old_file(tmp_path / "two" / "__pycache__" / "x.pyc", b"code")
    one = digest_tree(tmp_path / "one")
    assert digest_tree(tmp_path / "two") == one
    (tmp_path / "two" / "model.bin").rename(tmp_path / "two" / "model2.bin")
    assert digest_tree(tmp_path / "two") != one
    assert digest_tree(tmp_path / "one" / "model.bin") == digest_file(
        tmp_path / "one" / "model.bin"
    )


@pytest.mark.parametrize(("name", "line"), [("gone", "does not exist"), ("empty", "empty folder")])
def test_digest_tree_of_nothing_is_an_input_error(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=line):
        digest_tree(tmp_path / name)
