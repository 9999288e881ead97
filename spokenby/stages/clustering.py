"""Distinguish voices by clustering: windows over speech, and labels for their vectors."""

from __future__ import annotations

import numpy as np

from spokenby.stages.diarization import MOST_SPEAKERS, Params
from spokenby.stages.linkage import (
    LINK_ROWS,
    MOST_ROWS,
    Labels,
    Vectors,
    centroids,
    cosine_distances,
    link,
    renumbered,
)
from spokenby.stages.local_speakers import NO_PAIRS, Bools, Pairs
from spokenby.stages.speaker_count import (
    DOUBT_S,
    PRIOR_PAIRS,
    SMALLEST_PART,
    SMALLEST_PART_S,
    TWO_VOICES,
    fit_count,
    split_voices,
)
from spokenby.stages.voice_similarity import correct_attenuation
from spokenby.types import Seconds


def place_windows(
    start: Vectors, end: Vectors, window: Seconds, hop: Seconds
) -> tuple[Vectors, Vectors, Labels]:
    """Spread windows evenly over regions: their starts, ends and regions, shape (windows,) each.

    Windows of a region are at most `hop` apart and reach both its edges; a region shorter than a
    window is one window.
    """
    free = np.maximum(end - start - window, 0)
    count = np.ceil(free / hop - 1e-9).astype(np.int64) + 1
    region = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(region)) - np.repeat(np.cumsum(count) - count, count)
    begin = start[region] + number * free[region] / np.maximum(count[region] - 1, 1)
    return begin, np.minimum(begin + window, end[region]), region


CLEAR_WINDOW_S: Seconds = 1.0
"""Shorter windows hold too little of a voice to found a cluster."""

SHORTEST_VOICE_S: Seconds = 2.0
"""A cluster with less speech is not a speaker, unless the recording is short."""

SAME_SOUND = 0.9
"""A window more similar than this to an earlier one plays it again: a jingle, a trailer, a loop.
By CAM++, two windows of one voice that do not overlap are at most 0.87 (in 11 recordings)."""

USUAL_LIKENESS = 0.55
"""Mean cosine of windows of one voice, for recordings too short to measure it: 0.45 to 0.66 by
CAM++ on meetings, telephone, readers and synthetic voices; of two voices 0.02 to 0.23."""


def label_windows(
    vectors: Vectors,
    start: Vectors,
    end: Vectors,
    piece: Labels,
    params: Params,
    heard: Pairs = NO_PAIRS,
) -> Labels:
    """Return a speaker for each window, 0…speakers-1.

    Windows that hold enough of a voice, and not a sound that was there before, are clustered, the
    others assigned, and all smoothed in time. Then clusters of clearly two voices are split, since
    the silhouette overlooks who speaks little. Only then a known number of speakers merges or
    splits clusters. There may be fewer speakers than requested: what sounds like one voice is not
    split.

    Args:
        vectors: unit rows.
        start: of each window.
        end: of each window.
        piece: index of the piece, the stretch of one local speaker, of each window, ascending.
        params: `clustering.join_similarity`, `clustering.hop` and the number of speakers.
        heard: which windows have different speakers, as segmentation hears them.
    """
    clear = end - start >= CLEAR_WINDOW_S
    if clear.sum() < 2:
        clear = np.ones(len(vectors), np.bool)
    clear &= ~find_repeats(vectors, start, end)
    long = np.flatnonzero(clear)
    found = cluster_windows(vectors[long], start[long], end[long], params)
    labels = np.argmax(vectors @ centroids(vectors[long], found, int(found.max()) + 1).T, axis=1)
    hop = params.clustering.hop
    weights = np.minimum(end - start, hop)
    labels = smooth_labels(vectors, labels, piece, weights / hop)
    unlike = max(TWO_VOICES, 1 - params.clustering.join_similarity)
    smallest = max(SMALLEST_PART * float(weights.sum()), SMALLEST_PART_S[0])
    labels = split_voices(vectors, weights, labels, MOST_SPEAKERS, clear, heard, smallest, unlike)
    return fit_count(vectors, weights, labels, *params.speaker_range(), clear, heard)


