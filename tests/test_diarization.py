"""Tidy turns and the maths of clustering on numbers small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from whosaid import diarization
from whosaid.diarization import Params, diarize_speakers
from whosaid.types import Span, SpeechRegions, Turn, Waveform


def turns(*rows):
    return [Turn(start=start, end=end, speaker=speaker) for start, end, speaker in rows]


def rows(found):
    return [(turn.start, turn.end, turn.speaker) for turn in found]


class Fixed:
    """A diarizer that answers as told."""

    def __init__(self, regular, exclusive):
        self.answer = (turns(*regular), turns(*exclusive))

    def diarize(self, waveform, speech, params, progress):
        return self.answer


def speech_of(*regions):
    spans = tuple(Span(start=start, end=end) for start, end in regions)
    return SpeechRegions(digest="", regions=spans, windows=spans, duration=10.0)


WAVEFORM = Waveform(np.zeros(160_000, np.float32), "")


@pytest.mark.parametrize(
    ("regular", "exclusive", "expected", "expected_exclusive"),
    [
        ([], [], [], []),
        (
            [(5, 6, "b"), (1, 2, "z")],  # numbered by first turn, not by name
            [(1, 2, "z"), (5, 6, "b")],
            [(1, 2, "SPEAKER_00"), (5, 6, "SPEAKER_01")],
            [(1, 2, "SPEAKER_00"), (5, 6, "SPEAKER_01")],
        ),
        (
            [(-1, 4, "a"), (3, 99, "b"), (2, 2, "c")],  # clipped; empty turns vanish
            [(0, 4, "a"), (3, 10, "b")],
            [(0, 4, "SPEAKER_00"), (3, 10, "SPEAKER_01")],  # overlap stays
            [(0, 4, "SPEAKER_00"), (4, 10, "SPEAKER_01")],  # and is resolved here
        ),
        (
            [(0, 9, "a"), (2, 3, "b")],
            [(0, 9, "a"), (2, 3, "b")],
            [(0, 9, "SPEAKER_00"), (2, 3, "SPEAKER_01")],
            [(0, 9, "SPEAKER_00")],
        ),
        ([(0.12345, 1, "a")], [], [(0.123, 1, "SPEAKER_00")], []),
    ],
)
def test_turns_are_tidied(regular, exclusive, expected, expected_exclusive):
    found = diarize_speakers(
        WAVEFORM, speech_of((0, 10)), Fixed(regular, exclusive), Params(), digest="key"
    )
    assert rows(found.turns) == expected
    assert rows(found.exclusive) == expected_exclusive
    assert found.digest == "key"


def test_without_speech_the_diarizer_is_not_asked():
    found = diarize_speakers(
        WAVEFORM, speech_of(), Fixed([(0, 1, "a")], []), Params(), digest="key"
    )
    assert (found.turns, found.exclusive, found.speakers) == ((), (), ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (1, diarization.MOST_SPEAKERS)),
        ({"num_speakers": 3}, (3, 3)),
        ({"min_speakers": 2}, (2, diarization.MOST_SPEAKERS)),
        ({"min_speakers": 2, "max_speakers": 4}, (2, 4)),
        ({"min_speakers": 30}, (30, 30)),
    ],
)
def test_speaker_range(given, expected):
    assert Params(**given).speaker_range() == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_speakers": 0},
        {"min_speakers": 3, "max_speakers": 2},
        {"num_speakers": 3, "max_speakers": 2},
        {"num_speakers": 1, "min_speakers": 2},
    ],
)
def test_impossible_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        Params(**wrong)


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([(1, 1.5)], [(1, 1.5, 0)]),  # shorter than a window
        ([(0, 2)], [(0, 2, 0)]),
        ([(0, 3)], [(0, 2, 0), (1, 3, 0)]),
        ([(0, 3.2)], [(0, 2, 0), (0.6, 2.6, 0), (1.2, 3.2, 0)]),  # evenly, at most a hop apart
        ([(0, 1), (5, 8)], [(0, 1, 0), (5, 7, 1), (6, 8, 1)]),
    ],
)
def test_windows_cover_regions(regions, expected):
    edges = np.array(regions, float)
    start, end, region = diarization.place_windows(edges[:, 0], edges[:, 1], 2.0, 1.0)
    found = np.stack([start, end, region], axis=1)
    np.testing.assert_allclose(found, expected)


def voices(counts, *, noise=0.3, dimension=64, seed=0):
    """Unit rows around random directions: counts[k] rows of voice k, in order."""
    random = np.random.default_rng(seed)
    centres = diarization.unit_rows(random.normal(size=(len(counts), dimension)))
    truth = np.repeat(np.arange(len(counts)), counts)
    scatter = random.normal(size=(len(truth), dimension)) * noise / np.sqrt(dimension)
    return diarization.unit_rows(centres[truth] + scatter), truth


def test_distances_equal_scipy():
    vectors, _ = voices([20, 20])
    np.testing.assert_allclose(
        diarization.cosine_distances(vectors, vectors),
        cdist(vectors, vectors, "cosine"),
        atol=1e-12,
    )


def test_silhouette_equals_sklearn():
    vectors, truth = voices([20, 7, 1], noise=1.0)
    distance = diarization.cosine_distances(vectors, vectors)
    np.fill_diagonal(distance, 0)
    assert diarization.silhouette(distance, truth) == pytest.approx(
        silhouette_score(distance, truth, metric="precomputed")
    )


def moments(count):
    """Starts and ends of windows that share no sound."""
    start = 2.0 * np.arange(count)
    return start, start + 1.6


def same_partition(a, b):
    return len({*zip(a.tolist(), b.tolist(), strict=True)}) == len(set(a)) == len(set(b))


@pytest.mark.parametrize("noise", [0.3, 1.0, 1.5])
@pytest.mark.parametrize("counts", [[60], [40, 30], [50, 40, 10], [30, 30, 30, 30, 12]])
def test_voices_are_counted(counts, noise):
    vectors, truth = voices(counts, noise=noise)
    labels = diarization.cluster_windows(vectors, *moments(len(vectors)), Params())
    assert same_partition(labels, truth)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({"num_speakers": 1}, 1),
        ({"num_speakers": 2}, 2),
        ({"num_speakers": 3}, 3),
        ({"num_speakers": 4}, 4),
        ({"num_speakers": 6}, 6),
        ({"min_speakers": 5}, 5),
        ({"max_speakers": 2}, 2),
        ({"min_speakers": 2, "max_speakers": 8}, 3),
    ],
)
def test_wishes_are_honoured(wish, found):
    vectors, _ = voices([40, 40, 40], noise=1.0)
    labels = diarization.cluster_windows(vectors, *moments(120), Params(**wish))
    assert sorted(set(labels.tolist())) == list(range(found))


@pytest.mark.parametrize(
    ("count", "wish", "labels"),
    [
        (1, {}, [0]),
        (2, {}, [0, 0]),
        (2, {"num_speakers": 2}, [0, 1]),
        (1, {"min_speakers": 3}, [0]),
    ],
)
def test_hardly_any_windows(count, wish, labels):
    vectors, _ = voices([count])
    found = diarization.cluster_windows(vectors, *moments(count), Params(**wish))
    assert found.tolist() == labels


def test_many_windows_are_thinned_out_before_linkage(monkeypatch):
    vectors, truth = voices([300, 200, 100], noise=1.0)
    shuffled = np.random.default_rng(1).permutation(600)
    monkeypatch.setattr(diarization, "MOST_ROWS", 150)
    labels = diarization.cluster_windows(vectors[shuffled], *moments(600), Params())
    assert same_partition(labels, truth[shuffled])


def test_voice_similarity_equals_the_pair_loop():
    vectors, _ = voices([12, 9], noise=1.5)
    labels = np.random.default_rng(2).integers(0, 3, 21)
    start = 0.5 * np.arange(21)
    end = start + 1.6
    pairs = [[[] for _ in range(3)] for _ in range(3)]
    for i in range(21):
        for j in range(21):
            if start[i] >= end[j] or start[j] >= end[i]:
                pairs[labels[i]][labels[j]].append(vectors[i] @ vectors[j])
    mean = np.array([[np.mean(p) for p in row] for row in pairs])
    size = np.array([[len(p) for p in row] for row in pairs])
    usual = (np.diag(mean) * np.diag(size)).sum() / np.diag(size).sum()
    prior = diarization.PRIOR_PAIRS
    within = (np.diag(mean) * np.diag(size) + prior * usual) / (np.diag(size) + prior)
    expected = mean / np.sqrt(np.outer(within.clip(0.05), within.clip(0.05)))
    found = diarization.voice_similarity(vectors, start, end, labels)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_one_voice_cut_at_random_is_wholly_alike():
    vectors, _ = voices([400], noise=2.0)
    labels = np.random.default_rng(3).integers(0, 2, 400)
    alike = diarization.voice_similarity(vectors, *moments(400), labels)
    assert alike[0, 1] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("given", "region", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0, 1, 1, 1], [0] * 6, [0, 0, 0, 1, 1, 1]),
        ([1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]),
    ],
)
def test_clear_labels_stay(given, region, expected):
    vectors = np.eye(2)[given]
    found = diarization.smooth_labels(vectors, np.array(given), np.array(region))
    assert found.tolist() == expected


def test_an_outlier_between_two_alike_is_smoothed():
    vectors = diarization.unit_rows(np.eye(2)[[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]])
    vectors[2] = diarization.unit_rows(np.array([[0.65, 0.75]]))  # hardly nearer to the other
    labels = np.array([0, 0, 1, 0, 0, 1, 1, 1, 1, 1])
    found = diarization.smooth_labels(vectors, labels, np.zeros(10, int))
    assert found.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
