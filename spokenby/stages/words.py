"""Build words from a recognizer's pieces of text, and trim them to the speech."""

from __future__ import annotations

import re
import unicodedata
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from spokenby.types import UNSPACED_SCRIPTS, Seconds, Span, Word

SHORTEST_WORD: Seconds = 0.02
"""No word is shorter: one step of Whisper's clock."""

_SLOW = re.compile(rf"[\d{UNSPACED_SCRIPTS}]")
_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
_OPENING = "([{¿¡“‘«「『（【《〈"

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


def join_pieces(pieces: Sequence[Word]) -> list[Word]:
    """Join the pieces that a tokenizer cuts words into; a leading space begins a new word.

    Scripts that write no spaces between words keep their pieces, `spaced` false. Punctuation
    belongs to the word before it, opening punctuation to the word after; it takes no time.
    Confidence is the mean weighted by length.
    """
    groups: list[list[Word]] = []
    for piece in pieces:
        if groups and _continues("".join(part.text for part in groups[-1]), piece.text):
            groups[-1].append(piece)
        elif piece.text.strip():
            groups.append([piece])
    if len(groups) > 1 and not any(_last_letter(piece.text) for piece in groups[-1]):
        rest = groups.pop()
        groups[-1] += rest
    words: list[Word] = []
    spaced = False
    for group in groups:
        text = "".join(piece.text for piece in group)
        spaced = spaced or text[0].isspace() if words else not _UNSPACED.match(text.strip())
        spoken = [piece for piece in group if _last_letter(piece.text)] or group
        lengths = [len(piece.text.strip()) for piece in spoken]
        weighted = sum(piece.confidence * n for piece, n in zip(spoken, lengths, strict=True))
        words.append(
            Word(
                start=spoken[0].start,
                end=max(piece.end for piece in spoken),
                text=text.strip(),
                confidence=weighted / sum(lengths),
                spaced=spaced,
            )
        )
        spaced = text[-1].isspace()
    return words


def _continues(before: str, text: str) -> bool:
    """Return whether a piece belongs to the same word as the text before it."""
    letter = _last_letter(before)
    if not letter or not text.strip():
        return True
    if text[0].isspace() or before[-1].isspace():
        return False
    if not _last_letter(text):
        return text[0] not in _OPENING
    if unicodedata.category(text[0]).startswith("M"):
        return True
    return not (_UNSPACED.match(letter) or _UNSPACED.match(text[0]))


def _last_letter(text: str) -> str:
    """Return the last letter or digit, empty if there is none."""
    return next((character for character in reversed(text) if character.isalnum()), "")


def longest_spoken(text: str) -> Seconds:
    """Return how long a spoken word can last.

    98 % of 600 words that Whisper base recognized in read and free speech are no longer; the others
    are stretched over a pause, or over speech that was skipped.
    """
    letters = sum(character.isalnum() for character in text)
    slow = len(_SLOW.findall(text))  # a digit is a word, a character of these scripts a syllable
    return 0.4 + 0.1 * (letters - slow) + 0.3 * slow


def tidy_words(
    words: Sequence[Word], window: Span, speech: Sequence[Span], margin: Seconds
) -> list[Word]:
    """Sort the words, trim each to the stretch of speech it overlaps most, drop those far from any.

    A recognizer stretches words over pauses; the part in the pause is cut off. A word outside of
    speech, but within `margin` of it, keeps its times. A word is shortened to `longest_spoken`: its
    end stays, as Whisper gives a pause to the word after it, unless it ends a sentence.
    """
    tidy = []
    for word in sorted(words, key=lambda word: (word.start, word.end)):
        text = word.text.strip()
        start, end = max(word.start, window.start), min(word.end, window.end)
        near = clip_spans(speech, Span(start=start - margin, end=max(start, end) + margin))
        if not text or not near:
            continue
        best = max(near, key=lambda span: min(span.end, end) - max(span.start, start))
        if best.start < end and start < best.end:
            start, end = max(start, best.start), min(end, best.end)
        if text[-1].isalnum():
            start = max(start, end - longest_spoken(text))
        else:
            end = min(end, start + longest_spoken(text))
        start = max(window.start, min(start, window.end - SHORTEST_WORD))
        end = max(end, start + SHORTEST_WORD)
        tidy.append(
            Word(
                start=round(start, 3),
                end=round(end, 3),
                text=text,
                confidence=min(1.0, max(0.0, word.confidence)),
                spaced=word.spaced,
            )
        )
    return sorted(tidy, key=lambda word: (word.start, word.end))


def fold_word(text: str) -> str:
    """Return a word without case and punctuation, for comparison."""
    return text.casefold().strip(".,!?;:…\"'")


def repeats_itself(words: Sequence[Word], max_compression: float) -> bool:
    """Return whether a text loops: it compresses too well, or repeats a phrase.

    Short loops do not compress well, so phrases are counted as well: of one to eight words, said
    at least four times in a row, with at least eight words in all.
    """
    joined = " ".join(word.text for word in words).encode()
    if len(joined) > max_compression * len(zlib.compress(joined)):
        return True
    folded = [fold_word(word.text) for word in words]
    for length in range(1, 9):
        run = 0
        for previous, following in zip(folded, folded[length:], strict=False):
            run = run + 1 if previous == following else 0
            if run + length >= max(4 * length, 8):
                return True
    return False


def clip_spans(spans: Sequence[Span], window: Span) -> list[Span]:
    """Return the parts of the sorted, disjoint spans that lie in the window."""
    first = bisect_right(spans, window.start, key=lambda span: span.end)
    last = bisect_left(spans, window.end, key=lambda span: span.start)
    return [
        Span(start=max(span.start, window.start), end=min(span.end, window.end))
        for span in spans[first:last]
    ]