def find_repeats(vectors: Vectors, start: Vectors, end: Vectors) -> Bools:
    """Return which windows play again what an earlier one plays, shape (windows,).

    They are no evidence of a voice: each phrase of a recording that is played twice would look like
    a speaker without any variation.

    Args:
        vectors: unit rows.
        start: of each window, ascending.
        end: of each window.
    """
    rows = vectors.astype(np.float32)
    repeats = np.zeros(len(rows), np.bool)
    for begin in range(0, len(rows), LINK_ROWS):
        some = slice(begin, begin + LINK_ROWS)
        alike = rows[some] @ rows[: begin + LINK_ROWS].T
        before = end[: begin + LINK_ROWS] <= start[some, None]
        repeats[some] = (before & (alike > SAME_SOUND)).any(axis=1)
    return repeats


def cluster_windows(vectors: Vectors, start: Vectors, end: Vectors, params: Params) -> Labels:
    """Return a label for each window, 0…speakers-1; `vectors` are unit rows.

    Average linkage is cut where the silhouette is best, then voices too similar are joined. Neither
    step uses a threshold on the distance itself, whose scale depends on encoder and recording.
    """
    if len(vectors) <= 2:
        return np.zeros(len(vectors), np.int64)
    rows = np.unique(np.linspace(0, len(vectors) - 1, MOST_ROWS).astype(np.int64))
    some, first, last = vectors[rows], start[rows], end[rows]
    weights = np.minimum(end - start, params.clustering.hop)[rows] * (len(vectors) / len(rows))
    labels = _cut_tree(some, weights, 2, MOST_SPEAKERS)
    while (count := int(labels.max()) + 1) > 1:
        speech = np.bincount(labels, weights)
        alike = voice_similarity(some, first, last, labels) + DOUBT_S / np.minimum.outer(
            speech, speech
        )
        np.fill_diagonal(alike, -np.inf)
        a, b = np.unravel_index(int(np.argmax(alike)), alike.shape)
        if alike[a, b] < params.clustering.join_similarity:
            break
        labels = _nearest(some, renumbered(np.where(labels == b, a, labels)))
    if len(rows) == len(vectors):
        return labels
    assigned: Labels = np.argmax(vectors @ centroids(some, labels, count).T, axis=1)
    return assigned


def _cut_tree(vectors: Vectors, weights: Vectors, least: int, most: int) -> Labels:
    """Return the cut of the linkage tree into least…most clusters with the best silhouette."""
    from scipy.cluster.hierarchy import fcluster

    tree = link(vectors, "average", "cosine")
    distance = cosine_distances(vectors, vectors)
    np.fill_diagonal(distance, 0)
    smallest = min(SHORTEST_VOICE_S, 0.2 * float(weights.sum()))
    # Used if no cut leaves enough clusters of sufficient size.
    best, best_score = renumbered(fcluster(tree, least, "maxclust")), -np.inf
    for height in np.linspace(0.4, 1.0, 31) * tree[-1, 2]:
        labels = _absorb(vectors, renumbered(fcluster(tree, height, "distance")), weights, smallest)
        if least <= labels.max() + 1 <= most:
            labels = _nearest(vectors, labels)
            score = silhouette(distance, labels)
            if score > best_score:
                best, best_score = labels, score
    return best


