"""Regions and windows from made-up probabilities; every expected time is worked out by hand."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise, product

import numpy as np
import pytest

from spokenby.stages import local_speakers
from spokenby.stages.local_speakers import CHUNK_FRAMES, FRAME_STEP_S, count_chunks
from spokenby.stages.speech import (
    FRAME_S,
    Params,
    combine,
    detect_speech,
    find_regions,
    pack_windows,
)
from spokenby.types import Span, Waveform

EXACT = Params(onset=0.5, offset=0.3, min_speech=0, min_pause=0, pad=0, pad_pause=0)


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
        # only beside pauses long enough, the edges of the recording among them
        (
            [0.1, 0.1, 0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1],
            {"pad": FRAME_S / 4, "pad_pause": 1.5 * FRAME_S},
            [(1.75, 3), (4, 5.25), (6.75, 8)],
        ),
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


class Loud:
    """A segmenter by loudness: the first local speaker speaks, or nobody does."""

    computes_in = "cpu, float32"

    def segment(self, waveform, progress):
        padded = np.pad(waveform.samples, (0, 320_000))
        classes = np.zeros((count_chunks(waveform.duration), CHUNK_FRAMES, 7), np.float32)
        for chunk, frames in enumerate(classes):
            first = int((chunk * local_speakers.CHUNK_STEP_S + 0.03) * 16_000)
            loud = padded[first : first + CHUNK_FRAMES * 270 : 270][:CHUNK_FRAMES] != 0
            frames[:, 1], frames[:, 0] = loud, ~loud
        progress(1.0)
        return classes


def hear(samples, params, progress=lambda _: None):
    entered = []

    @contextmanager
    def segmenter():
        entered.append(True)
        yield Loud()

    found = detect_speech(
        Waveform(samples, "sound"), Energy(), segmenter(), params, digest="key", progress=progress
    )
    assert entered == [True]
    return found


def test_detect_speech_carries_digest_duration_and_who_is_active():
    samples = np.zeros(16_000 * 13, np.float32)
    samples[16_000:32_000] = 1
    seen = []
    found = hear(samples, Params(pad=0), seen.append)
    assert (found.digest, found.duration, seen) == ("key", 13.0, [0.3, 1.0])
    assert found.computed_in == "cpu, float32"
    (region,) = found.regions
    assert region.start == pytest.approx(1, abs=FRAME_S)
    assert region.end == pytest.approx(2, abs=FRAME_S)
    assert len(found.windows) == 1
    active = local_speakers.unpack(found.local_speakers)
    assert active.shape == (3, CHUNK_FRAMES, 3)
    assert active.sum() * FRAME_STEP_S == pytest.approx(1, abs=2 * FRAME_STEP_S)  # in one chunk
    assert not active[..., 1:].any()


def test_silence_gives_nothing():
    found = hear(np.zeros(16_000, np.float32), Params())
    assert (found.regions, found.windows) == ((), ())
    assert not local_speakers.unpack(found.local_speakers).any()


def together(heard, segmented, seconds=60.0):
    """Return what both say of each second: their probabilities, as functions of time, combined."""
    time = (np.arange(int(seconds / FRAME_S)) + 0.5) * FRAME_S
    moments = local_speakers.to_time(np.arange(local_speakers.count_frames(seconds)))
    found = combine(heard(time).astype(np.float32), segmented(moments))
    assert found.shape == time.shape
    assert found.dtype == np.float32
    return lambda start, end: found[(time > start) & (time < end)]


def between(start, end, inside, outside=1e-5):
    return lambda time: np.where((time > start) & (time < end), inside, outside)


def test_both_agree():
    found = together(between(20, 30, 0.99), between(20, 30, 0.99))
    assert found(20.2, 29.8).min() > 0.95
    assert found(0, 19.8).max() < 0.05
    assert found(30.2, 60).max() < 0.05


def test_silence_stays_silent():
    assert together(between(0, 0, 1), between(0, 0, 1))(0, 60).max() < 0.01


def test_detection_that_is_deaf_for_seconds_has_no_say():
    found = together(between(0, 10, 0.99), lambda time: np.full(len(time), 0.95))
    assert found(0, 9).min() > 0.9
    assert found(25, 60).min() > 0.5  # segmentation alone, and it is sure


def test_what_is_doubtful_where_detection_is_deaf_is_no_speech():
    """A distant voice: segmentation is sure of it, and half hears the room behind it."""
    found = together(between(0, 0, 1), between(10, 20, 0.99, 0.25))
    assert found(10.1, 19.9).min() > 0.9
    assert found(21, 25).max() < Params().offset


def test_detection_that_hears_is_believed_in_a_pause():
    """Segmentation bridges a pause that detection hears."""
    pause = together(
        lambda time: np.where((time > 29) & (time < 30), 0.01, 0.99),
        lambda time: np.full(len(time), 0.8),
    )
    assert pause(29.1, 29.9).max() < 0.2
    assert pause(20, 28.9).min() > 0.9


def test_what_detection_alone_hears_must_be_clear():
    """Music and noises: segmentation hears no voice."""
    doubtful = together(between(20, 30, 0.6), between(0, 0, 1))
    assert doubtful(20, 30).max() < Params().onset
    clear = together(between(20, 30, 0.999), between(0, 0, 1, 0.2))
    assert clear(20.1, 29.9).min() > 0.5


def test_only_long_pauses_are_padded_by_default():
    probabilities = np.full(400, 0.01, np.float32)
    probabilities[100:150] = probabilities[165:200] = 0.9  # 0.48 s apart; the edges are far
    found = find_regions(probabilities, 400 * FRAME_S, Params())
    pad = Params().pad
    assert found == spans(
        [
            (round(100 * FRAME_S - pad, 3), round(150 * FRAME_S, 3)),
            (round(165 * FRAME_S, 3), round(200 * FRAME_S + pad, 3)),
        ]
    )
