"""Find who spoke when."""

from contextlib import ExitStack

from prefect import task

from spokenby.engines.loading import load_diarizer
from spokenby.plan.stages import Stage
from spokenby.progress import showing, timed
from spokenby.settings import read_settings
from spokenby.site.gpu_slots import on_gpu
from spokenby.stages import diarization
from spokenby.types import Diarization, Digest, SpeechRegions, Video, Waveform
from tasks.options import stored_stage


@task(**stored_stage(Stage.DIARIZE))
def diarize_speakers(
    video: Video,
    waveform: Waveform,
    speech: SpeechRegions | None,
    params: diarization.Params,
    digest: Digest,
) -> Diarization:
    """Find who spoke when; the next video may listen while the voices of this one are compared."""
    if speech and diarization.is_by_track(waveform, params):
        return timed(diarization.take_tracks, waveform, speech, params, digest=digest)
    with ExitStack() as held:
        diarizer = held.enter_context(
            on_gpu(video.path, Stage.DIARIZE, load_diarizer(params, read_settings().models))
        )
        with showing(video.path, Stage.DIARIZE) as progress:
            return timed(
                diarization.diarize_speakers,
                waveform,
                speech,
                diarizer,
                params,
                digest=digest,
                progress=progress,
                release=held.close,
            )
