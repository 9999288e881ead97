"""What is known of a recording, by a person's reference or by a system: turns, lines, words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from spokenby.output.formats import Document
from spokenby.types import Seconds, SpeakerTranscript, Turn


class TimedWord(NamedTuple):
    """A word with times of its own. `speaker` is `None` where it is not known."""

    text: str
    start: Seconds
    end: Seconds
    speaker: str | None = None
    spaced: bool = True


class Line(NamedTuple):
    """What somebody says in one go. What is not known is `None`; `words` may be empty."""

    text: str
    speaker: str | None = None
    start: Seconds | None = None
    end: Seconds | None = None
    words: tuple[TimedWord, ...] = ()


class Region(NamedTuple):
    """A stretch of the recording."""

    start: Seconds
    end: Seconds


@dataclass(frozen=True)
class Annotation:
    """What is known of a recording; what is not, is `None`.

    `scored` are the only regions to be compared, `ignored` those that are not. `names` are people,
    by the label of a speaker. `sources` say for people which file gave what.
    """

    turns: tuple[Turn, ...] | None = None
    lines: tuple[Line, ...] | None = None
    words: tuple[TimedWord, ...] | None = None
    scored: tuple[Region, ...] | None = None
    ignored: tuple[Region, ...] = ()
    language: str = ""
    duration: Seconds = 0.0
    names: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


def annotation_of(document: Document, identities: Any = ()) -> Annotation:
    """Return what a finished transcript says; `identities` as in its manifest."""
    transcript = document.transcript
    return Annotation(
        turns=transcript.turns,
        lines=tuple(_lines(transcript)),
        words=tuple(word for line in _lines(transcript) for word in line.words),
        language=transcript.language,
        duration=transcript.duration,
        names={each["speaker"]: each["name"] for each in identities if each.get("known")},
    )


def _lines(transcript: SpeakerTranscript) -> list[Line]:
    return [
        Line(
            segment.text,
            segment.speaker,
            segment.start,
            segment.end,
            tuple(
                TimedWord(word.text, word.start, word.end, word.speaker, word.spaced)
                for word in segment.words
            ),
        )
        for segment in transcript.segments
    ]


def cropped(annotation: Annotation, by: Annotation | None = None) -> Annotation:
    """Leave out lines and words outside of the scored regions: those whose middle is."""
    by = by or annotation
    if by.scored is None and not by.ignored:
        return annotation

    def inside(start: Seconds | None, end: Seconds | None) -> bool:
        if start is None or end is None:
            return False
        at = (start + end) / 2
        return (
            by.scored is None or any(region.start <= at < region.end for region in by.scored)
        ) and not any(region.start <= at < region.end for region in by.ignored)

    def kept(lines: Sequence[Line]) -> Iterator[Line]:
        for line in lines:
            heard = [word for word in line.words if inside(word.start, word.end)]
            if heard and len(heard) < len(line.words):
                text = "".join(
                    f" {word.text}" if word.spaced else word.text for word in heard
                ).strip()
                yield Line(text, line.speaker, heard[0].start, heard[-1].end, tuple(heard))
            elif heard or (not line.words and inside(line.start, line.end)):
                yield line

    lines, timed = annotation.lines, annotation.words
    if lines is not None and any(line.start is None for line in lines):
        lines = None  # nobody knows which of them are inside
    return replace(
        annotation,
        lines=None if lines is None else tuple(kept(lines)),
        words=None
        if timed is None
        else tuple(word for word in timed if inside(word.start, word.end)),
    )
