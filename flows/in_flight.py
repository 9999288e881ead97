"""Work on a bounded number of videos at once, each in one run at a time."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from time import sleep
from typing import Any

from prefect.futures import PrefectFuture, wait

from flows.video_stages import Futures, VideoGraph, cause
from spokenby.errors import SpokenbyError, StoppedError, TransientError
from spokenby.plan.stages import Stage
from spokenby.progress import VideoEnded, VideoPlanned, announce, is_stopping
from spokenby.site.batch import plan_for
from spokenby.site.inventory import (
    Inventory,
    State,
    VideoStatus,
    failure,
    note_end,
    note_unread,
    transcript_key,
    unchanged,
)
from spokenby.site.remote_videos import release
from spokenby.types import Digest, Video


class VideosInFlight:
    """The videos of one run: those in flight, and the statuses of those that ended.

    Args:
        inventory: of the run; `videos_in_flight` of its settings bounds what is held in memory.
        force: stages to compute again.
        request: see `inventory.request_of`.
    """

    def __init__(self, inventory: Inventory, force: Collection[Stage], request: str) -> None:
        self.ended: list[VideoStatus] = []
        self._inventory = inventory
        self._batch = inventory.batch
        self._force = force
        self._claims = inventory.claims
        self._request = request
        self._ledger = inventory.ledger
        self._finished: SimpleQueue[str] = SimpleQueue()
        self._in_flight: dict[str, tuple[Video, Digest, Futures]] = {}
        self._identified: PrefectFuture[Any] | None = None

    def begin(self, video: Video) -> bool:
        """Submit what a video needs; return False if another run works on it."""
        while len(self._in_flight) >= self._batch.settings.videos_in_flight:
            self._collect()
        if not self._claims.take(video.digest):
            return False
        try:
            plan = plan_for(video, self._batch, self._force)
        except SpokenbyError as error:
            self._end_unplanned(video, error)
            return True
        key = plan.digests[Stage.MERGE]
        if plan.done:
            self._end(unchanged(_done(video, self._batch.folder(video)), self._batch.settings))
            self._ledger.forget(key)
            self._claims.free(video.digest)
            return True
        self._ledger.begin(
            key, video.digest, video.path, stored=len(plan.stored), request=self._request
        )
        announce(VideoPlanned(video.path, video.duration, tuple(plan.run)))
        futures = VideoGraph(video, plan, self._batch.for_video(video.path)).transcribe(
            self._identified
        )
        self._identified = futures.get("identify")
        futures["write"].add_done_callback(partial(_put, self._finished, video.path))
        self._in_flight[video.path] = (video, key, futures)
        return True

    def _end_unplanned(self, video: Video, error: SpokenbyError) -> None:
        """Note that what is stored of a video cannot be read."""
        status = failure(video.path, "plan", error, video)
        key = transcript_key(video.digest, self._batch)
        self._end(status)
        if not isinstance(error, TransientError):  # nothing is wrong with the video
            self._ledger.begin(key, video.digest, video.path, stored=0, request=self._request)
            note_end(self._ledger, key, status)
        self._claims.free(video.digest)

    def begin_when_free(self, video: Video) -> None:
        """Submit what a video needs once the run that works on it has ended, or is dead."""
        while not self.begin(video):
            if self._in_flight:
                self._collect()
            elif is_stopping():
                stopped = StoppedError("stopped on request")
                self._end(failure(video.path, "wait", stopped, video))
                return
            else:
                sleep(1)

    def note_unread(self, status: VideoStatus) -> None:
        """Note a file that turned out not to be a video, or a path that leads to none."""
        self._end(status)
        note_unread(status, self._inventory, self._request)

    def note_stopped(self) -> None:
        """Note that the videos in flight were stopped on request."""
        for video, key, _ in self._in_flight.values():
            if self._is_ours(video):
                self._ledger.stop(key)

    def collect_all(self) -> None:
        """Wait for all videos in flight."""
        while self._in_flight:
            self._collect()

    def _collect(self) -> None:
        """Wait for one of the videos in flight and note how it ended."""
        path = _take(self._finished)
        video, key, futures = self._in_flight[path]
        wait(list(futures.values()))
        status = self._status_from(video, futures)
        self._end(status)
        if self._is_ours(video):
            note_end(self._ledger, key, status)
        del self._in_flight[path]
        self._claims.free(video.digest)

    def _is_ours(self, video: Video) -> bool:
        """Return whether this run still has the claim on a video, and notes how it ended."""
        try:
            return self._claims.holds(video.digest)
        except SpokenbyError:  # cut off from the database that knows it
            return False

    def _end(self, status: VideoStatus) -> None:
        self.ended.append(status)
        release(status.path)
        note = status.folder or status.headline
        announce(VideoEnded(status.path, status.state, note, status.digest))

    def _status_from(self, video: Video, futures: Futures) -> VideoStatus:
        """Return how a video ended, from the states of its stages, which are all final."""
        written = futures["write"].state
        if written.is_completed():
            return _done(video, self._batch.folder(video))._replace(summary=written.result())
        for stage, future in futures.items():
            if future.state.is_failed() or future.state.is_crashed():
                return failure(video.path, stage, cause(future.state), video)
        return failure(video.path, "write", cause(written), video)


def _done(video: Video, folder: Path) -> VideoStatus:
    return VideoStatus(video.path, State.DONE, video.digest, folder=str(folder), video=video)


def _put(finished: SimpleQueue[str], path: str, _done: PrefectFuture[Any]) -> None:
    finished.put(path)


def _take(finished: SimpleQueue[str]) -> str:
    while True:  # a wait without end can't be interrupted on Windows
        try:
            return finished.get(timeout=0.5)
        except Empty:
            continue
