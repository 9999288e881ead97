"""Captions: SubRip (.srt), WebVTT (.vtt) and Advanced SubStation Alpha (.ass).

Each with the speakers' names always, where the speaker changes, or never.
"""

import html
import math
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import accumulate, pairwise, starmap
from typing import Any, Literal, NamedTuple

from spokenby.errors import InputError
from spokenby.output.formats.shared import (
    UNKNOWN_SPEAKER,
    Writer,
    distinct_names,
    names_of,
    plain,
    timestamp,
    to_ms,
)
from spokenby.stages.words import SENTENCE_ENDS
from spokenby.types import Segment, SpeakerTranscript

Names = Literal["always", "changes", "never"]
"""Where captions name the speaker."""

# What subtitle users expect: two lines of 42 columns, at most 17 characters a second and 7 s, at
# least 1 s.
_LINE_COLUMNS = 42
_COLUMNS_A_SECOND = 17
_CUE_LONGEST_MS = 7000
_CUE_SHORTEST_MS = 1000
_LABEL_COLUMNS = 30
_LATEST_MS = 500
"""How much a caption may come too late so that the one before it is seen long enough."""

# What cutting a segment in one way costs, to be compared with other ways. A column too fast or a
# tenth of a second too short weighs about as much as a cut that is not at punctuation.
_PER_CUE = 4.0
_PER_COLUMN_TOO_FAST = 2.0
_PER_SECOND_TOO_SHORT = 40.0
_ORPHAN = 15.0
"""A caption of one or two words that were not said alone."""
_MID_SENTENCE = 6.0
_CLAUSE = 2.0
_AFTER_NUMBER = 3.0
"""What is counted comes behind a number."""
_PAUSE = 2.0
"""What a pause takes off a cut."""
_PAUSE_MS = 300
_STRAY = 4.0
"""A cut that leaves one or two words of a sentence on their side."""
_INSIDE_WORD = 60.0
_UNEVEN = 3.0
_TWO_LINES = 1.0

_CLAUSE_ENDS = (",", ";", ":", "–", "—", "،", "、", "，", "；", "：")

# SubRip has no escape: players take <…> and {…} for markup and swallow the words in between.
_SUBRIP_LOOKALIKES = str.maketrans("<>{}", "‹›()")
# Nor has SubStation, where a backslash begins a command; an invisible character makes it text.
_ASS_LOOKALIKES = str.maketrans({"{": "(", "}": ")", "\\": "\\\u2060"})
_ASS_LONGEST_MS = 10 * 3600 * 1000

# Bright enough over a picture. The first five are white and four of Okabe and Ito's, which
# color-blind people tell apart, too.
_COLORS = ("FFFFFF", "F0E442", "56B4E9", "E69F00", "CC79A7", "00C389", "FF8A5C", "9FA8FF")


class _Cue(NamedTuple):
    start_ms: int
    end_ms: int
    speaker: str | None
    named: bool
    lines: list[str]


class _Piece(NamedTuple):
    """A word, or a part of one that is longer than a line."""

    start_ms: int
    end_ms: int
    text: str
    spaced: bool
    first: bool
    """Whether a word begins with it."""


