"""Transcribe videos: find them, work on a few at a time, return how each ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import final_states
from flows.hub_token import find_hub_token
from flows.in_flight import VideosInFlight
from flows.parameters import (
    ChannelsOrDefault,
    CountOrUnknown,
    FolderOrDefault,
    FormatsOrDefault,
    IndexOrDefault,
    LanguageOrDetect,
    ParamsByStage,
    ProfileOrDefault,
    VocabularyOrDefault,
    titled,
)
from spokenby.output.folders import check_writable
from spokenby.plan.stages import Stage
from spokenby.progress import Step, announce, calling_on_exit, is_stopping
from spokenby.site import on_done
from spokenby.site.batch import plan_named, prepare_batch
from spokenby.site.exports import add_formats
from spokenby.site.find_videos import sum_up_left_out
from spokenby.site.inventory import State as VideoState
from spokenby.site.inventory import VideoStatus, request_of, shared_inventory
from spokenby.site.model_files import make_models_ready
from spokenby.site.stage_results import remove_strays
from spokenby.site.voice_library import note_unchanged
from spokenby.types import Video
from spokenby.wording import count_of
from tasks import audio
from tasks.again import again_of_run
from tasks.overview import overview_shown
from tasks.run_report import watch_run

WAITING_FOR_RUN = "waiting for another run of this video"


def run_name() -> str:
    """Name a run after its videos: the first one, and how many more there are."""
    return name_of(flow_run.parameters["paths"])


def name_of(paths: Sequence[str]) -> str:
    """Return the name of a run of these videos."""
    first = " ".join(Path(paths[0]).name.split()) if paths else "the folder of videos"
    return f"{first} and {len(paths) - 1} more" if len(paths) > 1 else first


@flow(name="transcribe-videos", flow_run_name=run_name, persist_result=False)
def transcribe_videos(
    paths: Annotated[tuple[str, ...], titled("Videos or folders")] = (),
    profile: ProfileOrDefault = None,
    language: LanguageOrDetect = None,
    num_speakers: Annotated[CountOrUnknown, titled("Number of speakers", default=0)] = None,
    min_speakers: Annotated[CountOrUnknown, titled("Minimum number of speakers", default=0)] = None,
    max_speakers: Annotated[CountOrUnknown, titled("Maximum number of speakers", default=0)] = None,
    audio_stream: IndexOrDefault = None,
    channels: ChannelsOrDefault = None,
    output: FolderOrDefault = None,
    formats: FormatsOrDefault = None,
    vocabulary: VocabularyOrDefault = None,
    force: Annotated[tuple[Stage, ...], titled("Stages to compute again")] = (),
    params: ParamsByStage = None,
) -> State[list[VideoStatus]]:
    """Transcribe videos: who said what, when.

    Videos are worked on side by side, a few at a time. What is stored is not computed again; a
    video that fails does not touch the others.

    Args:
        paths: Videos, or folders that are searched for videos, as the worker's machine names them;
            the site's folder of videos if empty.
        profile: Profile of engines.
        language: Spoken language; detected where the engine can.
        num_speakers: How many people speak, if known, else 0.
        min_speakers: At least this many people speak, if known, else 0.
        max_speakers: At most this many people speak, if known, else 0.
        audio_stream: Which of a video's audio streams, from 0; -1 for its default one.
        channels: Whether each channel, or each of several audio streams, is one speaker: auto
            splits where they sound like different speakers.
        output: Folder that transcripts go to; the site's folder if empty.
        formats: Files that a transcript gets, such as json,srt,docx; the site's if empty.
        vocabulary: File of terms and replacements; vocabulary.txt beside a video or in the data
            folder if empty.
        force: Stages to compute again, with everything downstream.
        params: What is to differ from the profile, by stage: {"merge": {"max_pause": 1.0}}.
    """
    inventory = shared_inventory(
        lambda: prepare_batch(
            profile,
            language=language,
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
            audio_stream=audio_stream,
            channels=channels,
            output=output,
            formats=formats,
            vocabulary=vocabulary,
            params=params,
        )
    )
    batch = inventory.batch
    get_run_logger().info("profile %s: %s", batch.recipe.profile, batch.profile_reason)
    if force:  # of any video: it refuses a stage that is switched off before models are fetched
        plan_named("", "", batch, force)
    check_writable(batch.output)
    on_done.check(batch.on_done, batch.settings)
    make_models_ready(batch, find_hub_token)
    remove_strays(batch.settings)

    context = FlowRunContext.get()
    request = request_of(batch, (context and context.parameters) or {})
    run = VideosInFlight(inventory, force, request)
    order: dict[str, int] = {}
    claimed: list[Video] = []
    watched = watch_run(flow_run.name or "a run", batch.settings)
    again = again_of_run()
    shown = overview_shown(again)
    with shown, watched, inventory.claims, calling_on_exit(run.note_stopped):
        for status in inventory.look_below(
            paths or [str(batch.settings.videos)], audio.inspect_video
        ):
            order[status.path] = len(order)
            if not status.video:
                run.note_unread(status)
            elif not run.begin(status.video):
                claimed.append(status.video)
                announce(Step(status.path, "wait", "waiting", note=WAITING_FOR_RUN))
        if left_out := sum_up_left_out(inventory.left_out):
            get_run_logger().info("%s", left_out)
        # Another run works on these, or this one on another file with the same bytes. They come
        # last: what the other has stored then is not computed again, and should it die, this run
        # takes its place.
        for video in claimed:
            run.begin_when_free(video)
        run.collect_all()

    statuses = note_unchanged(add_formats(run.ended, batch), batch.settings)
    statuses.sort(key=lambda status: order[status.path])
    return end_state(statuses, forms=bool(again.deployment))


def end_state(statuses: list[VideoStatus], *, forms: bool) -> State[list[VideoStatus]]:
    """Return the flow's final state: failed, with the causes, if any video failed.

    Args:
        statuses: how each video ended.
        forms: the overview links to filled-in forms. The message cannot: the UI shows it as text.
    """
    if is_stopping():
        return final_states.stopped("stopped on request", statuses)
    failed = [status.headline for status in statuses if status.state is VideoState.FAILED]
    if failed:
        for line in failed:
            get_run_logger().error("%s", line)
        # The cause comes first: the UI cuts messages.
        message = (
            f"{'; '.join(failed)} ({len(failed)} of {count_of(len(statuses), 'video')} failed)"
        )
        if forms:
            message += "; to run one again: Artifacts, overview"
        return final_states.failed(message, statuses)
    return Completed(message=f"{count_of(len(statuses), 'video')} done", data=statuses)
