"""However speech lies, windows, segments and batches hold all of it, within their bounds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokenby.engines import batching
from spokenby.engines.batching import run_in_batches
from spokenby.errors import TransientError
from spokenby.stages import embeddings, intervals, local_speakers, speech
from spokenby.stages.speech import FRAME_S, find_regions, pack_windows
from spokenby.types import Diarization, Turn

ROUNDING = 0.0011
"""Regions and windows are rounded to milliseconds."""


def runs(most: int, longest: int) -> st.SearchStrategy[np.ndarray]:
    """Return how likely speech is in each frame: quiet and loud runs, few near `longest`."""
    quiet = np.array([0.0, 0.1], np.float32)
    loud = np.array([0.12, 0.2, 0.9, 1.0], np.float32)

    def spread(drawn: bytes) -> np.ndarray:
        pairs = np.frombuffer(drawn, np.uint8).reshape(-1, 2).astype(int)
        length, level = pairs[: 1 + drawn[1] % most].T
        odd = np.arange(len(level)) % 2
        level = np.where(odd, loud[level % len(loud)], quiet[level % len(quiet)])
        return np.repeat(level, 1 + length**3 * longest // 256**3)

    return st.binary(min_size=2 * most, max_size=2 * most).map(spread)


PARAMS = st.builds(
    speech.Params,
    min_speech=st.sampled_from((0.1, 0.0, 1.0)),
    min_pause=st.sampled_from((0.2, 0.0, 1.0)),
    pad=st.sampled_from((0.15, 0.0, 1.0)),
    pad_pause=st.sampled_from((1.0, 0.0)),
    window_max=st.sampled_from((30.0, 5.0, 12.3)),
    window_pad=st.sampled_from((0.2, 0.0, 1.0)),
    window_pause=st.sampled_from((3.0, 0.0, 0.5, 60.0)),
)


@given(runs(30, 700), st.integers(1, 512), PARAMS)
def test_windows_hold_all_speech_in_order_within_their_bounds(probabilities, last, params):
    duration = (len(probabilities) - 1) * FRAME_S + last / 16_000
    regions = find_regions(probabilities, duration, params)
    windows = pack_windows(regions, probabilities, duration, params)
    for spans in (regions, windows):
        assert all(0 <= span.start <= span.end <= duration + ROUNDING for span in spans)
        assert all(one.end <= other.start for one, other in pairwise(spans))
    region_times, window_times = intervals.array(regions), intervals.array(windows)

    loud = np.flatnonzero(np.diff(probabilities >= params.offset, prepend=False, append=False))
    for first, behind in loud.reshape(-1, 2).tolist():
        if probabilities[first:behind].max() < params.onset:
            continue
        if (behind - first) * FRAME_S < params.min_speech:
            continue
        start, end = first * FRAME_S, min(behind * FRAME_S, duration)
        covered = intervals.covered(region_times, np.array([start]), np.array([end]))[0]
        assert covered == pytest.approx(end - start, abs=ROUNDING), "no speech is lost"

    joined = intervals.union(window_times)
    covered = intervals.covered(joined, region_times[:, 0], region_times[:, 1])
    assert covered == pytest.approx(region_times[:, 1] - region_times[:, 0], abs=ROUNDING)
    for window in windows:
        assert window.duration <= params.window_max + ROUNDING
        inside = [r for r in regions if r.start < window.end and r.end > window.start]
        assert inside, "a window without speech"
        pauses = [after.start - before.end for before, after in pairwise(inside)]
        assert max(pauses, default=0) <= params.window_pause + ROUNDING


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 20), st.integers(1, 3))
def test_batches_hold_every_item_once_in_order_and_never_more_than_fits(count, wanted, room, runs):
    batching._fitting.clear()
    sizes: list[int] = []
    smaller: list[int] = []

    def double(batch):
        sizes.append(len(batch))
        if len(batch) > room:
            raise MemoryError
        return [2 * item for item in batch]

    def results():
        batches = run_in_batches(
            range(count),
            wanted,
            double,
            key=("here", "test"),
            is_out_of_memory=lambda error: isinstance(error, MemoryError),
            on_smaller=smaller.append,
        )
        return [result for batch in batches for result in batch]

    try:
        for _ in range(runs):
            if room or not count:
                assert results() == [2 * item for item in range(count)]
            else:
                with pytest.raises(TransientError):
                    results()
        assert max(sizes, default=0) <= wanted
        assert sum(size > room for size in sizes) == len(smaller) + (
            runs if count and not room else 0
        )
        assert smaller == sorted(set(smaller), reverse=True), "none fails twice"
    finally:
        batching._fitting.clear()


@given(
    st.binary(min_size=45, max_size=45), st.sampled_from((1, 3, 50)), st.sampled_from((0.8, 3.0))
)
def test_segments_are_of_one_speaker_alone_and_no_more_than_wanted(drawn, most, longest):
    rows = [drawn[at : at + 3] for at in range(1, 1 + 3 * (drawn[0] % 15), 3)]
    turns = tuple(
        Turn(start=row[0] / 8, end=row[0] / 8 + (1 + row[1]) / 16, speaker=f"SPEAKER_0{row[2] % 3}")
        for row in sorted(rows)
    )
    exclusive, reach = [], 0.0
    for turn in turns:
        if turn.end > max(turn.start, reach):
            exclusive.append(turn.model_copy(update={"start": max(turn.start, reach)}))
            reach = turn.end
    diarization = Diarization(digest="", turns=turns, exclusive=tuple(exclusive))
    params = embeddings.Params(max_segments=most, min_segment=0.4, max_segment=longest)
    chosen = embeddings.choose_segments(diarization, params)
    assert set(chosen) == set(diarization.speakers)
    for speaker, segments in chosen.items():
        assert len(segments) <= most
        by_time = sorted(segments, key=lambda segment: segment.start)
        assert all(one.end <= other.start for one, other in pairwise(by_time))
        for segment in segments:
            assert params.min_segment <= segment.duration <= longest + 1e-9
            middle = (segment.start + segment.end) / 2
            assert {t.speaker for t in turns if t.start < middle < t.end} == {speaker}
            heard = [t for t in exclusive if t.start <= segment.start and segment.end <= t.end]
            assert [t.speaker for t in heard] == [speaker]


@given(st.integers(1, 5), runs(40, 200))
def test_local_speakers_are_unpacked_as_they_were_packed(chunks, drawn):
    masks = np.resize((drawn * 10).astype(np.int32) % 7, (chunks, local_speakers.CHUNK_FRAMES))
    active = local_speakers.unpack(local_speakers.pack(masks))
    assert (active @ np.array([1, 2, 4]) == masks).all()
