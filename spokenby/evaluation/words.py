"""Normalize and align words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from spokenby.evaluation.annotations import Line
from spokenby.types import UNSPACED_SCRIPTS

_UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km"})
"""Languages without spaces between words: characters are compared, as Whisper's authors do."""


class Step(NamedTuple):
    """A place in each of two sequences that belong together; `None` where one has nothing."""

    reference: int | None
    hypothesis: int | None


class Token(NamedTuple):
    """A normalized word and who says it."""

    text: str
    speaker: str | None


@cache
def _normalizer(language: str) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    normalizer: Any = (
        EnglishTextNormalizer()
        if language == "en"
        else BasicTextNormalizer(split_letters=language in _UNSPACED)
    )
    return normalizer  # type: ignore[no-any-return]


def normalize(text: str, language: str) -> list[str]:
    """Return the words of a text by the rules of Whisper's authors.

    In English: no fillers, short forms in full, numbers in digits, British spelling as American. In
    other languages: no case and punctuation; characters where words have no spaces between.
    """
    return _normalizer(language)(text).split()


def normalizer_name(language: str) -> str:
    """Return which of Whisper's normalizers is for a language, for people."""
    if language == "en":
        return "English"
    return "basic, by character" if language in _UNSPACED else "basic"


def raw(text: str, language: str) -> list[str] | None:
    """Return the words as written, or `None` where none are: no spaces are between them."""
    return None if language in _UNSPACED else text.split()


def joined(lines: Iterable[Line]) -> str:
    """Return what lines say as one text."""
    return " ".join(line.text for line in lines)


def tokens(lines: Iterable[Line], language: str) -> list[Token]:
    """Return normalized words with their speakers.

    What one speaker says in a row is normalized together: numbers reach across lines.
    """
    return [
        Token(word, speaker)
        for speaker, spoken in groupby(lines, lambda line: line.speaker)
        for word in normalize(joined(spoken), language)
    ]


def align(reference: Sequence[Any], hypothesis: Sequence[Any]) -> list[Step]:
    """Align two sequences with the fewest substitutions, deletions and insertions."""
    from rapidfuzz.distance import Levenshtein

    steps = []
    for code in Levenshtein.opcodes(reference, hypothesis):
        rows, columns = range(code.src_start, code.src_end), range(code.dest_start, code.dest_end)
        if code.tag == "delete":
            steps += [Step(i, None) for i in rows]
        elif code.tag == "insert":
            steps += [Step(None, j) for j in columns]
        else:
            steps += [Step(i, j) for i, j in zip(rows, columns, strict=True)]
    return steps


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Return how many words must be changed, left out or put in: the errors of the WER."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(reference, hypothesis))


def best_pairs(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return for labels of a system who they are, one to one, so that most pairs are right.

    Args:
        pairs: reference speaker and label, once for each time that they meet.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    met = list(pairs)
    names, labels = sorted({name for name, _ in met}), sorted({label for _, label in met})
    counts = np.zeros((len(names), len(labels)))
    for name, label in met:
        counts[names.index(name), labels.index(label)] += 1
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return {
        labels[column]: names[row]
        for row, column in zip(rows, columns, strict=True)
        if counts[row, column]
    }


_EDGES = re.compile(rf"[^\w{UNSPACED_SCRIPTS}]+")


def plain(text: str) -> str:
    """Return one word without case and punctuation, to be compared by itself."""
    return _EDGES.sub("", text.casefold())
