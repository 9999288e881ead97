"""Transcribe speech."""

from prefect import task

from spokenby.engines.loading import load_transcriber
from spokenby.plan.stages import Stage
from spokenby.progress import showing, timed
from spokenby.settings import read_settings
from spokenby.site.gpu_slots import on_gpu
from spokenby.stages import transcription
from spokenby.types import Digest, SpeechRegions, Transcript, Video, Waveform
from tasks.options import stored_stage


@task(**stored_stage(Stage.TRANSCRIBE))
def transcribe_speech(
    video: Video,
    waveform: Waveform,
    speech: SpeechRegions,
    params: transcription.Params,
    digest: Digest,
) -> Transcript:
    """Write down what was said, by nobody yet."""
    with (
        on_gpu(
            video.path, Stage.TRANSCRIBE, load_transcriber(params, read_settings().models)
        ) as transcriber,
        showing(video.path, Stage.TRANSCRIBE) as progress,
    ):
        return timed(
            transcription.transcribe_speech,
            waveform,
            speech,
            transcriber,
            params,
            digest=digest,
            progress=progress,
        )
