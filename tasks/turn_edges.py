"""Decide words beside a change of speaker by their sound."""

from prefect import task

from spokenby.engines.loading import load_embedder
from spokenby.plan.stages import Stage
from spokenby.progress import showing, timed
from spokenby.settings import read_settings
from spokenby.site.gpu_slots import on_gpu
from spokenby.stages import embeddings, turn_edges
from spokenby.types import (
    Diarization,
    Digest,
    EdgeDecisions,
    SpeakerEmbeddings,
    Transcript,
    Video,
    Waveform,
)
from tasks.options import stored_stage


@task(**stored_stage(Stage.EDGES))
def decide_edges(
    video: Video,
    waveform: Waveform,
    transcript: Transcript,
    diarization: Diarization,
    voices: SpeakerEmbeddings,
    embedding: embeddings.Params,
    params: turn_edges.Params,
    digest: Digest,
) -> EdgeDecisions:
    """Give doubtful words beside a change of speaker to the voice they sound like, in one batch."""
    with (
        on_gpu(
            video.path, Stage.EDGES, load_embedder(embedding, read_settings().models)
        ) as embedder,
        showing(video.path, Stage.EDGES) as progress,
    ):
        return timed(
            turn_edges.decide_edges,
            waveform,
            transcript,
            diarization,
            voices,
            embedder,
            params,
            digest=digest,
            progress=progress,
        )
