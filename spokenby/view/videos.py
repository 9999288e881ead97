"""What the pages show of a site: its videos, how far each is, and their transcripts."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.digests import DigestIndex
from spokenby.errors import InputError, SpokenbyError, TransientError
from spokenby.output import manifest, published
from spokenby.output.folders import MANIFEST
from spokenby.settings import Settings
from spokenby.site.batch import prepare_batch
from spokenby.site.exports import find_transcripts
from spokenby.site.find_videos import VIDEO_SUFFIXES
from spokenby.site.inventory import Inventory, State, VideoStatus, list_site
from spokenby.site.voice_library import folder_at, open_library
from spokenby.types import Digest, Seconds
from spokenby.view.address import folder_id

FRESH_S: Seconds = 3.0
"""A look at the site is as good as a new one for so long."""

_LOG = logging.getLogger("spokenby")

PATIENCE_S: Seconds = 2.0
"""How long a page waits for a look: reading a new video takes longer."""

OTHER_SETTINGS = "made with other settings"

Again = Callable[[VideoStatus, str], str]
"""Takes a status and the request of its last attempt, as JSON; returns the address of a form that
runs it again, empty if there is none."""


class Person(NamedTuple):
    """Who speaks in a video."""

    name: str
    known: bool


class Row(NamedTuple):
    """A video, as the index lists it."""

    title: str
    status: VideoStatus
    id: str = ""
    """Of the transcript's folder; empty without a transcript."""
    day: str = ""
    """As 2026-03-05: when it was recorded, else when it was transcribed."""
    recorded: bool = False
    duration: Seconds = 0.0
    people: tuple[Person, ...] = ()
    speakers: int = 0
    warnings: tuple[str, ...] = ()
    corrected: Mapping[str, float] | None = None
    """How many corrections were `applied` and are `unfit`; share of the words `checked`."""
    picture: bool = False
    """The video is there, and has one by its name."""
    again: str = ""


class Looked(NamedTuple):
    """What was seen of the site."""

    rows: list[Row]
    problems: tuple[str, ...]
    """What could not be looked at, and why."""
    unfinished: bool
    """Videos are still being read: there may be more."""


class Videos:
    """The videos of a site and their transcripts, or those below some paths.

    Args:
        paths: videos, folders of videos, folders of transcripts; the site's if empty.
        settings: the site.
        again: makes addresses of forms.

    Raises:
        InputError: a path leads nowhere.
    """

    def __init__(
        self, paths: Sequence[str], settings: Settings, again: Again = lambda _status, _request: ""
    ) -> None:
        self._settings = settings
        self._again = again
        self._index = DigestIndex(settings.digest_index)
        self._folders: dict[str, Path] = {}
        self._brought: dict[Path, float] = {}
        self._named: list[Path] = []
        self._paths: list[str] = []
        for path in paths:
            found = _transcripts_in(path, settings)
            self._named += found
            if not found:
                self._paths.append(path)
        self._all = not paths
        self._look = _Look(self._paths, settings, wanted=self._all or bool(self._paths))
        self._about: dict[Path, tuple[object, dict[str, Any] | None]] = {}

    def look(self) -> Looked:
        """Return what there is: of an unfinished look, what it has seen so far."""
        statuses, requests, problem, unfinished = self._look.wait()
        problems = [problem] if problem else []
        others = list(self._named)
        places: dict[Digest, Path] = {}
        try:
            places, listed = self._transcripts()
            others += listed if self._all else []
        except SpokenbyError as error:
            problems.append(str(error))
        rows, shown = [], set()
        for status in statuses:
            folder = Path(status.folder) if status.folder else places.get(status.digest)
            if folder and not status.folder and status.state is State.WAITING:
                status = status._replace(  # noqa: PLW2901
                    state=State.DONE, cause=OTHER_SETTINGS, folder=str(folder)
                )
            if folder:
                shown.add(folder.absolute())
            rows.append(self._row(status, folder, requests.get(status.digest, "{}")))
        for other in dict.fromkeys(path.absolute() for path in others):
            about = self.about(other)
            if about and other not in shown:
                video = about["video"]
                status = VideoStatus(video["name"], State.DONE, video["digest"], folder=str(other))
                rows.append(self._row(status, other, "{}"))
        rows.sort(key=lambda row: _ORDER[row.status.state])
        return Looked(rows, tuple(problems), unfinished)

    def folder(self, id_: str) -> Path | None:
        """Return the folder of an id, if the site has a transcript there."""
        if id_ not in self._folders:
            self._transcripts()
            for folder in self._named:
                self.about(folder)
        if id_ not in self._folders:
            self.look()  # a transcript that the library lacks
        found = self._folders.get(id_)
        if not (found and self.about(found)):
            return None
        self._bring(found)
        return found

    def _bring(self, folder: Path) -> None:
        """Have a transcript here as the bucket has it; while that is away, as this host has it.

        A player asks for many parts of a file: not each of them asks the bucket.
        """
        here = manifest.read_manifest(folder) is not None
        if here and time.monotonic() < self._brought.get(folder, 0.0) + FRESH_S:
            return
        try:
            published.fetch(folder, self._settings, PATIENCE_S)
        except TransientError as error:
            if not here:
                raise
            _LOG.warning("%s is shown as this host has it: %s", folder.name, error)
        self._brought[folder] = time.monotonic()

    def _transcripts(self) -> tuple[dict[Digest, Path], list[Path]]:
        """Return the complete transcripts that the library knows: one by video, and all."""
        places: dict[Digest, Path] = {}
        listed = []
        for place in open_library(self._settings).transcripts():
            folder = folder_at(place.folder, self._settings)
            if self.about(folder):
                places.setdefault(place.video, folder)
                listed.append(folder)
        return places, listed

    def about(self, folder: Path) -> dict[str, Any] | None:
        """Return the manifest of a complete transcript; `None` if there is none."""
        stamp = published.stamp(folder, self._settings)
        if stamp is None:
            return None
        known = self._about.get(folder)
        if known is None or known[0] != stamp:
            known = stamp, published.about(folder, self._settings)
            self._about[folder] = known
        if known[1]:
            self._folders[folder_id(folder)] = folder
        return known[1]

    def video(self, digest: Digest) -> Path | None:
        """Return where the video of a digest lies, if it is known and has not changed."""
        for path in self._index.places(digest):
            try:
                stat = path.stat()
            except OSError:
                continue
            if self._index.recall(path, stat) == digest:
                return path
        return None

    def _row(self, status: VideoStatus, folder: Path | None, request: str) -> Row:
        about = self.about(folder) if folder else None
        again = self._again(status, request) if status.state in _TO_RUN else ""
        if not (folder and about):
            path = Path(status.path)
            return Row(path.name, status, day=_day_of(path), again=again)
        video = about["video"]
        known = self.video(video["digest"])
        return Row(
            Path(video["name"]).stem,
            status,
            id=folder_id(folder),
            day=video.get("recorded") or _day_of(folder / MANIFEST),
            recorded=bool(video.get("recorded")),
            duration=video.get("duration") or 0.0,
            people=_people(about.get("identities") or ()),
            speakers=about.get("speakers") or 0,
            warnings=tuple(about.get("warnings") or ()),
            corrected=about.get("corrections"),
            picture=bool(known and known.suffix.lower() in VIDEO_SUFFIXES),
            again=again,
        )


