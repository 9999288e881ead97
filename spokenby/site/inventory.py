"""How far each video of this site is: one status a video, from one look at the paths."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json

from spokenby.digests import DigestIndex
from spokenby.errors import InputError, SpokenbyError, StoppedError, TransientError
from spokenby.output import manifest, published
from spokenby.plan.planning import stage_digests
from spokenby.plan.stages import Stage
from spokenby.progress import Step, VideosFound, announce, is_stopping, showing
from spokenby.settings import Settings, read_settings
from spokenby.site.attempts import Attempt, Ledger
from spokenby.site.batch import Batch, plan_named
from spokenby.site.find_videos import BadPath, LeftOut, look_for_videos, no_video_in
from spokenby.site.remote_videos import address_of, learn_digests, release
from spokenby.site.track_folders import (
    digest_recording,
    probe_recording,
    recording_stamp,
    track_names,
)
from spokenby.site.video_locks import Claims
from spokenby.types import Digest, TranscriptSummary, Video

FIND = "find"
"""The stage of a problem with a path: it leads to no video."""

INSPECT = "inspect"
"""The stage in which a file is probed and its bytes are read."""


class State(StrEnum):
    """How far a video is. Those that need somebody come first."""

    FAILED = "failed"
    GIVEN_UP = "given up"
    STOPPED = "stopped"
    RUNNING = "running"
    DONE = "done"
    UNCHANGED = "unchanged"
    """Done before this run began."""
    READY = "ready"
    """A sweep has a run transcribe it."""
    WAITING = "waiting"
    SKIPPED = "skipped"


class VideoStatus(NamedTuple):
    """How far one video is, or what is wrong with a path that leads to none (`stage` is `FIND`)."""

    path: str
    state: State
    digest: Digest = ""
    """Of its bytes; empty if they were not read."""
    stage: str = ""
    """That failed, the last time."""
    cause: str = ""
    """One line: why there is no transcript, or why nothing is done about it."""
    attempts: int = 0
    """How many in a row failed."""
    folder: str = ""
    """Where the transcript is, if there is one."""
    stored: tuple[Stage, ...] = ()
    """Stages with a stored result, if somebody asked."""
    video: Video | None = None
    """If the file was probed."""
    summary: TranscriptSummary | None = None
    """Of a transcript that a run wrote or found."""

    @property
    def problem(self) -> str:
        """Stage and cause, for people. The cause of a bad path names the path itself."""
        return f"{self.stage}: {self.cause}" if self.stage not in {"", FIND} else self.cause

    @property
    def headline(self) -> str:
        """What went wrong, for a list of several videos: the file's name once, then the cause."""
        name = Path(self.path).name
        cause = self.cause.replace(self.path, name)
        if name in cause:
            return cause
        return f"{name}: {self.problem.replace(self.path, name)}"

    @property
    def note(self) -> str:
        """What a table says besides the state: where the transcript is, or why there is none."""
        if self.state is State.DONE:
            return self.folder
        if self.attempts and self.state in {State.FAILED, State.GIVEN_UP, State.READY}:
            times = "once" if self.attempts == 1 else f"{self.attempts} times"
            return f"failed {times}: {self.problem}"
        return self.problem


Read = Callable[[Path], Video | Digest | VideoStatus]
"""What is to be known of a file before its status: the video, or only the digest of its bytes. Or
the status itself, where the file is not to be read."""


def look_at(
    paths: Iterable[Path], read: Read, judge: Callable[[str, Digest], VideoStatus]
) -> Iterator[VideoStatus]:
    """Yield how far each video is, reading a file only when its status is asked for.

    Whoever asks for one after the other computes meanwhile what came before.
    """
    for path in paths:
        try:
            found = read(path)
            if isinstance(found, Video):
                status = judge(address_of(path), found.digest)._replace(video=found)
            else:
                status = judge(address_of(path), found) if isinstance(found, Digest) else found
        except Exception as error:  # noqa: BLE001 - one bad file does not stop the others
            status = failure(address_of(path), INSPECT, error)
        yield status


