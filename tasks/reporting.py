"""The task that writes a video's outputs lives here. Their form does not: whosaid/formats.py."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact

from tasks.policies import passing_stage
from tasks.progress import showing, tell_prefect
from whosaid import folders, formats, manifest, report
from whosaid.planning import Plan, Stage
from whosaid.profiles import Recipe
from whosaid.types import AudioFile, Outcome, SpeakerTranscript, StageResult, Video


@task(**passing_stage("write"))
def write_outputs(
    video: Video,
    recipe: Recipe,
    plan: Plan,
    model_identities: dict[str, str],
    transcript: SpeakerTranscript,
    results: dict[str, StageResult],
    folder: Path,
) -> Outcome:
    """Write one folder a video, whole or not at all."""
    with showing(video.path, "write"):
        audio = results.get(Stage.EXTRACT)
        if isinstance(audio, AudioFile):
            told = (*audio.warnings, *transcript.warnings)
            transcript = transcript.model_copy(update={"warnings": told})
        files = formats.render(transcript, video.name, manifest.describe_quality(recipe))
        run = manifest.describe_run(video, recipe, plan, model_identities, transcript, results)
        kept = folders.write_folder(folder, manifest.with_files(run, files))
    outcome = manifest.outcome_of(video, folder, unchanged=False)
    tell_prefect(
        create_markdown_artifact,
        report.summarise(transcript, run, folder),
        key=f"video-{video.digest[:8]}",
        description=f"{video.name}: who spoke, what it took, where the transcript is",
    )
    if kept:
        outcome = outcome.model_copy(
            update={"warnings": (*outcome.warnings, f"edited by hand, kept: {kept}")}
        )
    return outcome
