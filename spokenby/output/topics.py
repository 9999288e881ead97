"""Find where the topic changes, by the words alone: TextTiling, without a model or a language.

M. Hearst, "TextTiling: Segmenting text into multi-paragraph subtopic passages", 1997. Depths are
measured as far as a window reaches, and words count by how rare they are in this text, so that no
list of frequent words is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_UNIT = 20
"""Words that are looked at together."""
_WINDOW = 25
"""Units on each side of a place that are compared: some three minutes of speech."""
_SMOOTHING = 2
"""Units on each side over which likeness is averaged."""
_DEPTH = 0.75
"""Of a change: so many standard deviations above the mean."""
_PEAK = 3
"""Units on each side among which a change is the deepest."""

LEAST_WORDS = 2 * _UNIT * _WINDOW
"""In fewer there is nothing to compare: six minutes of speech."""


def find_topic_changes(words: Sequence[str]) -> list[int]:
    """Return the places of words near which the topic changes, the clearest change first.

    Args:
        words: in order, of a language that writes spaces between them.
    """
    units = _units(words)
    if len(words) < LEAST_WORDS:
        return []
    alike = _smoothed(_likeness(units))
    count = len(alike)
    depths = np.array(
        [
            alike[max(0, at - _WINDOW) : at + 1].max()
            + alike[at : at + _WINDOW + 1].max()
            - 2 * alike[at]
            for at in range(count)
        ]
    )
    least = depths.mean() + _DEPTH * depths.std()
    changes = [
        at
        for at in range(count)
        if depths[at] >= least
        and depths[at] > 0
        and depths[at] == depths[max(0, at - _PEAK) : at + _PEAK + 1].max()
    ]
    changes.sort(key=lambda at: -depths[at])
    return [(at + 1) * _UNIT for at in changes]


def _units(words: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the words as numbers, a unit a row; 0 for what has no letter."""
    numbers = {"": 0}
    terms = (re.sub(r"[\W_]+", "", word.casefold()) for word in words)
    ids = [numbers.setdefault(term, len(numbers)) for term in terms]
    return np.array(ids[: len(ids) // _UNIT * _UNIT], np.int64).reshape(-1, _UNIT)


def _likeness(units: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how alike the windows before and behind each unit but the first are, 0 to 1."""
    count, size = len(units), int(units.max()) + 1
    in_units = np.bincount(np.concatenate([np.unique(unit) for unit in units]), minlength=size)
    weights = np.log(count / np.maximum(in_units, 1))
    weights[0] = 0.0
    before, behind = np.zeros(size), np.zeros(size)
    np.add.at(behind, units[:_WINDOW].ravel(), 1)
    alike = []
    for at in range(1, count):
        np.add.at(before, units[at - 1], 1)
        np.add.at(behind, units[at - 1], -1)
        if at > _WINDOW:
            np.add.at(before, units[at - 1 - _WINDOW], -1)
        if at + _WINDOW <= count:
            np.add.at(behind, units[at + _WINDOW - 1], 1)
        one, other = before * weights, behind * weights
        alike.append(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9))
    return np.array(alike)


def _smoothed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mean = np.ones(2 * _SMOOTHING + 1)
    return np.convolve(values, mean, "same") / np.convolve(np.ones(len(values)), mean, "same")
