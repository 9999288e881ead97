"""Files appear whole or not at all, and a disk's refusal is one line."""

import errno
import os
from pathlib import Path

import pytest

from spokenby.errors import InputError, SpokenbyError, TransientError
from spokenby.files import check_room, explain, explaining, replacing


def test_a_file_replaces_another_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(UnicodeEncodeError), replacing(target) as partial:
        partial.write_text("half\ud800", encoding="utf-8")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    with replacing(target) as partial:
        partial.write_text("after")
        assert target.read_text() == "before"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["after"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line_with_a_way_out() -> None:
    with (
        pytest.raises(
            InputError,
            match=r"the disk of cache is full \(No space left on device\): "
            r"free some space, or use mine,",
        ),
        explaining(Path("cache"), "use mine"),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EDQUOT, InputError),
        (errno.EROFS, InputError),
        (errno.ENAMETOOLONG, InputError),
        (errno.EIO, TransientError),
    ],
)
def test_what_cannot_change_by_itself_is_not_tried_again(
    number: int, kind: type[SpokenbyError]
) -> None:
    assert type(explain(OSError(number, os.strerror(number)), Path("x"), "use mine")) is kind


def test_a_folder_in_use_on_windows_is_tried_again() -> None:
    error = PermissionError(errno.EACCES, "Access is denied")
    error.winerror = 32  # type: ignore[attr-defined]
    assert isinstance(explain(error, Path("x"), "use mine"), TransientError)


def test_too_little_room_is_said_beforehand(tmp_path: Path) -> None:
    check_room(tmp_path, 1, "use mine")
    with pytest.raises(InputError, match=r"is full \(1000000.0 GB needed, .* GB free\)"):
        check_room(tmp_path, 10**15, "use mine")
