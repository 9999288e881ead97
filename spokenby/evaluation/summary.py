"""Take the figures of many recordings together, with intervals that say how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spokenby.evaluation.figures import FIGURES, Rate

RESAMPLES = 1000
_SEED = 0
"""Fixed: the same recordings give the same intervals."""


class Together(NamedTuple):
    """A figure over recordings, and in which range 95 of 100 such collections would have it.

    `low` and `high` are NaN for a single recording, which cannot tell.
    """

    rate: Rate
    recordings: int
    low: float
    high: float


def take_together(scores: Sequence[Mapping[str, Rate]]) -> dict[str, Together]:
    """Return each figure over the recordings that have it; long ones weigh more.

    Intervals are percentiles of the bootstrap: recordings drawn with replacement.
    """
    figures = {}
    for key in FIGURES:
        rates = [each[key] for each in scores if key in each]
        if rates:
            total = Rate(sum(rate.errors for rate in rates), sum(rate.total for rate in rates))
            figures[key] = Together(total, len(rates), *_interval(rates))
    return figures


def _interval(rates: Sequence[Rate]) -> tuple[float, float]:
    if len(rates) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(_SEED).integers(len(rates), size=(RESAMPLES, len(rates)))
    errors, totals = np.array(rates, float)[drawn].sum(axis=1).T
    values = errors[totals > 0] / totals[totals > 0]
    if not len(values):
        return math.nan, math.nan
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
