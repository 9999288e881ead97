"""Find numbers among words: digits, and spelled out in English, German, French and Spanish."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple


class _Spelled(NamedTuple):
    """How a language spells numbers, without case and accents."""

    number: re.Pattern[str]
    """A whole word that is a number wherever it stands."""
    beside: frozenset[str]
    """Words that are numbers only beside another one: nobody is told by "one of them"."""
    between: frozenset[str]
    """Words that join two numbers."""


def _spelled(number: str, beside: str, between: str) -> _Spelled:
    return _Spelled(re.compile(number), frozenset(beside.split()), frozenset(between.split()))


_GERMAN = (
    "null|zwei|zwo|drei|vier|funf|sechs|sech|sieben|sieb|acht|neun|zehn|elf|zwolf"
    "|zwanzig|dreissig|vierzig|funfzig|sechzig|siebzig|achtzig|neunzig|hundert|tausend"
)
_SPELLED = {
    "en": _spelled(
        "zero|nought|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
        "|(thir|four|fif|six|seven|eigh|nine)teen(th)?"
        "|(twen|thir|for|fif|six|seven|eigh|nine)t(y|ies|ieth)"
        "|(hundred|thousand|million|billion|trillion)(s|th)?|dozens?"
        "|third|(four|fif|six|seven|eigh|nin|ten|eleven|twelf)th",
        "one first second o oh double triple",
        "and point dash minus hundred",
    ),
    "de": _spelled(
        rf"eins|(ein)?({_GERMAN})((und|ein(und)?)?({_GERMAN}))*(eins|erste[nrsm]?|s?te[nrsm]?)?"
        rf"|einund({_GERMAN})(ste[nrsm]?)?|dritte[nrsm]?|(million|milliarde)(en|n)?",
        "ein eine einen einem einer erste ersten erster zweite",
        "und komma minus",
    ),
    "fr": _spelled(
        "zero|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze"
        "|seize|vingts?|trente|quarante|cinquante|soixante|septante|huitante|octante|nonante|cents?"
        "|mille|(million|milliard)s?"
        "|(deux|trois|quatr|cinqu|six|sept|huit|neuv|dix|onz|douz|treiz|quatorz|quinz|seiz|vingt"
        "|trent|quarant|cinquant|soixant|cent|mill)iemes?",
        "un une premier premiere second seconde",
        "et virgule moins",
    ),
    "es": _spelled(
        "cero|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce|trece|catorce|quince"
        "|(dieci|veinti)(un[oa]?|dos|tres|cuatro|cinco|seis|siete|ocho|nueve)|veinte|treinta"
        "|cuarenta|cincuenta|sesenta|setenta|ochenta|noventa|cien|cientos?|quinient[oa]s"
        "|(dos|tres|cuatro|seis|sete|ocho|nove)cient[oa]s|mil|millon(es)?|millones"
        "|tercer[oa]?|cuart[oa]|quint[oa]|sext[oa]|septim[oa]|octav[oa]|noven[oa]|decim[oa]",
        "uno una un primer primero primera segundo segunda",
        "y coma menos",
    ),
}
LANGUAGES = tuple(_SPELLED)
"""In which spelled-out numbers are known."""

_DIGIT = re.compile(r"\d")
_HAN_DIGIT = "[零〇一二三四五六七八九十百千万萬億亿両两幺]"
_HAN = re.compile(f"{_HAN_DIGIT}{{2,}}(点{_HAN_DIGIT}+)?|{_HAN_DIGIT}点{_HAN_DIGIT}+")


def find_numbers(
    words: Sequence[str], parts: Sequence[Sequence[str]], languages: Collection[str]
) -> set[int]:
    """Return the places of the words that are numbers or belong to one.

    Args:
        words: of one speaker, in order.
        parts: of each word, its parts without case, accents and punctuation.
        languages: which are spoken, as codes.
    """
    known = [_SPELLED[language] for language in languages if language in _SPELLED]
    found = {place for place, word in enumerate(words) if _DIGIT.search(word)}
    found |= {
        place
        for place, of_word in enumerate(parts)
        if any(each.number.fullmatch(part) for each in known for part in of_word)
    }
    beside = frozenset().union(*(each.beside for each in known))
    between = frozenset().union(*(each.between for each in known))
    for run in _runs(parts, found, beside | between):
        if any(place in found for place in run):
            counted = [place for place in run if place in found or set(parts[place]) & beside]
            found |= set(range(counted[0], counted[-1] + 1))
    return found | set(_han(words))


def _runs(
    parts: Sequence[Sequence[str]], found: Collection[int], other: Collection[str]
) -> Iterator[list[int]]:
    """Yield the places of words that follow each other and may belong to one number."""
    run: list[int] = []
    for place, of_word in enumerate(parts):
        if place in found or (of_word and all(part in other for part in of_word)):
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _han(words: Sequence[str]) -> Iterator[int]:
    """Yield the places of words that hold a part of a number in Han characters.

    One alone is often part of another word.
    """
    owners = [place for place, word in enumerate(words) for _ in word]
    for run in _HAN.finditer("".join(words)):
        yield from owners[run.start() : run.end()]
