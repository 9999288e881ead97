"""Regions and windows from made-up probabilities; every expected time is worked out by hand."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from whosaid.speech import FRAME_S, Params, detect_speech, find_regions, pack_windows
from whosaid.types import Span, Waveform

EXACT = Params(onset=0.5, offset=0.3, min_speech=0, min_pause=0, pad=0)


def spans(pairs):
    return tuple(Span(start=start, end=end) for start, end in pairs)


@pytest.mark.parametrize(
    ("probabilities", "changes", "frames"),
    [
        ([], {}, []),
        ([0.0] * 9, {}, []),
        ([0.4] * 9, {}, []),  # never reaches the onset
        ([0.1, 0.9, 0.1], {}, [(1, 2)]),
        ([0.9, 0.9], {}, [(0, 2)]),
        ([0.1, 0.4, 0.9, 0.4, 0.1], {}, [(1, 4)]),  # hysteresis on both sides
        ([0.9, 0.1, 0.4, 0.1, 0.9], {}, [(0, 1), (4, 5)]),  # 0.4 alone is no speech
        ([0.9, 0.1, 0.1, 0.9], {"min_pause": 2.5 * FRAME_S}, [(0, 4)]),
        ([0.9, 0.1, 0.1, 0.9], {"min_pause": 1.5 * FRAME_S}, [(0, 1), (3, 4)]),
        ([0.9, 0.1, 0.1, 0.9, 0.9], {"min_speech": 1.5 * FRAME_S}, [(3, 5)]),
        # bridged first, then measured: stutter is one region
        (
            [0.9, 0.1, 0.9],
            {"min_pause": 1.5 * FRAME_S, "min_speech": 2.5 * FRAME_S},
            [(0, 3)],
        ),
        ([0.1, 0.1, 0.9, 0.1, 0.1], {"pad": FRAME_S}, [(1, 4)]),
        ([0.9, 0.1, 0.9, 0.1], {"pad": FRAME_S}, [(0, 1.5), (1.5, 4)]),  # pads share the gap
    ],
)
def test_regions(probabilities, changes, frames):
    params = EXACT.model_copy(update=changes)
    duration = len(probabilities) * FRAME_S
    regions = find_regions(np.array(probabilities, np.float32), duration, params)
    assert regions == spans((round(a * FRAME_S, 3), round(b * FRAME_S, 3)) for a, b in frames)


def test_regions_end_with_the_sound():
    regions = find_regions(np.array([0.9, 0.9], np.float32), 0.05, EXACT)
    assert regions == spans([(0, 0.05)])


@pytest.mark.parametrize(
    ("regions", "windows"),
    [
        ([], []),
        ([(0, 4)], [(0, 4)]),
        ([(0, 4), (5, 9)], [(0, 9)]),
        ([(0, 4), (9, 12)], [(0, 4), (9, 12)]),  # the pause is longer than window_pause
        ([(0, 4), (5, 11)], [(0, 4), (5, 11)]),  # together longer than window_max
        # all but the last would fit; the longest pause is after 7
        ([(0, 6), (6.1, 7), (8, 9), (9.1, 9.9), (10, 12)], [(0, 7), (8, 12)]),
        # nobody is left alone for a longer pause
        ([(0, 1), (2.5, 5), (5.8, 8), (8.7, 12)], [(0, 5), (5.8, 12)]),
        # cut there, it would take three
        ([(0, 6), (6.1, 7), (8, 9), (9.1, 9.9), (10, 20)], [(0, 9.9), (10, 20)]),
    ],
)
def test_windows(regions, windows):
    params = Params(window_max=10, window_pad=0, window_pause=3)
    assert pack_windows(spans(regions), np.zeros(1000, np.float32), 100.0, params) == spans(windows)


@pytest.mark.parametrize("seed", range(20))
def test_no_way_to_pack_costs_less(seed):
    random = np.random.default_rng(seed)
    edges = np.cumsum(random.uniform(0.3, 4, 18)).round(3).tolist()
    regions = spans(pairwise(edges))[::2]
    params = Params(window_max=10, window_pad=0, window_pause=3)

    def cost(windows):
        cuts = [after.start - window.end for window, after in pairwise(windows)]
        filled = sum(0.3 * (window.duration / 10) ** 2 for window in windows)
        return len(windows) + filled + sum(0.2 * max(0.0, 1 - pause) for pause in cuts)

    def fits(window):
        held = [region for region in regions if window.start <= region.start < window.end]
        pauses = [after.start - region.end for region, after in pairwise(held)]
        return window.duration <= 10 and max(pauses, default=0) <= 3

    costs = []
    for chosen in product([False, True], repeat=len(regions) - 1):
        firsts = [0, *(n for n, cut in enumerate(chosen, 1) if cut), len(regions)]
        windows = [
            Span(start=regions[a].start, end=regions[b - 1].end) for a, b in pairwise(firsts)
        ]
        if all(map(fits, windows)):
            costs.append(cost(windows))
    packed = pack_windows(regions, np.zeros(2000, np.float32), 100.0, params)
    assert all(map(fits, packed))
    assert cost(packed) == pytest.approx(min(costs))


def test_windows_are_widened_into_silence_only():
    params = Params(window_max=10, window_pad=0.5, window_pause=1)
    packed = pack_windows(spans([(0.2, 4), (5.4, 9)]), np.zeros(400, np.float32), 9.1, params)
    assert packed == spans([(0, 4.5), (4.9, 9.1)])


def test_a_region_too_long_is_cut_where_speech_is_least_likely():
    probabilities = np.full(1000, 0.9, np.float32)  # 32 s
    probabilities[[250, 500]] = 0.4
    params = Params(window_max=10, window_pad=0)
    packed = pack_windows(spans([(0, 32)]), probabilities, 32.0, params)
    assert [window.start for window in packed][:3] == [0, 8, 16]
    assert packed[-1].end == 32


@pytest.mark.parametrize("seed", range(5))
def test_windows_hold_all_speech_in_order(seed):
    random = np.random.default_rng(seed)
    steps = np.repeat(random.uniform(0, 1, 400), random.integers(1, 120, 400))
    probabilities = steps.astype(np.float32)
    duration = len(probabilities) * FRAME_S
    params = Params()
    regions = find_regions(probabilities, duration, params)
    windows = pack_windows(regions, probabilities, duration, params)
    assert regions
    assert all(window.duration <= params.window_max + 1e-6 for window in windows)
    assert all(a.end <= b.start for a, b in pairwise(windows))
    assert all(a.end <= b.start for a, b in pairwise(regions))
    held = sum(
        max(0.0, min(r.end, w.end) - max(r.start, w.start)) for r in regions for w in windows
    )
    assert held == pytest.approx(sum(region.duration for region in regions), abs=0.01)


class Energy:
    """The simplest detector there is: loud means speech."""

    def probabilities(self, waveform, progress):
        frames = waveform.samples[: len(waveform.samples) // 512 * 512].reshape(-1, 512)
        progress(1.0)
        return (frames**2).mean(axis=1, dtype=np.float32).clip(0, 1)


def test_detect_speech_carries_digest_and_duration():
    samples = np.zeros(16_000 * 3, np.float32)
    samples[16_000:32_000] = 1
    seen = []
    found = detect_speech(
        Waveform(samples, "sound"), Energy(), Params(pad=0), digest="key", progress=seen.append
    )
    assert (found.digest, found.duration, seen) == ("key", 3.0, [1.0])
    assert [(r.start, r.end) for r in found.regions] == [(0.992, 2.016)]
    assert len(found.windows) == 1


def test_silence_gives_nothing():
    found = detect_speech(
        Waveform(np.zeros(16_000, np.float32), ""), Energy(), Params(), digest="key"
    )
    assert (found.regions, found.windows) == ((), ())
