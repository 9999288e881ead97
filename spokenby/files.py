"""Write files whole or not at all, and say what went wrong with a disk."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spokenby.errors import InputError, SpokenbyError, TransientError


@contextmanager
def replacing(target: Path, *, or_keep: bool = False) -> Iterator[Path]:
    """Yield the path of a file to write beside the target, whose place it takes in the end.

    On an error it vanishes, and the target is as it was.

    Args:
        target: in a folder that exists.
        or_keep: leave a target that cannot be replaced: Windows refuses while somebody maps it.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        try:
            partial.replace(target)
        except PermissionError:
            if not (or_keep and target.exists()):
                raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def explaining(folder: Path, elsewhere: str) -> Iterator[None]:
    """Turn what a folder's disk raises into `explain`."""
    try:
        yield
    except OSError as error:
        raise explain(error, folder, elsewhere) from error


def explain(error: OSError, folder: Path, elsewhere: str) -> SpokenbyError:
    """Say in one line why a folder cannot be written.

    Args:
        error: as raised.
        folder: what was being written.
        elsewhere: how to use another folder, an imperative clause.
    """
    reason = error.strerror or str(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return _full(folder, reason, elsewhere)
        # On Windows, a folder with an open file in it refuses to be renamed: error 5, 32 or 33.
        case errno.EACCES | errno.EPERM if getattr(error, "winerror", None) in {5, 32, 33}:
            return TransientError(
                f"{folder} is in use or protected", "close the programs that show its files"
            )
        case (
            errno.EACCES
            | errno.EPERM
            | errno.EROFS
            | errno.ENOTDIR
            | errno.EEXIST
            | errno.ENAMETOOLONG
            | errno.EINVAL
        ):
            return InputError(
                f"{folder} cannot be written ({reason})",
                f"check the folder and its permissions, or {elsewhere}",
            )
    return TransientError(
        f"{folder} cannot be written ({reason})",
        "check that its disk can be reached, then run again",
    )


def check_room(folder: Path, needed: int, elsewhere: str) -> None:
    """Raise `InputError` if the disk of a folder has less than so many bytes left."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise _full(folder, f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free", elsewhere)


def _full(folder: Path, reason: str, elsewhere: str) -> InputError:
    return InputError(
        f"the disk of {folder} is full ({reason})",
        f"free some space, or {elsewhere}, and run again: finished work is kept",
    )
