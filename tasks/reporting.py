"""The task that writes a video's outputs lives here. Their form does not: whosaid/formats.py."""

from pathlib import Path

from prefect import task

from tasks.policies import passing_stage
from tasks.progress import showing
from whosaid import folders, formats, manifest
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
    if kept:
        outcome = outcome.model_copy(
            update={"warnings": (*outcome.warnings, f"edited by hand, kept: {kept}")}
        )
    return outcome
