"""Split clusters that hold two voices; merge or split them to reach a known number of speakers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spokenby.stages.linkage import MOST_ROWS, Labels, Vectors, centroids, link, renumbered
from spokenby.stages.local_speakers import NO_PAIRS, Pairs
from spokenby.types import Seconds

DOUBT_S: Seconds = 0.6
"""This over the speech of the smaller of two voices is added to their similarity: the less speech,
the more different they must be."""

PRIOR_PAIRS = 40
"""Weight of the mean over all clusters in `voice_similarity`, in pairs of windows."""

SMALLEST_PART_S: tuple[Seconds, Seconds] = (0.6, 10.0)
SMALLEST_PART = 0.02
"""A part split off a cluster has at least this share of all speech, clipped to these bounds, if
possible. Without a known number there is no upper bound: the longer a recording, the more parts of
one voice differ by chance."""

TWO_VOICES = 0.3
"""A cluster is split if its parts are at least so different, after `DOUBT_S`. Measured with CAM++:
one voice up to 0.15, 0.22 with others in the background; of 1,200 pairs of voices 92 % are above it
with 3 windows or fewer of each, 98 % with 8, all with 16."""

PRIOR_HEARD = 4
"""Weight of not knowing whether two parts have different speakers, in pairs of windows."""


def split_voices(
    vectors: Vectors,
    weights: Vectors,
    labels: Labels,
    most: int,
    clear: npt.NDArray[np.bool] | None,
    heard: Pairs,
    smallest: Seconds,
    unlike: float = TWO_VOICES,
) -> Labels:
    """Split clusters that hold two voices, the most different ones first; return labels 0…k-1.

    Args:
        vectors: unit rows.
        weights: the speech in each, over 0 s; audio that rows share is counted once.
        labels: of the rows.
        most: the most k.
        clear: rows that hold enough of a voice to found a cluster; without it, splits are forced
            until there are `most`.
        heard: which rows have different speakers, as found without the vectors.
        smallest: a part has at least so much speech, if possible.
        unlike: how different the parts of a cluster must be, with `clear`.
    """
    labels = _by_first_row(labels)
    count = int(labels.max(initial=-1)) + 1

    def best_split(k: int) -> tuple[bool, float, Labels]:
        return _best_split(vectors, weights, labels == k, smallest, clear, heard)

    splits = [best_split(k) for k in range(count)]
    while count < min(most, len(labels)):
        split = max(range(count), key=lambda k: splits[k][:2])
        if clear is not None and splits[split][:2] < (True, unlike):
            break
        labels[splits[split][2]] = count
        splits[split] = best_split(split)
        splits.append(best_split(count))
        count += 1
    return _by_first_row(labels)


def fit_count(
    vectors: Vectors,
    weights: Vectors,
    labels: Labels,
    least: int,
    most: int,
    clear: npt.NDArray[np.bool] | None = None,
    heard: Pairs = NO_PAIRS,
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
        heard: which rows have different speakers, as found without the vectors.
    """
    labels = _by_first_row(labels)
    while (count := int(labels.max(initial=-1)) + 1) > most:
        sums = np.eye(count)[labels].T @ _summands(vectors, weights)
        alike = _likeness(sums[:, None], sums[None], sums, weights)
        alike += DOUBT_S / np.minimum.outer(sums[:, -2], sums[:, -2])
        alike[np.tril_indices(count)] = -np.inf
        a, b = np.unravel_index(int(np.argmax(alike)), alike.shape)
        labels = renumbered(np.where(labels == b, a, labels))
    if count >= least:
        return labels
    smallest = float(np.clip(SMALLEST_PART * weights.sum(), *SMALLEST_PART_S))
    return split_voices(vectors, weights, labels, least, clear, heard, smallest)


def _best_split(
    vectors: Vectors,
    weights: Vectors,
    cluster: npt.NDArray[np.bool],
    smallest: Seconds,
    clear: npt.NDArray[np.bool] | None,
    heard: Pairs,
) -> tuple[bool, float, Labels]:
    """Return the quality of a cluster's best split, and the rows that it splits off.

    The quality is whether both parts have enough speech, then how different they are, less the
    doubt due to the smaller one's speech if only `clear` rows count. The more pairs of their rows
    were heard as two speakers, the smaller the doubt.
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
        unlike -= DOUBT_S / smaller * (1 - share_apart(tree, rows[some], heard, len(vectors)))
    best = int(np.lexsort((unlike, enough))[-1])
    part = np.arange(len(sums)) == best
    for branch in range(best, count - 1, -1):
        part[tree[branch - count]] |= part[branch]
    two = part[:count].astype(np.int64)
    away = np.argmax(vectors[rows] @ centroids(few, two, 2).T, axis=1)
    away[some] = two
    return bool(enough[best]), float(unlike[best]), rows[away == 1]


def share_apart(tree: Labels, rows: Labels, heard: Pairs, count: int) -> Vectors:
    """Return the share of heard pairs between a branch and the rest that are of two speakers.

    Args:
        tree: which two nodes each merge joins, shape (rows-1, 2).
        rows: the leaves of the tree.
        heard: pairs of any of `count` rows.
        count: of all rows.

    Returns:
        Shape (nodes below the root,).
    """
    nodes = 2 * len(rows) - 1
    parent = np.full(nodes, nodes - 1)
    parent[tree.ravel()] = np.repeat(np.arange(len(rows), nodes), 2)
    leaf = np.full(count, -1)
    leaf[rows] = np.arange(len(rows))
    one, other = leaf[heard.one], leaf[heard.other]
    inside = (one >= 0) & (other >= 0)
    low, high, apart = one[inside], other[inside], heard.apart[inside]
    two, all_pairs = np.zeros(nodes), np.zeros(nodes)
    while len(low):  # climb from both leaves of a pair to the merge that joins them
        low, high = np.minimum(low, high), np.maximum(low, high)
        two += np.bincount(low, apart, nodes)
        all_pairs += np.bincount(low, minlength=nodes)
        low = parent[low]
        below = low != high
        low, high, apart = low[below], high[below], apart[below]
    return two[:-1] / (all_pairs[:-1] + PRIOR_HEARD)


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
