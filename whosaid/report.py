"""What a person wants to know of a finished video, as Markdown, lives here.

The numbers are not made here; see `manifest.py` and `merging.py`.
"""

from pathlib import Path
from typing import Any

from whosaid.types import Seconds, SpeakerTranscript


def clock(seconds: Seconds) -> str:
    """Return a length of time as 1:02:03 or 2:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def summarise(transcript: SpeakerTranscript, manifest: dict[str, Any], folder: Path) -> str:
    """Return a page about one video: who spoke how long, what took how long, what to mind.

    Args:
        transcript: as written.
        manifest: as of `manifest.describe_run`.
        folder: where the outputs are.
    """
    speed = manifest["times_real_time"]
    took = f"{manifest['seconds']:.1f} s, {speed} × real time" if speed else "all from the cache"
    lines = [
        f"# {_cell(manifest['video']['name'])}",
        "",
        (
            f"{clock(transcript.duration)} long, {clock(transcript.speech)} of it speech, "
            f"language {transcript.language or 'unknown'}, {manifest['words']} words. "
            f"Quality: {manifest['quality']}. Took: {took}."
        ),
        "",
        "| speaker | talk time | words |",
        "|---|---:|---:|",
        *(
            f"| {_cell(speaker.name)} | {clock(speaker.talk_time)} | {speaker.words} |"
            for speaker in transcript.speakers
        ),
        "",
        "| stage | seconds | |",
        "|---|---:|---|",
        *(
            f"| {name} | {stage['seconds']:.1f} | {('', 'from the cache')[stage['from_cache']]} |"
            for name, stage in manifest["stages"].items()
        ),
        "",
        *(f"- warning: {_cell(warning)}" for warning in transcript.warnings),
        "",
        f"Outputs: `{folder}`",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
