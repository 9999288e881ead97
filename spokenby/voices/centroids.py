"""Store each voice's centroid by each model: its voiceprints, pooled.

Every function runs in its caller's transaction; see `store.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, exists, func, insert, select

from spokenby.voices.matching import pool_prints
from spokenby.voices.tables import appearances, centroids, voiceprints, voices

_BATCH = 500
"""Numbers in one statement: databases limit its values."""

_NUMBER_BYTES = 4


def refresh_centroids(connection: Connection, numbers: Collection[int]) -> None:
    """Pool the prints of voices again; delete voices that have neither name nor anything else."""
    remaining = iter(sorted(numbers))
    while batch := list(islice(remaining, _BATCH)):
        _pool(connection, batch)
        connection.execute(
            delete(voices).where(
                voices.c.number.in_(batch),
                voices.c.name.is_(None),
                ~exists().where(voiceprints.c.voice == voices.c.number),
                ~exists().where(appearances.c.voice == voices.c.number),
            )
        )


def _pool(connection: Connection, numbers: Collection[int]) -> None:
    prints = defaultdict(list)
    for row in connection.execute(
        select(voiceprints).where(voiceprints.c.voice.in_(numbers)).order_by(voiceprints.c.id)
    ):
        prints[row.voice, row.model].append(row)
    connection.execute(delete(centroids).where(centroids.c.voice.in_(numbers)))
    pooled = [
        {
            "voice": voice,
            "model": model,
            "vector": pack(
                pool_prints(
                    unpack([row.vector for row in rows]), np.array([row.seconds for row in rows])
                )
            ),
        }
        for (voice, model), of_model in prints.items()
        # Imported ones may differ in length: those like the newest are used.
        if (rows := [row for row in of_model if len(row.vector) == len(of_model[-1].vector)])
    ]
    if pooled:
        connection.execute(insert(centroids), pooled)


def read_centroids(
    connection: Connection, model: str, dimension: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the numbers of all voices with prints of a model, and their centroids.

    Shapes (voices,) and (voices, dimension), unit rows. Prints of another dimension, which may be
    imported, are ignored.
    """
    rows = connection.execute(
        select(centroids.c.voice, centroids.c.vector)
        .where(centroids.c.model == model)
        .where(func.length(centroids.c.vector) == dimension * _NUMBER_BYTES)
        .order_by(centroids.c.voice)
    ).all()
    vectors = unpack([row[1] for row in rows]).reshape(len(rows), dimension)
    return np.array([row[0] for row in rows], dtype=np.int64), vectors


def read_kinds(connection: Connection) -> list[tuple[str, int]]:
    """Return each model and dimension that there are prints of, sorted."""
    size = func.length(centroids.c.vector)
    rows = connection.execute(select(centroids.c.model, size).distinct()).all()
    return sorted((row[0], row[1] // _NUMBER_BYTES) for row in rows)


def pack(vector: npt.NDArray[np.float32]) -> bytes:
    """Return a vector as it is stored."""
    return vector.astype("<f4").tobytes()


def unpack(vectors: Iterable[bytes]) -> npt.NDArray[np.float32]:
    """Return stored vectors of one model, one per row."""
    stored = list(vectors)
    flat = np.frombuffer(b"".join(stored), dtype="<f4").astype(np.float32, copy=False)
    return flat.reshape(len(stored), -1) if stored else flat.reshape(0, 0)
