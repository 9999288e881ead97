"""Arithmetic of time intervals, as arrays of shape (intervals, 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spokenby.types import Seconds, Span, Turn

Floats = npt.NDArray[np.float64]

INSTANT: Seconds = 1e-6
"""Shorter overlaps are floating-point rounding, not speech."""


def array(spans: Sequence[Span]) -> Floats:
    """Return shape (spans, 2): starts, ends."""
    return np.array([(span.start, span.end) for span in spans], dtype=np.float64).reshape(-1, 2)


def spans(starts: Floats, ends: Floats) -> list[Span]:
    """Return starts and ends as spans."""
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return [Span(start=start, end=end) for start, end in pairs]


def by_speaker(turns: Sequence[Turn], speakers: Sequence[str]) -> list[Floats]:
    """Return when each speaker speaks, as from `union`, shape (stretches, 2) each."""
    return [union(array([turn for turn in turns if turn.speaker == name])) for name in speakers]


def union(times: Floats) -> Floats:
    """Return the stretches that the spans cover, sorted and disjoint, shape (stretches, 2)."""
    times = times[np.argsort(times[:, 0], kind="stable")]
    reach = np.maximum.accumulate(times[:, 1])
    first = np.append(True, times[1:, 0] > reach[:-1])[: len(times)]
    last = np.append(first[1:], True)[: len(times)]
    return np.column_stack([times[first, 0], reach[last]])


def shared(unions: Sequence[Floats]) -> Floats:
    """Return the stretches that at least two of the unions cover, shape (stretches, 2)."""
    times = np.concatenate([np.empty(0), *(each.ravel() for each in unions)])
    steps = np.tile([1, -1], len(times) // 2)
    order = np.argsort(times, kind="stable")
    times, active = times[order], np.cumsum(steps[order])
    several = np.flatnonzero(active >= 2)
    return np.column_stack([times[several], times[several + 1]])


def covered(stretches: Floats, starts: Floats, ends: Floats) -> Floats:
    """Return how many seconds of each start to end lie in intervals from `union`."""
    if not len(stretches):
        return np.zeros(len(starts))
    # Covered time since the beginning, as a function of time: flat between stretches.
    so_far = np.repeat(np.append(0, np.cumsum(stretches[:, 1] - stretches[:, 0])), 2)[1:-1]
    knots = stretches.ravel()
    return np.asarray(np.interp(ends, knots, so_far) - np.interp(starts, knots, so_far))


def distance(stretches: Floats, starts: Floats, ends: Floats) -> Floats:
    """Return the distance of each start to end to the nearest stretch; inf if there is none."""
    edges = np.vstack([[-np.inf, -np.inf], stretches, [np.inf, np.inf]])
    following = np.searchsorted(edges[:, 0], ends, side="right")
    before = starts - edges[following - 1, 1]
    return np.asarray(np.clip(np.minimum(before, edges[following, 0] - ends), 0, None))


def length(stretches: Floats) -> Seconds:
    """Return the total length of intervals from `union`."""
    return float((stretches[:, 1] - stretches[:, 0]).sum())
