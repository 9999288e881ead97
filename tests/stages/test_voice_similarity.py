"""How alike voices are, on vectors small enough to check by eye."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from spokenby.stages.voice_similarity import (
    describe_doubts,
    find_joined,
    find_one_voice,
    find_two_voices,
    join_labels,
    measure_likeness,
    split_voice,
)
from spokenby.types import Diarization, SpeakerEmbeddings, Turn

A, B, C = "SPEAKER_00", "SPEAKER_01", "SPEAKER_02"
NAN = float("nan")


def rows(*degrees):
    """Return unit rows that point to some degrees."""
    angle = np.deg2rad(np.array(degrees, float))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], np.empty((0, 0))),
        ([rows(0, 0)], [[1]]),
        ([rows(0, 0), rows(0, 0, 0)], [[1, 1], [1, 1]]),
        ([rows(0, 0), rows(90, 90)], [[1, 0], [0, 1]]),
        ([rows(0, 0), rows(180, 180)], [[1, -1], [-1, 1]]),
        # Two segments of each voice, 60 degrees apart, whose cosine is a half: the same between
        # the voices as inside them makes one voice.
        ([rows(0, 60), rows(0, 60)], [[1, 1.5], [1.5, 1]]),
        ([rows(0), rows(0)], [[1, 1], [1, 1]]),  # no pair inside: nothing to correct for
        ([rows(0, 0), rows()], [[1, NAN], [NAN, NAN]]),
    ],
)
def test_likeness_is_the_cosine_between_over_that_inside(groups, expected):
    found = measure_likeness(groups)
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_lower_the_likeness_of_one_voice(seed):
    draw = np.random.default_rng(seed)
    voices = np.linalg.qr(draw.standard_normal((64, 2)))[0].T
    groups = []
    for voice in (voices[0], voices[0], voices[1]):
        noisy = voice + 0.15 * draw.standard_normal((20, 64))
        groups.append((noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32))
    plain = [group.mean(axis=0) @ other.mean(axis=0) for group, other in pairwise(groups)]
    found = measure_likeness(groups)
    assert plain[0] < 0.55
    assert found[0, 1] == pytest.approx(1, abs=0.15)
    assert abs(found[0, 2]) < 0.2
    both = np.concatenate([groups[0], groups[2]])
    part = split_voice(both)
    assert len(set(part[:20])) == len(set(part[20:])) == 1
    assert part[0] != part[-1]


@pytest.mark.parametrize(
    ("degrees", "parts"),
    [
        ([], []),
        ([0, 0, 90], [0, 0, 0]),  # too few for two parts
        ([0, 0, 0, 0, 90], [0, 0, 0, 0, 0]),  # one outlier is no voice
        ([0, 90, 5, 95], [0, 1, 0, 1]),
        ([0, 2, 4, 6, 8, 10, 88, 92], [0, 0, 0, 0, 0, 0, 1, 1]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),  # no two parts differ
    ],
)
def test_a_voice_is_split_in_its_two_most_unlike_parts(degrees, parts):
    found = split_voice(rows(*degrees)).astype(int)
    assert found.tolist() in (parts, [1 - part for part in parts])


def voices(likeness, *, parts=None, speakers=(A, B, C), **fields):
    count = len(speakers)
    fields = {
        "vectors": rows(*range(count)),
        "spread": np.zeros(count),
        "speech": np.ones(count),
        **fields,
    }
    return SpeakerEmbeddings(
        digest="e",
        model="m",
        speakers=speakers,
        segments=9,
        likeness=likeness,
        parts=np.full((count, 2), NAN) if parts is None else parts,
        **fields,
    )


def diarization(*speakers):
    turns = tuple(Turn(start=i, end=i + 1, speaker=name) for i, name in enumerate(speakers))
    return Diarization(digest="d", turns=turns, exclusive=turns)


LIKE = np.array([[1, 0.5, 0.9], [0.5, 1, 0.75], [0.9, 0.75, 0.25]])


def test_what_does_not_fit_is_told_with_numbers():
    given = voices(LIKE, parts=[[NAN, NAN], [NAN, NAN], [3, 8]])
    assert find_one_voice(given, 0.75) == [(A, C, pytest.approx(0.9)), (B, C, 0.75)]
    assert find_two_voices(given, 0.5) == [(C, 0.25, (3.0, 8.0))]
    nothing = voices(np.empty((0, 0)))
    assert (find_one_voice(nothing, 0.75), find_two_voices(nothing, 0.5)) == ([], [])
    unknown = voices(np.full((3, 3), NAN))
    assert (find_one_voice(unknown, 0.75), find_two_voices(unknown, 0.5)) == ([], [])


@pytest.mark.parametrize(
    ("model", "apart"),
    [
        ("campplus-zh-en:92f29b94", "two have 0.45 at most"),
        ("ecapa:0f99f2d0", "what two have was not measured"),
    ],
)
def test_numbers_that_are_quoted_are_the_encoders(model, apart):
    given = voices(LIKE, parts=[[3, 8]] * 3).model_copy(update={"model": model})
    first, *_ = describe_doubts(given, 0.75, 0.65, joined=False)
    assert first == (
        f"{A} and {C} sound like one voice (similarity 0.90, where 1 is the same and {apart}): "
        "--merge-same-voice puts them under one label"
    )


@pytest.mark.parametrize(
    ("threshold", "heard", "joined"),
    [
        (0.95, (A, B, C), {}),
        (0.8, (A, B, C), {C: A}),
        (0.8, (C, B, A), {A: C}),  # the one heard first stays
        (0.7, (B, C, A), {A: B, C: B}),  # A like C like B: one voice
    ],
)
def test_one_voice_goes_under_the_label_heard_first(threshold, heard, joined):
    assert find_joined(diarization(*heard), voices(LIKE), threshold) == joined


def test_labels_without_turns_are_joined_in_their_order():
    assert find_joined(diarization(), voices([[1, 0.9], [0.9, 1]], speakers=(A, B)), 0.8) == {B: A}


def test_joined_voiceprints_are_those_of_all_segments_together():
    groups = {A: rows(0, 10, 20), B: rows(200, 210), C: rows(30, 40)}
    every = {**groups, "AC": np.concatenate([groups[A], groups[C]])}
    mean = {name: each.mean(axis=0) for name, each in every.items()}
    norm = {name: np.linalg.norm(each) for name, each in mean.items()}
    given = voices(
        LIKE,
        vectors=[mean[name] / norm[name] for name in (A, B, C)],
        spread=[1 - norm[name] for name in (A, B, C)],
        speech=[3, 2, 2],
        parts=[[NAN, NAN], [NAN, NAN], [3, 8]],
    )
    turns, found = join_labels(diarization(A, B, C, A), given, {C: A})
    assert [turn.speaker for turn in turns.turns] == [A, B, A, A]
    assert turns.exclusive == turns.turns
    assert (found.speakers, found.segments, found.speech.tolist()) == ((A, B), 9, [5, 2])
    np.testing.assert_allclose(found.vectors[0], mean["AC"] / norm["AC"], atol=1e-6)
    np.testing.assert_allclose(found.vectors[1], mean[B] / norm[B], atol=1e-6)
    np.testing.assert_allclose(found.spread, [1 - norm["AC"], 1 - norm[B]], atol=1e-6)
    np.testing.assert_allclose(found.likeness, [[0.25, 0.625], [0.625, 1]])
    assert found.digest != given.digest


def test_joining_keeps_who_has_no_voiceprint():
    given = voices(
        [[1, 0.9, NAN], [0.9, 1, NAN], [NAN, NAN, NAN]],
        vectors=[[1, 0], [1, 0], [NAN, NAN]],
        spread=[0, 0, NAN],
        speech=[1, 1, 0],
    )
    _, found = join_labels(diarization(A, B, C), given, {B: A})
    assert found.speakers == (A, C)
    np.testing.assert_allclose(found.vectors, [[1, 0], [NAN, NAN]])
    np.testing.assert_allclose(found.spread, [0, NAN])
    np.testing.assert_allclose(found.likeness, [[1, NAN], [NAN, NAN]])


def test_nothing_to_join_changes_nothing():
    turns, given = diarization(A, B, C), voices(LIKE)
    found = join_labels(turns, given, {})
    assert found[0] is turns
    assert found[1] is given
