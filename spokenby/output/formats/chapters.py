"""Chapters, where the topic or the speaker changes: .chapters.vtt, .chapters.txt, FFMETADATA."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from spokenby.output.formats.shared import (
    UNKNOWN_SPEAKER,
    Paragraph,
    Writer,
    names_of,
    paragraphs,
    plain,
    timestamp,
    to_ms,
)
from spokenby.output.topics import LEAST_WORDS, find_topic_changes
from spokenby.types import Seconds, SpeakerTranscript
from spokenby.wording import position

_SHORTEST_S: Seconds = 60.0
"""Shorter chapters would be too many to choose from."""

_TITLE_CHARACTERS = 60


class Chapter(NamedTuple):
    """A part of a video; chapters follow each other without a gap."""

    start_ms: int
    end_ms: int
    title: str


def chapters_of(transcript: SpeakerTranscript) -> list[Chapter]:
    """Return chapters of at least a minute, each called by who speaks first, and the words.

    They begin with paragraphs, where the topic changes. A short transcript, or one in a script
    without spaces, has too few words to tell: there they begin where the speaker changes.
    """
    parts = list(paragraphs(transcript))
    spaced = [word.spaced for part in parts for word in part.words]
    if len(spaced) >= LEAST_WORDS and sum(spaced) > len(spaced) / 2:
        first = _topics(parts, transcript.duration)
    else:
        first = _speakers(parts)
    names = names_of(transcript)
    starts = [0, *(to_ms(part.start) for part in first[1:]), to_ms(transcript.duration)]
    return [
        Chapter(start, max(end, start + 1), _title(part, names))
        for part, (start, end) in zip(first, pairwise(starts), strict=False)
    ]


def _speakers(parts: Iterable[Paragraph]) -> list[Paragraph]:
    """Return the first paragraphs of chapters that begin with another speaker."""
    first: list[Paragraph] = []
    before: str | None = None
    for part in parts:
        since = part.start - (first[-1].start if len(first) > 1 else 0.0)
        if not first or (since >= _SHORTEST_S and part.speaker != before):
            first.append(part)
        before = part.speaker
    return first


def _topics(parts: Sequence[Paragraph], duration: Seconds) -> list[Paragraph]:
    """Return the first paragraphs of chapters that begin near a change of topic."""
    counts = list(accumulate((len(part.words) for part in parts), initial=0))
    times = [0.0, duration]
    first = [parts[0]]
    for place in find_topic_changes([word.text for part in parts for word in part.words]):
        part = parts[min(range(len(parts)), key=lambda n: abs(counts[n] - place))]
        if all(abs(part.start - time) >= _SHORTEST_S for time in times):
            times.append(part.start)
            first.append(part)
    return [first[0], *sorted(first[1:], key=lambda part: part.start)]


def _title(part: Paragraph, names: Mapping[str | None, str]) -> str:
    text = plain(f"{names.get(part.speaker, UNKNOWN_SPEAKER)}: {part.text}")
    return text if len(text) <= _TITLE_CHARACTERS else f"{text[: _TITLE_CHARACTERS - 1]}…"


def as_metadata(chapters: Iterable[Chapter]) -> str:
    """Return chapters as ffmpeg reads them (FFMETADATA)."""
    lines = [";FFMETADATA1"]
    for chapter in chapters:
        title = re.sub(r"([=;#\\])", r"\\\1", chapter.title)
        lines += ["[CHAPTER]", "TIMEBASE=1/1000"]
        lines += [f"START={chapter.start_ms}", f"END={chapter.end_ms}", f"title={title}"]
    return "\n".join(lines) + "\n"


def write_vtt(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write a track of chapters for a web page's video: `<track kind="chapters">`."""
    cues = (
        f"{timestamp(chapter.start_ms, '.')} --> {timestamp(chapter.end_ms, '.')}\n"
        f"{chapter.title.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}\n"
        for chapter in chapters_of(transcript)
    )
    return "\n".join(["WEBVTT\n", *cues])


def write_txt(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write a line a chapter, as video sites and podcast players take them in a description."""
    return "".join(
        f"{position(chapter.start_ms / 1000)} {chapter.title}\n"
        for chapter in chapters_of(transcript)
    )


WRITERS: dict[str, Writer] = {
    "transcript.chapters.vtt": write_vtt,
    "transcript.chapters.txt": write_txt,
}
