"""Give words to speakers."""

from prefect import task

from spokenby.plan.stages import Stage
from spokenby.progress import showing
from spokenby.stages import merging
from spokenby.types import (
    Diarization,
    Digest,
    EdgeDecisions,
    SpeakerEmbeddings,
    SpeakerTranscript,
    SpeechRegions,
    Transcript,
    Video,
)
from tasks.options import passing_stage


@task(**passing_stage(Stage.MERGE))
def merge_transcript(
    video: Video,
    transcript: Transcript,
    diarization: Diarization,
    embeddings: SpeakerEmbeddings,
    speech: SpeechRegions,
    edges: EdgeDecisions | None,
    params: merging.Params,
    digest: Digest,
) -> SpeakerTranscript:
    """Give each word its speaker. Too cheap to be stored."""
    with showing(video.path, Stage.MERGE):
        return merging.merge_transcript(
            transcript, diarization, embeddings, speech, params, edges=edges, digest=digest
        )