class Inventory:
    """What this site has of the videos of one batch.

    Whoever starts a run in this process shares it with the run (see `sharing`), so that a video is
    found, probed and read once, and the batch is prepared once.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.claims = Claims(batch.settings.claims)
        self.ledger = Ledger(batch.settings.ledger)
        self.index = DigestIndex(batch.settings.digest_index)
        self.attempts: Mapping[Digest, Attempt] = {}
        """By transcript, the oldest first."""
        self.last_attempts: Mapping[Digest, Attempt] = {}
        """By video."""
        self.left_out: LeftOut = {}
        """What the folders looked into hold besides; see `sum_up_left_out`."""
        self._found: dict[tuple[str, ...], tuple[list[Path], list[VideoStatus]]] = {}
        self._seen: dict[Path, VideoStatus] = {}

    def look_at(self, paths: Iterable[Path], read: Read) -> Iterator[VideoStatus]:
        """Yield how far each video is with the params of the batch."""
        self.attempts = self.ledger.read()
        self.last_attempts = {attempt.video: attempt for attempt in self.attempts.values()}
        published.look(self.batch.settings)
        yield from look_at(paths, read, self._judge)

    def look_below(self, paths: Collection[str], read: Read | None = None) -> Iterator[VideoStatus]:
        """Yield the status of every video below some paths, bad paths first.

        Looks at each once, however often this is called: what was seen before comes again as it
        was.

        Args:
            paths: videos and folders.
            read: `inspect` if `None`.
        """
        if tuple(paths) not in self._found:
            self._found[tuple(paths)] = _find_all(paths, self.left_out)
        found, bad_paths = self._found[tuple(paths)]
        announce(VideosFound(tuple(map(address_of, found)), tuple(map(_size, found))))
        yield from bad_paths
        unseen = self.look_at((path for path in found if path not in self._seen), read or inspect)
        for path in found:
            if path not in self._seen:
                self._seen[path] = next(unseen)
            yield self._seen[path]

    def transcript_key(self, path: str, video: Digest) -> Digest:
        """Return the name of a video's transcript: what the ledger knows it by.

        Raises:
            InputError: the video's vocabulary cannot be used.
        """
        return transcript_key(video, self.batch.for_video(path))

    def _judge(self, path: str, video: Digest) -> VideoStatus:
        key = self.transcript_key(path, video)
        attempt = self.attempts.get(key)
        if attempt and (status := _status_of(attempt, path, self.claims)).state is State.RUNNING:
            return status
        folder = self.batch.folder_of(Path(path).stem, video)
        if published.is_written(folder, key, self.batch.settings):
            return VideoStatus(path, State.DONE, video, folder=str(folder))
        return status if attempt else VideoStatus(path, State.WAITING, video)


_shared: ContextVar[Inventory | None] = ContextVar("inventory", default=None)


@contextmanager
def sharing(inventory: Inventory) -> Iterator[None]:
    """Let a run that is started inside go on with this inventory; it must be of the same batch."""
    token = _shared.set(inventory)
    try:
        yield
    finally:
        _shared.reset(token)


def shared_inventory(prepare: Callable[[], Batch]) -> Inventory:
    """Return the inventory that whoever started this run shares, else one of a new batch."""
    return _shared.get() or Inventory(prepare())


def transcript_key(video: Digest, batch: Batch) -> Digest:
    """Return the digest that names a video's transcript."""
    return stage_digests(video, batch.recipe, batch.model_identities)[Stage.MERGE]


def is_running(attempt: Attempt, claims: Claims) -> bool:
    """Return whether an attempt is under way: nobody ended it, and its run is alive."""
    return attempt.ended is None and claims.is_taken(attempt.video)


def count_states(statuses: Collection[VideoStatus]) -> str:
    """Return how many videos are in which state, in words."""
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]} {state}" for state in State if counts[state]) or "no video"


def inspect(path: Path) -> Video:
    """Probe a file and take the digest of its bytes.

    Raises:
        SpokenbyError: it cannot be read, or is not a video.
    """
    with showing(address_of(path), INSPECT) as progress:
        probed = probe_recording(path, progress)
        stamp = recording_stamp(path)
        digest = digest_recording(path, DigestIndex(read_settings().digest_index), progress)
    announce(Step(address_of(path), INSPECT, "done", 1.0))
    return Video(
        path=address_of(path),
        name=path.stem,
        digest=digest,
        duration=probed.duration,
        audio_streams=len(probed.audio),
        recorded=probed.recorded,
        tracks=track_names(path),
        stamp=stamp,
    )


