"""Cut a transcript to the chapters of a video, where another speaker begins."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from spokenby.output.formats.shared import UNKNOWN_SPEAKER, names_of, paragraphs, plain, to_ms
from spokenby.types import Seconds, SpeakerTranscript

_SHORTEST_S: Seconds = 60.0
"""Shorter chapters would be too many to choose from."""

_TITLE_CHARACTERS = 60


class Chapter(NamedTuple):
    """A part of a video; chapters follow each other without a gap."""

    start_ms: int
    end_ms: int
    title: str


def chapters_of(transcript: SpeakerTranscript) -> list[Chapter]:
    """Return chapters of at least a minute, each called by who speaks first, and the words."""
    names = names_of(transcript)
    starts: list[tuple[int, str]] = []
    before: str | None = None
    for part in paragraphs(transcript):
        start = to_ms(part.start) if starts else 0
        long = not starts or start - starts[-1][0] >= to_ms(_SHORTEST_S)
        if long and (not starts or part.speaker != before):
            text = plain(f"{names.get(part.speaker, UNKNOWN_SPEAKER)}: {part.text}")
            short = text if len(text) <= _TITLE_CHARACTERS else f"{text[: _TITLE_CHARACTERS - 1]}…"
            starts.append((start, short))
        before = part.speaker
    ends = [*(start for start, _ in starts[1:]), to_ms(transcript.duration)]
    return [
        Chapter(start, max(end, start + 1), title)
        for (start, title), end in zip(starts, ends, strict=False)
    ]


def as_metadata(chapters: Iterable[Chapter]) -> str:
    """Return chapters as ffmpeg reads them (FFMETADATA)."""
    lines = [";FFMETADATA1"]
    for chapter in chapters:
        title = re.sub(r"([=;#\\])", r"\\\1", chapter.title)
        lines += ["[CHAPTER]", "TIMEBASE=1/1000"]
        lines += [f"START={chapter.start_ms}", f"END={chapter.end_ms}", f"title={title}"]
    return "\n".join(lines) + "\n"
