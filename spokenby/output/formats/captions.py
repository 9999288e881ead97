"""Captions: transcript.srt (SubRip) and transcript.vtt (WebVTT)."""

import html
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from spokenby.output.formats.shared import UNKNOWN_SPEAKER, names_of, plain, timestamp, to_ms
from spokenby.stages.merging import SENTENCE_ENDS
from spokenby.types import Segment, SpeakerTranscript

# What subtitle users expect: two lines of 42 characters, at most 7 s, at least 1 s where there is
# room.
_CUE_LINES = 2
_LINE_CHARACTERS = 42
_CUE_LONGEST_MS = 7000
_CUE_SHORTEST_MS = 1000
_LABEL_CHARACTERS = 30

# SubRip has no escape: players take <…> and {…} for markup and swallow the words in between.
_SUBRIP_LOOKALIKES = str.maketrans("<>{}", "‹›()")


class _Cue(NamedTuple):
    start_ms: int
    end_ms: int
    name: str
    lines: list[str]


def _cues(transcript: SpeakerTranscript, *, labelled: bool) -> list[_Cue]:
    """Cut the segments to captions, sorted and apart; `labelled` ones begin with the name."""
    names = names_of(transcript)
    drafts: list[_Cue] = []
    for segment in transcript.segments:
        name = names.get(segment.speaker, UNKNOWN_SPEAKER)
        head = f"{_shortened(name)}:" if labelled else ""
        cue: _Cue | None = None
        for start_ms, end_ms, text in _pieces(segment):
            lines = _filled(cue.lines, text) if cue else []
            if (
                cue is None
                or len(lines) > _CUE_LINES
                or end_ms - cue.start_ms > _CUE_LONGEST_MS
                or (len(cue.lines) == _CUE_LINES and cue.lines[-1].endswith(SENTENCE_ENDS))
            ):
                if cue:
                    drafts.append(cue)
                cue = _Cue(start_ms, end_ms, name, _filled([head], f" {text.lstrip()}"))
            else:
                cue = cue._replace(end_ms=max(cue.end_ms, end_ms), lines=lines)
        if cue:
            drafts.append(cue)
    return _apart(drafts)


def _apart(drafts: list[_Cue]) -> list[_Cue]:
    """Move cues that overlap, and lengthen short ones into the pause behind them."""
    cues: list[_Cue] = []
    for cue in drafts:
        start = cue.start_ms
        if cues:
            start = max(start, cues[-1].start_ms + 1)
            cues[-1] = cues[-1]._replace(end_ms=min(cues[-1].end_ms, start))
        end = min(max(cue.end_ms, start + _CUE_SHORTEST_MS), start + _CUE_LONGEST_MS)
        cues.append(cue._replace(start_ms=start, end_ms=end))
    return cues


def _pieces(segment: Segment) -> Iterator[tuple[int, int, str]]:
    """Yield start, end (ms) and text of each word, cut where it is longer than a line.

    The text begins with a space where one is written before the word.
    """
    for word in segment.words:
        text = plain(word.text)
        parts = [text[at : at + _LINE_CHARACTERS] for at in range(0, len(text), _LINE_CHARACTERS)]
        for number, part in enumerate(parts):
            start = word.start + word.duration * number / len(parts)
            end = word.start + word.duration * (number + 1) / len(parts)
            yield to_ms(start), to_ms(end), part if number or not word.spaced else f" {part}"


def _filled(lines: list[str], text: str) -> list[str]:
    """Return the lines with the text added to the last one, or below where it is full."""
    grown = (lines[-1] + text).lstrip()
    if len(grown) <= _LINE_CHARACTERS:
        return [*lines[:-1], grown]
    return [*lines, text.lstrip()]


def write_srt(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write SubRip; its captions begin with the speaker's name."""
    return "".join(
        f"{number}\n{timestamp(cue.start_ms, ',')} --> {timestamp(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines).translate(_SUBRIP_LOOKALIKES)
        + "\n\n"
        for number, cue in enumerate(_cues(transcript, labelled=True), 1)
    )


def write_vtt(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write WebVTT; speakers are its voice spans."""
    cues = (
        f"{timestamp(cue.start_ms, '.')} --> {timestamp(cue.end_ms, '.')}\n"
        f"<v {html.escape(cue.name, quote=False)}>"
        + html.escape("\n".join(cue.lines), quote=False)
        + "</v>\n\n"
        for cue in _cues(transcript, labelled=False)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _shortened(name: str) -> str:
    """Return a name that leaves room for words beside it in a caption."""
    return name if len(name) <= _LABEL_CHARACTERS else f"{name[: _LABEL_CHARACTERS - 1]}…"


WRITERS = {"transcript.srt": write_srt, "transcript.vtt": write_vtt}
