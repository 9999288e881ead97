"""Folders appear whole or not at all, and nothing that a person edited is lost."""

import errno
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from spokenby.errors import InputError, TransientError
from spokenby.output import folders

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("video", "folder"),
    [
        ("talk", "talk"),
        ("Team meeting 3", "Team meeting 3"),
        ('a<b>c:d"e/f\\g|h?i*j', "a_b_c_d_e_f_g_h_i_j"),
        ("line\nbreak\ttab\x00nul\x7f", "line_break_tab_nul_"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("--rf", "rf"),
        (". .hidden", "hidden"),
        ("trailing. . ", "trailing"),
        ("", "video"),
        (" ..-", "video"),
        ("CON", "_CON"),
        ("nul.part 1", "_nul.part 1"),
        ("com1", "_com1"),
        ("Concert", "Concert"),
        ("🎙️ Podcast 👩‍👩‍👧", "🎙️ Podcast 👩‍👩‍👧"),
        ("שלום", "שלום"),
        ("ol\udce9", "ol_"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("u\u0308ber", "über"),
        ("x" * 400, "x" * 150),
        ("é" * 100, "é" * 75),
        ("a" + "é" * 100, "a" + "é" * 74),
        ("🎙" * 50, "🎙" * 37),
        ("x" * 149 + " y", "x" * 149),
    ],
)
def test_folder_names_are_safe_everywhere(video, folder):
    name = folders.folder_name(video, "0123456789abcdef")
    assert name == f"{folder}-01234567"
    assert len(name.encode()) <= 160


def manifested(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "manifest.json": json.dumps({"files": folders.file_entries(files)}).encode()}


OLD = manifested({"a.txt": b"old", "b.txt": b"old too"})
NEW = manifested({"a.txt": b"new", "c.txt": "neü\n".encode()})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "transcripts" / "talk [1]-01234567"


def test_file_entries_are_digests_and_sizes():
    assert folders.file_entries({"a": b"abc"}) == {
        "a": {"sha256": sha256(b"abc").hexdigest(), "bytes": 3}
    }


def test_a_folder_is_written_and_replaced_whole(folder):
    assert folders.write_folder(folder, OLD) is None
    assert content(folder) == OLD
    assert folders.write_folder(folder, NEW) is None
    assert content(folder) == NEW
    assert list(folder.parent.iterdir()) == [folder]


def test_an_empty_folder_is_replaced(folder):
    folder.mkdir(parents=True)
    assert folders.write_folder(folder, NEW) is None
    assert content(folder) == NEW


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda f: (f / "a.txt").write_bytes(b"mine"), id="changed"),
        pytest.param(lambda f: (f / "notes.txt").write_bytes(b"mine"), id="added"),
        pytest.param(lambda f: (f / "sub").mkdir(), id="folder added"),
        pytest.param(lambda f: (f / "manifest.json").unlink(), id="manifest gone"),
        pytest.param(lambda f: (f / "manifest.json").write_bytes(b"{"), id="manifest broken"),
        pytest.param(lambda f: (f / "manifest.json").write_bytes(b'{"files": 1}'), id="odd"),
        pytest.param(lambda f: (f / "manifest.json").write_bytes(b"[]"), id="manifest a list"),
    ],
)
def test_an_edited_folder_is_kept_beside(folder, edit):
    for number in (1, 2, 3):
        folders.write_folder(folder, OLD)
        edit(folder)
        edited = sorted(path.name for path in folder.iterdir())
        kept = folders.write_folder(folder, NEW)
        assert kept == folder.with_name(f"{folder.name}.edited-{number}")
        assert sorted(path.name for path in kept.iterdir()) == edited
        assert content(folder) == NEW
    assert len(list(folder.parent.iterdir())) == 4


@pytest.mark.parametrize(
    "touch",
    [
        lambda f: (f / "a.txt").unlink(),
        lambda f: (f / ".DS_Store").write_bytes(b"x"),
        lambda f: (f / "Thumbs.db").write_bytes(b"x"),
        lambda f: os.utime(f / "a.txt", (1, 1)),
    ],
)
def test_what_loses_nothing_is_no_edit(folder, touch):
    folders.write_folder(folder, OLD)
    touch(folder)
    assert folders.write_folder(folder, NEW) is None
    assert content(folder) == NEW


def test_a_link_to_a_folder_stays_and_leads_to_what_is_new(folder, tmp_path):
    elsewhere = tmp_path / "other disk" / "moved"
    folders.write_folder(elsewhere, OLD)
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(elsewhere)
    assert folders.write_folder(folder, NEW) is None
    assert folder.is_symlink()
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == NEW
    assert list(folder.parent.iterdir()) == [folder]
    assert list(elsewhere.parent.iterdir()) == [elsewhere]


