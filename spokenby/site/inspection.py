"""Find the videos below some paths and plan what each of them needs."""

from collections.abc import Collection
from pathlib import Path

from spokenby.digests import DigestIndex, digest_file
from spokenby.engines.av import probe
from spokenby.errors import InputError, SpokenbyError
from spokenby.output.manifest import outcome_of
from spokenby.plan.planning import Plan
from spokenby.plan.stages import Stage
from spokenby.progress import Step, announce, showing
from spokenby.settings import read_settings
from spokenby.site.batch import Batch, plan_for
from spokenby.site.find_videos import find_videos
from spokenby.site.inventory import failure
from spokenby.types import Outcome, Video


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
        SpokenbyError: it can't be read, or is no video.
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
        except SpokenbyError as error:
            outcomes.append(failure(path, "inspect", error))
            continue
        plan = plan_for(video, batch, force)
        planned.append((video, plan))
        if plan.done:
            outcomes.append(outcome_of(video, batch.folder(video), unchanged=True))
    return planned, outcomes
