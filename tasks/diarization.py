"""The task that finds who spoke when lives here. How does not: whosaid/diarization.py."""

from contextlib import ExitStack

from prefect import task

from tasks.lanes import on_gpu
from tasks.policies import stored_stage
from tasks.progress import showing, timed
from whosaid import diarization
from whosaid.engines.loading import load_diarizer
from whosaid.planning import Stage
from whosaid.settings import read_settings
from whosaid.types import Diarization, Digest, SpeechRegions, Video, Waveform


@task(**stored_stage(Stage.DIARIZE))
def diarize_speakers(
    video: Video,
    waveform: Waveform,
    speech: SpeechRegions | None,
    params: diarization.Params,
    digest: Digest,
) -> Diarization:
    """Find who spoke when; the next video may listen while the voices of this one are compared."""
    with ExitStack() as held:
        diarizer = held.enter_context(on_gpu(load_diarizer(params, read_settings().models)))
        with showing(video.path, Stage.DIARIZE) as progress:
            return timed(
                diarization.diarize_speakers,
                waveform,
                speech,
                diarizer,
                params,
                digest=digest,
                progress=progress,
                let_go=held.close,
            )
