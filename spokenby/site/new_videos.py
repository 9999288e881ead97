"""Which videos of some folders a sweep transcribes now, and why it leaves the others out."""

from collections.abc import Collection, Mapping, Sequence
from os import stat_result
from pathlib import Path
from time import sleep, time
from typing import NamedTuple

from spokenby.errors import TransientError
from spokenby.site.find_videos import look_for_videos
from spokenby.site.inventory import Inventory, State, VideoStatus, bad_path
from spokenby.site.remote_videos import address_of, learn_digests
from spokenby.site.track_folders import digest_recording, newest_stat
from spokenby.types import Digest


class Choice(NamedTuple):
    """What a sweep leaves out; see `sweep_folder`."""

    stable_s: float = 60.0
    limit: int | None = None
    newest_first: bool = False
    max_attempts: int = 3
    queued: Collection[str] = ()
    """Videos that a run which has not begun will do."""


def survey(folders: Sequence[str], inventory: Inventory, choice: Choice) -> list[VideoStatus]:
    """Decide what is to be done about each video below some folders.

    Reads whole files only to name those that are new, and no more of them than the limit lets
    through.

    Args:
        folders: the site's folder of videos if empty.
        inventory: of the params in question.
        choice: what to leave out.
    """
    found, problems = look_for_videos(
        folders or [inventory.batch.settings.videos], inventory.left_out
    )
    files = _stats(found)
    order = sorted(files, key=lambda path: files[path].st_mtime_ns, reverse=choice.newest_first)
    learn_digests(files, inventory.index)
    known = inventory.index.recall_all(files)
    ready = 0

    def is_full() -> bool:
        return choice.limit is not None and ready >= choice.limit

    def read(path: Path) -> Digest | VideoStatus:
        age = time() - files[path].st_mtime
        if 0 <= age < choice.stable_s:
            return _skipped(path, f"still being written: changed {age:.0f} s ago")
        if path not in known and is_full():
            return _later(address_of(path), choice)
        try:
            return known.get(path) or digest_recording(path, inventory.index)
        except TransientError:
            return _skipped(path, "still being written: it changed while it was read")

    statuses = [bad_path(problem) for problem in problems]
    for status in inventory.look_at(order, read):
        chosen = _choose(status, choice)
        if chosen.state is State.READY and is_full():
            chosen = _later(status.path, choice)
        ready += chosen.state is State.READY
        statuses.append(chosen)
    # The time of change tells nothing if it is still to come: the clock of a camera or a share.
    now = time()
    ahead = [
        path
        for path in (Path(status.path) for status in statuses if status.state is State.READY)
        if files[path].st_mtime > now
    ]
    return _watch(statuses, {path: files[path] for path in ahead}, choice.stable_s)


def _choose(status: VideoStatus, choice: Choice) -> VideoStatus:
    """Return what a sweep does about a video: transcribe it (ready), or leave it out and why."""
    match status.state:
        case State.DONE:
            return status._replace(state=State.SKIPPED, cause="unchanged")
        case State.RUNNING:
            return status._replace(state=State.SKIPPED)
        case _ if not status.digest:  # not read, or unreadable
            return status
        case _ if status.attempts >= choice.max_attempts:
            return status._replace(state=State.GIVEN_UP)
        case _ if status.path in choice.queued:
            cause = "in a run that has not come to it yet"
            return VideoStatus(status.path, State.WAITING, status.digest, cause=cause)
        case _:
            return status._replace(state=State.READY)


def _skipped(path: Path, cause: str) -> VideoStatus:
    return VideoStatus(address_of(path), State.SKIPPED, cause=cause)


def _later(path: str, choice: Choice) -> VideoStatus:
    cause = f"for a later sweep: this one takes {choice.limit}"
    return VideoStatus(path, State.WAITING, cause=cause)


def _stats(paths: Collection[Path]) -> dict[Path, stat_result]:
    stats = {}
    for path in paths:
        try:
            stats[path] = newest_stat(path)
        except OSError:  # gone since it was found
            continue
    return stats


def _watch(
    statuses: list[VideoStatus], before: Mapping[Path, stat_result], seconds: float
) -> list[VideoStatus]:
    """Take those files out that change within some seconds."""
    if not before:
        return statuses
    sleep(seconds)
    after = _stats(before.keys())
    changed = {
        path
        for path, old in before.items()
        if (new := after.get(path)) is None
        or (new.st_size, new.st_mtime_ns) != (old.st_size, old.st_mtime_ns)
    }
    return [
        _skipped(path, "still being written: it changed meanwhile")
        if (path := Path(status.path)) in changed
        else status
        for status in statuses
    ]
