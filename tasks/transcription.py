"""The task that writes down what was said lives here. How does not: whosaid/transcription.py."""

from prefect import task

from tasks.lanes import on_gpu
from tasks.policies import stored_stage
from tasks.progress import showing, timed
from whosaid import transcription
from whosaid.engines.loading import load_transcriber
from whosaid.planning import Stage
from whosaid.settings import read_settings
from whosaid.types import Digest, SpeechRegions, Transcript, Video, Waveform


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
        on_gpu(load_transcriber(params, read_settings().models)) as transcriber,
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
