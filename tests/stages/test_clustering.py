"""The maths of clustering on numbers small enough to check by eye."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from spokenby.stages import clustering
from spokenby.stages.diarization import Params
from spokenby.stages.linkage import centroids, cosine_distances, link, unit_rows
from spokenby.stages.local_speakers import NO_PAIRS, Pairs
from spokenby.stages.speaker_count import (
    PRIOR_HEARD,
    PRIOR_PAIRS,
    fit_count,
    share_apart,
    split_voices,
)


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
    start, end, region = clustering.place_windows(edges[:, 0], edges[:, 1], 2.0, 1.0)
    found = np.stack([start, end, region], axis=1)
    np.testing.assert_allclose(found, expected)


def voices(counts, *, noise=0.3, dimension=64, seed=0):
    """Unit rows around random directions: counts[k] rows of voice k, in order."""
    random = np.random.default_rng(seed)
    centres = unit_rows(random.normal(size=(len(counts), dimension)))
    truth = np.repeat(np.arange(len(counts)), counts)
    scatter = random.normal(size=(len(truth), dimension)) * noise / np.sqrt(dimension)
    return unit_rows(centres[truth] + scatter), truth


def test_distances_equal_scipy():
    vectors, _ = voices([20, 20])
    np.testing.assert_allclose(
        cosine_distances(vectors, vectors),
        cdist(vectors, vectors, "cosine"),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("method", "metric"),
    [("average", "cosine"), ("centroid", "euclidean"), ("ward", "euclidean")],
)
@pytest.mark.parametrize("rows", [2, 300])
def test_link_equals_scipy(rows, method, metric):
    vectors, _ = voices([rows - rows // 3, rows // 3], noise=1.5)
    vectors = vectors.astype(np.float32)
    ours, scipys = link(vectors, method, metric), linkage(vectors, method, metric)
    np.testing.assert_allclose(ours, scipys, atol=1e-7)
    for height in np.linspace(0.05, 0.95, 9) * scipys[-1, 2]:
        cuts = [fcluster(tree, height, "distance") for tree in (ours, scipys)]
        np.testing.assert_array_equal(*cuts)


def longest_stall(compute):
    """Return the part of the time of a computation in which another thread could not run."""
    seen, done = [time.perf_counter()], threading.Event()

    def tick():
        while not done.wait(0.001):
            seen.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    compute()
    done.set()
    thread.join()
    return np.diff(seen).max(initial=0) / (seen[-1] - seen[0])


def test_other_threads_run_while_rows_are_linked():
    vectors, _ = voices([1500, 1500], noise=1.5, dimension=256)
    stalls = [longest_stall(lambda: link(vectors, "centroid", "euclidean"))]
    while stalls[-1] > 0.3 and len(stalls) < 10:  # something else may have had the processor
        stalls.append(longest_stall(lambda: link(vectors, "centroid", "euclidean")))
    assert min(stalls) <= 0.3  # scipy: 0.5 to 0.9


@pytest.mark.parametrize("labels", [[0, 1, 0, 2, 2], [2, 2, 2, 2, 2]])
def test_centroids_are_unit_means(labels):
    vectors, _ = voices([5], noise=1.5)
    found = centroids(vectors, np.array(labels), 3)
    for label in range(3):
        mean = vectors[np.array(labels) == label].sum(axis=0)
        np.testing.assert_allclose(found[label], mean / max(np.linalg.norm(mean), 1e-12))


def test_silhouette_equals_sklearn():
    vectors, truth = voices([20, 7, 1], noise=1.0)
    distance = cosine_distances(vectors, vectors)
    np.fill_diagonal(distance, 0)
    assert clustering.silhouette(distance, truth) == pytest.approx(
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
    labels = clustering.cluster_windows(vectors, *moments(len(vectors)), Params())
    assert same_partition(labels, truth)


def label(vectors, **wishes):
    """Label windows that share no sound, each a piece of its own."""
    start, end = moments(len(vectors))
    return clustering.label_windows(vectors, start, end, np.arange(len(vectors)), Params(**wishes))


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({}, 3),
        ({"num_speakers": 1}, 1),
        ({"num_speakers": 2}, 2),
        ({"num_speakers": 3}, 3),
        ({"num_speakers": 4}, 3),  # nobody's voice is cut in two
        ({"num_speakers": 6}, 3),
        ({"min_speakers": 5}, 3),
        ({"max_speakers": 2}, 2),
        ({"min_speakers": 2, "max_speakers": 8}, 3),
    ],
)
def test_wishes_are_honored_as_far_as_there_are_voices(wish, found):
    vectors, _ = voices([40, 40, 40], noise=1.0)
    assert sorted(set(label(vectors, **wish).tolist())) == list(range(found))


def test_a_wish_that_fits_changes_nothing():
    vectors, truth = voices([40, 30, 20], noise=1.5)
    free = label(vectors)
    assert same_partition(free, truth)
    for wish in ({"num_speakers": 3}, {"min_speakers": 2}, {"max_speakers": 3}):
        assert same_partition(label(vectors, **wish), free)


@pytest.mark.parametrize(
    ("count", "wish", "labels"),
    [
        (1, {}, [0]),
        (2, {}, [0, 0]),
        (2, {"num_speakers": 2}, [0, 0]),
        (1, {"min_speakers": 3}, [0]),
    ],
)
def test_hardly_any_windows(count, wish, labels):
    vectors, _ = voices([count])
    assert label(vectors, **wish).tolist() == labels


def test_short_windows_found_no_cluster():
    """What is under a second tells little of a voice: it is given to those of the others."""
    vectors, truth = voices([30, 30, 12], noise=1.0)
    start, end = moments(72)
    end[60:] = start[60:] + 0.6
    found = clustering.label_windows(vectors, start, end, np.arange(72), Params())
    assert found.max() == 1
    assert same_partition(found[:60], truth[:60])
    alone = clustering.label_windows(vectors[60:], start[60:], end[60:], np.arange(12), Params())
    assert alone.tolist() == [0] * 12


def test_windows_that_play_a_sound_again_are_found():
    vectors, _ = voices([300, 300], noise=1.0)
    start = np.arange(600.0)
    assert not clustering.find_repeats(vectors, start, start + 1).any()
    rows = np.array([*range(600), 3, 599, 3])
    start = np.arange(len(rows), dtype=float)
    found = clustering.find_repeats(vectors[rows], start, start + 1)
    assert np.flatnonzero(found).tolist() == [600, 601, 602]
    overlapping = clustering.find_repeats(vectors[[0, 0, 0]], start[:3], start[:3] + 1.5)
    assert overlapping.tolist() == [False, False, True]


@pytest.mark.parametrize("times", [2, 3, 8])
def test_phrases_that_are_played_again_are_no_speakers(times):
    vectors, truth = voices([20, 12], noise=1.2)
    rows = np.tile(np.arange(len(truth)), times)
    start = 2.0 * np.arange(len(rows))
    labels = clustering.label_windows(
        vectors[rows], start, start + 1.6, np.arange(len(rows)), Params()
    )
    assert (labels == truth[rows]).all()


def test_labels_are_numbered_without_gaps_by_what_comes_first():
    vectors, _ = voices([20, 20, 20], noise=0.5)
    order = np.r_[40:60, 0:20, 20:40]
    assert label(vectors[order]).tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_many_windows_are_thinned_out_before_linkage(monkeypatch):
    vectors, truth = voices([300, 200, 100], noise=1.0)
    shuffled = np.random.default_rng(1).permutation(600)
    monkeypatch.setattr(clustering, "MOST_ROWS", 150)
    labels = clustering.cluster_windows(vectors[shuffled], *moments(600), Params())
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
    prior = PRIOR_PAIRS
    within = (np.diag(mean) * np.diag(size) + prior * usual) / (np.diag(size) + prior)
    expected = mean / np.sqrt(np.outer(within.clip(0.05), within.clip(0.05)))
    found = clustering.voice_similarity(vectors, start, end, labels)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_one_voice_cut_at_random_is_wholly_alike():
    vectors, _ = voices([400], noise=2.0)
    labels = np.random.default_rng(3).integers(0, 2, 400)
    alike = clustering.voice_similarity(vectors, *moments(400), labels)
    assert alike[0, 1] == pytest.approx(1, abs=0.05)


def smooth(vectors, labels, piece, weights=None):
    weights = np.ones(len(vectors)) if weights is None else np.array(weights)
    return clustering.smooth_labels(vectors, np.array(labels), np.array(piece), weights).tolist()


@pytest.mark.parametrize(
    ("given", "piece", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0, 1, 1, 1], [0] * 6, [0, 0, 0, 1, 1, 1]),
        ([1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]),
    ],
)
def test_clear_labels_stay(given, piece, expected):
    assert smooth(np.eye(2)[given], given, piece) == expected


def test_an_outlier_between_two_alike_is_smoothed():
    vectors = unit_rows(np.eye(2)[[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]])
    vectors[2] = unit_rows(np.array([[0.65, 0.75]]))  # hardly nearer to the other
    labels = [0, 0, 1, 0, 0, 1, 1, 1, 1, 1]
    assert smooth(vectors, labels, [0] * 10) == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_a_change_between_pieces_costs_less():
    vectors = np.eye(2)[[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]
    vectors[2] = unit_rows(np.array([[0.62, 0.79]]))  # 0.17 nearer to the other
    labels = [0, 0, 1, 0, 0, 1, 1, 1, 1, 1]
    assert smooth(vectors, labels, [0] * 10)[2] == 0
    assert smooth(vectors, labels, [0, 0, 1, 2, 2, 3, 3, 3, 3, 3])[2] == 1


def test_a_short_window_counts_for_less():
    vectors = np.eye(2)[[0, 0, 1, 0, 0, 1, 1, 1, 1, 1]]
    labels = [0, 0, 1, 0, 0, 1, 1, 1, 1, 1]
    assert smooth(vectors, labels, [0] * 10)[2] == 1
    assert smooth(vectors, labels, [0] * 10, [1, 1, 0.2, *[1] * 7])[2] == 0


def test_a_label_that_smoothing_leaves_without_rows_is_gone():
    vectors = unit_rows(np.eye(3)[[0, 0, 2, 0, 1, 1, 1]] + 0.0)
    vectors[2] = unit_rows(np.array([[0.97, 0, 0.24]]))
    assert set(smooth(vectors, [0, 0, 2, 0, 1, 1, 1], [0] * 7)) == {0, 1}


def fitted(vectors, labels, least, most):
    weights = np.random.default_rng(5).uniform(0.3, 1.5, len(vectors))
    found = fit_count(vectors, weights, np.array(labels), least, most)
    assert sorted(set(found.tolist())) == list(range(found.max(initial=-1) + 1))
    return found


def rough(seed):
    """Rows of some voices, and labels that are neither right nor in order."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 25, random.integers(1, 7))
    vectors, _ = voices(counts, noise=random.uniform(0.3, 2.5), seed=seed)
    return vectors, random.choice([0, 3, 4, 8, 9], len(vectors), p=[0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.mark.parametrize("seed", range(12))
def test_a_fitted_count_is_met_with_the_fewest_moves(seed):
    vectors, labels = rough(seed)
    found = len(set(labels.tolist()))
    for count in range(1, min(len(vectors), 9) + 1):
        fit = fitted(vectors, labels, count, count)
        assert fit.max() + 1 == count
        pairs = {*zip(fit.tolist(), labels.tolist(), strict=True)}
        assert len(pairs) == max(found, count)  # clusters stay whole, or only fall into parts
        again = fitted(vectors, np.array([7, 1, 2, 5, 6, 3, 8, 0, 4, 9])[labels], count, count)
        assert again.tolist() == fit.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_one_step_touches_what_it_merges_or_splits(seed):
    vectors, labels = rough(seed)
    found = len(set(labels.tolist()))
    for count in range(1, min(len(vectors), found + 4)):
        most, one_more = (fitted(vectors, labels, wish, wish) for wish in (count, count + 1))
        pairs = {*zip(most.tolist(), one_more.tolist(), strict=True)}
        assert len(pairs) == count + 1  # all others are the same rows in both
        if count == found:
            assert same_partition(most, labels)


@pytest.mark.parametrize(("least", "most"), [(1, 5), (2, 2), (2, 9), (0, 2)])
def test_a_count_within_the_bounds_is_left_alone(least, most):
    vectors, _ = voices([9, 4], noise=2.0)
    labels = np.random.default_rng(1).permutation(13) % 2
    assert same_partition(fitted(vectors, labels, least, most), labels)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_no_more_clusters_than_rows(rows):
    vectors, _ = voices([rows])
    assert fitted(vectors, [0] * rows, 5, 7).tolist() == list(range(rows))


def test_equal_rows_are_split_all_the_same():
    assert len(set(fitted(np.eye(8)[[0] * 30], [0] * 30, 4, 4).tolist())) == 4


@pytest.mark.parametrize("noise", [0.3, 0.6])
@pytest.mark.parametrize("counts", [[40, 30], [50, 40, 10], [200, 100, 12], [30, 30, 30, 30, 12]])
def test_fitting_to_the_true_count_finds_the_voices(counts, noise):
    vectors, truth = voices(counts, noise=noise)
    halves = 2 * truth + np.random.default_rng(2).integers(0, 2, len(truth))
    two_in_one = np.maximum(truth - 1, 0)
    for wrong in (halves, two_in_one, np.zeros_like(truth)):
        assert same_partition(fitted(vectors, wrong, len(counts), len(counts)), truth)


def test_a_voice_is_split_off_before_a_noise():
    vectors, truth = voices([300, 60, 1], noise=1.0)
    found = fitted(vectors, np.zeros_like(truth), 2, 2)
    assert same_partition(found[:360], truth[:360])


@pytest.mark.parametrize("noise", [0.3, 1.0, 1.5])
@pytest.mark.parametrize("counts", [[40, 30], [40, 3], [50, 40, 10], [6, 6]])
def test_a_clear_voice_is_split_off_and_no_voice_is_split(counts, noise):
    vectors, truth = voices(counts, noise=noise)
    weights, clear = np.full(len(truth), 0.8), np.ones(len(truth), bool)
    found = fit_count(vectors, weights, 0 * truth, 9, 9, clear)
    assert same_partition(found, truth)


def test_alike_voices_are_split_when_their_number_is_known():
    """Half of what they sound like is the same; without a number they count as one."""
    vectors, truth = voices([40, 40], noise=1.0)
    common = unit_rows(np.random.default_rng(9).normal(size=(1, 64)))
    alike = unit_rows(vectors + common)
    assert label(alike, clustering={"join_similarity": 0.5}).max() == 0
    assert same_partition(label(alike, clustering={"join_similarity": 0.5}, num_speakers=2), truth)


@pytest.mark.parametrize(("counts", "noise"), [([100, 100, 5, 5], 1.0), ([100, 100, 5, 5], 1.3)])
def test_who_speaks_little_is_split_off(counts, noise):
    vectors, truth = voices(counts, noise=noise)
    overlooked = clustering.cluster_windows(vectors, *moments(len(vectors)), Params())
    assert overlooked.max() + 1 < len(counts)
    assert same_partition(label(vectors), truth)


def test_nothing_is_split_off_by_chance_in_an_hour_and_a_half():
    vectors, _ = voices([1600] * 5, noise=1.5, dimension=192)
    turns = np.random.default_rng(0).permutation(1600)[:, None] * 5 + np.arange(5)
    start = 0.82 * np.arange(8000)
    piece = np.arange(8000) // 3
    labels = clustering.label_windows(vectors[turns.ravel()], start, start + 1.6, piece, Params())
    assert labels.max() + 1 == 5


@pytest.mark.parametrize(("hears", "found"), [("nothing", 1), ("one voice", 1), ("the truth", 2)])
def test_what_is_heard_apart_leaves_less_doubt(hears, found):
    vectors, truth = voices([30, 3], noise=1.0)
    common = unit_rows(np.random.default_rng(9).normal(size=(1, 64)))
    alike = unit_rows(vectors + common)
    one, other = np.triu_indices(len(alike), 1)
    near = other - one < 6
    one, other = one[near], other[near]
    different = truth[one] != truth[other]
    heard = {
        "nothing": NO_PAIRS,
        "one voice": Pairs(one, other, np.zeros(len(one), bool)),
        "the truth": Pairs(one, other, different),
    }[hears]
    weights, clear = np.full(len(alike), 0.8), np.ones(len(alike), bool)
    labels = split_voices(alike, weights, 0 * truth, 9, clear, heard, 0.6)
    assert labels.max() + 1 == found
    assert found == 1 or same_partition(labels, truth)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_between_branches_are_counted(seed):
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(30, 20, replace=False))
    tree = link(random.normal(size=(20, 3)), "average", "euclidean")[:, :2].astype(int)
    one, other = np.triu_indices(30, 1)
    some = random.random(len(one)) < 0.3
    pairs = Pairs(one[some], other[some], random.random(some.sum()) < 0.5)
    below = [{row} for row in rows.tolist()]
    below += [set() for _ in tree]
    for node, children in enumerate(tree.tolist(), 20):
        below[node] = below[children[0]] | below[children[1]]
    expected = []
    for branch in below[:-1]:
        across = [
            apart
            for a, b, apart in zip(*(part.tolist() for part in pairs), strict=True)
            if {a, b} <= below[-1] and (a in branch) != (b in branch)
        ]
        expected.append(sum(across) / (len(across) + PRIOR_HEARD))
    np.testing.assert_allclose(share_apart(tree, rows, pairs, 30), expected)


def test_short_rows_are_no_voice_to_split_off():
    vectors, truth = voices([30, 4], noise=0.5)
    weights, clear = np.where(truth == 1, 0.4, 0.8), truth == 0
    assert fit_count(vectors, weights, 0 * truth, 2, 2, clear).max() == 0
    assert fit_count(vectors, weights, 0 * truth, 2, 2).max() == 1


def test_splitting_many_rows_thins_them_out(monkeypatch):
    vectors, truth = voices([300, 200, 100], noise=0.6)
    shuffled = np.random.default_rng(1).permutation(600)
    monkeypatch.setattr(clustering, "MOST_ROWS", 150)
    found = fitted(vectors[shuffled], np.zeros(600, int), 3, 3)
    assert same_partition(found, truth[shuffled])
