"""The tasks that say who somebody is, and learn who somebody is, live here.

How, does not: see spokenby/voices/. Nothing of it is stored as a stage's
result: what the library knows changes. It remembers itself what it decided about a video.
"""

from typing import NamedTuple

from prefect import task

from spokenby.output.rename_speakers import Rewritten
from spokenby.progress import showing
from spokenby.settings import read_settings
from spokenby.site.voice_library import Identified, open_library, rewrite_transcripts, unheard
from spokenby.stages import merging
from spokenby.stages.voice_similarity import join_labels
from spokenby.types import Diarization, Span, SpeakerEmbeddings, SpeechRegions, Video, Waveform
from spokenby.voices import enrolment, matching
from spokenby.voices.library import Change, Enrolled, Voiceprint
from tasks.options import passing_stage, passing_task


class Enrolment(NamedTuple):
    """What came of an enrolment."""

    enrolled: Enrolled
    joined: tuple[Change, ...]
    """Voices without a name that turned out to be this one."""
    rewritten: tuple[Rewritten, ...]
    """Transcripts in which they have the name now."""


@task(**passing_stage("identify"))
def identify_speakers(
    video: Video,
    embeddings: SpeakerEmbeddings,
    diarization: Diarization,
    params: matching.Params,
    joining: merging.Params,
) -> Identified:
    """Find the speakers among the voices of this site, and note those that are new."""
    with showing(video.path, "identify"):
        joined = merging.find_joined(diarization, embeddings, joining)
        diarization, embeddings = join_labels(diarization, embeddings, joined)
        settings = read_settings()
        library = open_library(settings)
        identities = library.identify(video, embeddings, diarization, params)
        return Identified(embeddings.digest, identities, unheard(settings.voices, embeddings.model))


@task(**passing_stage("take voiceprint of"))
def take_voiceprint(
    video: Video,
    waveform: Waveform,
    speech: SpeechRegions,
    diarization: Diarization,
    embeddings: SpeakerEmbeddings,
    params: merging.Params,
    part: Span | None = None,
) -> tuple[str, Voiceprint]:
    """Return the model, and the voiceprint of the one person who speaks in a recording."""
    return embeddings.model, enrolment.take_voiceprint(
        video.path,
        waveform,
        speech,
        diarization,
        embeddings,
        same_voice=params.same_voice,
        begin=part.start if part else 0.0,
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
