"""Draw a recording as SVG: who speaks by the reference, who by the system, and the errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spokenby.evaluation.annotations import Annotation
from spokenby.evaluation.figures import Score, Settings, WordMark
from spokenby.evaluation.turns import pyannote_annotation, scored_regions
from spokenby.svg import PALE, document, rect, text, written
from spokenby.types import Seconds
from spokenby.wording import clock, one_line

_WIDTH, _LEFT, _RIGHT, _HEAD = 1240, 170, 24, 84
_PLOT = _WIDTH - _LEFT - _RIGHT
_LONGEST_S = 120.0
"""So much goes on a row; what is longer goes on in the next, as text does."""
_LANE, _GAP, _AXIS = 16, 6, 36
_TICKS_S = (1, 2, 5, 10, 15)

_COLORS = ("#3d7fc4", "#2a9d5c", "#8d6bc4", "#c08a1e", "#0e8f9c", "#6b7f1f", "#5f7a8a", "#a5673f")
_NOBODY = "#9aa3af"
_LINE = "#e3e6eb"
_MISSED, _INVENTED, _OTHER = "#d1242f", "#e07b00", "#c2188b"
_ERRORS = {
    "missed detection": ("missed", _MISSED),
    "false alarm": ("invented", _INVENTED),
    "confusion": ("another speaker", _OTHER),
}


class Bar(NamedTuple):
    """A stretch of a lane; `tick` marks a word above the lane, instead."""

    start: Seconds
    end: Seconds
    color: str
    title: str
    tick: bool = False


class Lane(NamedTuple):
    """A line of the picture."""

    name: str
    bars: Sequence[Bar]
    gap: bool = False


def draw(
    title: str,
    summary: str,
    reference: Annotation,
    hypothesis: Annotation,
    score: Score,
    settings: Settings,
) -> str:
    """Return the picture: lanes of the reference, below them the system's, then the errors.

    A lane of the system has the color of the person that it is; ticks on it are wrong words.
    """
    lanes = [*_lanes(reference, hypothesis, score), _errors(reference, hypothesis, score, settings)]
    ends = [bar.end for lane in lanes for bar in lane.bars]
    end = max([*ends, reference.duration, hypothesis.duration, 1.0])
    row_s = min(_LONGEST_S, end)
    height = len(lanes) * _LANE + 2 * _GAP + _AXIS
    rows = math.ceil(end / row_s)
    parts = [text(20, 28, title, size=17, weight=600), text(20, 48, summary, colour=PALE)]
    parts += _legend()
    for row in range(rows):
        parts += _row(lanes, row * row_s, (row + 1) * row_s, _HEAD + row * height)
    return document(_WIDTH, _HEAD + rows * height, parts)


def _lanes(reference: Annotation, hypothesis: Annotation, score: Score) -> Iterator[Lane]:
    right, found = reference.turns or (), hypothesis.turns or ()
    names = list(dict.fromkeys(turn.speaker for turn in right))
    colors = {name: _COLORS[n % len(_COLORS)] for n, name in enumerate(names)}
    for name in names:
        bars = [
            Bar(turn.start, turn.end, colors[name], name) for turn in right if turn.speaker == name
        ]
        yield Lane(name, bars)
    spoken = [
        *(turn.speaker for turn in found),
        *(turn.speaker or "" for turn in hypothesis.lines or ()),
    ]
    labels = list(dict.fromkeys(spoken))
    places = {label: names.index(who) for label, who in score.mapping.items() if who in names}
    labels.sort(key=lambda label: (places.get(label, len(names)), label))
    marks = {
        label: [_tick(mark) for mark in score.marks if _is_of(mark, label)] for label in labels
    }
    for place, label in enumerate(labels):
        who = score.mapping.get(label)
        shown = hypothesis.names.get(label, label or "nobody")
        color = colors.get(who or "", _NOBODY)
        means = f"{shown}, who is {who}" if who else f"{shown}, who is nobody of the reference"
        bars = [Bar(span.start, span.end, color, means) for span in found if span.speaker == label]
        yield Lane(f"{shown} → {who}" if who else shown, [*bars, *marks[label]], gap=not place)


def _is_of(mark: WordMark, label: str) -> bool:
    return (mark.word.speaker or "") == label


def _tick(mark: WordMark) -> Bar:
    word = mark.word
    said = f"heard “{word.text}”, said “{mark.said}”" if mark.said else f"“{word.text}” is too many"
    if mark.other_speaker:
        said += ", by another speaker"
    return Bar(word.start, word.end, _OTHER if mark.other_speaker else _MISSED, said, tick=True)


def _errors(
    reference: Annotation, hypothesis: Annotation, score: Score, settings: Settings
) -> Lane:
    """Return where turns differ, as they are scored."""
    from pyannote.metrics.errors.identification import IdentificationErrorAnalysis

    if reference.turns is None or hypothesis.turns is None:
        return Lane("errors", (), gap=True)
    # As pairs, so that no label of a system is by chance one of the reference.
    right = {turn.speaker: ("", turn.speaker) for turn in reference.turns}
    who = {label: ("", name) for label, name in score.mapping.items()}
    differences = IdentificationErrorAnalysis(
        collar=2 * settings.collar_s, skip_overlap=settings.skip_overlap
    ).difference(
        pyannote_annotation(reference.turns).rename_labels(right),
        pyannote_annotation(hypothesis.turns).rename_labels(who),
        uem=scored_regions(reference, hypothesis),
    )
    bars = []
    for segment, _, (kind, said, heard) in differences.itertracks(yield_label=True):
        if kind in _ERRORS:
            name, color = _ERRORS[kind]
            both = [word[1] if isinstance(word, tuple) else word for word in (heard, said) if word]
            bars.append(Bar(segment.start, segment.end, color, f"{name}: {' for '.join(both)}"))
    return Lane("errors", bars, gap=True)


def _row(lanes: Sequence[Lane], begin: float, end: float, top: float) -> Iterator[str]:
    def x(at: float) -> float:
        return _LEFT + _PLOT * (min(max(at, begin), end) - begin) / (end - begin)

    bottom = top + len(lanes) * _LANE + 2 * _GAP
    step = next((s for s in _TICKS_S if (end - begin) / s <= 12), _TICKS_S[-1])
    for number in range(math.ceil(begin / step), math.floor(end / step) + 1):
        at = number * step
        yield f'<path d="M{x(at):.1f} {top:.1f}V{bottom:.1f}" stroke="{_LINE}"/>'
        yield text(x(at), bottom + 14, clock(at), size=10, colour=PALE, anchor="middle")
    y = top
    for lane in lanes:
        y += _GAP if lane.gap else 0
        yield text(20, y + _LANE - 4, _shortened(lane.name), size=11)
        for bar in lane.bars:
            if bar.end <= begin or bar.start >= end:
                continue
            width = max(x(bar.end) - x(bar.start), 1.0)
            place = (y, 4.0) if bar.tick else (y + 4, _LANE - 5.0)
            yield f"<g><title>{written(f'{clock(bar.start)} {bar.title}')}</title>"
            yield rect(x(bar.start), place[0], width, place[1], bar.color)
            yield "</g>"
        y += _LANE


def _legend() -> Iterator[str]:
    x = 20.0
    for name, color in [*_ERRORS.values(), ("short, above a lane: wrong words", _MISSED)]:
        yield rect(x, 60, 11, 11, color, more=' rx="2"')
        yield text(x + 16, 70, name, size=11, colour=PALE)
        x += 16 + 6.2 * len(name) + 18


def _shortened(name: str, length: int = 24) -> str:
    name = one_line(name)
    return name if len(name) <= length else f"{name[: length - 1]}…"
