from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from spokenby.errors import InputError
from spokenby.settings import Settings
from spokenby.site.shares import check_library, share_of, shared_locks
from spokenby.site.voice_library import open_library


class Mount(NamedTuple):
    mountpoint: str
    fstype: str
    opts: str = "rw"


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Mount]:
    """What is mounted: no test can mount a share of another machine."""
    table = [Mount("/", "ext4"), Mount(str(tmp_path / "share"), "ext4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: table)  # noqa: A006 - as it is called
    return table


def test_this_disk_is_no_share(tmp_path: Path) -> None:
    assert share_of(tmp_path) == ""
    assert share_of(tmp_path / "not yet" / "there") == ""


@pytest.mark.parametrize(
    ("fstype", "opts", "kind"),
    [
        ("nfs4", "rw", "nfs4"),
        ("cifs", "rw", "cifs"),
        ("fuse.sshfs", "rw", "sshfs"),
        ("NTFS", "rw,remote", "ntfs"),
        ("fuse.mergerfs", "rw", ""),
        ("fuseblk", "rw", ""),
        ("xfs", "rw", ""),
    ],
)
def test_a_share_is_known_by_its_kind(
    tmp_path: Path, mounts: list[Mount], fstype: str, opts: str, kind: str
) -> None:
    mounts.append(Mount(str(tmp_path / "share"), fstype, opts))  # over the one that was there
    assert share_of(tmp_path / "share" / "data") == kind
    assert share_of(tmp_path / "share") == kind
    assert share_of(tmp_path / "shared") == ""
    (tmp_path / "link").symlink_to(tmp_path / "share")
    assert share_of(tmp_path / "link" / "data") == kind


def test_a_disk_mounted_in_a_share_is_none(tmp_path: Path, mounts: list[Mount]) -> None:
    mounts.insert(0, Mount(str(tmp_path / "share" / "disk"), "ext4"))
    mounts.append(Mount(str(tmp_path / "share"), "nfs4"))
    assert share_of(tmp_path / "share" / "disk" / "data") == ""


def test_a_library_on_a_share_is_refused_and_locks_are_said(
    tmp_path: Path, mounts: list[Mount]
) -> None:
    settings = Settings(data_dir=tmp_path / "share")
    assert shared_locks(settings) == ""
    check_library(settings)
    mounts.append(Mount(str(tmp_path / "share"), "nfs4"))
    assert "is on a network share (nfs4)" in shared_locks(settings)
    with pytest.raises(InputError, match=r"voice library .* network share .* SPOKENBY_DATABASE"):
        open_library(settings)
    assert not (tmp_path / "share").exists()
    check_library(Settings(data_dir=tmp_path / "share", database="postgresql://host/voices"))
    check_library(Settings(data_dir=tmp_path / "share", database=f"sqlite:///{tmp_path}/x"))
