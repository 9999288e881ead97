"""Which segments are chosen, and how they are pooled, on numbers small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from spokenby.stages.embeddings import (
    Params,
    choose_segments,
    embed_speakers,
    find_overlaps,
    pool_segments,
)
from spokenby.types import Diarization, Span, SpeakerEmbeddings, SpeechRegions, Turn, Waveform

WAVEFORM = Waveform(np.zeros(16_000 * 60, np.float32), "")


def turns(*rows):
    return tuple(Turn(start=start, end=end, speaker=speaker) for start, end, speaker in rows)


def diarization(regular, exclusive=None):
    exclusive = regular if exclusive is None else exclusive
    return Diarization(digest="", turns=turns(*regular), exclusive=turns(*exclusive))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([(0, 1, "a")], []),
        ([(0, 1, "a"), (1, 2, "b")], []),  # touching is not overlapping
        ([(0, 2, "a"), (1, 3, "b")], [(1, 2)]),
        ([(0, 9, "a"), (1, 2, "b"), (3, 4, "c")], [(1, 2), (3, 4)]),
        ([(0, 9, "a"), (1, 5, "b"), (3, 7, "c")], [(1, 7)]),
    ],
)
def test_overlaps(given, expected):
    found = find_overlaps(turns(*given))
    assert found.tolist() == [list(pair) for pair in expected]


@pytest.mark.parametrize(
    ("regular", "exclusive", "changes", "expected"),
    [
        ([], [], {}, {}),
        ([(0, 3, "a")], None, {}, {"a": [(0, 3)]}),
        ([(0, 0.5, "a")], None, {}, {"a": []}),  # too short
        ([(0, 2, "a"), (5, 9, "a")], None, {}, {"a": [(5, 9), (0, 2)]}),  # longest first
        ([(0, 1, "a"), (3, 4, "a")], None, {"max_segments": 1}, {"a": [(0, 1)]}),  # ties: earlier
        (  # more long ones than wanted: evenly over the time, not the longest
            [(0, 4, "a"), (5, 9, "a"), (10, 12.5, "a"), (13, 15, "a"), (16, 17.9, "a")],
            None,
            {"max_segments": 2},
            {"a": [(5, 9), (13, 15)]},
        ),
        ([(0, 40, "a")], None, {"max_segments": 2}, {"a": [(8, 12), (28, 32)]}),
        ([(0, 9, "a")], None, {"max_segment": 4.5}, {"a": [(0, 4.5), (4.5, 9)]}),
        (
            [(0, 6, "a"), (4, 9, "b")],  # the overlap serves nobody
            [(0, 5, "a"), (5, 9, "b")],
            {},
            {"a": [(0, 4)], "b": [(6, 9)]},
        ),
        (
            [(0, 9, "a"), (2, 3, "b"), (5, 6, "b")],
            [(0, 9, "a")],
            {},
            {"a": [(6, 9), (0, 2), (3, 5)], "b": []},
        ),
    ],
)
def test_segments(regular, exclusive, changes, expected):
    chosen = choose_segments(diarization(regular, exclusive), Params(**changes))
    found = {name: [(s.start, s.end) for s in segments] for name, segments in chosen.items()}
    assert found == expected


@pytest.mark.parametrize(
    ("vectors", "length", "mean", "spread"),
    [
        ([[1, 0]], [3], [1, 0], 0),
        ([[1, 0], [1, 0]], [3, 1], [1, 0], 0),
        ([[1, 0], [0, 1]], [1, 1], [0.5**0.5, 0.5**0.5], 1 - 0.5**0.5),
        ([[1, 0], [0, 1]], [3, 4], [0.6, 0.8], 1 - (3 * 0.6 + 4 * 0.8) / 7),
        ([[1, 0], [-1, 0]], [1, 1], [np.nan, np.nan], np.nan),
    ],
)
def test_pooling(vectors, length, mean, spread):
    found, found_spread = pool_segments(np.array(vectors, np.float32), np.array(length, float))
    np.testing.assert_allclose(found, mean, atol=1e-6)
    np.testing.assert_allclose(found_spread, spread, atol=1e-6)


class Clock:
    """An embedder whose vector is a direction given by the span's start; knows its calls."""

    model = "clock"
    computes_in = "cpu"

    def __init__(self, nan_from=np.inf):
        self.calls = []
        self.nan_from = nan_from

    def embed(self, waveform, spans, progress):
        self.calls.append(spans)
        angle = np.array([span.start for span in spans]) / 60
        vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).reshape(-1, 2)
        vectors[angle >= self.nan_from / 60] = np.nan
        return vectors.astype(np.float32)


