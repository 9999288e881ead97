"""Linkage trees and centroids of embeddings."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float64]

LINK_ROWS = 256
"""Rows whose distances to all others are computed at once: bounds the memory of a block."""

MOST_ROWS = 2500
"""Linkage takes memory and time of rows²: of more rows, an even selection is clustered and the
others are assigned."""


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


def renumbered(labels: npt.NDArray[Any]) -> Labels:
    """Return labels without gaps, 0…k-1."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def cosine_distances(a: Vectors, b: Vectors) -> Vectors:
    """Return distances of unit rows, shape (a, b): one matrix product instead of a pair loop."""
    return (1 - a @ b.T).clip(0)


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
