"""The task that takes voiceprints lives here. How does not: whosaid/embeddings.py."""

from prefect import task

from tasks.lanes import on_gpu
from tasks.policies import stored_stage
from tasks.progress import showing, timed
from whosaid import embeddings
from whosaid.engines.loading import load_embedder
from whosaid.planning import Stage
from whosaid.settings import read_settings
from whosaid.types import (
    Diarization,
    Digest,
    SpeakerEmbeddings,
    SpeechRegions,
    Video,
    Waveform,
)


@task(**stored_stage(Stage.EMBED))
def embed_speakers(
    video: Video,
    waveform: Waveform,
    speech: SpeechRegions,
    diarization: Diarization,
    params: embeddings.Params,
    digest: Digest,
) -> SpeakerEmbeddings:
    """Embed a few segments of each speaker, in batches, and pool them."""
    with (
        on_gpu(load_embedder(params, read_settings().models)) as embedder,
        showing(video.path, Stage.EMBED) as progress,
    ):
        return timed(
            embeddings.embed_speakers,
            waveform,
            diarization,
            embedder,
            params,
            speech=speech,
            digest=digest,
            progress=progress,
        )
