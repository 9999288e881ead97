"""Enroll a person: learn a voice from recordings in which nobody else speaks."""

import logging
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.states import Completed
from pydantic import Field

from flows import final_states
from flows.hub_token import find_hub_token
from flows.parameters import ProfileOrDefault, titled
from flows.video_stages import Futures, VideoGraph, cause
from spokenby.errors import InputError
from spokenby.plan.stages import Stage, with_upstream
from spokenby.settings import Settings
from spokenby.site.batch import plan_clip, prepare_batch
from spokenby.site.inventory import Inventory, failure
from spokenby.site.model_files import make_models_ready
from spokenby.site.voice_library import delete_embeddings
from spokenby.types import Digest, Seconds, Span, Video
from tasks import audio
from tasks.identification import Enrolment, enroll


@flow(name="enroll-voice", flow_run_name="enroll {name}", persist_result=False)
def enroll_voice(
    name: Annotated[str, titled("Name")],
    clips: Annotated[list[str], titled("Recordings")],
    start: Annotated[Seconds, Field(ge=0), titled("From second")] = 0.0,
    end: Annotated[Seconds, Field(ge=0), titled("To second")] = 0.0,
    profile: ProfileOrDefault = None,
    force: Annotated[bool, titled("Enroll even if similar to somebody else")] = False,
) -> State[Enrolment]:
    """Enroll a person from recordings in which nobody else speaks.

    Who was a speaker without a name so far gets it in all transcripts, if it is this voice.

    Args:
        name: Of the person.
        clips: Recordings or videos, as the worker's machine names them.
        start: Where in the recording to begin, in seconds; for one recording only.
        end: Where in the recording to end, in seconds; 0 for its end.
        profile: Profile of engines.
        force: Enroll although the voice is nearly that of another person.
    """
    if not clips:
        raise InputError(
            "no recording was named", "name recordings in which only this person speaks"
        )
    if (start or end) and len(clips) != 1:
        raise InputError("a start or end applies to one recording", "name only that recording")
    # One person is heard, whatever the site says of its videos.
    batch = prepare_batch(profile, channels="mix")
    make_models_ready(batch, find_hub_token, with_upstream(Stage.EMBED))
    problems: list[str] = []
    heard: list[tuple[Video, Futures]] = []
    computed: list[Digest] = []
    for status in Inventory(batch).look_below(clips, audio.inspect_video):
        if not (video := status.video):
            problems.append(status.problem)
            continue
        part = part_of(video, start, end)
        plan = plan_clip(video, part, batch)
        heard.append((video, VideoGraph(video, plan, batch).take_voiceprint(part)))
        if Stage.EMBED in plan.run:
            computed.append(plan.digests[Stage.EMBED])
    prints, models = [], set()
    for video, futures in heard:
        wait(list(futures.values()))
        taken = futures["voiceprint"].state
        if taken.is_completed():
            model, voiceprint = taken.result()
            models.add(model)
            prints.append(voiceprint)
            continue
        stage, failed = next(
            (stage, future.state)
            for stage, future in futures.items()
            if not future.state.is_completed()
        )
        problem = failure(video.path, stage, cause(failed), video).problem
        problems.append(problem.removeprefix("voiceprint: "))  # names the file and its fault
    # Somebody's voiceprint is kept in the library, where it can be forgotten, or not at all.
    _delete_stored(computed, batch.settings)
    if not problems:
        (model,) = models
        state = enroll(name, model, prints, batch.recipe.identify, force=force, return_state=True)
        if state.is_completed():
            return Completed(message=f"enrolled {name}", data=state.result())
        problems.append(str(cause(state)))
    return final_states.failed(f"{name} was not enrolled: {'; '.join(problems)}", problems)


def _delete_stored(embeddings: list[Digest], settings: Settings) -> None:
    for line in delete_embeddings(embeddings, settings):
        logging.getLogger("spokenby").warning(line)


def part_of(video: Video, start: Seconds, end: Seconds) -> Span | None:
    """Return the part of a recording that counts, `None` for all of it. An `end` of 0 is its end.

    Raises:
        InputError: there is nothing between.
    """
    if not (start or end):
        return None
    part_end = min(end or video.duration, video.duration)
    if start >= part_end:
        raise InputError(
            f"{video.path} has nothing from {start:g} s to {part_end:g} s: it is"
            f" {video.duration:.1f} s long",
            "name other times",
        )
    return Span(start=start, end=part_end)
