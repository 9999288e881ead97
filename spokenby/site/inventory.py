"""How far each video of this site is, and what is noted of attempts at it, lives here.

Who asks for it does not; see flows/sweep_folder.py and flows/cli/status.py. No server is needed.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic_core import to_json

from spokenby.digests import DigestIndex, digest_file
from spokenby.errors import SpokenbyError, StoppedError
from spokenby.output import manifest
from spokenby.plan.planning import stage_digests
from spokenby.plan.stages import Stage
from spokenby.progress import is_stopping, showing
from spokenby.settings import Settings
from spokenby.site.attempts import Attempt, Ledger
from spokenby.site.batch import Batch, plan_named
from spokenby.site.find_videos import look_for_videos
from spokenby.site.video_locks import Claims
from spokenby.types import Digest, Outcome, Video

STATES = ("failed", "given up", "running", "done", "ready", "waiting", "skipped")


class Standing(NamedTuple):
    """How far one video is. `note`, one line: where the transcript is, or why there is none."""

    state: Literal["done", "running", "failed", "waiting"]
    note: str = ""
    attempts: int = 0


class Row(NamedTuple):
    """What is told of one video, or of what stood in the way of finding videos: no path then.

    `state`: one of `STATES`. Ready ones are to be transcribed; what became of them replaces it.
    """

    path: str
    state: str
    note: str = ""
    video: Digest = ""
    attempts: int = 0
    stored: str = ""


def count_states(rows: Collection[Row]) -> str:
    """Return how many videos are in which state, in words."""
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no video"


def described(standing: Standing) -> str:
    """Return the note of a standing, with the attempts if any failed."""
    if standing.state != "failed":
        return standing.note
    times = "once" if standing.attempts == 1 else f"{standing.attempts} times"
    return f"failed {times}: {standing.note}"


def transcript_key(video: Digest, batch: Batch) -> Digest:
    """Return the name of a video's transcript: what the ledger knows it by."""
    return stage_digests(video, batch.recipe, batch.model_identities)[Stage.MERGE]


def standing_of(
    path: str,
    video: Digest,
    batch: Batch,
    tried: Mapping[Digest, Attempt],
    claims: Claims,
) -> Standing:
    """Tell how far a video is with the params of a batch.

    Args:
        path: where the video lies; its name names the output folder.
        video: digest of its bytes.
        batch: the params in question, and the site.
        tried: as of `Ledger.read`.
        claims: to see which runs are alive.
    """
    key = transcript_key(video, batch)
    attempt = tried.get(key)
    if attempt and is_running(attempt, claims):
        return Standing("running", "a run works on it", attempt.attempts)
    folder = batch.folder_of(Path(path).stem, video)
    if manifest.is_written(folder, key):
        return Standing("done", str(folder))
    if attempt and attempt.attempts:
        return Standing("failed", attempt.problem, attempt.attempts)
    return Standing("waiting", attempt.problem if attempt else "")


def is_running(attempt: Attempt, claims: Claims) -> bool:
    """Tell whether an attempt is under way: nobody ended it, and its run is alive."""
    return attempt.ended is None and claims.is_taken(attempt.video)


def inspect_all(paths: Sequence[str], batch: Batch) -> list[Row]:
    """Tell how far each video below some paths is.

    Args:
        paths: the site's folder of videos if empty, and whatever did not end well elsewhere.
        batch: the params in question, and the site.
    """
    found, problems = look_for_videos(paths or [batch.settings.videos])
    index = DigestIndex(batch.settings.digest_index)
    tried = Ledger(batch.settings.ledger).read()
    claims = Claims(batch.settings.claims)
    rows = [Row("", "failed", str(problem)) for problem in problems]
    for path in map(str, found):
        try:
            with showing(path, "inspect") as progress:
                video = digest_file(Path(path), index, progress)
        except SpokenbyError as error:
            rows.append(Row(path, "failed", str(error)))
            continue
        standing = standing_of(path, video, batch, tried, claims)
        stages = plan_named(Path(path).stem, video, batch).stored
        row = Row(path, standing.state, described(standing), video, stored=" ".join(stages))
        others = [attempt for attempt in tried.values() if attempt.video == video]
        if standing.state == "waiting" and others:
            row = _of_attempt(others[-1], path, claims)._replace(stored=row.stored)
        rows.append(row)
    if not paths:
        shown = {row.video for row in rows} | {row.path for row in rows}
        rows += [
            _of_attempt(attempt, attempt.path, claims)
            for attempt in tried.values()
            if not shown & {attempt.video, attempt.path}
        ]
    return rows


