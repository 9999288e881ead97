"""pyannote's clusterings, fitted to a known number of speakers."""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from pyannote.audio.pipelines import clustering
from pyannote.audio.utils import vbx

from spokenby.errors import InputError
from spokenby.stages.linkage import link, unit_rows
from spokenby.stages.speaker_count import fit_count

vars(vbx)["print"] = logging.getLogger(__name__).info  # it warns on the terminal
vars(clustering)["linkage"] = link  # scipy's, which blocks every other thread for seconds

NOBODY = -2
"""pyannote's label of speakers who are silent in a chunk."""


class FreeThenFitted(clustering.BaseClustering):
    """Clusters as if the number of speakers were unknown, then merges or splits to reach it.

    pyannote replaces VBx's result by K-means if it has not the requested number: DER 11 → 22 % on
    VoxConverse with the true numbers, as published by LinTO.
    """

    def __call__(
        self,
        embeddings: npt.NDArray[Any],
        segmentations: Any = None,
        num_clusters: int | None = None,
        min_clusters: int | None = None,
        max_clusters: int | None = None,
        **_more: Any,
    ) -> Any:
        """Return clusters, shape (chunks, speakers), their scores and centroids.

        Raises:
            InputError: there are fewer stretches of speech than speakers.
        """
        least, most = num_clusters or min_clusters or 1, num_clusters or max_clusters or np.inf
        free: Any = {"num_clusters": None, "min_clusters": 1, "max_clusters": np.inf}
        found: Any = super().__call__(embeddings=embeddings, segmentations=segmentations, **free)
        hard, soft, _ = found
        active = segmentations.data.sum(axis=1)
        if least <= len(np.unique(hard[(active > 0) & (hard != NOBODY)])) <= most:
            return found
        _, chunk, slot = self.filter_embeddings(embeddings, segmentations=segmentations)
        if len(chunk) < least:
            chunk, slot = np.nonzero(active)
        if len(chunk) < least:
            raise InputError(
                f"there is too little speech to find {least} speakers in it",
                "set a smaller number, or omit it",
            )
        # In a chunk with more speakers than clusters, a speaker may have no cluster.
        labels = np.where(hard == NOBODY, np.argmax(soft, axis=2), hard)[chunk, slot]
        rows = unit_rows(embeddings[chunk, slot].astype(np.float64))
        frames, window = segmentations.data.shape[1], segmentations.sliding_window
        seconds = active[chunk, slot] / frames * window.step
        fitted = fit_count(rows, seconds, labels, least, int(min(most, len(rows))))
        hard, soft, centroids = self.assign_embeddings(embeddings, chunk, slot, fitted)
        if self.constrained_assignment:
            soft[active == 0] = soft.min() - 1
            apart = self.constrained_argmax(soft)
            hard = np.where(apart == NOBODY, hard, apart)
        return hard, soft, centroids


class FittedVBx(FreeThenFitted, clustering.VBxClustering):
    """The clustering of community-1."""


class FittedAgglomerative(FreeThenFitted, clustering.AgglomerativeClustering):
    """The clustering of 3.1."""


METHODS = {"VBxClustering": FittedVBx, "AgglomerativeClustering": FittedAgglomerative}
"""The clusterings of community-1 and 3.1. Others need more than a number of speakers."""
