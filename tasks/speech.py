"""Find speech."""

from contextlib import ExitStack

from prefect import task

from spokenby.engines.loading import load_segmenter, load_voice_activity
from spokenby.plan.stages import Stage
from spokenby.progress import showing, timed
from spokenby.settings import read_settings
from spokenby.site.gpu_slots import on_gpu
from spokenby.stages import speech
from spokenby.types import Digest, SpeechRegions, Video, Waveform
from tasks.options import stored_stage


@task(**stored_stage(Stage.SPEECH))
def detect_speech(
    video: Video, waveform: Waveform, params: speech.Params, digest: Digest
) -> SpeechRegions:
    """Find where somebody speaks, and the windows that recognizers read.

    The detector is released before waiting for the GPU: the next video may use it.
    """
    models = read_settings().models
    with ExitStack() as held:
        vad = held.enter_context(load_voice_activity(models))
        with showing(video.path, Stage.SPEECH) as progress:
            return timed(
                speech.detect_speech,
                waveform,
                vad,
                on_gpu(video.path, Stage.SPEECH, load_segmenter(params, models)),
                params,
                digest=digest,
                progress=progress,
                release=held.close,
            )