def voice_similarity(vectors: Vectors, start: Vectors, end: Vectors, labels: Labels) -> Vectors:
    """Return the similarity of the voices behind labels, noise removed, shape (labels, labels).

    1 for one voice cut at random, however noisy single windows are. Pairs of overlapping windows
    are left out.
    """
    count = int(labels.max()) + 1
    members = np.eye(count)[labels]
    sums = members.T @ vectors
    total, pairs = sums @ sums.T, np.outer(members.sum(0), members.sum(0))
    for lag in range(len(vectors)):
        early = np.flatnonzero(end[: len(end) - lag] > start[lag:])
        if not len(early):
            break
        late = early + lag
        cosine = np.einsum("ij,ij->i", vectors[early], vectors[late])
        ways = [(early, late), (late, early)] if lag else [(early, late)]
        for one, other in ways:
            np.subtract.at(total, (labels[one], labels[other]), cosine)
            np.subtract.at(pairs, (labels[one], labels[other]), 1)
    inside, inside_pairs = np.diag(total), np.diag(pairs)
    usual = inside.sum() / inside_pairs.sum() if inside_pairs.sum() else USUAL_LIKENESS
    # Clusters whose windows all overlap are no evidence against being one voice.
    between: Vectors = np.where(pairs > 0, total / np.maximum(pairs, 1), usual)
    return correct_attenuation(between, inside, inside_pairs, usual, PRIOR_PAIRS)


def silhouette(distance: Vectors, labels: Labels) -> float:
    """Return the mean silhouette (Rousseeuw 1987) over rows, for labels 0…k-1, k ≥ 2."""
    count = np.bincount(labels)
    sums = distance @ np.eye(len(count))[labels]
    rows = np.arange(len(labels))
    inner = sums[rows, labels] / np.maximum(count[labels] - 1, 1)
    means = sums / count
    means[rows, labels] = np.inf
    outer = means.min(axis=1)
    score = (outer - inner) / np.maximum(np.maximum(inner, outer), 1e-12)
    return float(np.where(count[labels] == 1, 0, score).mean())


def _absorb(vectors: Vectors, labels: Labels, weights: Vectors, smallest: Seconds) -> Labels:
    """Give the rows of clusters lighter than `smallest` to the nearest of the others."""
    weight = np.bincount(labels, weights)
    heavy = weight >= min(smallest, weight.max())
    light = np.flatnonzero(~heavy[labels])
    similarity = vectors[light] @ centroids(vectors, labels, len(weight))[heavy].T
    moved = labels.copy()
    moved[light] = np.flatnonzero(heavy)[np.argmax(similarity, axis=1)]
    return renumbered(moved)


def _nearest(vectors: Vectors, labels: Labels) -> Labels:
    """Move rows to the nearest centroid, at most three times, as long as no label disappears."""
    count = int(labels.max()) + 1
    for _ in range(3):
        moved = np.argmax(vectors @ centroids(vectors, labels, count).T, axis=1)
        if len(np.unique(moved)) < count or (moved == labels).all():
            break
        labels = moved
    return labels


def smooth_labels(
    vectors: Vectors,
    labels: Labels,
    piece: Labels,
    weights: Vectors,
    *,
    inside: float = 0.4,
    pause: float = 0.02,
) -> Labels:
    """Smooth labels in time: Viterbi over cosine similarity to the centroids, twice.

    A label may disappear; the others are renumbered.

    Args:
        vectors: unit rows.
        labels: of the rows.
        piece: which piece a row is in, ascending.
        weights: of a row's similarity, 1 for a whole window.
        inside: cost of a change of speaker inside a piece, where segmentation found none.
        pause: its cost between two pieces.
    """
    price = np.where(np.diff(piece, prepend=-1) == 0, inside, pause).tolist()
    weighted = vectors * weights[:, None]
    for _ in range(2):
        count = int(labels.max()) + 1
        similarity = weighted @ centroids(weighted, labels, count).T
        came_from = np.tile(np.arange(count), (len(labels), 1))
        total = similarity[0]
        for i in range(1, len(labels)):
            best = int(np.argmax(total))
            changed = total < total[best] - price[i]
            came_from[i, changed] = best
            total = np.where(changed, total[best] - price[i], total) + similarity[i]
        path = np.empty(len(labels), np.int64)
        path[-1] = int(np.argmax(total))
        for i in range(len(labels) - 1, 0, -1):
            path[i - 1] = came_from[i, path[i]]
        labels = renumbered(path)
    return labels
