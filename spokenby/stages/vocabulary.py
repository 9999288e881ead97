"""Vocabulary: names and terms to expect, and what is meant by what is heard wrongly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from spokenby.stages.words import SENTENCE_ENDS
from spokenby.types import UNSPACED_SCRIPTS, Seconds, SpokenWord

ARROW = "=>"

MOST_LINES = 2_000
"""A recognizer takes about a hundred terms; more lines are a dictionary, or another file."""

LONGEST_LINE = 200
"""In characters."""


class Vocabulary(NamedTuple):
    """What the lines of a vocabulary say.

    `replacements` are pairs of what is heard and what is meant.
    """

    terms: tuple[str, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()


def parse_vocabulary(text: str) -> Vocabulary:
    """Read a vocabulary: a line a term, or `heard => meant`; `# …` and blank lines don't count.

    A semicolon stands for a line break.

    Raises:
        ValueError: a line is at fault; the message begins with its number.
    """
    lines = [
        (number, " ".join(part.split()))
        for number, line in enumerate(text.splitlines(), 1)
        if not line.lstrip().startswith("#")
        for part in line.split(";")
        if not part.lstrip().startswith("#")
    ]
    if len(lines) > MOST_LINES:
        raise ValueError(f"it has {len(lines):,} lines; at most {MOST_LINES:,} are read")
    terms: dict[str, None] = {}
    meant: dict[str, tuple[int, str, str]] = {}
    for number, line in lines:
        if not line:
            continue
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {number}: longer than {LONGEST_LINE} characters")
        if not line.isprintable():
            raise ValueError(f"line {number}: it holds control characters")
        if ARROW not in line:
            terms.setdefault(line)
            continue
        heard, *others = map(str.strip, line.split(ARROW))
        if len(others) != 1 or not others[0] or not re.search(r"\w", heard):
            raise ValueError(f"line {number}: {line!r} is not written as: heard {ARROW} meant")
        before = meant.setdefault(heard.casefold(), (number, heard, others[0]))
        if before[2] != others[0]:
            raise ValueError(
                f"line {number}: {heard!r} is replaced in another way by line {before[0]}"
            )
    _check_circles(meant)
    return Vocabulary(tuple(terms), tuple((heard, said) for _, heard, said in meant.values()))


def _check_circles(meant: dict[str, tuple[int, str, str]]) -> None:
    """Refuse replacements that lead back to where they began."""
    for start, (number, heard, _) in meant.items():
        path, word = [heard], start
        while (step := meant.get(word)) and len(path) <= len(meant):
            path.append(step[2])
            before, word = word, step[2].casefold()
            if word == before:  # only the case changes
                break
            if word == start:
                raise ValueError(
                    f"line {number}: replacements go in a circle: {f' {ARROW} '.join(path)}"
                )


def normalize_terms(text: str) -> str:
    """Return terms a line each, as a param holds them.

    Raises:
        ValueError: see `parse_vocabulary`; or one is a replacement.
    """
    found = parse_vocabulary(text)
    if found.replacements:
        raise ValueError(f"{ARROW} belongs to merge.replacements")
    return "\n".join(found.terms)


def normalize_replacements(text: str) -> str:
    """Return replacements a line each, as a param holds them.

    Raises:
        ValueError: see `parse_vocabulary`; or one is a term.
    """
    found = parse_vocabulary(text)
    if found.terms:
        raise ValueError(f"{found.terms[0]!r} is not written as: heard {ARROW} meant")
    return "\n".join(f"{heard} {ARROW} {said}" for heard, said in found.replacements)


def replace_words(
    words: Sequence[SpokenWord], replacements: str, max_pause: Seconds
) -> tuple[list[SpokenWord], dict[str, int]]:
    """Write what is meant in place of what was heard; return the words and how often each line was.

    What is heard are whole words of one speaker without a long pause, in any case, with any
    punctuation around them. It is replaced once: what is meant is not looked up again. The new
    words take the time of the old ones, and share it by their length where their number differs.

    Args:
        words: in order.
        replacements: lines `heard => meant`.
        max_pause: a longer pause is not crossed.
    """
    if not replacements:
        return list(words), {}
    runs = [(run, *_laid_out(run)) for run in _runs(words, max_pause)]
    everything = "\n".join(_plain(text) for _, text, _ in runs)
    keys = {line: _plain(line.partition(ARROW)[0]) for line in replacements.split("\n")}
    keys = {line: key for line, key in keys.items() if key in everything}
    counts, result = Counter[str](), list[SpokenWord]()
    for run, text, spans in runs:
        plain = _plain(text)
        # A pattern of all lines would take minutes for some thousand of them.
        lines = [line for line, key in keys.items() if key in plain]
        done = 0
        for first, last, edits in _edits(lines, text, spans):
            result += run[done:first]
            place, end = spans[first][0], spans[last][1]
            parts = []
            for found in edits:
                line = lines[int((found.lastgroup or "_")[1:])]
                counts[line] += 1
                parts += [text[place : found.start()], _written(line, found, text)]
                place = found.end()
            tokens = "".join([*parts, text[place:end]]).split()
            result += _in_place_of(run[first : last + 1], tokens)
            done = last + 1
        result += run[done:]
    return result, {line: counts[line] for line in keys if line in counts}


def _plain(text: str) -> str:
    """Return a text in which what a line may find can be looked for fast."""
    return " ".join(text.casefold().replace("-", " ").split())


def _pattern(lines: Sequence[str]) -> re.Pattern[str]:
    """Return what finds the heard side of each line; group `r3` is that of the fourth one."""
    heards = [line.partition(ARROW)[0].strip() for line in lines]
    longest_first = sorted(range(len(heards)), key=lambda i: -len(heards[i]))
    return re.compile(
        "|".join(f"(?P<r{i}>{_whole(heards[i])})" for i in longest_first), re.IGNORECASE
    )


def _whole(heard: str) -> str:
    """Return the expression that finds a text as whole words, but for scripts without spaces.

    "clock" is not a word of "o'clock", nor "law" of "mother-in-law", but "Ada" is one of "Ada's".
    """
    inside = r"[-\s]+".join(map(re.escape, heard.split()))
    bound = rf"[^\W{UNSPACED_SCRIPTS}]"
    before = r"(?<!\w)(?<!\w['’-])" if re.match(bound, heard) else ""
    after = r"(?!\w)(?!-\w)" if re.match(bound, heard[-1]) else ""
    return before + inside + after


def _runs(words: Sequence[SpokenWord], max_pause: Seconds) -> Iterator[Sequence[SpokenWord]]:
    """Cut the words where the speaker changes or pauses."""
    cuts = [
        place
        for place, (a, b) in enumerate(pairwise(words), 1)
        if a.speaker != b.speaker or b.start - a.end > max_pause
    ]
    for first, last in pairwise([0, *cuts, len(words)]):
        yield words[first:last]


def _laid_out(words: Sequence[SpokenWord]) -> tuple[str, list[tuple[int, int]]]:
    """Return the words as running text, and where in it each begins and ends."""
    text, spans = "", []
    for word in words:
        text += " " if word.spaced and text else ""
        spans.append((len(text), len(text) + len(word.text)))
        text += word.text
    return text, spans


def _edits(
    lines: Sequence[str], text: str, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int, list[re.Match[str]]]]:
    """Yield the first and the last word of each place to change, and what was found there."""
    if not lines:
        return
    owner: list[int] = []
    for index, (_, end) in enumerate(spans):
        owner += [index] * (end - len(owner))
    edits: list[tuple[int, int, list[re.Match[str]]]] = []
    for found in _pattern(lines).finditer(text):
        first, last = owner[found.start()], owner[found.end() - 1]
        if edits and edits[-1][1] == first:  # of the same word
            edits[-1] = (edits[-1][0], last, [*edits[-1][2], found])
        else:
            edits.append((first, last, [found]))
    yield from edits


def _written(line: str, found: re.Match[str], text: str) -> str:
    """Return what is meant; with a capital where it begins a sentence and is no name."""
    meant = line.partition(ARROW)[2].strip()
    before = text[: found.start()].rstrip(" \"'“‘«(¿¡")
    begins = found[0][0].isupper() and (not before or before.endswith(SENTENCE_ENDS))
    return meant[0].upper() + meant[1:] if begins and meant.islower() else meant


def _in_place_of(words: Sequence[SpokenWord], tokens: Sequence[str]) -> Iterator[SpokenWord]:
    """Yield the tokens as words that take the time of some others."""
    if len(tokens) == len(words):
        for place, (word, token) in enumerate(zip(words, tokens, strict=True)):
            yield word.model_copy(update={"text": token, "spaced": place > 0 or word.spaced})
        return
    start, end = words[0].start, max(word.end for word in words)
    confidence = sum(word.confidence for word in words) / len(words)
    overlap = any(word.overlap for word in words)
    total, done = sum(map(len, tokens)), 0
    for place, token in enumerate(tokens):
        begins = start + (end - start) * done / total
        done += len(token)
        yield words[0].model_copy(
            update={
                "start": begins,
                "end": start + (end - start) * done / total,
                "text": token,
                "confidence": confidence,
                "overlap": overlap,
                "spaced": words[0].spaced if place == 0 else True,
            }
        )
