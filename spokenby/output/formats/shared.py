"""Helpers of all formats: speakers' names, text on one line, times."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from spokenby.types import Seconds, SpeakerTranscript

Writer = Callable[[SpeakerTranscript, str, Mapping[str, Any]], str]
"""Returns one file of a transcript, from what `render` is given."""

UNKNOWN_SPEAKER = "Unknown speaker"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Allowed neither in a caption nor in a spreadsheet's cell."""


def names_of(transcript: SpeakerTranscript) -> dict[str | None, str]:
    """Return label → name as shown."""
    return {speaker.label: plain(speaker.name) or speaker.label for speaker in transcript.speakers}


def plain(text: str) -> str:
    """Return the text as one line without control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


def to_ms(time: Seconds) -> int:
    """Return a time in whole milliseconds."""
    return round(time * 1000)


def timestamp(ms: int, point: str = "") -> str:
    """Return 01:02:03, with milliseconds where there is a decimal `point`."""
    seconds, ms = divmod(ms, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}{point}{ms:03}" if point else clock
