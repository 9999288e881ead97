"""Take a voiceprint of each speaker."""

from prefect import task

from spokenby.engines.loading import load_embedder
from spokenby.plan.stages import Stage
from spokenby.progress import showing, timed
from spokenby.settings import read_settings
from spokenby.site.gpu_slots import on_gpu
from spokenby.stages import embeddings
from spokenby.types import Diarization, Digest, SpeakerEmbeddings, SpeechRegions, Video, Waveform
from tasks.options import stored_stage


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
        on_gpu(video.path, Stage.EMBED, load_embedder(params, read_settings().models)) as embedder,
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