def columns(text: str) -> int:
    """Return how wide a text is: East Asian characters and emoji take two columns."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _cues(transcript: SpeakerTranscript, where: Names, *, written: bool) -> list[_Cue]:
    """Cut the segments to captions, sorted and apart.

    Args:
        transcript: what was said.
        where: captions name the speaker.
        written: the name stands before the text, where it takes room.
    """
    names = names_of(transcript)
    spoken = [(segment.speaker, list(_pieces(segment))) for segment in transcript.segments]
    spoken = [(speaker, pieces) for speaker, pieces in spoken if pieces]
    starts = [pieces[0].start_ms for _, pieces in spoken]
    drafts: list[_Cue] = []
    for number, (speaker, pieces) in enumerate(spoken):
        changes = not number or spoken[number - 1][0] != speaker
        until_ms = starts[number + 1] if number + 1 < len(spoken) else math.inf
        head = f"{_shortened(names.get(speaker, UNKNOWN_SPEAKER))}:"
        named = (where == "always" or (where == "changes" and changes), where == "always")
        heads = tuple(head if written and shown else "" for shown in named)
        layout = _Layout(pieces, (heads[0], heads[1]), until_ms)
        for first, second_line, end in layout.best():
            lines = [
                _line(heads[first > 0], pieces[first:second_line]),
                _line("", pieces[second_line:end]),
            ]
            drafts.append(
                _Cue(
                    pieces[first].start_ms,
                    max(piece.end_ms for piece in pieces[first:end]),
                    speaker,
                    named[first > 0],
                    [line for line in lines if line],
                )
            )
    return _apart(drafts)


class _Layout:
    """The ways to cut a segment to captions, and what each costs.

    Args:
        pieces: of the segment, not empty.
        heads: what stands before the text of the first caption, and of the others.
        until_ms: when something else is said.
    """

    def __init__(self, pieces: list[_Piece], heads: tuple[str, str], until_ms: float) -> None:
        self._pieces = pieces
        self._head_columns = tuple(columns(head) for head in heads)
        self._starts = [*(piece.start_ms for piece in pieces), until_ms]
        self._gaps = [int(piece.spaced) for piece in pieces]
        # Columns and words before each piece.
        self._columns = [0, *accumulate(columns(p.text) + p.spaced for p in pieces)]
        self._words = [0, *accumulate(int(piece.first) for piece in pieces)]
        self._breaks = [0.0, *starmap(_break_cost, pairwise(pieces)), 0.0]
        for first, last in pairwise([0, *self._sentence_ends(), len(pieces)]):
            for place in range(first + 1, last):
                if min(self._spoken(first, place), self._spoken(place, last)) <= 2:
                    self._breaks[place] += _STRAY

    def best(self) -> list[tuple[int, int, int]]:
        """Return the cheapest captions: the first piece, that of line two, and the one behind."""
        count = len(self._pieces)
        costs = [0.0] + [math.inf] * count
        ways = [(0, 0)] * (count + 1)
        for first in range(count):
            for end, cost in self._captions(first):
                total = costs[first] + cost + self._breaks[end]
                # Where to break the line is the long question: asked only if it can matter.
                if total < costs[end] and (lines := self._lines(first, end)):
                    second_line, cost_of_lines = lines
                    if total + cost_of_lines < costs[end]:
                        costs[end], ways[end] = total + cost_of_lines, (first, second_line)
        captions = []
        end = count
        while end:
            first, second_line = ways[end]
            captions.append((first, second_line, end))
            end = first
        return captions[::-1]

    def _captions(self, first: int) -> Iterator[tuple[int, float]]:
        """Yield each caption that may begin with a piece: the end, and the cost but for its lines.

        The shortest one is there even where it breaks a limit.
        """
        start_ms, end_ms = self._starts[first], 0
        words, short = self._words[-1] > 2, self._words[first] + 2
        longest = 2 * _LINE_COLUMNS + self._gaps[first] + self._columns[first]
        for end in range(first + 1, len(self._pieces) + 1):
            end_ms = max(end_ms, self._pieces[end - 1].end_ms)
            if end > first + 1 and (
                self._columns[end] > longest + 1 or end_ms - start_ms > _CUE_LONGEST_MS
            ):
                return
            shown_s = max(0, min(self._starts[end] - start_ms, _CUE_LONGEST_MS)) / 1000
            too_many = self._width(first, end) - shown_s * _COLUMNS_A_SECOND
            cost = _PER_CUE
            if too_many > 0:
                cost += _PER_COLUMN_TOO_FAST * too_many
            if shown_s < _CUE_SHORTEST_MS / 1000:
                cost += _PER_SECOND_TOO_SHORT * (_CUE_SHORTEST_MS / 1000 - shown_s)
            if words and self._words[end] <= short:
                cost += _ORPHAN
            yield end, cost

    def _lines(self, first: int, end: int) -> tuple[int, float] | None:
        """Return where line two begins (at the end: there is none), and the cost; if they fit."""
        head = self._head_columns[first > 0]
        room = _LINE_COLUMNS - (head and head + 1)
        if self._width(first, end) <= room:
            return end, 0.0
        best: tuple[int, float] | None = None
        edges, gaps, breaks = self._columns, self._gaps, self._breaks
        begin, stop = edges[first] + gaps[first], edges[end]
        if head and stop - begin <= _LINE_COLUMNS:  # it may stand alone
            best = first, _TWO_LINES + _UNEVEN * abs(head - (stop - begin)) / _LINE_COLUMNS
        # From the first place from which the rest fits a line, to the last up to which the line is.
        earliest = bisect_left(edges, stop - _LINE_COLUMNS - 1, first + 1, end)
        for at in range(earliest, bisect_right(edges, begin + room, earliest, end)):
            above, below = edges[at] - begin, stop - edges[at] - gaps[at]
            if below <= _LINE_COLUMNS:
                cost = _TWO_LINES + _UNEVEN * abs(above + head - below) / _LINE_COLUMNS
                cost += breaks[at] / 2
                if best is None or cost < best[1]:
                    best = at, cost
        return best

    def _width(self, first: int, end: int) -> int:
        return self._columns[end] - self._columns[first] - self._gaps[first]

    def _spoken(self, first: int, end: int) -> int:
        """Return how many words begin in a range of pieces."""
        return self._words[end] - self._words[first]

    def _sentence_ends(self) -> list[int]:
        return [n for n, p in enumerate(self._pieces[:-1], 1) if p.text.endswith(SENTENCE_ENDS)]


def _break_cost(before: _Piece, after: _Piece) -> float:
    """Return what a cut between two pieces costs."""
    if not after.first or (not after.spaced and _belong_together(before.text, after.text)):
        return _INSIDE_WORD
    if before.text.endswith(SENTENCE_ENDS):
        return 0.0
    cost = _CLAUSE if before.text.endswith(_CLAUSE_ENDS) else _MID_SENTENCE
    if before.text[-1].isdigit():
        cost += _AFTER_NUMBER
    return cost - _PAUSE * (after.start_ms - before.end_ms >= _PAUSE_MS)


def _belong_together(before: str, after: str) -> bool:
    """Return whether texts without a space between them are one word, as "o" and "'clock"."""
    if unicodedata.category(after[0]) in {"Ps", "Pi"}:  # opens a quotation
        return False
    return unicodedata.category(after[0])[0] == "P" or (before[-1].isascii() and after[0].isascii())


def _apart(drafts: list[_Cue]) -> list[_Cue]:
    """Give each caption the time that reading it takes, where there is room, and none to two.

    Where the next one comes too soon, it waits a little.
    """
    cues: list[_Cue] = []
    for number, cue in enumerate(drafts):
        start = max(cue.start_ms, cues[-1].end_ms) if cues else cue.start_ms
        reading = sum(map(columns, cue.lines)) * 1000 // _COLUMNS_A_SECOND
        end = min(max(cue.end_ms, start + max(reading, _CUE_SHORTEST_MS)), start + _CUE_LONGEST_MS)
        if number + 1 < len(drafts):
            following = drafts[number + 1].start_ms
            end = min(end, max(following, min(start + _CUE_SHORTEST_MS, following + _LATEST_MS)))
        cues.append(cue._replace(start_ms=start, end_ms=max(end, start + 1)))
    return cues


def _pieces(segment: Segment) -> Iterator[_Piece]:
    """Yield the words, cut where they are longer than a line; the parts share a word's time."""
    for word in segment.words:
        parts = list(_chopped(plain(word.text)))
        for number, part in enumerate(parts):
            start = word.start + word.duration * number / len(parts)
            end = word.start + word.duration * (number + 1) / len(parts)
            yield _Piece(to_ms(start), to_ms(end), part, word.spaced and not number, not number)


