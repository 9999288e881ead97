"""Find which voices sound alike, for people to compare.

Every function runs in its caller's transaction; see store.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, select

from spokenby.voices.centroids import read_centroids, read_kinds
from spokenby.voices.matching import find_calibration
from spokenby.voices.registry import read_names
from spokenby.voices.tables import apart, appearances

MANY = 3
_ROWS = 1024
"""Of the matrix of likenesses, so many at a time."""


class Neighbor(NamedTuple):
    """A voice that sounds like another one."""

    voice: int
    name: str
    known: bool
    """Whether somebody named it."""
    likeness: float
    """Cosine."""
    likely: bool
    """More likely one person than two, if both are equally likely before."""
    together: bool
    """Both speak in one video."""


class _Pair(NamedTuple):
    odds: float
    """Logarithm: comparable between encoders, which cosines are not."""
    other: int
    likeness: float


def read_neighbors(connection: Connection) -> dict[int, list[Neighbor]]:
    """Return the `MANY` voices most like each one without a name, the likest first.

    Without those that people keep apart.
    """
    names = read_names(connection)
    divided = {frozenset(row) for row in connection.execute(select(apart.c.voice, apart.c.other))}
    videos: dict[int, set[str]] = defaultdict(set)
    for voice, video in connection.execute(select(appearances.c.voice, appearances.c.video)):
        videos[voice].add(video)
    pairs: dict[int, dict[int, _Pair]] = defaultdict(dict)
    for voice, pair in _likest(connection, frozenset(names)):
        before = pairs[voice].get(pair.other)
        if frozenset((voice, pair.other)) not in divided and (before is None or before < pair):
            pairs[voice][pair.other] = pair
    return {
        voice: [
            Neighbor(
                pair.other,
                names.get(pair.other, f"Speaker {pair.other}"),
                pair.other in names,
                pair.likeness,
                pair.odds > 0,
                bool(videos[voice] & videos[pair.other]),
            )
            for pair in sorted(found.values(), reverse=True)[:MANY]
        ]
        for voice, found in pairs.items()
    }


def _likest(connection: Connection, named: frozenset[int]) -> Iterator[tuple[int, _Pair]]:
    """Yield each nameless voice with those most like it, more than `MANY`: some may be apart."""
    for model, dimension in read_kinds(connection):
        if (known := find_calibration(model)) is None:
            continue  # a former encoder
        numbers, prints = read_centroids(connection, model, dimension)
        nameless = np.flatnonzero(~np.isin(numbers, list(named)))
        for first in range(0, len(nameless), _ROWS):
            rows = nameless[first : first + _ROWS]
            likeness = prints[rows] @ prints.T
            likeness[np.arange(len(rows)), rows] = -np.inf  # each is most like itself
            order = np.argsort(-likeness, axis=1, kind="stable")[:, : 4 * MANY]
            for at, row in enumerate(rows.tolist()):
                for other in order[at].tolist():
                    cosine = float(likeness[at, other])
                    if np.isfinite(cosine):
                        odds = known.slope * cosine + known.offset
                        yield int(numbers[row]), _Pair(odds, int(numbers[other]), cosine)
