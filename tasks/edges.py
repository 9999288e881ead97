"""The task that listens to words at turn edges lives here. How does not: whosaid/edges.py."""

from prefect import task

from tasks.lanes import on_gpu
from tasks.policies import stored_stage
from tasks.progress import showing, timed
from whosaid import edges, embeddings
from whosaid.engines.loading import load_embedder
from whosaid.planning import Stage
from whosaid.settings import read_settings
from whosaid.types import (
    Diarization,
    Digest,
    EdgeDecisions,
    SpeakerEmbeddings,
    Transcript,
    Video,
    Waveform,
)


@task(**stored_stage(Stage.EDGES))
def decide_edges(
    video: Video,
    waveform: Waveform,
    transcript: Transcript,
    diarization: Diarization,
    voices: SpeakerEmbeddings,
    embedding: embeddings.Params,
    params: edges.Params,
    digest: Digest,
) -> EdgeDecisions:
    """Give doubtful words beside a change of speaker to the voice they sound like, in one batch."""
    with (
        on_gpu(load_embedder(embedding, read_settings().models)) as embedder,
        showing(video.path, Stage.EDGES) as progress,
    ):
        return timed(
            edges.decide_edges,
            waveform,
            transcript,
            diarization,
            voices,
            embedder,
            params,
            digest=digest,
            progress=progress,
        )
