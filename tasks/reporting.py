"""Write a video's outputs."""

from collections.abc import Iterable
from pathlib import Path

from prefect import task
from prefect.logging import get_logger

from spokenby.output import formats, layers, manifest, published
from spokenby.output.folders import Files
from spokenby.output.video_page import write_video_page
from spokenby.plan.planning import Plan
from spokenby.plan.profiles import Recipe
from spokenby.plan.stages import Stage
from spokenby.progress import showing
from spokenby.review import page
from spokenby.review.listening_copy import listening_copy
from spokenby.settings import host_name, read_settings
from spokenby.site.on_done import tell
from spokenby.site.video_locks import confirm_claim
from spokenby.site.voice_library import (
    Identified,
    note_transcript,
    open_library,
    rename_since,
)
from spokenby.stages.merging import name_speakers
from spokenby.telemetry import sampler
from spokenby.types import AudioFile, SpeakerTranscript, StageResult, TranscriptSummary, Video
from spokenby.wording import markdown_cell
from tasks.again import again_of_run, naming_links
from tasks.artifacts import link_to_page, show_video
from tasks.options import passing_stage


@task(**passing_stage("write"))
def write_outputs(
    video: Video,
    recipe: Recipe,
    plan: Plan,
    model_identities: dict[str, tuple[str, ...]],
    transcript: SpeakerTranscript,
    identified: Identified | None,
    results: dict[str, StageResult],
    folder: Path,
    chosen: tuple[str, ...],
    on_done: str = "",
) -> TranscriptSummary:
    """Write one folder a video, whole or not at all; then tell who wants to know."""
    settings = read_settings()
    audio = results.get(Stage.EXTRACT)
    audio = audio if isinstance(audio, AudioFile) else None
    with (
        showing(video.path, "write") as progress,
        listening_copy(
            audio, settings.audio, folder, progress, wanted=recipe.write.listening_copy
        ) as copy,
        published.one_writer(settings.claims, folder),
    ):
        if audio:
            warnings = (*audio.warnings, *transcript.warnings)
            transcript = transcript.model_copy(update={"warnings": warnings})
        embeddings, identities, unmatched_people = identified or (None, (), "")
        if embeddings:
            # Asked once more: somebody may have given a voice its name meanwhile.
            newest = open_library(settings).identities_of(video.digest, embeddings)
            identities = newest or identities
            transcript = name_speakers(transcript, identities)
        document = formats.Document(transcript, video.name, manifest.describe_origin(video, recipe))
        # What was exported into the folder since stays there, as new as the rest.
        exported = formats.among((manifest.read_manifest(folder) or {"files": ()})["files"])
        corrections, source = layers.stored_corrections(folder, video.digest, settings.corrections)
        layer = layers.lay(document, video.digest, corrections, source)
        layers.keep_copy(corrections, video.digest, settings.corrections)
        transcript = layer.document.transcript
        rendered = formats.render(*layer.document, dict.fromkeys([*chosen, *exported]))
        files: Files = {**rendered, **layer.files, **copy.files}
        files = {**files, **page.render(layer, files)}
        run = manifest.describe_run(
            video,
            recipe,
            plan,
            model_identities,
            transcript,
            results,
            identified_from=embeddings,
            identities=identities,
            listening_copy=copy.of,
            telemetry=sampler.seen_of(video.path),
            host=host_name() if settings.has_hosts else "",
        )
        run = manifest.corrected(run, transcript, layer.counts)
        confirm_claim(video.digest)
        # First: should writing fail, or be killed, the next run does both.
        note_transcript(video, folder, transcript, settings)
        kept = published.write_folder(folder, manifest.with_files(run, files))
    renamed = rename_since(identities, video.digest, embeddings or "", folder, settings)
    summary = manifest.summarize_folder(folder, computed=True)
    show_video(
        video.digest,
        write_video_page(
            transcript,
            run,
            folder,
            again_from(plan.digests, video.path),
            naming_links(identities),
            link_to_page(folder),
        ),
        f"{markdown_cell(video.name)}: who spoke, what it took, where the transcript is",
    )
    # Not in the transcript, which neither concerns for long.
    passing = [unmatched_people] if unmatched_people else []
    passing += [copy.missing] if copy.missing else []
    passing += [renamed] if renamed else []
    passing += [f"edited by hand, kept: {kept}"] if kept else []
    if problem := tell(on_done, folder, settings):
        get_logger("spokenby").warning("%s", problem)
        passing.append(problem)
    return summary.model_copy(update={"warnings": (*summary.warnings, *passing)})


def again_from(stages: Iterable[Stage], path: str) -> list[str]:
    """Return the links that compute a video again, one from each stage on."""
    again = again_of_run()
    return list(filter(None, (again.link(stage, path, [stage]) for stage in stages)))
