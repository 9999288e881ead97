"""Which videos of some folders are to be transcribed now lives here. Transcribing does not.

See flows/transcribe_videos.py; what is known of a video: tasks/standing.py.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import count
from os import stat_result
from pathlib import Path
from time import monotonic, sleep, time
from typing import Annotated, Any, NamedTuple

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import DeploymentStatus, FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.transcribe_videos import transcribe_videos
from tasks.planning import Batch, Params, prepare_batch
from tasks.progress import Step, announce, is_stopping, tell_prefect
from tasks.standing import described, standing_of
from whosaid.claims import Claims
from whosaid.digests import DigestIndex, digest_file, digest_of
from whosaid.errors import TransientError, WhosaidError
from whosaid.ledger import Ledger
from whosaid.profiles import Profile
from whosaid.settings import read_settings
from whosaid.types import Digest, LanguageCode
from whosaid.videos import look_for_videos

DEPLOYMENT = "transcribe-videos/transcribe-videos"

START_WITHIN_S = 120.0
"""How long a sweep waits for a worker to take its run. It may hold the worker's only place."""

ASK_EVERY_S = 1.0

SHOWN = 500
"""How many videos the table in the UI lists; what needs somebody comes first."""

STATES = ("failed", "given up", "done", "ready", "waiting", "skipped")


class Row(NamedTuple):
    """What a sweep makes of one video.

    `state`: one of `STATES`. Ready ones are handed on to be transcribed; what became of them
    replaces it.
    """

    path: str
    state: str
    note: str = ""
    video: Digest = ""
    attempts: int = 0


@flow(name="sweep-folder", persist_result=False)
def sweep_folder(
    folders: tuple[str, ...] = (),
    profile: Profile | None = None,
    language: LanguageCode | None = None,
    output: str | None = None,
    stable_s: Annotated[float, Field(ge=0)] = 60.0,
    limit: Annotated[int | None, Field(ge=1)] = None,
    newest_first: bool = False,  # noqa: FBT001, FBT002 - a checkbox in the form
    max_attempts: Annotated[int, Field(ge=1)] = 3,
    dry_run: bool = False,  # noqa: FBT001, FBT002
    params: Params | None = None,
) -> State[list[Row]]:
    """Transcribe what is new in some folders.

    Videos that have their transcript, that are still being written, or that another run works on
    are left out. Each sweep tries a failed video once more, until it has failed too often; then
    it rests until its file changes or somebody runs `whosaid retry`.

    Args:
        folders: Folders that are searched, as the worker's machine names them; the site's folder
            of videos if empty.
        profile: Which engines to use; the site's default if empty.
        language: Spoken language as a code such as "en"; detected if empty.
        output: Where transcripts go; the site's folder if empty.
        stable_s: A file that changed in the last so many seconds is still being written.
        limit: At most so many videos in one sweep; all if empty.
        newest_first: Begin with the newest file, not with the oldest.
        max_attempts: A video that failed so often is left out.
        dry_run: Only list what would be done.
        params: Any other params, by stage and field: {"merging": {"max_pause": 1.0}}.
    """
    batch = prepare_batch(profile, language=language, output=output, params=params)
    asked = {
        "profile": batch.recipe.profile.value,
        "language": language,
        "num_speakers": None,
        "min_speakers": None,
        "max_speakers": None,
        "audio_stream": None,
        "output": str(batch.output.absolute()) if output else None,
        "params": params,
    }
    rows = survey(
        folders,
        batch,
        stable_s=stable_s,
        limit=limit,
        newest_first=newest_first,
        max_attempts=max_attempts,
        queued=queued_paths(),
    )
    ready = [row for row in rows if row.state == "ready"]
    get_run_logger().info("%s", count_states(rows))
    if ready and not dry_run:
        ended, says = run_videos(
            [row.path for row in ready], asked, *((row.video, row.attempts) for row in ready)
        )
        rows = follow_up(rows, batch, ended=ended, says=says)
    tell_prefect(
        create_table_artifact,
        as_table(rows),
        key="sweep",
        description=f"{count_states(rows)}, in {', '.join(folders) or 'the folder of videos'}",
    )
    return end_state(rows)