def test_a_folder_that_holds_no_locks_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"file cannot be written .* SPOKENBY_CACHE_DIR"),
        folders.one_writer(tmp_path / "file", tmp_path / "out"),
    ):
        pass


def test_a_file_in_the_way_stays(folder):
    folder.parent.mkdir()
    folder.write_bytes(b"precious")
    with pytest.raises(InputError, match="cannot be written"):
        folders.write_folder(folder, NEW)
    assert folder.read_bytes() == b"precious"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, InputError, "is full"),
        (errno.EDQUOT, InputError, "is full"),
        (errno.EACCES, InputError, "check the folder and its perm"),
        (errno.EROFS, InputError, "check the folder and its perm"),
        (errno.EIO, TransientError, "cannot be written"),
        (errno.ENOENT, TransientError, "cannot be written"),
    ],
)
@pytest.mark.parametrize(
    ("before", "call", "fails_at"),
    [
        (None, "fsync", 1),
        (None, "fsync", 3),
        (None, "rename", 1),
        (OLD, "fsync", 1),
        (OLD, "fsync", 3),
        (OLD, "rename", 1),
        (OLD, "rename", 2),
    ],
)
def test_a_disk_that_refuses_leaves_everything_as_it_was(
    folder, monkeypatch, number, kind, words, before, call, fails_at
):
    """No small full or failing disk can be had in a test: the system call is made to fail."""
    if before:
        folders.write_folder(folder, before)
    place, name = (os, "fsync") if call == "fsync" else (Path, "rename")
    real, calls = getattr(place, name), []

    def fail(*args):
        calls.append(args)
        if len(calls) == fails_at:
            raise OSError(number, os.strerror(number))
        return real(*args)

    monkeypatch.setattr(place, name, fail)
    with pytest.raises(kind, match=words) as caught:
        folders.write_folder(folder, NEW)
    assert str(folder) in str(caught.value)
    if before:
        assert content(folder) == before
    assert list(folder.parent.iterdir()) == ([folder] if before else [])


def test_a_stop_by_the_user_leaves_everything_as_it_was(folder, monkeypatch):
    folders.write_folder(folder, OLD)

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        folders.write_folder(folder, NEW)
    assert content(folder) == OLD
    assert list(folder.parent.iterdir()) == [folder]


KILLED = """
import os, pathlib, sys
from spokenby.output import folders
place, name, at, folder = sys.argv[1:]
owner = {"os": os, "path": pathlib.Path}[place]
real, calls = getattr(owner, name), []
def kill(*args):
    calls.append(1)
    if len(calls) == int(at):
        os._exit(9)
    return real(*args)
setattr(owner, name, kill)
folders.write_folder(pathlib.Path(folder), {"a.txt": b"1", "b.txt": b"2", "manifest.json": b"{}"})
"""


@pytest.mark.parametrize(
    ("place", "name", "at", "after"),
    [
        ("os", "fsync", 1, OLD),
        ("os", "fsync", 3, OLD),
        ("path", "rename", 1, OLD),
        ("path", "rename", 2, None),  # between old out and new in
    ],
)
def test_what_a_killed_run_left_is_removed_by_the_next_write(folder, place, name, at, after):
    folders.write_folder(folder, OLD)
    other = folder.with_name("other-01234567")
    folders.write_folder(other, OLD)
    command = [sys.executable, "-c", KILLED, place, name, str(at), str(folder)]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 9
    assert (content(folder) if folder.exists() else None) == after
    assert len(list(folder.parent.iterdir())) >= 3  # there are leftovers
    assert folders.write_folder(folder, NEW) is None
    assert content(folder) == NEW
    assert sorted(folder.parent.iterdir()) == sorted([folder, other])


def test_a_run_whose_unfinished_folder_was_taken_away_publishes_nothing(folder, monkeypatch):
    real = os.fsync

    def another_run_comes(descriptor):
        monkeypatch.setattr(os, "fsync", real)
        folders.write_folder(folder, OLD)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", another_run_comes)
    with pytest.raises(TransientError):
        folders.write_folder(folder, NEW)
    assert content(folder) == OLD
    assert list(folder.parent.iterdir()) == [folder]


def test_a_place_that_cannot_be_written_is_found_beforehand(tmp_path):
    folders.check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(InputError, match=r"file.* cannot be written .*another output folder"):
            folders.check_writable(place)


@pytest.mark.skipif(sys.platform != "linux", reason="root may write elsewhere")
def test_a_place_that_nobody_may_write_is_found_beforehand():
    with pytest.raises((InputError, TransientError), match=r"/proc/.* cannot be written"):
        folders.check_writable(Path("/proc/self/transcripts"))
