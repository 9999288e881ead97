"""Compare what a system says of a recording with its reference."""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from spokenby.errors import InputError
from spokenby.evaluation import words
from spokenby.evaluation.annotations import Annotation, Line, TimedWord, cropped
from spokenby.evaluation.figures import (
    CLOSE_S,
    DEFAULT,
    FIGURES,
    TCP_COLLAR_S,
    Rate,
    Score,
    Settings,
    WordMark,
)
from spokenby.evaluation.turns import compare_turns, pyannote_annotation, scored_regions, uncovered
from spokenby.types import language_code

MOST_SPEAKERS = 20
"""Of so many, MeetEval finds the best pairs; for more it takes hours and refuses."""

_NEEDED = {
    "pyannote.metrics": "pyannote.metrics",
    "meeteval": "meeteval",
    "rapidfuzz": "rapidfuzz",
    "whisper_normalizer": "whisper-normalizer",
}


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
    reference, hypothesis = cropped(reference), cropped(hypothesis, reference)
    figures: dict[str, Rate] = {}
    # Apart: a reference's turns and its text may call a person differently.
    by_turns: dict[str, str] = {}
    by_words: dict[str, str] = {}
    speakers = None
    if reference.turns is not None and hypothesis.turns is not None:
        turns = compare_turns(reference, hypothesis, settings)
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
        figures |= uncovered(reference, hypothesis.lines)
    figures |= _names(reference, hypothesis, language, known_people)
    shown = {key: figures[key] for key in FIGURES if key in figures}
    return Score(shown, speakers, by_turns or by_words, marks, language, tuple(notes))


def _code(language: str) -> str:
    try:
        return language_code(language)
    except ValueError:  # the normalizer for other languages is the same for all
        return language


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
