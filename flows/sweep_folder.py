"""Transcribe what is new in some folders."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import deployment, flow_run
from prefect.states import Completed
from pydantic import Field

from flows import final_states
from flows.deployment_runs import queued_paths, run_videos
from flows.parameters import (
    CountOrUnknown,
    FolderOrDefault,
    LanguageOrDetect,
    ParamsByStage,
    ProfileOrDefault,
    VocabularyOrDefault,
    titled,
)
from spokenby.progress import is_stopping
from spokenby.site.batch import prepare_batch
from spokenby.site.find_videos import sum_up_left_out
from spokenby.site.inventory import State as VideoState
from spokenby.site.inventory import VideoStatus, count_states, follow_up, shared_inventory
from spokenby.site.new_videos import Choice, survey
from spokenby.wording import markdown_cell
from tasks.artifacts import tell_prefect

SHOWN = 500
"""How many videos the table in the UI lists; those that need somebody come first."""


def run_name() -> str:
    """Name a sweep after its folders: the first one, and how many more there are."""
    folders = flow_run.parameters["folders"]
    first = Path(folders[0]).name if folders else "the folder of videos"
    return f"sweep {first} and {len(folders) - 1} more" if len(folders) > 1 else f"sweep {first}"


@flow(name="sweep-folder", flow_run_name=run_name, persist_result=False)
def sweep_folder(
    folders: Annotated[tuple[str, ...], titled("Folders to watch")] = (),
    profile: ProfileOrDefault = None,
    language: LanguageOrDetect = None,
    output: FolderOrDefault = None,
    vocabulary: VocabularyOrDefault = None,
    stable_s: Annotated[float, Field(ge=0), titled("Seconds without change")] = 60.0,
    limit: Annotated[CountOrUnknown, titled("Maximum number of videos", default=0)] = None,
    newest_first: Annotated[bool, titled("Newest first")] = False,
    max_attempts: Annotated[int, Field(ge=1), titled("Attempts")] = 3,
    dry_run: Annotated[bool, titled("Only list what would be done")] = False,
    params: ParamsByStage = None,
) -> State[list[VideoStatus]]:
    """Transcribe what is new in some folders.

    What is new goes to runs of transcribe-videos, one for each host that has a worker; links lead
    to them. Videos that have their transcript, that are still being written, or that another run
    works on are left out. Each sweep tries a failed video once more, until it has failed too often;
    then it rests until its file changes or somebody runs `spokenby retry`.

    Args:
        folders: Folders that are searched, as the worker's machine names them; the site's folder
            of videos if empty.
        profile: Profile of engines.
        language: Spoken language; detected where the engine can.
        output: Folder that transcripts go to; the site's folder if empty.
        vocabulary: File of terms and replacements; vocabulary.txt beside a video or in the data
            folder if empty.
        stable_s: A file that changed within this many seconds counts as still being written.
        limit: Maximum number of videos in one sweep; 0 for all.
        newest_first: Start with the newest file instead of the oldest.
        max_attempts: A video that failed so often is left out.
        dry_run: Only list what would be done.
        params: What is to differ from the profile, by stage: {"merge": {"max_pause": 1.0}}.
    """
    inventory = shared_inventory(
        lambda: prepare_batch(
            profile, language=language, output=output, vocabulary=vocabulary, params=params
        )
    )
    batch = inventory.batch
    request = {
        "profile": batch.recipe.profile.value,
        "language": language,
        "num_speakers": None,
        "min_speakers": None,
        "max_speakers": None,
        "audio_stream": None,
        "channels": None,
        "output": str(batch.output.absolute()) if output else None,
        "vocabulary": str(Path(vocabulary).absolute()) if vocabulary else None,
        "params": params,
    }
    choice = Choice(stable_s, limit, newest_first, max_attempts, queued_paths())
    statuses = survey(folders, inventory, choice)
    ready = [status for status in statuses if status.state is VideoState.READY]
    get_run_logger().info("%s", count_states(statuses))
    if left_out := sum_up_left_out(inventory.left_out):
        get_run_logger().info("%s", left_out)
    if ready and not dry_run:
        ended, message = run_videos(
            [status.path for status in ready],
            request,
            inventory,
            *((status.digest, status.attempts) for status in ready),
            # A sweep of the schedule that waited would hold a place of the worker.
            wait=deployment.id is None,
        )
        statuses = follow_up(statuses, inventory, ended=ended, message=message)
    tell_prefect(
        create_table_artifact,
        as_table(statuses),
        key="sweep",
        description=f"{count_states(statuses)}, in "
        + (markdown_cell(", ".join(folders)) if folders else "the folder of videos")
        + (f"; {markdown_cell(left_out)}" if left_out else ""),
    )
    return end_state(statuses)


def as_table(statuses: Collection[VideoStatus]) -> list[dict[str, str]]:
    """Return the table for the UI: what needs somebody first, the last ones summed up.

    Prefect's UI takes cells for Markdown.
    """
    ordered = sorted(statuses, key=lambda status: list(VideoState).index(status.state))
    table = [
        {
            "video": markdown_cell(status.path),
            "state": status.state.value,
            "note": status.note and markdown_cell(status.note),
        }
        for status in ordered[:SHOWN]
    ]
    if rest := ordered[SHOWN:]:
        table.append({"video": f"{len(rest)} more", "state": "", "note": count_states(rest)})
    return table


def end_state(statuses: list[VideoStatus]) -> State[list[VideoStatus]]:
    """Return the sweep's final state: failed, with the causes, if a video failed in it."""
    message = count_states(statuses)
    if is_stopping():
        return final_states.stopped(f"stopped on request: {message}", statuses)
    if failed := [status for status in statuses if status.state is VideoState.FAILED]:
        causes = "; ".join(status.headline for status in failed)
        return final_states.failed(f"{causes} ({message})", statuses)
    return Completed(message=message, data=statuses)