def _chopped(text: str) -> Iterator[str]:
    """Yield parts of a text that fit a line, without space at their ends."""
    first, filled = 0, 0
    for place, character in enumerate(text):
        width = _width(character)
        if filled + width > _LINE_COLUMNS:
            yield text[first:place].strip()
            first, filled = place, 0
        filled += width
    if text:
        yield text[first:].strip()


def _line(head: str, pieces: list[_Piece]) -> str:
    text = "".join(f" {piece.text}" if piece.spaced else piece.text for piece in pieces)
    return f"{head} {text.lstrip()}".strip() if head else text.lstrip()


def _shortened(name: str) -> str:
    """Return a name that leaves room for words beside it in a caption."""
    if columns(name) <= _LABEL_COLUMNS:
        return name
    widths = accumulate(map(_width, name))
    return name[: sum(width < _LABEL_COLUMNS for width in widths)] + "…"


def _write_srt(
    transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any], *, names: Names
) -> str:
    """Write SubRip; the name stands before the text."""
    return "".join(
        f"{number}\n{timestamp(cue.start_ms, ',')} --> {timestamp(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines).translate(_SUBRIP_LOOKALIKES)
        + "\n\n"
        for number, cue in enumerate(_cues(transcript, names, written=True), 1)
    )


def _write_vtt(
    transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any], *, names: Names
) -> str:
    """Write WebVTT; speakers are its voice spans."""
    shown = names_of(transcript)

    def marked(cue: _Cue) -> str:
        text = html.escape("\n".join(cue.lines), quote=False)
        if not cue.named:
            return text
        speaker = shown.get(cue.speaker, UNKNOWN_SPEAKER)
        # "Ada --" would end its tag with "-->", as only times do.
        space = " " if speaker.endswith("--") else ""
        return f"<v {html.escape(speaker, quote=False)}{space}>{text}</v>"

    return "WEBVTT\n\n" + "".join(
        f"{timestamp(cue.start_ms, '.')} --> {timestamp(cue.end_ms, '.')}\n{marked(cue)}\n\n"
        for cue in _cues(transcript, names, written=False)
    )


