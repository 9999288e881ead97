"""How far each video of this site is, and what is noted of attempts at it, lives here.

Who asks for it does not; see flows/sweep_folder.py and flows/status_cli.py. No server is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from prefect.context import FlowRunContext
from pydantic_core import to_json

from tasks.planning import Batch, plan_named
from whosaid import manifest
from whosaid.claims import Claims
from whosaid.digests import DigestIndex, digest_file
from whosaid.errors import WhosaidError
from whosaid.ledger import Attempt, Ledger
from whosaid.planning import Stage, stage_digests
from whosaid.types import Digest, Outcome


class Standing(NamedTuple):
    """How far one video is. `note`, one line: where the transcript is, or why there is none."""

    state: Literal["done", "running", "failed", "waiting"]
    note: str = ""
    attempts: int = 0


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


def stored_stages(path: str, video: Digest, batch: Batch) -> tuple[Stage, ...]:
    """Return the stages of a video whose results are stored."""
    return plan_named(Path(path).stem, video, batch).stored


def asked_for(batch: Batch) -> str:
    """Return the flow run's parameters but the videos and what was forced, as JSON.

    Who asks for the same later, from another folder, gets the same: profile and output are settled.
    """
    context = FlowRunContext.get()
    asked = dict((context and context.parameters) or {})
    if asked.get("output"):
        asked["output"] = batch.output.absolute()
    asked["profile"] = batch.recipe.profile
    return to_json({name: asked[name] for name in asked.keys() - {"paths", "force"}}).decode()


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


def note_unread(ledger: Ledger, batch: Batch, outcome: Outcome, asked: str) -> None:
    """Note the attempt at a file that is no video. One whose bytes cannot be read has no key."""
    try:
        video = digest_file(Path(outcome.path), DigestIndex(batch.settings.digest_index))
    except WhosaidError:
        return
    key = transcript_key(video, batch)
    ledger.begin(key, video, outcome.path, asked=asked)
    note_end(ledger, key, outcome)