def confirm_unchanged(video: Video) -> None:
    """Return if the file still holds the bytes of the video's digest; read only where in doubt.

    Raises:
        TransientError: it holds others, or is gone.
    """
    path = Path(video.path)
    if video.stamp and recording_stamp(path) == video.stamp:
        return
    try:
        # Without the index: a copied file may have the size and time of the one before.
        same = digest_recording(path) == video.digest
    except InputError as error:
        raise TransientError(
            f"{video.path} was there when the run began and can no longer be read", "put it back"
        ) from error
    if not same:
        raise TransientError(
            f"{video.path} changed after the run had read it", "run again when it is complete"
        )


def _size(path: Path) -> int:
    stamp = recording_stamp(path)
    return stamp[0] if stamp else 0


def list_site(paths: Sequence[str], inventory: Inventory) -> Iterator[VideoStatus]:
    """Yield the status of each video below some paths, with its stored stages.

    Args:
        paths: the site's folder of videos if empty, and whatever did not end well elsewhere; with
            a bucket, all that other hosts have done.
        inventory: of the params in question. An attempt with others counts where there is none
            with these.
    """
    settings = inventory.batch.settings
    # With a bucket, a host need have no videos of its own.
    lies_elsewhere = bool(settings.bucket) and not settings.videos.exists()
    of_site = [] if lies_elsewhere else [settings.videos]
    found, problems = look_for_videos(paths or of_site, inventory.left_out)
    yield from map(bad_path, problems)
    learn_digests(found, inventory.index)

    def read(path: Path) -> Digest:
        with showing(address_of(path), INSPECT) as progress:
            digest = digest_recording(path, inventory.index, progress)
        announce(Step(address_of(path), INSPECT, "done", 1.0))
        return digest

    shown = set()
    for status in inventory.look_at(found, read):
        shown |= {status.path, status.digest}
        if status.digest:
            other = inventory.last_attempts.get(status.digest)
            if status.state is State.WAITING and other:
                status = _status_of(other, status.path, inventory.claims)  # noqa: PLW2901
            params = inventory.batch.for_video(status.path)
            plan = plan_named(Path(status.path).stem, status.digest, params)
            yield status._replace(stored=plan.stored)
        else:
            yield status
    for attempt in inventory.attempts.values() if not paths else ():
        if not shown & {attempt.video, attempt.path}:
            shown.add(attempt.video)
            yield _status_of(attempt, attempt.path, inventory.claims)
    for folder in published.list_folders(settings) if settings.bucket and not paths else ():
        video = (published.about(folder, settings) or {}).get("video", {})
        if video and video["digest"] not in shown:
            yield VideoStatus(video["name"], State.DONE, video["digest"], folder=str(folder))


def list_failed(videos: Sequence[str], settings: Settings) -> Iterator[tuple[Attempt, VideoStatus]]:
    """Yield the attempts that failed, with whatever params, and where the video is now.

    Args:
        videos: videos and folders; all that failed if empty: then also those whose file is gone or
            has changed, as skipped.
        settings: the site.

    Raises:
        InputError: a path leads nowhere, or a file cannot be read.
    """
    index = DigestIndex(settings.digest_index)
    with Claims(settings.claims) as claims:
        failed = [
            attempt
            for attempt in Ledger(settings.ledger).read().values()
            if attempt.attempts and not is_running(attempt, claims)
        ]
        found, problems = (
            look_for_videos(videos) if videos else ([Path(a.path) for a in failed], [])
        )
        if problems:
            raise problems[0].error
        looked = look_at(
            dict.fromkeys(found),
            lambda path: digest_recording(path, index),
            lambda path, digest: VideoStatus(path, State.WAITING, digest),
        )
        places: dict[Digest, str] = {}
        for status in looked:
            if videos and not status.digest:
                raise InputError(status.cause)
            places[status.digest] = status.path
        for attempt in failed:
            if path := places.get(attempt.video):
                yield attempt, _status_of(attempt, path, claims)
            elif not videos:
                gone = "its file is gone or has changed: forgotten"
                yield attempt, VideoStatus(attempt.path, State.SKIPPED, cause=gone)


def follow_up(
    statuses: Sequence[VideoStatus], inventory: Inventory, *, ended: bool, message: str
) -> list[VideoStatus]:
    """Return the statuses after a run to which those that are ready were handed.

    Args:
        statuses: before the run.
        inventory: of the run's params.
        ended: whether the run has ended.
        message: how it ended, or why it has not.
    """
    digests = {Path(s.path): s.digest for s in statuses if s.state is State.READY}
    after = {status.path: status for status in inventory.look_at(digests, digests.__getitem__)}

    def follow(before: VideoStatus) -> VideoStatus:
        status = after[before.path]
        if status.state in {State.DONE, State.FAILED}:
            return status
        # In a run that has ended and left it waiting, the run itself did not get to it.
        missed = ended and status.state is State.WAITING
        state = State.FAILED if missed else State.WAITING
        return VideoStatus(before.path, state, before.digest, cause=message)

    return [follow(status) if status.state is State.READY else status for status in statuses]


