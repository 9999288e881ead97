"""Join labels that are one voice, and give words to speakers."""

from prefect import task

from spokenby.plan.stages import Stage
from spokenby.progress import showing
from spokenby.stages import merging
from spokenby.types import (
    Diarization,
    Digest,
    EdgeDecisions,
    JoinedVoices,
    SpeakerEmbeddings,
    SpeakerTranscript,
    SpeechRegions,
    Transcript,
    Video,
)
from tasks.options import passing_stage


@task(**passing_stage("join"))
def join_voices(
    video: Video,  # noqa: ARG001 - names the task run
    diarization: Diarization,
    embeddings: SpeakerEmbeddings,
    params: merging.Params,
) -> JoinedVoices:
    """Put labels that are one voice under one label, once for everything downstream."""
    return merging.join_voices(diarization, embeddings, params)


@task(**passing_stage(Stage.MERGE))
def merge_transcript(
    video: Video,
    transcript: Transcript,
    voices: JoinedVoices,
    speech: SpeechRegions,
    edges: EdgeDecisions | None,
    params: merging.Params,
    digest: Digest,
) -> SpeakerTranscript:
    """Give each word its speaker. Too cheap to be stored."""
    with showing(video.path, Stage.MERGE):
        return merging.merge_transcript(
            transcript, voices, speech, params, edges=edges, digest=digest
        )