def test_one_call_and_bounded_work():
    many = [(i, i + 0.9, "ab"[i % 2]) for i in range(60)]
    clock = Clock()
    found = embed_speakers(WAVEFORM, diarization(many), clock, Params(max_segments=5), digest="key")
    assert len(clock.calls) == 1
    assert len(clock.calls[0]) == found.segments == 10
    assert [s.start for s in clock.calls[0]] == sorted(s.start for s in clock.calls[0])
    assert (found.model, found.digest, found.speakers) == ("clock", "key", ("a", "b"))
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found.speech, 4.5, rtol=1e-5)
    assert (found.spread > 0).all()


def test_what_cannot_be_embedded_is_nan():
    given = diarization([(0, 2, "a"), (5, 7, "b"), (9, 9.2, "c"), (10, 13, "a")])
    found = embed_speakers(WAVEFORM, given, Clock(nan_from=5), Params(), digest="")
    assert found.speakers == ("a", "b", "c")
    assert np.isnan(found.vectors).any(axis=1).tolist() == [False, True, True]
    assert np.isnan(found.spread).tolist() == [False, True, True]
    np.testing.assert_allclose(found.speech, [2, 0, 0])
    assert found.segments == 1


def test_a_segment_with_hardly_any_speech_is_left_out():
    given = diarization([(0, 4, "a"), (5, 9, "a"), (10, 14, "b")])
    regions = (Span(start=0.5, end=1.4), Span(start=6, end=7))
    speech = SpeechRegions(digest="", regions=regions, windows=(), duration=60)
    chosen = choose_segments(given, Params(), speech)
    assert [(span.start, span.end) for span in chosen["a"]] == [(5, 9)]
    assert chosen["b"] == []
    found = embed_speakers(WAVEFORM, given, Clock(), Params(), speech=speech, digest="")
    assert np.isnan(found.vectors).any(axis=1).tolist() == [False, True]


def test_nobody():
    found = embed_speakers(WAVEFORM, diarization([]), Clock(), Params(), digest="")
    assert (found.speakers, found.vectors.shape, found.segments) == ((), (0, 2), 0)
    assert (found.likeness.shape, found.parts.shape) == ((0, 0), (0, 2))


def test_likeness_of_speakers_and_of_the_parts_of_one():
    given = [(0, 2, "a"), (0.5, 3, "c"), (3, 4, "a"), (4, 5, "b"), (6, 7, "b")]
    given += [(50, 51, "b"), (52, 55, "b"), (56, 56.1, "d")]
    given = diarization(given, [(0, 0.4, "c"), *given])
    clock = Clock()
    found = embed_speakers(WAVEFORM, given, clock, Params(min_segment=0.4), digest="")
    assert len(clock.calls) == 1
    assert found.speakers == ("a", "b", "c", "d")
    assert np.isnan(found.likeness[3]).all()
    assert np.isnan(found.likeness[:, 3]).all()
    # The clock points the same way at about the same time, so a and c are one voice.
    assert found.likeness[0, 2] == pytest.approx(1, abs=0.2)
    np.testing.assert_array_equal(np.diag(found.likeness)[[0, 2]], 1)  # too few for two parts
    assert found.likeness[1, 1] == pytest.approx(np.cos(47 / 60), abs=0.1)
    assert sorted(found.parts[1]) == [4, 52]  # the longest segment of each part
    assert np.isnan(found.parts[[0, 2, 3]]).all()
    assert SpeakerEmbeddings.model_validate_json(found.model_dump_json()).parts[1].tolist() == (
        found.parts[1].tolist()
    )


def test_lengths_that_contradict_are_refused():
    with pytest.raises(ValidationError):
        Params(min_segment=5, max_segment=6)