def survey(
    folders: Sequence[str],
    batch: Batch,
    *,
    stable_s: float,
    limit: int | None,
    newest_first: bool,
    max_attempts: int,
    queued: Collection[str] = (),
) -> list[Row]:
    """Decide what is to be done about each video below some folders. Asks no server.

    Reads whole files only to name those that are new, and no more of them than the limit lets
    through.

    Args:
        folders: the site's folder of videos if empty.
        batch: the params in question, and the site.
        stable_s: see `sweep_folder`, as the next three.
        limit: likewise.
        newest_first: likewise.
        max_attempts: likewise.
        queued: videos that a run which has not begun will do.
    """
    found, problems = look_for_videos(folders or [read_settings().videos])
    index = DigestIndex(batch.settings.digest_index)
    files = _stats(found)
    known = index.recall_all(files)
    tried = Ledger(batch.settings.ledger).read()
    claims = Claims(batch.settings.claims)
    ready: list[Row] = []

    def judge(path: Path, changed: float) -> Row:
        if 0 <= (age := time() - changed) < stable_s:
            return Row(str(path), "skipped", f"still being written: changed {age:.0f} s ago")
        full = limit is not None and len(ready) >= limit
        later = Row(str(path), "waiting", f"for a later sweep: {limit} are taken at once")
        if full and path not in known:
            return later
        try:
            video = known.get(path) or digest_file(path, index)
        except TransientError:
            return Row(str(path), "skipped", "still being written: it changed while it was read")
        except WhosaidError as error:
            return Row(str(path), "failed", str(error))
        standing = standing_of(str(path), video, batch, tried, claims)
        if standing.state == "done":
            return Row(str(path), "skipped", "unchanged", video)
        if standing.state == "running":
            return Row(str(path), "skipped", standing.note, video)
        if standing.attempts >= max_attempts:
            return Row(str(path), "given up", described(standing), video)
        if str(path) in queued:
            return Row(str(path), "waiting", "for a run that has not begun", video)
        if full:
            return later
        return Row(str(path), "ready", described(standing), video, standing.attempts)

    rows = [Row("", "failed", str(problem)) for problem in problems]
    for path in sorted(files, key=lambda path: files[path].st_mtime_ns, reverse=newest_first):
        row = judge(path, files[path].st_mtime)
        rows.append(row)
        if row.state == "ready":
            ready.append(row)
    # The time of change tells nothing if it is still to come: the clock of a camera or a share.
    ahead = {
        str(path): stat
        for path, stat in files.items()
        if stat.st_mtime > time() and any(row.path == str(path) for row in ready)
    }
    return _watch(rows, ahead, stable_s) if ahead else rows


def _stats(paths: Collection[Path]) -> dict[Path, stat_result]:
    stats = {}
    for path in paths:
        try:
            stats[path] = path.stat()
        except OSError:  # gone since it was found
            continue
    return stats


def _watch(rows: list[Row], before: dict[str, stat_result], stable_s: float) -> list[Row]:
    sleep(stable_s)
    after = _stats([Path(path) for path in before])

    def same(path: str) -> bool:
        now = after.get(Path(path))
        return now is not None and (now.st_size, now.st_mtime_ns) == (
            before[path].st_size,
            before[path].st_mtime_ns,
        )

    return [
        row
        if row.path not in before or same(row.path)
        else Row(row.path, "skipped", "still being written: it changed meanwhile")
        for row in rows
    ]


