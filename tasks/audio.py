"""Extract a video's audio and map it into memory."""

from pathlib import Path

from prefect import task
from prefect.runtime import task_run

from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.engines.ffmpeg_decoder import FfmpegDecoder
from spokenby.plan.stages import Stage
from spokenby.progress import showing, timed
from spokenby.settings import read_settings
from spokenby.site.inventory import confirm_unchanged, inspect
from spokenby.site.remote_videos import on_disk
from spokenby.stages import audio
from spokenby.types import AudioFile, Digest, Span, Video, Waveform
from tasks.options import passing_stage, stored_stage


def _inspected() -> str:
    return f"inspect {Path(task_run.parameters['path']).name}"


@task(task_run_name=_inspected, persist_result=False)
def inspect_video(path: Path) -> Video:
    """Probe a file and take the digest of its bytes."""
    return inspect(path)


@task(**stored_stage(Stage.EXTRACT))
def extract_audio(video: Video, params: audio.Params, digest: Digest) -> AudioFile:
    """Bring a video's audio into the site's audio folder."""
    settings = read_settings()
    with (
        showing(video.path, Stage.EXTRACT) as progress,
        on_disk(Path(video.path)) as file,
    ):
        return timed(
            audio.extract_audio,
            video.model_copy(update={"path": str(file)}),
            settings.audio,
            FfmpegDecoder(
                find_ffmpeg(settings.ffmpeg), settings.ffmpeg_stall_s, settings.max_hours
            ),
            params,
            digest=digest,
            confirm=lambda _: confirm_unchanged(video),
            progress=progress,
        )


@task(**passing_stage("preload"))
def preload_waveform(
    video: Video,  # noqa: ARG001 - names the task run
    audio_file: AudioFile,
    part: Span | None = None,
) -> Waveform:
    """Map a video's samples, or a part of them, into memory; nothing is read before it is used."""
    path = read_settings().audio / audio_file.name
    waveform = audio.open_waveform(path, audio_file.digest, audio_file.tracks)
    return audio.cut_waveform(waveform, part) if part else waveform
