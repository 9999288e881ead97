"""Which videos some paths lead to, and what each of them needs, lives here. No server is asked.

What decides on that does not; see tasks/planning.py. Nor does Prefect, whose import takes seconds:
a folder in which all is done is looked at without it.
"""

from collections.abc import Collection
from pathlib import Path

from tasks.planning import Batch, plan_for
from tasks.progress import Step, announce, showing
from tasks.standing import failure
from whosaid.digests import DigestIndex, digest_file
from whosaid.engines.av import probe
from whosaid.errors import InputError, WhosaidError
from whosaid.manifest import outcome_of
from whosaid.planning import Plan, Stage
from whosaid.settings import read_settings
from whosaid.types import Outcome, Video
from whosaid.videos import find_videos


def find_all(paths: Collection[str]) -> tuple[list[str], list[Outcome]]:
    """Return the videos below some paths, and an outcome for each path that leads nowhere."""
    found: dict[str, None] = {}
    lost = []
    for path in paths:
        try:
            found.update(dict.fromkeys(map(str, find_videos([path]))))
        except InputError as error:
            lost.append(Outcome(path=path, name=path, status="failed", problem=str(error)))
    return list(found), lost


def inspect(path: str) -> Video:
    """Probe a file and take the digest of its bytes.

    Raises:
        WhosaidError: it can't be read, or is no video.
    """
    with showing(path, "inspect") as progress:
        probed = probe(Path(path))
        digest = digest_file(Path(path), DigestIndex(read_settings().digest_index), progress)
    announce(Step(path, "inspect", "done", 1.0))
    return Video(
        path=path,
        name=Path(path).stem,
        digest=digest,
        duration=probed.duration,
        audio_streams=len(probed.audio),
    )


def plan_all(
    paths: Collection[str], batch: Batch, force: Collection[Stage] = ()
) -> tuple[list[tuple[Video, Plan]], list[Outcome]]:
    """Plan every video below some paths.

    Returns the plans, and the outcomes of the videos that have nothing to run: done or unreadable.
    """
    found, outcomes = find_all(paths)
    planned = []
    for path in found:
        try:
            video = inspect(path)
        except WhosaidError as error:
            outcomes.append(failure(path, "inspect", error))
            continue
        plan = plan_for(video, batch, force)
        planned.append((video, plan))
        if plan.done:
            outcomes.append(outcome_of(video, batch.folder(video), unchanged=True))
    return planned, outcomes