_ORDER = {state: place for place, state in enumerate(State)}
_TO_RUN = {State.FAILED, State.GIVEN_UP, State.STOPPED, State.WAITING}


class _Look:
    """Look at the videos in the background, one look at a time."""

    def __init__(self, paths: Sequence[str], settings: Settings, *, wanted: bool) -> None:
        self._paths = paths
        self._settings = settings
        self._wanted = wanted
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._looked_at = 0.0
        self._seen: dict[str, VideoStatus] = {}
        self._requests: Mapping[Digest, str] = {}
        self._problem = ""

    def wait(self) -> tuple[list[VideoStatus], Mapping[Digest, str], str, bool]:
        """Return the statuses, what was asked for last by video, a problem, if it is unfinished."""
        if not self._wanted:
            return [], {}, "", False
        with self._lock:
            if self._idle.is_set() and time.monotonic() - self._looked_at > FRESH_S:
                self._idle.clear()
                threading.Thread(target=self._run, daemon=True).start()
        finished = self._idle.wait(PATIENCE_S)
        with self._lock:
            return list(self._seen.values()), self._requests, self._problem, not finished

    def _run(self) -> None:
        fresh: dict[str, VideoStatus] = {}
        problem = ""
        try:
            inventory = Inventory(prepare_batch())
            with inventory.claims:  # or each look leaves a connection to a database behind
                for status in list_site(self._paths, inventory):
                    fresh[status.path] = status
                    with self._lock:
                        self._seen[status.path] = status
                        self._requests = {
                            attempt.video: attempt.request
                            for attempt in inventory.attempts.values()
                        }
        except SpokenbyError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - said on the page; the server goes on
            problem = f"{type(error).__name__}: {error}"
        with self._lock:
            self._seen = fresh
            self._problem = problem
            self._looked_at = time.monotonic()
            self._idle.set()


def _transcripts_in(path: str, settings: Settings) -> list[Path]:
    """Return the transcripts that a folder holds, none of a folder of videos."""
    if not os.path.lexists(path):
        raise InputError(f"{path} does not exist", "name videos, or folders that hold some")
    if not Path(path).is_dir():
        return []
    try:
        return [found.folder for found in find_transcripts(path, settings)]
    except InputError:
        return []


def _people(identities: Iterable[Mapping[str, Any]]) -> tuple[Person, ...]:
    found = {Person(str(each["name"]), bool(each["known"])): None for each in identities}
    return tuple(sorted(found, key=lambda person: not person.known))


def _day_of(path: Path) -> str:
    try:
        changed = path.stat().st_mtime
    except OSError:
        return ""
    day: date = datetime.fromtimestamp(changed).astimezone().date()
    return day.isoformat()
