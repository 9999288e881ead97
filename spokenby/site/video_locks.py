"""Let one run at a time work on a video, over all processes and hosts of a site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from spokenby.errors import InputError, SpokenbyError
from spokenby.locks import Place, open_locks
from spokenby.types import Digest

_of_process: dict[Digest, Claims] = {}
"""Who of this process claimed a video."""


class Claims:
    """The claims of one run, a lock a video, that are free at once when its process dies.

    Those in a database are lost if the run is cut off from it for long; see `confirm_claim`.

    Args:
        place: where the locks are; the same for every run that shares results.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._locks = open_locks(place)
        self._taken: set[Digest] = set()

    def take(self, video: Digest) -> bool:
        """Claim a video and return at once whether that worked.

        Raises:
            InputError: the folder does not allow it.
            TransientError: the database cannot be reached.
        """
        with self._explaining():
            taken = self._locks.take(_name(video))
        if taken:
            self._taken.add(video)
            _of_process[video] = self
        return taken

    def free(self, video: Digest) -> None:
        """Give a claim back; one that is not held is none."""
        self._locks.free(_name(video))
        self._taken.discard(video)
        if _of_process.get(video) is self:
            del _of_process[video]

    def is_taken(self, video: Digest) -> bool:
        """Return whether any run, this one included, holds the claim on a video.

        Raises:
            SpokenbyError: likewise.
        """
        if video in self._taken:
            return True
        with self._explaining():
            return self._locks.is_taken(_name(video))

    def holds(self, video: Digest) -> bool:
        """Return whether this run still has the claim on a video.

        Raises:
            TransientError: the database that knows it cannot be reached.
        """
        return self._locks.holds(_name(video))

    def confirm(self, video: Digest) -> None:
        """Check that this run still has the claim on a video, or has taken it again.

        Raises:
            SpokenbyError: another run has it: this one was cut off from the database for long.
            TransientError: the database cannot be reached.
        """
        if not self.holds(video):
            raise SpokenbyError(
                "another run took this video over while this one was cut off from the database:"
                " nothing was written",
                "see what that run says",
            )

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"cannot lock a file in {self._place} ({error})",
                "permit it, or set SPOKENBY_CACHE_DIR to a folder on a disk that has file locks",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for video in tuple(self._taken):
            self.free(video)
        self._locks.close()


def confirm_claim(video: Digest) -> None:
    """Return if the run of this process that claimed a video may write: see `Claims.confirm`.

    What has no claim needs none, as an enrollment.
    """
    if claims := _of_process.get(video):
        claims.confirm(video)


def _name(video: Digest) -> str:
    return video[:32]