def _write_ass(
    transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any], *, names: Names
) -> str:
    """Write SubStation Alpha with a style, and so a color, a speaker.

    Raises:
        InputError: the format has no times from 10 hours on.
    """
    import pysubs2

    cues = _cues(transcript, names, written=True)
    if cues and cues[-1].end_ms >= _ASS_LONGEST_MS:
        raise InputError(
            f"{plain(name)} is longer than the 10 hours that .ass captions can hold",
            "write .srt or .vtt instead",
        )
    shown = distinct_names(transcript)
    styles = {
        label: f"Speaker {number}" if names == "never" else name.replace(",", " ")
        for number, (label, name) in enumerate(shown.items(), 1)
        if any(cue.speaker == label for cue in cues)
    }
    file = pysubs2.SSAFile()
    file.info = {"Title": plain(name), "PlayResX": "1920", "PlayResY": "1080", "WrapStyle": "0"}
    file.styles = {
        style: pysubs2.SSAStyle(
            fontsize=54,
            primarycolor=pysubs2.Color(*bytes.fromhex(_COLORS[number % len(_COLORS)])),
            outline=3,
            marginv=60,
        )
        for number, style in enumerate(styles.values())
    }
    for cue in cues:
        text = r"\N".join(line.translate(_ASS_LOOKALIKES) for line in cue.lines)
        style = styles[cue.speaker]
        actor = "" if names == "never" else style
        file.append(pysubs2.SSAEvent(cue.start_ms, cue.end_ms, text, style=style, name=actor))
    return file.to_string("ass", header_notice="")


_WRITERS = {"srt": _write_srt, "vtt": _write_vtt, "ass": _write_ass}
_FILES: dict[Names, str] = {"always": "", "changes": "changes.", "never": "never."}

WRITERS: dict[str, Writer] = {
    f"transcript.{variant}{ending}": partial(write, names=names)
    for ending, write in _WRITERS.items()
    for names, variant in _FILES.items()
}
