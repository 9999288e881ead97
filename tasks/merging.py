"""The task that gives words to speakers lives here. How, does not; see whosaid/merging.py."""

from prefect import task

from tasks.policies import passing_stage
from tasks.progress import showing
from whosaid import merging
from whosaid.planning import Stage
from whosaid.types import (
    Diarization,
    Digest,
    EdgeDecisions,
    SpeakerEmbeddings,
    SpeakerTranscript,
    SpeechRegions,
    Transcript,
    Video,
)


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