def _of_attempt(attempt: Attempt, path: str, claims: Claims) -> Row:
    """Tell of an attempt with whatever params it had."""
    if is_running(attempt, claims):
        return Row(path, "running", "a run works on it", attempt.video)
    if not attempt.attempts:
        return Row(path, "waiting", attempt.problem, attempt.video)
    standing = Standing("failed", attempt.problem, attempt.attempts)
    return Row(path, "failed", described(standing), attempt.video)


def failed_attempts(videos: Sequence[str], settings: Settings) -> dict[str, dict[str, Attempt]]:
    """Return the attempts that failed, by what was asked for and by path.

    Args:
        videos: videos and folders; all that failed if empty.
        settings: the site.

    Raises:
        InputError: a video cannot be found or read.
    """
    claims = Claims(settings.claims)
    named: dict[Digest, str] = {}
    if videos:
        found, problems = look_for_videos(videos)
        if problems:
            raise problems[0]
        index = DigestIndex(settings.digest_index)
        named = {digest_file(path, index): str(path) for path in found}
    failed: dict[str, dict[str, Attempt]] = {}
    for attempt in Ledger(settings.ledger).read().values():
        if not attempt.attempts or is_running(attempt, claims):
            continue
        path = named.get(attempt.video) if videos else attempt.path
        if path:
            failed.setdefault(attempt.asked, {})[path] = attempt
    return failed


def is_still(path: str, video: Digest, settings: Settings) -> bool:
    """Tell whether the same video lies there as before."""
    try:
        return digest_file(Path(path), DigestIndex(settings.digest_index)) == video
    except SpokenbyError:
        return False


def follow_up(rows: Sequence[Row], batch: Batch, *, ended: bool, says: str) -> list[Row]:
    """Tell of each video that was handed to a run what became of it.

    Args:
        rows: those that are ready were handed on.
        batch: the params in question, and the site.
        ended: whether the run has ended.
        says: how it ended, or why it has not.
    """
    tried = Ledger(batch.settings.ledger).read()
    claims = Claims(batch.settings.claims)

    def follow(row: Row) -> Row:
        standing = standing_of(row.path, row.video, batch, tried, claims)
        match standing.state:
            case "done" | "failed":
                return Row(row.path, standing.state, described(standing), row.video)
            case "waiting" if ended:  # the run itself did not get to it
                return Row(row.path, "failed", says, row.video)
            case _:
                return Row(row.path, "waiting", says, row.video)

    return [follow(row) if row.state == "ready" else row for row in rows]


def request_of(batch: Batch, parameters: Mapping[str, Any]) -> str:
    """Return a run's parameters but the videos and what was forced, as JSON.

    Who asks for the same later, from another folder, gets the same: profile and output are settled.
    """
    asked = dict(parameters)
    if asked.get("output"):
        asked["output"] = batch.output.absolute()
    asked["profile"] = batch.recipe.profile
    return to_json({name: asked[name] for name in asked.keys() - {"paths", "force"}}).decode()


def failure(path: str, stage: str, error: BaseException, video: Video | None = None) -> Outcome:
    """Tell in one line why a stage failed."""
    problem = str(error) if isinstance(error, SpokenbyError) else f"{type(error).__name__}: {error}"
    return Outcome(
        path=path,
        name=video.name if video else path,
        # Ctrl-C reaches the children too: what fails while stopping failed because of it.
        status="stopped" if is_stopping() or isinstance(error, StoppedError) else "failed",
        duration=video.duration if video else 0.0,
        problem=f"{stage}: {' '.join(problem.split())}",
    )


def note_end(ledger: Ledger, key: Digest, outcome: Outcome) -> None:
    """Note how an attempt ended."""
    match outcome.status:
        case "failed":
            stage, _, problem = outcome.problem.partition(": ")
            ledger.fail(key, stage, problem)
        case "stopped":
            ledger.stop(key)
        case _:
            ledger.forget(key)


def note_unread(outcome: Outcome, batch: Batch, request: str) -> None:
    """Note the attempt at a file that is no video. One whose bytes cannot be read has no key."""
    if outcome.status != "failed":
        return
    try:
        video = digest_file(Path(outcome.path), DigestIndex(batch.settings.digest_index))
    except SpokenbyError:
        return
    key = transcript_key(video, batch)
    ledger = Ledger(batch.settings.ledger)
    ledger.begin(key, video, outcome.path, asked=request)
    note_end(ledger, key, outcome)
