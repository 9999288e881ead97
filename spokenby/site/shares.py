"""Find out whether a folder is on a network share, where locks and SQLite may not hold."""

from pathlib import Path

import psutil

from spokenby.errors import InputError
from spokenby.settings import Settings

_SHARES = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "gluster",
           "davfs", "sshfs", "s3fs", "gcsfuse", "rclone", "goofys")  # fmt: skip


def share_of(path: Path) -> str:
    """Return the kind of network share that a path is on, such as `nfs4`; empty if on none."""
    real = path.resolve()
    under = [
        mount for mount in psutil.disk_partitions(all=True) if real.is_relative_to(mount.mountpoint)
    ]
    # The longest holds; of two at one place, the later covers the earlier.
    holds = max(reversed(under), key=lambda mount: len(mount.mountpoint), default=None)
    if holds is None:
        return ""
    kind = holds.fstype.lower().removeprefix("fuse.")
    remote = kind.startswith(_SHARES) or "remote" in holds.opts.split(",")  # as Windows tells
    return (kind or "network drive") if remote else ""


def check_library(settings: Settings) -> None:
    """Return if the voice library can be where it is.

    Raises:
        InputError: it is an SQLite file on a share. Its hosts would not see each other's changes
            and locks, and what it holds cannot be computed again.
    """
    if settings.on_server:
        return
    path = Path(settings.voices.removeprefix("sqlite:///"))
    if kind := share_of(path):
        raise InputError(
            f"the voice library {path} is on a network share ({kind}), where SQLite can lose data",
            "set SPOKENBY_DATABASE to a file on a disk of this machine (sqlite:////…), or for"
            " several machines to a PostgreSQL database",
        )


def shared_locks(settings: Settings) -> str:
    """Say in one line that the locks of this site are on a share; empty if they are not."""
    if isinstance(settings.claims, Path) and (kind := share_of(settings.claims)):
        return (
            f"{settings.cache} is on a network share ({kind}), whose locks may not reach other"
            " machines: let one machine at a time work on it, or set SPOKENBY_DATABASE to a"
            " PostgreSQL database, or SPOKENBY_CACHE_DIR to a disk of this machine"
        )
    return ""
