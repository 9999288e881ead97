"""Which videos of some folders are to be transcribed now lives here. No server is asked.

How far a video is does not; see spokenby/site/inventory.py. Transcribing: flows/sweep_folder.py.
"""

from collections.abc import Collection, Mapping, Sequence
from os import stat_result
from pathlib import Path
from time import sleep, time
from typing import NamedTuple

from spokenby.digests import DigestIndex, digest_file
from spokenby.errors import SpokenbyError, TransientError
from spokenby.site.attempts import Ledger
from spokenby.site.batch import Batch
from spokenby.site.find_videos import look_for_videos
from spokenby.site.inventory import Row, described, standing_of
from spokenby.site.video_locks import Claims
from spokenby.types import Digest


class Choice(NamedTuple):
    """What a sweep leaves out; see `sweep_folder`."""

    stable_s: float = 60.0
    limit: int | None = None
    newest_first: bool = False
    max_attempts: int = 3
    queued: Collection[str] = ()
    """Videos that a run which has not begun will do."""


def survey(folders: Sequence[str], batch: Batch, choice: Choice) -> list[Row]:
    """Decide what is to be done about each video below some folders.

    Reads whole files only to name those that are new, and no more of them than the limit lets
    through.

    Args:
        folders: the site's folder of videos if empty.
        batch: the params in question, and the site.
        choice: what to leave out.
    """
    found, problems = look_for_videos(folders or [batch.settings.videos])
    files = _stats(found)
    order = sorted(files, key=lambda path: files[path].st_mtime_ns, reverse=choice.newest_first)
    judge = _Judge(batch, choice, files)
    rows = [Row("", "failed", str(problem)) for problem in problems]
    rows += [judge.look_at(path) for path in order]
    # The time of change tells nothing if it is still to come: the clock of a camera or a share.
    now = time()
    ahead = {
        row.path for row in rows if row.state == "ready" and files[Path(row.path)].st_mtime > now
    }
    return _watch(rows, {Path(path): files[Path(path)] for path in ahead}, choice.stable_s)


class _Judge:
    """Decide on one video after the other."""

    def __init__(self, batch: Batch, choice: Choice, files: Mapping[Path, stat_result]) -> None:
        self._batch = batch
        self._choice = choice
        self._files = files
        self._index = DigestIndex(batch.settings.digest_index)
        self._known = self._index.recall_all(files)
        self._tried = Ledger(batch.settings.ledger).read()
        self._claims = Claims(batch.settings.claims)
        self._ready = 0

    def look_at(self, path: Path) -> Row:
        name, choice = str(path), self._choice
        age = time() - self._files[path].st_mtime
        if 0 <= age < choice.stable_s:
            return Row(name, "skipped", f"still being written: changed {age:.0f} s ago")
        full = choice.limit is not None and self._ready >= choice.limit
        later = Row(name, "waiting", f"for a later sweep: this one takes {choice.limit}")
        if full and path not in self._known:
            return later
        try:
            video = self._known.get(path) or digest_file(path, self._index)
        except TransientError:
            return Row(name, "skipped", "still being written: it changed while it was read")
        except SpokenbyError as error:
            return Row(name, "failed", str(error))
        row = self._by_standing(name, video)
        if row.state == "ready":
            if full:
                return later
            self._ready += 1
        return row

    def _by_standing(self, name: str, video: Digest) -> Row:
        standing = standing_of(name, video, self._batch, self._tried, self._claims)
        note = described(standing)
        if standing.state == "done":
            return Row(name, "skipped", "unchanged", video)
        if standing.state == "running":
            return Row(name, "skipped", note, video)
        if standing.attempts >= self._choice.max_attempts:
            return Row(name, "given up", note, video)
        if name in self._choice.queued:
            return Row(name, "waiting", "for a run that has not begun", video)
        return Row(name, "ready", note, video, standing.attempts)


def _stats(paths: Collection[Path]) -> dict[Path, stat_result]:
    stats = {}
    for path in paths:
        try:
            stats[path] = path.stat()
        except OSError:  # gone since it was found
            continue
    return stats


def _watch(rows: list[Row], before: Mapping[Path, stat_result], seconds: float) -> list[Row]:
    """Take those files out that change within some seconds."""
    if not before:
        return rows
    sleep(seconds)
    after = _stats(before.keys())
    changed = {
        str(path)
        for path, old in before.items()
        if (new := after.get(path)) is None
        or (new.st_size, new.st_mtime_ns) != (old.st_size, old.st_mtime_ns)
    }
    return [
        Row(row.path, "skipped", "still being written: it changed meanwhile")
        if row.path in changed
        else row
        for row in rows
    ]
