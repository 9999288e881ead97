"""Turn the segmentation network's output into pieces of one speaker each.

The network reads chunks of 10 s and numbers up to three speakers in each chunk independently. Its
classes are packed for storage, and chunks are stitched where they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spokenby.types import Seconds

CHUNK_S: Seconds = 10.0
CHUNK_STEP_S: Seconds = 2.5
CHUNK_FRAMES = 589
FRAME_STEP_S: Seconds = 0.016875
FRAME_S: Seconds = 0.0619375
"""A frame's receptive field; its time is the middle of it."""

LAST_FRAMES = 5
"""A chunk's frames may end up to this many frames before its audio."""

CLASSES = np.array([0, 1, 2, 4, 3, 5, 6], np.int32)
"""The powerset classes as bit masks: silence, one of three speakers, two of three speakers."""

SHORTEST_PIECE_S: Seconds = 0.25
"""A shorter stretch of one local speaker joins the longer of its neighbors."""

SURE_FRAMES = 12
"""A local speaker alone in fewer frames than this is matched by all frames it is active in."""

SURE_SHARE = 0.6
"""A window is a local speaker's if that one alone is active in more than this share of it."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """Pairs of windows that were heard together in a chunk, each pair once."""

    one: Ints
    other: Ints
    apart: Bools
    """Whether most of these chunks hear two speakers in them."""


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))


def count_chunks(duration: Seconds) -> int:
    """Return how many chunks cover a recording."""
    return max(1, int(np.ceil((duration - CHUNK_S) / CHUNK_STEP_S - 1e-9)) + 1)


def count_frames(duration: Seconds) -> int:
    """Return how many frames a recording has."""
    return int(duration / FRAME_STEP_S) + 1


def first_frames(chunks: int) -> Ints:
    """Return the frame of the recording that each chunk begins with, shape (chunks,)."""
    first: Ints = np.rint(np.arange(chunks) * CHUNK_STEP_S / FRAME_STEP_S).astype(np.int64)
    return first


def to_time(frame: Ints | Floats) -> Floats:
    """Return the time of the middle of a frame, in seconds."""
    return np.asarray(frame * FRAME_STEP_S + FRAME_S / 2, np.float64)


def to_frame(time: Floats) -> Ints:
    """Return the frame nearest to a moment."""
    return np.rint((time - FRAME_S / 2) / FRAME_STEP_S).astype(np.int64)


def pack(masks: Ints) -> tuple[tuple[int, int, int], ...]:
    """Return bit masks, shape (chunks, frames), as runs: see `SpeechRegions.local_speakers`."""
    begins = np.diff(masks, axis=1, prepend=-1) != 0
    chunk, frame = np.nonzero(begins)
    return tuple(zip(chunk.tolist(), frame.tolist(), masks[begins].tolist(), strict=True))


def unpack(packed: Sequence[tuple[int, int, int]]) -> Bools:
    """Return who is active in each frame of each chunk, shape (chunks, frames, 3)."""
    runs = np.array(packed, np.int64).reshape(-1, 3)
    if not len(runs):
        return np.zeros((0, CHUNK_FRAMES, 3), np.bool_)
    chunks = int(runs[-1, 0]) + 1
    begin = runs[:, 0] * CHUNK_FRAMES + runs[:, 1]
    masks = np.repeat(runs[:, 2], np.diff(begin, append=chunks * CHUNK_FRAMES))
    active: Bools = (masks.reshape(chunks, CHUNK_FRAMES, 1) & np.array([1, 2, 4])) != 0
    return active


def average(values: npt.NDArray[Any], frames: int) -> Floats:
    """Return the mean over all chunks that contain a frame, shape (frames, …).

    Args:
        values: of each frame of each chunk, shape (chunks, CHUNK_FRAMES, …).
        frames: of the recording; chunk frames beyond its end are dropped, and the few frames that
            the last chunk does not reach repeat its last one.
    """
    longest = int(first_frames(len(values))[-1]) + CHUNK_FRAMES
    total = np.zeros((max(frames, longest), *values.shape[2:]))
    heard = np.zeros(len(total))
    for chunk, first in zip(values, first_frames(len(values)).tolist(), strict=True):
        total[first : first + CHUNK_FRAMES] += chunk
        heard[first : first + CHUNK_FRAMES] += 1
    rest = slice(longest, longest + LAST_FRAMES)
    total[rest], heard[rest] = total[longest - 1], heard[longest - 1]
    mean = total[:frames] / np.maximum(heard[:frames], 1).reshape(-1, *[1] * (total.ndim - 1))
    return np.asarray(mean, np.float64)


def stitch(active: Bools, frames: int) -> Bools:
    """Return who is active in each frame of the recording, shape (frames, 3).

    Each frame is taken from the chunk in which it is most central. Speakers of a chunk are matched
    to those of the previous chunk where the two overlap; a number means the same person only over
    a few seconds.
    """
    from scipy.optimize import linear_sum_assignment

    result = np.zeros((frames, 3), np.bool_)
    first = first_frames(len(active))
    center = first + CHUNK_FRAMES // 2
    edges = np.r_[0, (center[1:] + center[:-1]) // 2, frames].clip(0, frames)
    order = np.arange(3)
    for i, chunk in enumerate(active):
        if i:
            shift = first[i] - first[i - 1]
            before = active[i - 1][shift:, order].astype(np.float32)
            _, order = linear_sum_assignment(-before.T @ chunk[: CHUNK_FRAMES - shift])
        begin, end = edges[i], min(edges[i + 1], first[i] + CHUNK_FRAMES)
        result[begin:end] = chunk[begin - first[i] : end - first[i]][:, order]
    return result


def cut_pieces(regions: Floats, stitched: Bools) -> Floats:
    """Return regions cut where another local speaker takes over, (pieces, 2), sorted, in seconds.

    Where nobody or several are active, the nearest speaker who is active alone counts.
    """
    alone = np.where(stitched.sum(axis=1) == 1, stitched.argmax(axis=1), -1)
    pieces: list[Floats] = []
    for start, end in regions.tolist():
        frames = to_frame(np.array([start, end])).clip(0, len(alone))
        who = _filled(alone[frames[0] : frames[1]])
        edges = _long_runs(who)[1:-1] + frames[0]
        cuts = np.r_[start, to_time(edges).clip(start, end), end]
        pieces.append(np.column_stack([cuts[:-1], cuts[1:]]))
    return np.concatenate(pieces) if pieces else np.empty((0, 2))


def compare_windows(active: Bools, start: Floats, end: Floats) -> Pairs:
    """Return which windows have different speakers, and which may have the same.

    Of pairs that the network hears as two speakers in one chunk, 93 to 99.6 % are two; of those
    that it hears as one, only 49 to 63 % are one, if somebody else speaks between them
    (docs/accuracy.md).

    Args:
        active: local speakers, shape (chunks, CHUNK_FRAMES, 3).
        start: of each window, ascending.
        end: of each window, ascending.
    """
    alone = active & (active.sum(axis=2, keepdims=True) == 1)
    first, last = to_frame(start).clip(0), to_frame(end)
    found = [np.empty((3, 0), np.int64)]
    for chunk, begin in zip(alone, first_frames(len(active)).tolist(), strict=True):
        some = np.arange(
            np.searchsorted(first, begin), np.searchsorted(last, begin + CHUNK_FRAMES, "right")
        )
        so_far = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(chunk, axis=0)])
        frames = so_far[last[some] - begin] - so_far[first[some] - begin]
        sure = frames.max(axis=1, initial=0) > SURE_SHARE * (last - first)[some]
        some, who = some[sure], frames[sure].argmax(axis=1)
        one, other = np.triu_indices(len(some), 1)
        found.append(np.stack([some[one], some[other], np.where(who[one] == who[other], -1, 1)]))
    one, other, vote = np.concatenate(found, axis=1)
    pairs, which = np.unique(one * len(start) + other, return_inverse=True)
    votes = np.bincount(which, vote, len(pairs))
    return Pairs(pairs // max(len(start), 1), pairs % max(len(start), 1), votes > 0)


def _filled(labels: Ints) -> Ints:
    """Return labels with each -1 replaced by the nearest label, if there is any."""
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        return labels
    nearest = np.searchsorted((known[1:] + known[:-1]) / 2, np.arange(len(labels)))
    return labels[known[nearest]]


def _long_runs(labels: Ints) -> Ints:
    """Return where runs of equal labels begin, and the end, once short runs joined a neighbor."""
    edges = np.r_[0, np.flatnonzero(np.diff(labels)) + 1, len(labels)]
    run_labels = labels[edges[:-1]] if len(labels) else labels
    while len(edges) > 2:
        length = np.diff(edges)
        shortest = int(length.argmin())
        if length[shortest] * FRAME_STEP_S >= SHORTEST_PIECE_S:
            break
        beside = [i for i in (shortest - 1, shortest + 1) if 0 <= i < len(length)]
        run_labels[shortest] = run_labels[max(beside, key=lambda i: length[i])]
        keep = np.r_[True, run_labels[1:] != run_labels[:-1]]
        edges, run_labels = np.r_[edges[:-1][keep], edges[-1]], run_labels[keep]
    return np.asarray(edges)


def find_second_speakers(
    active: Bools, first: Ints, similarity: Floats, *, share: float
) -> tuple[Floats, Ints]:
    """Return where somebody speaks at the same time as the first speaker, and who.

    Args:
        active: local speakers, shape (chunks, CHUNK_FRAMES, 3).
        first: who speaks in each frame of the recording, -1 for nobody, shape (frames,).
        similarity: of each speaker to the audio around a frame, shape (frames, speakers).
        share: the share of the chunks containing a frame that must find two speakers in it.

    Returns:
        Stretches in seconds, shape (overlaps, 2), and their speakers, shape (overlaps,).
    """
    frames, speakers = similarity.shape
    if not len(active):
        return np.empty((0, 2)), np.empty(0, np.int64)
    two = average(active.sum(axis=2) >= 2, frames) >= share
    if not two.any() or speakers < 2:
        return np.empty((0, 2)), np.empty(0, np.int64)
    votes = np.zeros((len(active), CHUNK_FRAMES, speakers), np.float32)
    for i, begin in enumerate(first_frames(len(active)).tolist()):
        chunk = active[i][: max(frames - begin, 0)]
        near = slice(begin, begin + len(chunk))
        for local, speaker in _match(chunk, first[near], similarity[near]):
            votes[i, : len(chunk), speaker] += chunk[:, local]
    score = average(votes, frames)
    inside = np.flatnonzero(first >= 0)
    score[inside, first[inside]] = -1
    heard = two & (first >= 0) & (score.max(axis=1) > share / 2)
    second = np.where(heard, score.argmax(axis=1), -1)
    edges = np.r_[0, np.flatnonzero(np.diff(second)) + 1, len(second)]
    spoken = second[edges[:-1]] >= 0
    times = np.column_stack([to_time(edges[:-1]), to_time(edges[1:])])[spoken]
    return times, second[edges[:-1]][spoken]


def _match(active: Bools, first: Ints, similarity: Floats) -> list[tuple[int, int]]:
    """Match the local speakers of a chunk to speakers: by the turns they share, then by sound."""
    from scipy.optimize import linear_sum_assignment

    present = np.flatnonzero(active.any(axis=0)).tolist()
    if not present:
        return []
    alone = active & (active.sum(axis=1, keepdims=True) == 1)
    score = []
    for local in present:
        sure = alone[:, local].sum() >= SURE_FRAMES
        at = np.flatnonzero(alone[:, local] if sure else active[:, local])
        turns = np.bincount(first[at][first[at] >= 0], minlength=similarity.shape[1]) / len(at)
        score.append(turns + 0.2 * similarity[at].mean(axis=0))
    if len(present) <= similarity.shape[1]:
        _, speakers = linear_sum_assignment(-np.array(score))
    else:
        speakers = np.argmax(score, axis=1)
    return list(zip(present, speakers.tolist(), strict=True))
