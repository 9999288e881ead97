"""Figures of several recordings are taken together, with repeatable intervals."""

from __future__ import annotations

import math

from spokenby.evaluation.figures import Rate
from spokenby.evaluation.summary import take_together


def test_long_recordings_weigh_more_and_lacking_figures_do_not_count():
    scores = [{"der": Rate(1, 10)}, {"der": Rate(30, 90), "wer": Rate(1, 2)}, {}]
    found = take_together(scores)
    assert found["der"].rate == (31, 100)
    assert found["der"].recordings == 2
    # Of two recordings, a sample is one of them twice, or both.
    assert (found["der"].low, found["der"].high) == (0.1, 1 / 3)
    assert take_together(scores) == found | {"wer": take_together(scores)["wer"]}
    assert math.isnan(found["wer"].low)


def test_intervals_narrow_with_the_number_of_recordings():
    def width(number: int) -> float:
        found = take_together([{"der": Rate(n % 5, 10)} for n in range(number)])["der"]
        assert found.low <= found.rate.value <= found.high
        return found.high - found.low

    assert width(100) < width(20) / 1.5


def test_equal_recordings_leave_no_doubt():
    found = take_together([{"der": Rate(1, 4)}] * 5)["der"]
    assert (found.low, found.high) == (0.25, 0.25)
