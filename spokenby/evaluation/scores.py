"""Compare what a system says of a recording with its reference."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from spokenby.errors import InputError
from spokenby.evaluation import words
from spokenby.evaluation.annotations import Annotation, Line, TimedWord
from spokenby.types import Seconds, Turn, language_code

TCP_COLLAR_S = 5.0
"""How far apart the times of two words may be that tcpWER takes for the same: MeetEval's advice."""
CLOSE_S = 0.1
MOST_SPEAKERS = 20
"""Of so many, MeetEval finds the best pairs; for more it takes hours and refuses."""

_NEEDED = {
    "pyannote.metrics": "pyannote.metrics",
    "meeteval": "meeteval",
    "rapidfuzz": "rapidfuzz",
    "whisper_normalizer": "whisper-normalizer",
}


class Rate(NamedTuple):
    """Errors of so many; recordings are taken together by adding both."""

    errors: float
    total: float

    @property
    def value(self) -> float:
        """Errors for each of the total; NaN without any."""
        return self.errors / self.total if self.total else math.nan


class Figure(NamedTuple):
    """How a figure is called, and what it means."""

    title: str
    means: str
    unit: str = "%"


FIGURES = {
    "der": Figure("DER", "speech missed, invented or given to another speaker"),
    "missed": Figure("missed", "of the DER: speech that was missed"),
    "false_alarm": Figure("false al.", "of the DER: speech that was invented"),
    "confusion": Figure("confused", "of the DER: speech given to another speaker"),
    "jer": Figure("JER", "Jaccard error rate: the same, each speaker weighing the same"),
    "count": Figure("miscounted", "recordings in which the number of speakers is wrong"),
    "wer": Figure("WER", "words that are wrong, missing or too many, normalized"),
    "wer_raw": Figure("raw WER", "the same as written: with case and punctuation"),
    "wder": Figure("WDER", "recognized words with the wrong speaker"),
    "cpwer": Figure("cpWER", "WER of each speaker's words by themselves, speakers paired at best"),
    "tcpwer": Figure(
        "tcpWER", f"the same; words more than {TCP_COLLAR_S:g} s apart are not the same"
    ),
    "edges": Figure("word edges", "mean distance of starts and ends of words", "s"),
    "edges_off": Figure("far off", f"starts and ends of words more than {CLOSE_S:g} s off"),
    "uncovered": Figure("uncovered", "speech that no line of the transcript covers"),
    "name_wrong": Figure("names wrong", "names given that are wrong: 100 - precision"),
    "name_missed": Figure("names missed", "people known by name not named: 100 - recall"),
}
"""All figures, in the order in which they are shown; the lower, the better."""


class Settings(NamedTuple):
    """How turns are compared: `collar_s` is left out on each side of a reference's turn edges."""

    collar_s: Seconds = 0.0
    skip_overlap: bool = False

    def __str__(self) -> str:
        collar = f"collar {self.collar_s:g} s" + (" on each side" if self.collar_s else "")
        return f"{collar}, overlap {'left out' if self.skip_overlap else 'scored'}"


DEFAULT = Settings()


class WordMark(NamedTuple):
    """A heard word that is not right, for people to see: `said` is empty for one too many."""

    word: TimedWord
    said: str
    other_speaker: bool


@dataclass(frozen=True)
class Score:
    """How right a system is on a recording.

    Figures that the reference cannot tell are absent; `notes` say why where that surprises.
    """

    figures: Mapping[str, Rate] = field(default_factory=dict)
    speakers: tuple[int, int] | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[WordMark, ...] = ()
    language: str = ""
    notes: tuple[str, ...] = ()


