"""Identify speakers in the voice library, and enroll people in it.

Nothing of it is stored as a stage's result: what the library knows changes, and the library keeps
what it decided about a video.
"""

from typing import NamedTuple

from prefect import get_run_logger, task

from spokenby.output.rename_speakers import Rewritten
from spokenby.progress import showing
from spokenby.settings import read_settings
from spokenby.site.video_locks import confirm_claim
from spokenby.site.voice_library import (
    Identified,
    open_library,
    rewrite_transcripts,
    unmatched_people,
)
from spokenby.stages.tracks import on_timeline
from spokenby.types import JoinedVoices, Span, SpeechRegions, Video, Waveform
from spokenby.voices import enrollment, matching
from spokenby.voices.library import Change, Enrolled, Voiceprint
from tasks.options import passing_stage, passing_task


class Enrolment(NamedTuple):
    """What came of an enrollment."""

    enrolled: Enrolled
    joined: tuple[Change, ...]
    """Voices without a name that is now recognized as this one."""
    rewritten: tuple[Rewritten, ...]
    """Transcripts in which they have the name now."""


class Naming(NamedTuple):
    """What came of naming a voice."""

    change: Change
    rewritten: tuple[Rewritten, ...]
    """Transcripts in which it has the name now, or should have it."""


@task(**passing_stage("identify"))
def identify_speakers(video: Video, voices: JoinedVoices, params: matching.Params) -> Identified:
    """Find the speakers among the voices of this site, and note those that are new."""
    with showing(video.path, "identify"):
        settings = read_settings()
        library = open_library(settings)
        embeddings = voices.embeddings
        confirm_claim(video.digest)
        identities = library.identify(video, embeddings, on_timeline(voices.diarization), params)
        return Identified(
            embeddings.digest, identities, unmatched_people(settings.voices, embeddings.model)
        )


@task(**passing_stage("take voiceprint of"))
def take_voiceprint(
    video: Video,
    waveform: Waveform,
    speech: SpeechRegions,
    voices: JoinedVoices,
    part: Span | None = None,
) -> tuple[str, Voiceprint]:
    """Return the model, and the voiceprint of the one person who speaks in a recording."""
    return voices.embeddings.model, enrollment.take_voiceprint(
        video.path, waveform, speech, voices, begin=part.start if part else 0.0
    )


@task(**passing_task("enroll {name}"))
def enroll(
    name: str, model: str, prints: list[Voiceprint], params: matching.Params, *, force: bool
) -> Enrolment:
    """Add a voice, or prints to it, and give its name to who turns out to be it."""
    settings = read_settings()
    library = open_library(settings)
    enrolled = library.enroll(name, model, prints, params, force=force)
    joined = library.reidentify(params)
    videos = {video for change in joined for video in change.videos}
    return Enrolment(enrolled, joined, tuple(rewrite_transcripts(videos, settings)))


@task(**passing_task("name {which}: {name}"))
def rename_voice(which: str, name: str, *, merge: bool) -> Naming:
    """Give a voice a name, in every transcript."""
    settings = read_settings()
    change = open_library(settings).rename(which, name, merge=merge)
    rewritten = []
    for each in rewrite_transcripts(change.videos, settings):
        rewritten.append(each)
        if each.note:
            get_run_logger().warning("%s: %s", each.folder, each.note)
    return Naming(change, tuple(rewritten))
