"""Let one run at a time work on a video, over all processes of a site."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from spokenby.errors import InputError
from spokenby.types import Digest


class Claims:
    """The claims of one run: locked files, one a video, that the system frees when a process dies.

    The files stay, empty: removing one that another process waits for would split its claim in two.

    Args:
        folder: where the files are; the same for every run that shares results.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[Digest, FileLock] = {}

    def take(self, video: Digest) -> bool:
        """Claim a video and return at once whether that worked.

        Raises:
            InputError: the folder does not allow it.
        """
        # Not thread-local: whoever collects a video may free it. No soft lock where the disk has
        # no real ones: it would outlive its process.
        lock = FileLock(
            self._folder / f"{video[:32]}.lock", thread_local=False, fallback_to_soft=False
        )
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise InputError(
                f"cannot lock a file in {self._folder} ({error})",
                "permit it, or set SPOKENBY_CACHE_DIR to a folder on a disk that has file locks",
            ) from error
        self._held[video] = lock
        return True

    def free(self, video: Digest) -> None:
        """Give a claim back; one that is not held is none."""
        if lock := self._held.pop(video, None):
            lock.release()

    def is_taken(self, video: Digest) -> bool:
        """Return whether any run, this one included, holds the claim on a video."""
        if video in self._held:
            return True
        if not self.take(video):
            return True
        self.free(video)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for video in tuple(self._held):
            self.free(video)
