"""From classes to pieces of one speaker, on inputs small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from spokenby.stages import local_speakers
from spokenby.stages.local_speakers import (
    CHUNK_FRAMES,
    FRAME_STEP_S,
    average,
    compare_windows,
    count_chunks,
    count_frames,
    cut_pieces,
    find_second_speakers,
    first_frames,
    pack,
    stitch,
    to_frame,
    to_time,
    unpack,
)

STEP_FRAMES = 148
"""Frames from a chunk to the next, 2.5 s."""


@pytest.mark.parametrize(
    ("seconds", "chunks"),
    [(0, 1), (0.1, 1), (10, 1), (10.001, 2), (12.5, 2), (12.501, 3), (6600, 2637)],
)
def test_enough_chunks_to_hear_all(seconds, chunks):
    assert count_chunks(seconds) == chunks
    assert 2.5 * (chunks - 1) + 10 >= seconds - 1e-9


def test_frames_and_times():
    assert first_frames(4).tolist() == [0, 148, 296, 444]
    assert first_frames(2637)[-1] == round(2636 * 2.5 / FRAME_STEP_S)  # no drift
    frames = np.arange(1000)
    np.testing.assert_array_equal(to_frame(to_time(frames)), frames)
    assert count_frames(10.0) == 593  # the last of them end beyond the sound


def active(chunks, *stretches):
    """Return who is active: (chunk, first frame, last frame, local speaker) each."""
    result = np.zeros((chunks, CHUNK_FRAMES, 3), bool)
    for chunk, first, last, speaker in stretches:
        result[chunk, first:last, speaker] = True
    return result


def seconds(*frames):
    return to_time(np.array(frames, float))


def test_windows_in_a_chunk_are_compared():
    """Windows 0 and 3 are one speaker's, 1 another's; 2 has two at once, and 4 is too far away."""
    who = active(4, (0, 10, 100, 0), (0, 110, 200, 1), (0, 210, 400, 0), (0, 210, 300, 2))
    who[3, 500:580, 2] = True
    start, end = seconds(10, 110, 210, 310, 944), seconds(100, 200, 300, 400, 1024)
    found = compare_windows(who, start, end)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == [
        (0, 1, True),
        (0, 3, False),
        (1, 3, True),
    ]


@pytest.mark.parametrize(("chunks", "apart"), [("AB", False), ("AA", False), ("ABB", True)])
def test_most_chunks_decide_whether_two_windows_are_apart(chunks, apart):
    """The second window is speaker 0's, as the first, in chunks A, and speaker 1's in chunks B."""
    first, last = 300, 350
    who = active(len(chunks))
    for number, (kind, begin) in enumerate(
        zip(chunks, first_frames(len(chunks)).tolist(), strict=True)
    ):
        who[number, first - begin : last - begin, 0] = True
        who[number, first - begin + 60 : last - begin + 60, "AB".index(kind)] = True
    found = compare_windows(who, seconds(first, first + 60), seconds(last, last + 60))
    assert found.apart.tolist() == [apart]


@pytest.mark.parametrize("chunks", [0, 1])
def test_without_windows_there_are_no_pairs(chunks):
    found = compare_windows(active(chunks), np.empty(0), np.empty(0))
    assert [part.tolist() for part in found] == [[], [], []]


def masks_of(who):
    return (who @ np.array([1, 2, 4])).astype(np.int32)


@pytest.mark.parametrize("seed", range(8))
def test_packing_loses_nothing(seed):
    random = np.random.default_rng(seed)
    chunks = int(random.integers(1, 5))
    lengths = random.integers(1, [2, 30, 300, 2000][seed % 4], chunks * CHUNK_FRAMES)
    masks = np.repeat(random.integers(0, 7, len(lengths)), lengths)[: chunks * CHUNK_FRAMES]
    masks = masks.reshape(chunks, CHUNK_FRAMES)
    runs = pack(masks)
    assert all(type(it) is int for run in runs for it in run)
    np.testing.assert_array_equal(masks_of(unpack(runs)), masks)


def test_packed_is_a_run_for_each_change_and_each_chunk():
    who = active(2, (0, 10, 20, 0), (0, 15, 20, 2), (1, 0, CHUNK_FRAMES, 1))
    assert pack(masks_of(who)) == ((0, 0, 0), (0, 10, 1), (0, 15, 5), (0, 20, 0), (1, 0, 2))


def test_nothing_packed_is_nothing():
    assert unpack(()).shape == (0, CHUNK_FRAMES, 3)


def test_average_counts_the_chunks_that_hear_a_frame():
    values = np.zeros((2, CHUNK_FRAMES))
    values[0], values[1] = 1, 3
    frames = STEP_FRAMES + CHUNK_FRAMES + 10
    found = average(values, frames)
    assert found.shape == (frames,)
    assert set(found[:STEP_FRAMES]) == {1}
    assert set(found[STEP_FRAMES:CHUNK_FRAMES]) == {2}
    assert set(found[CHUNK_FRAMES : STEP_FRAMES + CHUNK_FRAMES]) == {3}
    assert set(found[-10:-5]) == {3}  # a chunk ends a little before its sound does
    assert set(found[-5:]) == {0}  # heard by none
    assert len(average(values, 5)) == 5
    assert average(np.ones((1, CHUNK_FRAMES, 3)), 7).tolist() == [[1, 1, 1]] * 7


def test_chunks_are_stitched_by_what_they_share():
    """The second chunk numbers the speakers the other way round."""
    frames = STEP_FRAMES + CHUNK_FRAMES
    who = active(2, (0, 0, 300, 0), (0, 300, 589, 1), (1, 0, 300 - 148, 2), (1, 300 - 148, 589, 0))
    found = stitch(who, frames)
    assert found.shape == (frames, 3)
    assert found.argmax(axis=1).tolist() == [0] * 300 + [1] * (frames - 300)
    assert (found.sum(axis=1) == 1).all()


def test_a_frame_is_taken_from_the_chunk_it_is_most_central_in():
    """The first chunk hears somebody to its end, the second nobody: they meet in the middle."""
    found = stitch(active(2, (0, 0, CHUNK_FRAMES, 0)), STEP_FRAMES + CHUNK_FRAMES)
    middle = (CHUNK_FRAMES // 2 + STEP_FRAMES + CHUNK_FRAMES // 2) // 2
    assert found[:, 0].tolist() == [True] * middle + [False] * (len(found) - middle)


def test_stitching_ends_with_the_recording():
    assert stitch(active(1, (0, 0, CHUNK_FRAMES, 1)), 100).shape == (100, 3)
    longer = stitch(active(1, (0, 0, CHUNK_FRAMES, 1)), 593)
    assert longer[:, 1].sum() == CHUNK_FRAMES  # nobody is known to speak after the last chunk


def stitched(*stretches, frames=1000):
    result = np.zeros((frames, 3), bool)
    for first, last, speaker in stretches:
        result[first:last, speaker] = True
    return result


def at(*frames):
    return [float(time) for time in to_time(np.array(frames))]


@pytest.mark.parametrize(
    ("stretches", "cuts"),
    [
        ([], []),  # nobody known: one piece
        ([(0, 1000, 0)], []),
        ([(0, 400, 0), (400, 1000, 1)], [400]),
        ([(0, 400, 0), (400, 405, 1), (405, 1000, 0)], []),  # shorter than 0.25 s
        ([(0, 400, 0), (400, 415, 1), (415, 1000, 0)], [400, 415]),
        ([(0, 400, 0), (420, 1000, 1)], [410]),  # nobody in between: half of it each
        ([(0, 420, 0), (400, 1000, 1)], [410]),  # both in between, likewise
        ([(0, 400, 0), (420, 1000, 0)], []),
        ([(300, 400, 2), (400, 500, 1)], [400]),  # edges belong to the nearest
    ],
)
def test_pieces_are_cut_where_another_takes_over(stretches, cuts):
    start, end = 1.0, 15.0
    found = cut_pieces(np.array([[start, end]]), stitched(*stretches))
    edges = [start, *at(*cuts), end]
    np.testing.assert_allclose(found, np.column_stack([edges[:-1], edges[1:]]), atol=1e-9)


def test_each_region_is_cut_by_itself():
    regions = np.array([[1.0, 3.0], [4.0, 8.0], [9.0, 9.1]])
    found = cut_pieces(regions, stitched((0, 355, 0), (355, 1000, 1)))
    change = at(355)[0]
    np.testing.assert_allclose(found, [[1, 3], [4, change], [change, 8], [9, 9.1]])
    assert cut_pieces(np.empty((0, 2)), stitched()).shape == (0, 2)
    # beyond the last frame, and in no time at all
    assert cut_pieces(np.array([[16.0, 20.0]]), stitched(frames=900)).tolist() == [[16.0, 20.0]]


def second(who, first, similarity, share=0.45):
    times, speakers = find_second_speakers(who, np.array(first), np.array(similarity), share=share)
    assert len(times) == len(speakers)
    return [(*map(float, time), int(it)) for time, it in zip(times, speakers, strict=True)]


def test_a_second_speaker_is_who_the_local_one_is_elsewhere():
    """Local speaker 1 is speaker 2: they have a turn of their own before."""
    who = active(1, (0, 100, 300, 0), (0, 0, 100, 1), (0, 200, 250, 1))
    first = [2] * 100 + [0] * 489
    even = np.zeros((589, 3))
    assert second(who, first, even) == [(*at(200, 250), 2)]


def test_a_second_speaker_without_turns_nearby_is_known_by_sound():
    who = active(1, (0, 100, 300, 0), (0, 200, 250, 1))
    first = [-1] * 100 + [0] * 200 + [-1] * 289
    alike = np.zeros((589, 3))
    alike[:, 0] = 0.9
    alike[200:250, 1] = 0.5
    assert second(who, first, alike) == [(*at(200, 250), 1)]


def test_nobody_is_beside_nobody():
    """Where no turn is, there is no second speaker."""
    who = active(1, (0, 100, 300, 0), (0, 0, 100, 1), (0, 200, 250, 1))
    assert second(who, [1] * 100 + [0] * 110 + [-1] * 379, np.zeros((589, 2))) == [
        (*at(200, 210), 1)
    ]


@pytest.mark.parametrize(("share", "found"), [(0.45, True), (0.6, False)])
def test_enough_chunks_must_hear_two(share, found):
    """One of the two chunks that hear it hears two speakers."""
    who = active(
        2,
        *((0, 150, 589, 0), (0, 0, 150, 1), (0, 300, 350, 1)),
        *((1, 150 - 148, 589, 0), (1, 0, 150 - 148, 1)),
    )
    first = [1] * 150 + [0] * 587
    expected = [(*at(300, 350), 1)] if found else []
    assert second(who, first, np.zeros((737, 2)), share) == expected


def test_alone_there_is_no_second_speaker():
    who = active(1, (0, 0, 300, 0), (0, 0, 300, 1))
    assert second(who, [0] * 589, np.zeros((589, 1))) == []
    apart = active(1, (0, 0, 300, 0), (0, 300, 500, 1))
    assert second(apart, [0] * 589, np.zeros((589, 2))) == []


def test_chunks_that_reach_beyond_the_end():
    who = active(1, (0, 0, 589, 0), (0, 0, 30, 1), (0, 80, 589, 1))
    found = second(who, [1] * 30 + [0] * 70, np.zeros((100, 2)))
    assert found == [(*at(80, 100), 1)] or found == [(*at(0, 30), 0), (*at(80, 100), 1)]


def test_more_local_speakers_than_speakers_share_them():
    assert local_speakers._match(
        active(1, (0, 0, 100, 0), (0, 100, 200, 1), (0, 200, 300, 2))[0],
        np.repeat([0, 1, 1, -1], [100, 100, 100, 289]),
        np.zeros((589, 2)),
    ) == [(0, 0), (1, 1), (2, 1)]
