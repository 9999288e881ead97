"""Find speech that has no words, and insert the words found there on a second attempt."""

from __future__ import annotations

from collections.abc import Sequence

from spokenby.stages.words import SHORTEST_WORD, clip_spans, fold_word, longest_spoken
from spokenby.types import Seconds, Span, Word

SHORTEST_SPEECH: Seconds = 0.3
"""Less speech than this beside a pause is the start or end of a word that was recognized."""

SAID_TWICE = 4
"""Whisper guesses words at a cut: at most this many are compared with those on its other side."""

MARGIN: Seconds = 0.2
"""How much of the pauses beside a gap is transcribed with it."""


def find_gaps(
    words: Sequence[Word], window: Span, speech: Sequence[Span], at_least: Seconds
) -> list[tuple[Span, Seconds]]:
    """Return the stretches whose speech is longer than their words can last, and by how much.

    Words stretched over missing ones were already cut to the longest they can last. Time by which
    a word could last longer is subtracted from the speech around it.
    """
    gaps = []
    first = stop = window.start
    missing = most = 0.0
    ends = [window.start, *(word.end for word in words)]
    starts = [*(word.start for word in words), window.end]
    for number, (end, start) in enumerate(zip(ends, starts, strict=True)):
        if inside := clip_spans(speech, Span(start=end, end=max(end, start))):
            long = [span for span in inside if span.duration >= SHORTEST_SPEECH]
            if not missing:
                first, stop = (long or inside)[0].start, inside[-1].end
            missing += sum(span.duration for span in inside)
            most = max(most, missing)
            stop = long[-1].end if long else stop
        word = words[number] if number < len(words) else None
        missing -= max(0.0, longest_spoken(word.text) - word.duration) if word else missing
        if missing <= 0 or most - missing > at_least:
            if most > at_least:
                gaps.append((Span(start=first, end=stop), most))
            missing = most = 0.0
    return gaps


def widen_gap(gap: Span, words: Sequence[Word], window: Span) -> Span:
    """Return a gap widened by `MARGIN` on both sides, but not into the words beside it."""
    before = [word.end for word in words if word.end <= gap.start]
    after = [word.start for word in words if word.start >= gap.end]
    return Span(
        start=max(gap.start - MARGIN, max(before, default=window.start)),
        end=min(gap.end + MARGIN, min(after, default=window.end)),
    )


def insert_words(
    words: Sequence[Word], found: Sequence[Word], gap: Span, window: Span
) -> list[Word]:
    """Return a window's words with those found in a gap, which replace what overlaps them.

    Words that were stretched over the gap and are not among those found are moved beside it.
    """
    first, last = found[0].start, found[-1].end
    texts = {fold_word(word.text) for word in found}
    before, after = [], []
    for word in words:
        middle = (word.start + word.end) / 2
        if middle < gap.start:
            before.append(word)
        elif middle > gap.end:
            after.append(word)
        elif fold_word(word.text) not in texts and word.text[-1].isalnum():
            after.append(_clipped(word, last, window.end))
        elif fold_word(word.text) not in texts:
            before.append(_clipped(word, window.start, first))
    for length in range(min(len(found), SAID_TWICE), 0, -1):
        if _same(found[:length], before[-length:]):
            before = before[:-length]
        if _same(found[-length:], after[:length]):
            after = after[length:]
    return sorted([*before, *found, *after], key=lambda word: word.start)


def _clipped(word: Word, start: Seconds, end: Seconds) -> Word:
    """Return the word moved between two times."""
    first = max(start, min(word.start, end - SHORTEST_WORD))
    last = min(max(word.end, first + SHORTEST_WORD), max(end, first + SHORTEST_WORD))
    return word.model_copy(update={"start": round(first, 3), "end": round(last, 3)})


def _same(words: Sequence[Word], others: Sequence[Word]) -> bool:
    """Return whether the texts are the same but for case and punctuation."""
    return [fold_word(word.text) for word in words] == [fold_word(word.text) for word in others]
