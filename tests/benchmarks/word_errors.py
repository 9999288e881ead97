"""Count the words of a reference that were transcribed wrongly, spelling and punctuation aside."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import numpy as np

_FILLERS = {"hmm", "mm", "mhm", "mmm", "uh", "um"}
_SPELLED = {
    "won't": "will not",
    "can't": "can not",
    "let's": "let us",
    "y'know": "you know",
    "yknow": "you know",
    "ok": "okay",
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "alright": "all right",
    "cannot": "can not",
}
_ENDINGS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
_WITH_IS = {"it", "that", "there", "here", "he", "she", "what", "who", "where", "how"}
_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen""".split()  # noqa: SIM905 - easier to read
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905


class WordErrors(NamedTuple):
    """How a text differs from its reference. `steps` are pairs of words, empty where one lacks."""

    words: int
    substituted: int
    deleted: int
    inserted: int
    steps: tuple[tuple[str, str], ...]

    @property
    def rate(self) -> float:
        """Errors in percent of the reference's words."""
        return 100 * (self.substituted + self.deleted + self.inserted) / max(self.words, 1)


def normalize(text: str, language: str = "en") -> list[str]:
    """Return the words of a text as they are compared.

    In English after the rules of Whisper's normalizer as far as our references need them: no
    fillers, no short forms, numbers alike - here in words; other languages lose only case and
    punctuation.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    if language == "en":
        text = re.sub(r"\$(\d[\d,.]*)((?: [mb]illion)?)", r"\1\2 dollars", text)
        text = re.sub(r"(?<=\d),(?=\d{3})", "", text).replace("%", " percent")
    words = [word.strip("'") for word in re.findall(r"[\w']+", text)]
    if language != "en":
        return [part for word in words for part in word.replace("'", " ").split()]
    return [part for word in words if word not in _FILLERS for part in _in_full(word)]


def _in_full(word: str) -> list[str]:
    word = _SPELLED.get(word, word)
    if word.isascii() and word.isdigit() and len(word) < 7:
        return _in_words(int(word))
    for ending, full in _ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return [word.removesuffix(ending), full]
    if word.endswith("'s") and word[:-2] in _WITH_IS:
        return [word[:-2], "is"]
    return word.replace("'", "").split()


def _in_words(number: int) -> list[str]:
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = _in_words(number % size) if number % size else []
            return [*_in_words(number // size), name, *rest]
    if number >= 20:
        return [_TENS[number // 10], *([_SMALL[number % 10]] if number % 10 else [])]
    return [_SMALL[number]]


def count_errors(reference: str, heard: str, language: str = "en") -> WordErrors:
    """Compare a text with its reference by the fewest words that have to be changed."""
    right, found = normalize(reference, language), normalize(heard, language)
    costs = np.zeros((len(right) + 1, len(found) + 1), np.int64)
    costs[:, 0], costs[0] = range(len(right) + 1), range(len(found) + 1)
    for i, word in enumerate(right, 1):
        for j, other in enumerate(found, 1):
            changed = costs[i - 1, j - 1] + (word != other)
            costs[i, j] = min(changed, costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    i, j, steps = len(right), len(found), []
    while i or j:
        if i and j and costs[i, j] == costs[i - 1, j - 1] + (right[i - 1] != found[j - 1]):
            i, j = i - 1, j - 1
            steps.append((right[i], found[j]))
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            steps.append((right[i], ""))
        else:
            j -= 1
            steps.append(("", found[j]))
    return WordErrors(
        words=len(right),
        substituted=sum(a != b for a, b in steps if a and b),
        deleted=sum(not b for _, b in steps),
        inserted=sum(not a for a, _ in steps),
        steps=tuple(reversed(steps)),
    )
