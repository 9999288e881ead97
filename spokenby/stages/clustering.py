"""Distinguish voices by clustering: windows over speech, and labels for their vectors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spokenby.stages.diarization import MOST_SPEAKERS, Params
from spokenby.stages.voice_similarity import correct_attenuation
from spokenby.types import Seconds

Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float64]


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


def cosine_distances(a: Vectors, b: Vectors) -> Vectors:
    """Return distances of unit rows, shape (a, b): one matrix product instead of a pair loop."""
    return (1 - a @ b.T).clip(0)


def unit_rows(vectors: Vectors) -> Vectors:
    """Return the rows with length 1; a zero row stays zero."""
    norms: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)


def centroids(vectors: Vectors, labels: Labels, count: int) -> Vectors:
    """Return the unit mean of each label's rows, shape (count, dimension); zeros without rows."""
    order = np.argsort(labels, kind="stable")
    present, first = np.unique(labels[order], return_index=True)
    sums = np.zeros((count, vectors.shape[1]))
    sums[present] = np.add.reduceat(vectors[order], first)
    return unit_rows(sums)


def link(vectors: Vectors, method: str, metric: Literal["cosine", "euclidean"]) -> Vectors:
    """Return the linkage tree of rows as `scipy.cluster.hierarchy.linkage` does, shape (rows-1, 4).

    scipy holds the GIL for the seconds that many rows take, and computes each distance separately.
    Here distances are matrix products of blocks of rows; they differ from scipy's by float64
    rounding. Takes 4 · rows² bytes.
    """
    import fastcluster  # type: ignore[import-untyped]

    rows = unit_rows(vectors.astype(np.float64)) if metric == "cosine" else vectors.astype(float)
    squares = np.einsum("ij,ij->i", rows, rows)
    count, filled = len(rows), 0
    distances = np.empty(count * (count - 1) // 2)
    for begin in range(0, count, LINK_ROWS):
        block = rows[begin : begin + LINK_ROWS] @ rows[begin:].T
        if metric == "cosine":
            block = (1 - block).clip(0)
        else:
            block = squares[begin : begin + LINK_ROWS, None] + squares[None, begin:] - 2 * block
            block = np.sqrt(block.clip(0))
        for number, row in enumerate(block, 1):
            distances[filled : filled + len(row) - number] = row[number:]
            filled += len(row) - number
    tree = np.empty((count - 1, 4))
    if count > 1:
        # What fastcluster.linkage calls after copying the distances.
        fastcluster.linkage_wrap(count, distances, tree, fastcluster.mthidx[method])
    return tree


LINK_ROWS = 256
"""Rows whose distances to all others are computed at once: bounds the memory of a block."""

MOST_ROWS = 2500
"""Linkage takes memory and time of rows²: of more rows, an even selection is clustered and the
others are assigned."""

CLEAR_WINDOW_S: Seconds = 1.0
"""Shorter windows hold too little of a voice to found a cluster."""

SHORTEST_VOICE_S: Seconds = 2.0
"""A cluster with less speech is not a speaker, unless the recording is short."""

DOUBT_S: Seconds = 0.6
"""This over the speech of the smaller of two voices is added to their similarity: the less speech,
the more different they must be."""

USUAL_LIKENESS = 0.55
"""Mean cosine of windows of one voice, for recordings too short to measure it: 0.45 to 0.66 by
CAM++ on meetings, telephone, readers and synthetic voices; of two voices 0.02 to 0.23."""

PRIOR_PAIRS = 40
"""Weight of the mean over all clusters in `voice_similarity`, in pairs of windows."""


def label_windows(
    vectors: Vectors, start: Vectors, end: Vectors, piece: Labels, params: Params
) -> Labels:
    """Return a speaker for each window, 0…speakers-1.

    Windows that hold enough of a voice are clustered, the others assigned, and all smoothed in
    time. Only then a known number of speakers merges or splits clusters. There may be fewer
    speakers than requested: what sounds like one voice is not split.

    Args:
        vectors: unit rows.
        start: of each window.
        end: of each window.
        piece: index of the piece, the stretch of one local speaker, of each window, ascending.
        params: `clustering.join_similarity`, `clustering.hop` and the number of speakers.
    """
    clear = end - start >= CLEAR_WINDOW_S
    if clear.sum() < 2:
        clear = np.ones(len(vectors), np.bool)
    long = np.flatnonzero(clear)
    found = cluster_windows(vectors[long], start[long], end[long], params)
    labels = np.argmax(vectors @ centroids(vectors[long], found, int(found.max()) + 1).T, axis=1)
    hop = params.clustering.hop
    weights = np.minimum(end - start, hop)
    labels = smooth_labels(vectors, labels, piece, weights / hop)
    return fit_count(vectors, weights, labels, *params.speaker_range(), clear)


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
        labels = _nearest(some, _renumbered(np.where(labels == b, a, labels)))
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
    best, best_score = _renumbered(fcluster(tree, least, "maxclust")), -np.inf
    for height in np.linspace(0.4, 1.0, 31) * tree[-1, 2]:
        labels = _absorb(
            vectors, _renumbered(fcluster(tree, height, "distance")), weights, smallest
        )
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


def _renumbered(labels: npt.NDArray[Any]) -> Labels:
    """Return labels without gaps, 0…k-1."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _absorb(vectors: Vectors, labels: Labels, weights: Vectors, smallest: Seconds) -> Labels:
    """Give the rows of clusters lighter than `smallest` to the nearest of the others."""
    weight = np.bincount(labels, weights)
    heavy = weight >= min(smallest, weight.max())
    light = np.flatnonzero(~heavy[labels])
    similarity = vectors[light] @ centroids(vectors, labels, len(weight))[heavy].T
    moved = labels.copy()
    moved[light] = np.flatnonzero(heavy)[np.argmax(similarity, axis=1)]
    return _renumbered(moved)


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
        labels = _renumbered(path)
    return labels


SMALLEST_PART_S: tuple[Seconds, Seconds] = (0.6, 10.0)
SMALLEST_PART = 0.02
"""A part split off a cluster has at least this share of all speech, clipped to these bounds, if
possible."""

TWO_VOICES = 0.3
"""A cluster is split to reach a requested number if its parts are at least this different, after
`DOUBT_S`. Measured with CAM++: one voice up to 0.15, 0.22 with others in the background; of 1,200
pairs of voices 92 % are above it with 3 windows or fewer of each, 98 % with 8, all with 16."""


def fit_count(
    vectors: Vectors,
    weights: Vectors,
    labels: Labels,
    least: int,
    most: int,
    clear: npt.NDArray[np.bool] | None = None,
) -> Labels:
    """Merge or split clusters until their number k fits a known one; return labels 0…k-1.

    Clusters are merged, the two most similar first; or a branch of a cluster's linkage tree is
    split off, the one least similar to the rest of its cluster first. All other rows stay together.

    Args:
        vectors: unit rows.
        weights: the speech in each, over 0 s; audio that rows share is counted once.
        labels: found without knowing the number; their values do not matter.
        least: the least k, unless there are fewer rows.
        most: the most, at least `least`.
        clear: rows that hold enough of a voice to found a cluster. With it, k stays below `least`
            where no cluster's parts are clearly two voices; without it, splits are forced.
    """
    labels = _by_first_row(labels)
    while (count := int(labels.max(initial=-1)) + 1) > most:
        sums = np.eye(count)[labels].T @ _summands(vectors, weights)
        alike = _likeness(sums[:, None], sums[None], sums, weights)
        alike += DOUBT_S / np.minimum.outer(sums[:, -2], sums[:, -2])
        alike[np.tril_indices(count)] = -np.inf
        a, b = np.unravel_index(int(np.argmax(alike)), alike.shape)
        labels = _renumbered(np.where(labels == b, a, labels))
    if count >= least:
        return labels
    smallest = float(np.clip(SMALLEST_PART * weights.sum(), *SMALLEST_PART_S))
    splits = [_best_split(vectors, weights, labels == k, smallest, clear) for k in range(count)]
    while count < min(least, len(labels)):
        split = max(range(count), key=lambda k: splits[k][:2])
        if clear is not None and splits[split][:2] < (True, TWO_VOICES):
            break
        labels[splits[split][2]] = count
        splits[split], new = (
            _best_split(vectors, weights, labels == k, smallest, clear) for k in (split, count)
        )
        splits.append(new)
        count += 1
    return _by_first_row(labels)


def _best_split(
    vectors: Vectors,
    weights: Vectors,
    cluster: npt.NDArray[np.bool],
    smallest: Seconds,
    clear: npt.NDArray[np.bool] | None,
) -> tuple[bool, float, Labels]:
    """Return the quality of a cluster's best split, and the rows that it splits off.

    The quality is whether both parts have enough speech, then how different they are, less the
    doubt due to the smaller one's speech if only `clear` rows count.
    """
    rows = np.flatnonzero(cluster)
    founding = np.arange(len(rows)) if clear is None else np.flatnonzero(clear[rows])
    if len(founding) < 2:
        return False, -np.inf, rows
    some = founding[np.unique(np.linspace(0, len(founding) - 1, MOST_ROWS).astype(np.int64))]
    few, speech = vectors[rows[some]], weights[rows[some]] * (len(founding) / len(some))
    count, tree = len(some), link(few, "average", "cosine")[:, :2].astype(np.int64)
    sums = np.concatenate([_summands(few, speech), np.empty((count - 1, few.shape[1] + 2))])
    for branch, children in enumerate(tree, count):
        sums[branch] = sums[children].sum(axis=0)
    branches, rest = sums[:-1], sums[-1] - sums[:-1]
    unlike = 1 - _likeness(branches, rest, sums[-1:], speech)
    smaller = np.minimum(branches[:, -2], rest[:, -2])
    enough = smaller >= smallest
    if clear is not None:
        unlike -= DOUBT_S / smaller
    best = int(np.lexsort((unlike, enough))[-1])
    part = np.arange(len(sums)) == best
    for branch in range(best, count - 1, -1):
        part[tree[branch - count]] |= part[branch]
    two = part[:count].astype(np.int64)
    away = np.argmax(vectors[rows] @ centroids(few, two, 2).T, axis=1)
    away[some] = two
    return bool(enough[best]), float(unlike[best]), rows[away == 1]


def _summands(vectors: Vectors, weights: Vectors) -> Vectors:
    """Return the terms that `_likeness` sums over a cluster, shape (rows, dimension + 2)."""
    return np.column_stack([vectors * weights[:, None], weights, weights**2])


def _likeness(one: Vectors, other: Vectors, usual: Vectors, weights: Vectors) -> Vectors:
    """Return the similarity of clusters' voices: 1 for one voice cut at random, however noisy.

    Computed from sums over rows, of shape (…, dimension + 2), with pairs of rows weighted by the
    speech in both. The mean cosine inside a cluster is the squared length of its voice without the
    noise, so this is the distance of two voices, on the scale of the mean inside the `usual`
    clusters, toward which a cluster with few pairs is shrunk. A ratio, as in `voice_similarity`,
    would favor small branches of a tree.
    """

    def inside(sums: Vectors) -> tuple[Vectors, Vectors]:
        return (sums[..., :-2] ** 2).sum(-1) - sums[..., -1], sums[..., -2] ** 2 - sums[..., -1]

    total, pairs = (found.sum() for found in inside(usual))
    mean = max(total / pairs, 0.05) if pairs > 0 else 1.0
    prior = PRIOR_PAIRS * weights.mean() ** 2
    within = [
        (total + prior * mean) / (pairs + prior) for total, pairs in (inside(one), inside(other))
    ]
    between = (one[..., :-2] * other[..., :-2]).sum(-1) / (one[..., -2] * other[..., -2])
    likeness: Vectors = 1 - (sum(within) / 2 - between) / mean
    return likeness


def _by_first_row(labels: Labels) -> Labels:
    """Return labels renumbered 0…k-1 in the order of their first rows."""
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]