def request_of(batch: Batch, parameters: Mapping[str, Any]) -> str:
    """Return a run's parameters but the videos and what was forced, as JSON.

    Who asks for the same later, from another folder, gets the same: profile and output are settled.
    """
    request = dict(parameters)
    if request.get("output"):
        request["output"] = batch.output.absolute()
    if request.get("vocabulary"):
        request["vocabulary"] = Path(request["vocabulary"]).absolute()
    request["profile"] = batch.recipe.profile
    return to_json({name: request[name] for name in request.keys() - {"paths", "force"}}).decode()


def failure(path: str, stage: str, error: BaseException, video: Video | None = None) -> VideoStatus:
    """Return the status of a video one of whose stages failed, or was stopped."""
    cause = str(error) if isinstance(error, SpokenbyError) else f"{type(error).__name__}: {error}"
    # Ctrl-C reaches the children too: what fails while stopping failed because of it.
    stopped = is_stopping() or isinstance(error, StoppedError)
    return VideoStatus(
        path,
        State.STOPPED if stopped else State.FAILED,
        video.digest if video else "",
        stage,
        " ".join(cause.split()),
        video=video,
    )


def needs_run(status: VideoStatus, force: Collection[Stage] = ()) -> bool:
    """Return whether a run has something to do for a video that was inspected."""
    return status.video is not None and (bool(force) or status.state is not State.DONE)


def unchanged(status: VideoStatus, settings: Settings) -> VideoStatus:
    """Return the status of a video that was done before this run, with its transcript's figures.

    If its files cannot be brought here, it is failed.
    """
    release(status.path)
    folder = Path(status.folder)
    try:
        published.fetch(folder, settings)
        summary = manifest.summarize_folder(folder, computed=False)
    except SpokenbyError as error:
        return failure(status.path, "write", error, status.video)
    return status._replace(state=State.UNCHANGED, summary=summary)


def note_end(ledger: Ledger, key: Digest, status: VideoStatus) -> None:
    """Note how an attempt ended."""
    match status.state:
        case State.FAILED:
            ledger.fail(key, status.stage, status.cause)
        case State.STOPPED:
            ledger.stop(key)
        case _:
            ledger.forget(key)


def note_unread(status: VideoStatus, inventory: Inventory, request: str) -> None:
    """Note the attempt at a file that is not a video.

    One whose bytes, or whose vocabulary, cannot be read has no key.
    """
    if status.state is not State.FAILED or status.stage == FIND:
        return
    try:
        video = digest_recording(Path(status.path), inventory.index)
        key = inventory.transcript_key(status.path, video)
    except SpokenbyError:
        return
    finally:
        release(status.path)
    inventory.ledger.begin(key, video, status.path, request=request)
    note_end(inventory.ledger, key, status)


def _find_all(paths: Collection[str], left_out: LeftOut) -> tuple[list[Path], list[VideoStatus]]:
    """Return the videos below some paths, each once, and a status for each that leads to none."""
    found: dict[Path, None] = {}
    bad_paths: list[BadPath] = []
    for path in paths:
        videos, problems = look_for_videos([path], left_out)
        found.update(dict.fromkeys(videos))
        if not videos and not problems:
            problems = [BadPath(path, no_video_in(path))]
        bad_paths += problems
    for named in left_out.keys() & found.keys():
        del left_out[named]
    return list(found), list(map(bad_path, bad_paths))


def bad_path(problem: BadPath) -> VideoStatus:
    """Return the status that stands for a path that leads to no video."""
    return VideoStatus(problem.path, State.FAILED, stage=FIND, cause=str(problem.error))


def _status_of(attempt: Attempt, path: str, claims: Claims) -> VideoStatus:
    """Return the status of a video for which an attempt with some params is all there is."""
    if is_running(attempt, claims):
        state, stage, cause = State.RUNNING, "", "a run works on it"
    else:
        state = State.FAILED if attempt.attempts else State.WAITING
        stage, cause = attempt.failure
    return VideoStatus(path, state, attempt.video, stage, cause, attempt.attempts)
