"""Helpers of all formats: speakers' names, paragraphs, text on one line, times."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from spokenby.output.paragraphs import cut_paragraphs
from spokenby.stages.merging import join_words
from spokenby.types import Seconds, SpeakerTranscript, SpokenWord

Writer = Callable[[SpeakerTranscript, str, Mapping[str, Any]], str | bytes]
"""Returns one file of a transcript, from what `render` is given."""

UNKNOWN_SPEAKER = "Unknown speaker"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Allowed neither in a caption nor in a spreadsheet's cell."""

_NOT_XML = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
"""Refused by XML and YAML besides control characters."""


class Paragraph(NamedTuple):
    """What one speaker says without a long pause."""

    start: Seconds
    end: Seconds
    speaker: str | None
    words: tuple[SpokenWord, ...]

    @property
    def text(self) -> str:
        """The words as one line."""
        return xml_text(join_words(self.words))


def paragraphs(transcript: SpeakerTranscript) -> Iterator[Paragraph]:
    """Yield what people read as one paragraph."""
    for words in cut_paragraphs(transcript):
        yield _paragraph(tuple(words))


def _paragraph(words: tuple[SpokenWord, ...]) -> Paragraph:
    return Paragraph(words[0].start, max(word.end for word in words), words[0].speaker, words)


def names_of(transcript: SpeakerTranscript) -> dict[str | None, str]:
    """Return label → name as shown."""
    return {speaker.label: plain(speaker.name) or speaker.label for speaker in transcript.speakers}


def distinct_names(transcript: SpeakerTranscript) -> dict[str | None, str]:
    """Return label → name, different for each speaker, and one for who is not known (`None`).

    Two labels of a video may turn out to be one voice, and people may share a name.
    """
    listed = names_of(transcript)
    spoken = dict.fromkeys(segment.speaker for segment in transcript.segments)
    names: dict[str | None, str] = {}
    for label in dict.fromkeys([*listed, *filter(None, spoken), None]):
        name = listed.get(label) or label or UNKNOWN_SPEAKER
        names[label] = name if name not in names.values() else f"{name} ({label or 'nobody'})"
    return names


def plain(text: str) -> str:
    """Return the text as one line without control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


def xml_text(text: str) -> str:
    """Return the text as one line of characters that XML and YAML accept."""
    return _NOT_XML.sub("\ufffd", plain(text))


def to_ms(time: Seconds) -> int:
    """Return a time in whole milliseconds."""
    return round(time * 1000)


def timestamp(ms: int, point: str = "") -> str:
    """Return 01:02:03, with milliseconds where there is a decimal `point`."""
    seconds, ms = divmod(ms, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}{point}{ms:03}" if point else clock
