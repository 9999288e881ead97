"""Speech without words."""

from __future__ import annotations

import pytest

from spokenby.stages.word_gaps import find_gaps
from spokenby.stages.words import tidy_words
from spokenby.types import Span, Word


def spans(*pairs):
    return tuple(Span(start=start, end=end) for start, end in pairs)


def words(*triples):
    return [Word(text=text, start=start, end=end, confidence=0.5) for text, start, end in triples]


SOUND = [(f"word{i}", 0.5 * i, 0.5 * i + 0.4) for i in range(20)] + [
    (f"word{i}", 20 + 0.5 * i, 20.4 + 0.5 * i) for i in range(20)
]


def test_gaps_are_speech_that_is_longer_than_its_words_can_last():
    heard = words(("a", 11, 12), ("b", 25, 26))
    gaps = find_gaps(heard, Span(start=10, end=30), spans((10, 14), (20, 28)), 1.5)
    assert [((gap.start, gap.end), wordless) for gap, wordless in gaps] == [((10, 28), 10)]
    gaps = find_gaps(words(*SOUND), Span(start=0, end=40), spans((0, 10), (14, 18), (20, 40)), 1.5)
    assert [((gap.start, gap.end), round(lost, 2)) for gap, lost in gaps] == [
        ((14, 18), 4.1),
        ((29.9, 40), 10.1),
    ]


@pytest.mark.parametrize(
    ("stretched", "found"),
    [
        ((("He", 19.6, 21.8), ("took", 21.8, 23.4)), [(18.9, 22.6)]),  # a sentence of 3 s is lost
        ((("He", 19.6, 20.2), ("took", 20.2, 20.9)), [(18.9, 23.4)]),
        ((("He", 19.6, 21.8), ("took the medicine", 21.8, 23.4)), [(18.9, 21.2)]),
        (
            (("He", 19.6, 21.8), ("took", 21.8, 22.2), ("a", 22.3, 22.4), ("dose", 22.5, 23.4)),
            [(18.9, 21.2)],
        ),
        ((("He", 19, 19.6), ("took", 19.7, 20.7), ("a", 21, 21.5), ("large dose", 22, 23.4)), []),
    ],
)
def test_words_stretched_over_lost_ones_leave_a_gap(stretched, found):
    heard = words(("attention.", 18.3, 18.9), *stretched, ("the", 23.4, 23.6), ("end.", 23.7, 24))
    window, speech = Span(start=18, end=24), spans((18.3, 24))
    gaps = find_gaps(tidy_words(heard, window, speech, 0.5), window, speech, 1.5)
    assert [(gap.start, gap.end) for gap, _ in gaps] == found
