"""Text for reading: with what to know first (.txt), or only what was said (.plain.txt)."""

from collections.abc import Mapping
from typing import Any

from spokenby.output.formats.shared import (
    UNKNOWN_SPEAKER,
    Writer,
    names_of,
    paragraphs,
    plain,
    timestamp,
    to_ms,
)
from spokenby.types import Seconds, SpeakerTranscript


def write_txt(transcript: SpeakerTranscript, name: str, about: Mapping[str, Any]) -> str:
    """Write for reading: what to know first, then a paragraph a segment."""
    names = names_of(transcript)
    length, speech = _time(transcript.duration), _time(transcript.speech)
    sure = transcript.language_probability
    language = transcript.language + (f" ({sure:.2f} of 1)" if sure is not None else "")
    covered = transcript.coverage
    words = f", {covered:.0%} of that with words" if covered is not None else ""
    head = [plain(name), f"{length} long, {speech} of it speech{words}, language: {language}"]
    head += [
        f"{names[speaker.label]}: speaks {_time(speaker.talk_time)}, {speaker.words} words"
        for speaker in transcript.speakers
    ]
    notes = [
        f"Note: {plain(note)}" for note in (*about.get("notes", ()), *transcript.named_warnings)
    ]
    notes += [
        f"Doubtful {_time(note.start)}-{_time(note.end)}: {plain(note.reason)}"
        for note in transcript.doubtful
    ]
    said = [
        f"[{_time(segment.start)}] "
        f"{names.get(segment.speaker, UNKNOWN_SPEAKER)}: {plain(segment.text)}"
        for segment in transcript.segments
    ]
    blocks = ["\n".join(head), "\n".join(notes), *said]
    return "\n\n".join(block for block in blocks if block) + "\n"


def write_plain(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write only what was said: a paragraph a contribution, without notes on the transcript."""
    names = names_of(transcript)
    return "".join(
        f"[{_time(part.start)}] {names.get(part.speaker, UNKNOWN_SPEAKER)}: {part.text}\n\n"
        for part in paragraphs(transcript)
        if part.text
    )


def _time(time: Seconds) -> str:
    return timestamp(to_ms(time))


WRITERS: dict[str, Writer] = {
    "transcript.txt": write_txt,
    "transcript.plain.txt": write_plain,
}