def run_videos(paths: list[str], asked: dict[str, Any], *key: object) -> tuple[bool, str]:
    """Transcribe some videos in one run and wait for its end; return whether and how it ended.

    It is a run of the deployment where a worker serves that: one that the UI can retry. Else it
    is done here.

    Args:
        paths: videos.
        asked: the other parameters of `transcribe_videos`, every one that decides on the result.
        key: what makes these attempts others than earlier ones; who asks for the same twice joins
            the run that is under way.
    """
    with get_client(sync_client=True) as client:
        if is_served(client):
            return _follow(client, _deployed_run(client, paths, asked, key))
    state = transcribe_videos(paths=paths, return_state=True, **asked)
    return True, state.message or state.name


def is_served(client: SyncPrefectClient) -> bool:
    """Tell whether the server has the deployment and a worker has asked for its runs lately."""
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        return False
    return deployment.status is DeploymentStatus.READY and not deployment.paused


def queued_paths() -> frozenset[str]:
    """Return the videos of runs that are due and have not begun. Without a worker none will."""
    with get_client(sync_client=True) as client:
        if not is_served(client):
            return frozenset()
        waiting = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}
            ),
            deployment_filter={"name": {"any_": [DEPLOYMENT.split("/")[1]]}},  # type: ignore[arg-type]
        )
    return frozenset(
        path
        for run in waiting
        if run.next_scheduled_start_time is None
        or run.next_scheduled_start_time.timestamp() < time()
        for path in run.parameters.get("paths", ())
    )


def _deployed_run(
    client: SyncPrefectClient, paths: list[str], asked: dict[str, Any], key: tuple[object, ...]
) -> FlowRun:
    for number in count():
        # For a key that is known, the server returns that run, even if it ended long ago.
        name = digest_of(paths, asked, key, number)
        same = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"idempotency_key": {"any_": [name]}})
        )
        if not same:
            return run_deployment(
                DEPLOYMENT,
                parameters={"paths": paths, "force": [], **asked},
                timeout=0,
                idempotency_key=name,
            )
        if not (same[0].state and same[0].state.is_final()):
            return same[0]
    raise AssertionError


def _follow(client: SyncPrefectClient, run: FlowRun) -> tuple[bool, str]:
    announce(Step("sweep", "wait", "waiting", note=f"in run {run.name}, which a worker does"))
    begun = monotonic()
    while True:
        state = run.state
        if state and state.is_final():
            return True, f"run {run.name}: {state.message or state.name}"
        if is_stopping():
            return False, f"run {run.name} goes on"
        late = monotonic() - begun > START_WITHIN_S
        if late and (state is None or state.is_scheduled() or state.is_pending()):
            return False, f"run {run.name} has not begun: workers are busy, or gone"
        sleep(ASK_EVERY_S)
        try:
            run = client.read_flow_run(run.id)
        except httpx.HTTPError:  # the server restarts
            continue


def follow_up(rows: Sequence[Row], batch: Batch, *, ended: bool, says: str) -> list[Row]:
    """Tell of each video that was handed on what became of it."""
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


def count_states(rows: Collection[Row]) -> str:
    """Return how many videos are in which state, in words."""
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no video"


def as_table(rows: Collection[Row]) -> list[dict[str, str]]:
    """Return the rows for the UI: those that need somebody first, the last ones summed up."""
    ordered = sorted(rows, key=lambda row: STATES.index(row.state))
    table = [{"video": row.path, "state": row.state, "note": row.note} for row in ordered[:SHOWN]]
    if rest := ordered[SHOWN:]:
        table.append({"video": f"{len(rest)} more", "state": "", "note": count_states(rest)})
    return table


def end_state(rows: list[Row]) -> State[list[Row]]:
    """Return the sweep's final state: failed, with the causes, if a video failed in it."""
    says = count_states(rows)
    if is_stopping():
        return Cancelled(message=f"stopped on request: {says}", data=rows)
    if failed := [row for row in rows if row.state == "failed"]:
        causes = "; ".join(f"{row.path}: {row.note}" if row.path else row.note for row in failed)
        return Failed(message=f"{says}: {causes}", data=rows)
    return Completed(message=says, data=rows)
