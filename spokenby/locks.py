"""Lock names over all processes of a site: files on one host, in a database over several."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

Place = Path | str
"""Where locks are: a folder of files, or the address of a PostgreSQL database."""


class Locks(Protocol):
    """The locks of one holder. They are free at once when its process dies."""

    def take(self, name: str) -> bool:
        """Lock a name and return at once whether that worked; not if this holder has it already."""

    def free(self, name: str) -> None:
        """Give a lock back; one that is not held is none."""

    def is_taken(self, name: str) -> bool:
        """Return whether any holder, this one included, has the lock."""

    def holds(self, name: str) -> bool:
        """Return whether this holder still has the lock."""

    def close(self) -> None:
        """Give all locks back."""


def open_locks(place: Place) -> Locks:
    """Return a new holder of locks at a place."""
    if isinstance(place, Path):
        return FileLocks(place)
    from spokenby.advisory_locks import (
        AdvisoryLocks,
    )  # it takes a moment, and most sites lock files

    return AdvisoryLocks(place)


class FileLocks:
    """Locked files, which the system frees when a process dies.

    The files stay, empty: removing one that another process waits for would split its lock in two.
    Methods raise OSError if the folder does not allow it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def take(self, name: str) -> bool:
        """Lock a file."""
        # Not thread-local: whoever collects a video may free it. No soft lock where the disk has
        # no real ones: it would outlive its process.
        lock = FileLock(self._folder / f"{name}.lock", thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._held[name] = lock
        return True

    def free(self, name: str) -> None:
        """Unlock a file."""
        if lock := self._held.pop(name, None):
            lock.release()

    def is_taken(self, name: str) -> bool:
        """Return whether a file is locked, by trying."""
        if name in self._held:
            return True
        if not self.take(name):
            return True
        self.free(name)
        return False

    def holds(self, name: str) -> bool:
        """Return whether this holder has locked a file: no one else can undo that."""
        return name in self._held

    def close(self) -> None:
        """Unlock all files."""
        for name in tuple(self._held):
            self.free(name)
