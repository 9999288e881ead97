"""Write the Markdown page of a video: speakers, durations, warnings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spokenby.types import SpeakerTranscript
from spokenby.wording import clock, markdown_cell, markdown_code


def write_video_page(
    transcript: SpeakerTranscript,
    manifest: dict[str, Any],
    folder: Path,
    again: Sequence[str] = (),
    naming: Mapping[str, str] = MappingProxyType({}),
    page: str = "",
) -> str:
    """Return a page about one video: talk times, durations of stages, warnings.

    Args:
        transcript: as written.
        manifest: from `manifest.describe_run`.
        folder: where the outputs are.
        again: Markdown links that compute the video again from a stage on.
        naming: Markdown links that name a speaker, by what it is called so far.
        page: Markdown link to the page where it can be heard, if that is served.
    """
    speed, made_by = manifest["times_real_time"], manifest["made_by"]
    took = f"{manifest['seconds']:.1f} s, {speed} × real time" if speed else "all from the cache"
    lines = [
        f"# {markdown_cell(manifest['video']['name'])}",
        "",
        *((page, "") if page else ()),
        (
            f"{clock(transcript.duration)} long, {clock(transcript.speech)} of it speech, "
            f"language {_language(transcript)}, {manifest['words']} words{_coverage(transcript)}. "
            f"{markdown_cell(made_by[0].upper() + made_by[1:])}. Took: {took}."
        ),
        "",
        "| speaker | talk time | words | |",
        "|---|---:|---:|---|",
        *(
            f"| {markdown_cell(speaker.name)} | {clock(speaker.talk_time)} | {speaker.words} |"
            f" {naming.get(speaker.name, '')} |"
            for speaker in transcript.speakers
        ),
        "",
        "| stage | seconds | computed in | |",
        "|---|---:|---|---|",
        *(
            f"| {name} | {stage['seconds']:.1f} | {_engine(stage)} |"
            f" {('', 'from the cache')[stage['from_cache']]} |"
            for name, stage in manifest["stages"].items()
        ),
        "",
        *(f"- warning: {markdown_cell(warning)}" for warning in transcript.named_warnings),
        "",
        f"Outputs: {markdown_code(str(folder))}",
        *(("", f"Compute again from: {' · '.join(again)}") if again else ()),
    ]
    return "\n".join(lines)


def _engine(stage: dict[str, Any]) -> str:
    return markdown_cell(stage["computed_in"]) if stage["computed_in"] else ""


def _language(transcript: SpeakerTranscript) -> str:
    sure = transcript.language_probability
    language = markdown_cell(transcript.language or "unknown")
    return language + ("" if sure is None else f" ({sure:.2f} of 1)")


def _coverage(transcript: SpeakerTranscript) -> str:
    covered = transcript.coverage
    return "" if covered is None else f" in {covered:.0%} of the speech"