def check_libraries() -> None:
    """Raise what is missing and how to get it.

    Raises:
        InputError: a library of the group `evaluation` is not installed.
    """
    missing = [name for module, name in _NEEDED.items() if not _is_there(module)]
    if missing:
        raise InputError(
            f"evaluating needs {', '.join(missing)}",
            "install with: uv sync --inexact --group evaluation",
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # pyannote itself
        return False


def score(
    reference: Annotation,
    hypothesis: Annotation,
    settings: Settings = DEFAULT,
    *,
    language: str = "",
    known_people: Collection[str] = (),
) -> Score:
    """Compare; every figure that both sides allow.

    Args:
        reference: what is right.
        hypothesis: what a system says.
        settings: of the comparison of turns.
        language: of the words, the same for all systems; else what the hypothesis says, or English.
        known_people: names that the system knows: who of them is not named, was missed.
    """
    language = _code(language or hypothesis.language or "en")
    notes = []
    if (reference.scored or reference.ignored) and any(
        line.start is None for each in (reference, hypothesis) for line in each.lines or ()
    ):
        notes.append("without times, nobody knows which words are in the scored regions: no WER")
    reference, hypothesis = _cropped(reference), _cropped(hypothesis, reference)
    figures: dict[str, Rate] = {}
    # Apart: a reference's turns and its text may call a person differently.
    by_turns: dict[str, str] = {}
    by_words: dict[str, str] = {}
    speakers = None
    if reference.turns is not None and hypothesis.turns is not None:
        turns = _turns(reference, hypothesis, settings)
        figures |= turns.figures
        by_turns, speakers = turns.mapping, turns.speakers
    marks: tuple[WordMark, ...] = ()
    if reference.lines is not None and hypothesis.lines is not None:
        # What tells no speakers at all has none wrong; to find none where others speak is wrong.
        says_who = (
            hypothesis.turns is not None
            or not hypothesis.lines
            or any(line.speaker for line in hypothesis.lines)
        )
        figures |= _words(reference.lines, hypothesis.lines, language)
        if says_who and any(line.speaker for line in reference.lines):
            by_words, wder = _speakers_of_words(reference.lines, hypothesis.lines, language)
            figures |= {"wder": wder} if wder.total else {}
        if says_who and reference.lines and all(line.speaker for line in reference.lines):
            most = max(len({x.speaker for x in y.lines or ()}) for y in (reference, hypothesis))
            if most > MOST_SPEAKERS:
                notes.append(f"{most} speakers, and MeetEval takes {MOST_SPEAKERS}: no cpWER")
            else:
                figures |= _permuted(reference.lines, hypothesis.lines, language)
        marks = tuple(_marks(reference.lines, hypothesis, by_words, language))
    if reference.words and hypothesis.words:
        figures |= _edges(reference.words, hypothesis.words)
    if reference.turns and hypothesis.lines is not None:
        figures |= _uncovered(reference, hypothesis.lines)
    figures |= _names(reference, hypothesis, language, known_people)
    shown = {key: figures[key] for key in FIGURES if key in figures}
    return Score(shown, speakers, by_turns or by_words, marks, language, tuple(notes))


def _code(language: str) -> str:
    try:
        return language_code(language)
    except ValueError:  # the normalizer for other languages is the same for all
        return language


def _cropped(annotation: Annotation, by: Annotation | None = None) -> Annotation:
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


class _Turns(NamedTuple):
    figures: dict[str, Rate]
    mapping: dict[str, str]
    speakers: tuple[int, int]


def pyannote_annotation(turns: Sequence[Turn]) -> Any:
    """Return turns as pyannote's Annotation."""
    from pyannote.core import Annotation as Labels
    from pyannote.core import Segment

    labels = Labels()
    for track, turn in enumerate(turns):
        labels[Segment(turn.start, turn.end), track] = turn.speaker
    return labels.support()  # of one speaker, nobody can say two things at once


def scored_regions(reference: Annotation, hypothesis: Annotation) -> Any:
    """Return where both are compared, as pyannote's Timeline: all over, if nothing else is said."""
    from pyannote.core import Segment, Timeline

    ends = [turn.end for each in (reference, hypothesis) for turn in each.turns or ()]
    whole = [(0.0, max([*ends, reference.duration, hypothesis.duration, 0.001]))]
    regions = Timeline(Segment(*each) for each in (reference.scored or whole)).support()
    return regions.extrude(Timeline(Segment(*each) for each in reference.ignored))


def _turns(reference: Annotation, hypothesis: Annotation, settings: Settings) -> _Turns:
    from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

    right = pyannote_annotation(reference.turns or ())
    found = pyannote_annotation(hypothesis.turns or ())
    regions = scored_regions(reference, hypothesis)
    # pyannote's collar is the width of both sides together.
    options = {"collar": 2 * settings.collar_s, "skip_overlap": settings.skip_overlap}
    metric = DiarizationErrorRate(**options)
    parts = metric(right, found, uem=regions, detailed=True)
    total = float(parts["total"])
    figures = {
        key: Rate(float(parts[part]), total)
        for key, part in {
            "missed": "missed detection",
            "false_alarm": "false alarm",
            "confusion": "confusion",
        }.items()
    }
    figures["der"] = Rate(sum(rate.errors for rate in figures.values()), total)
    jaccard = JaccardErrorRate(**options)(right, found, uem=regions, detailed=True)
    figures["jer"] = Rate(float(jaccard["speaker error"]), float(jaccard["speaker count"]))
    inside = [each.crop(regions) for each in (right, found)]
    number, counted = (len(each.labels()) for each in inside)
    figures["count"] = Rate(float(number != counted), 1)
    mapping = metric.optimal_mapping(*inside)
    return _Turns(figures, {str(a): str(b) for a, b in mapping.items()}, (counted, number))


def _words(reference: Sequence[Line], hypothesis: Sequence[Line], language: str) -> dict[str, Rate]:
    figures = {}
    for key, words_of in (("wer", words.normalize), ("wer_raw", words.raw)):
        right = words_of(words.joined(reference), language)
        found = words_of(words.joined(hypothesis), language)
        if right is not None and found is not None:
            figures[key] = Rate(words.count_errors(right, found), len(right))
    return figures


def _speakers_of_words(
    reference: Sequence[Line], hypothesis: Sequence[Line], language: str
) -> tuple[dict[str, str], Rate]:
    """Return who each label is by its words, and the WDER.

    It is that of Shafey and others (2019): of words that are heard, rightly or as others, those
    with the wrong speaker. A word of nobody is one.
    """
    pairs = _pairs(reference, hypothesis, language)
    who = words.best_pairs((name, label) for name, label in pairs if label)
    wrong = sum(label is None or who.get(label) != name for name, label in pairs)
    return who, Rate(wrong, len(pairs))


def _pairs(
    reference: Sequence[Line], hypothesis: Sequence[Line], language: str
) -> list[tuple[str, str | None]]:
    """Return who said each word that was heard, and the label that it got."""
    right, found = words.tokens(reference, language), words.tokens(hypothesis, language)
    steps = words.align([token.text for token in right], [token.text for token in found])
    return [
        (speaker, found[step.hypothesis].speaker)
        for step in steps
        if step.reference is not None and step.hypothesis is not None
        if (speaker := right[step.reference].speaker)
    ]


def _permuted(
    reference: Sequence[Line], hypothesis: Sequence[Line], language: str
) -> dict[str, Rate]:
    """Return cpWER, and tcpWER where both sides have times, by MeetEval."""
    from meeteval.io import SegLST
    from meeteval.wer import (
        cp_word_error_rate,
        time_constrained_minimum_permutation_word_error_rate,
    )

    def by_speaker(lines: Sequence[Line]) -> dict[str, str]:
        # What nobody is said to have said is another speaker's.
        names = dict.fromkeys(line.speaker for line in lines)
        return {
            name or "": " ".join(
                words.normalize(words.joined(x for x in lines if x.speaker == name), language)
            )
            for name in names
        }

    right = by_speaker(reference)
    found = cp_word_error_rate(
        right, by_speaker(hypothesis) or {"": ""}, reference_sort=False, hypothesis_sort=False
    )
    figures = {"cpwer": Rate(found.errors, found.length)}
    if any(line.start is None for line in (*reference, *hypothesis)):
        return figures
    if not hypothesis:
        return {**figures, "tcpwer": figures["cpwer"]}

    def segments(lines: Sequence[Line]) -> Any:
        return SegLST(
            [
                {
                    "session_id": "",
                    "speaker": line.speaker or "",
                    "start_time": line.start,
                    "end_time": max(line.end or 0.0, (line.start or 0.0) + 0.001),
                    "words": " ".join(words.normalize(line.text, language)),
                }
                for line in lines
            ]
        )

    timed = time_constrained_minimum_permutation_word_error_rate(
        segments(reference), segments(hypothesis), collar=TCP_COLLAR_S
    )
    return {**figures, "tcpwer": Rate(timed.errors, timed.length)}


def _edges(reference: Sequence[TimedWord], hypothesis: Sequence[TimedWord]) -> dict[str, Rate]:
    """Return how far starts and ends are from where they should be, of words heard rightly."""
    right, found = ([words.plain(word.text) for word in each] for each in (reference, hypothesis))
    off = [
        abs(getattr(reference[step.reference], edge) - getattr(hypothesis[step.hypothesis], edge))
        for step in words.align(right, found)
        if step.reference is not None and step.hypothesis is not None
        if right[step.reference] == found[step.hypothesis]
        for edge in ("start", "end")
    ]
    if not off:
        return {}
    far = sum(seconds > CLOSE_S for seconds in off)
    return {"edges": Rate(sum(off), len(off)), "edges_off": Rate(far, len(off))}


def _uncovered(reference: Annotation, lines: Sequence[Line]) -> dict[str, Rate]:
    """Return how much speech has no line of anybody over it."""
    from pyannote.core import Segment, Timeline

    if any(line.start is None or line.end is None for line in lines):
        return {}
    regions = scored_regions(reference, Annotation())
    speech = pyannote_annotation(reference.turns or ()).get_timeline().support().crop(regions)
    covered = Timeline(Segment(line.start, line.end) for line in lines).support()
    left = speech.extrude(covered).duration()
    return {"uncovered": Rate(float(left), float(speech.duration()))}


def _names(
    reference: Annotation,
    hypothesis: Annotation,
    language: str,
    known_people: Collection[str],
) -> dict[str, Rate]:
    """Compare people's names, as the voice library gives them, with labels of the reference.

    A name is right where whom its label means most of the time is called so: by the turns, or by
    the words.
    """
    met: list[tuple[str, str, float]] = []
    labels: set[str] = set()
    if reference.turns is not None:
        regions = scored_regions(reference, hypothesis)
        right, found = (
            pyannote_annotation(each.turns or ()).crop(regions) for each in (reference, hypothesis)
        )
        labels |= set(right.labels())
        shared = right * found
        met += [
            (name, label, float(shared[row, column]))
            for row, name in enumerate(right.labels())
            for column, label in enumerate(found.labels())
        ]
    by_turns, met = _most(met), []
    if reference.lines is not None:
        labels |= {line.speaker for line in reference.lines if line.speaker}
        pairs = Counter(_pairs(reference.lines, hypothesis.lines or (), language))
        met = [(name, label, count) for (name, label), count in pairs.items() if label]
    by_words = _most(met)
    known = {_same(name) for name in (*known_people, *hypothesis.names.values())}
    there = {_same(label) for label in labels} & known
    # A reference that calls its speakers A and B knows nobody by name.
    if not there:
        return {}
    rightly = [
        _same(name)
        for label, name in hypothesis.names.items()
        if _same(name) in {_same(who.get(label, "")) for who in (by_turns, by_words)}
    ]
    given = len(hypothesis.names)
    return {
        "name_wrong": Rate(given - len(rightly), given),
        "name_missed": Rate(len(there - set(rightly)), len(there)),
    }


def _most(met: Sequence[tuple[str, str, float]]) -> dict[str, str]:
    """Return for each label whom it means most: several labels may mean one person."""
    ordered = sorted(each for each in met if each[2] > 0)
    return {label: name for name, label, _ in sorted(ordered, key=lambda each: each[2])}


def _same(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _marks(
    reference: Sequence[Line], hypothesis: Annotation, mapping: Mapping[str, str], language: str
) -> Iterator[WordMark]:
    """Yield heard words that are wrong; those left out have no place of their own."""
    heard = [word for line in hypothesis.lines or () for word in line.words]
    speakers = [line.speaker for line in hypothesis.lines or () for _ in line.words]
    spaced = words.raw("", language) is not None

    def units(text: str) -> list[str]:
        """Return what is aligned of a word: itself, or where none are, its characters."""
        normal = words.normalize(text, language)
        return [" ".join(normal)] if spaced and normal else normal

    said = [
        (text, line.speaker)
        for line in reference
        for text in (line.text.split() if spaced else line.text)
    ]
    right = [(unit, place) for place, (text, _) in enumerate(said) for unit in units(text)]
    found = [(unit, place) for place, word in enumerate(heard) for unit in units(word.text)]
    steps = words.align([unit for unit, _ in right], [unit for unit, _ in found])
    parts: dict[int, list[tuple[str, bool, bool]]] = defaultdict(list)
    for step in steps:
        if step.hypothesis is None:
            continue
        unit, place = found[step.hypothesis]
        if step.reference is None:
            parts[place].append(("", False, True))
            continue
        text, speaker = said[right[step.reference][1]]
        other = bool(speaker) and mapping.get(speakers[place] or "") != speaker
        parts[place].append((text, other, right[step.reference][0] != unit))
    for place, found_parts in sorted(parts.items()):
        texts, others, wrong = zip(*found_parts, strict=True)
        if any(others) or any(wrong):
            word = heard[place]._replace(speaker=speakers[place])
            yield WordMark(word, "".join(texts), any(others))
