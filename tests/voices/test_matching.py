from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

from spokenby.errors import InputError
from spokenby.voices import matching
from spokenby.voices.matching import (
    CALIBRATIONS,
    Calibration,
    Params,
    calibration,
    match_voices,
    pool_prints,
)

# Prints that differ in the angle only: the cosine is that of the difference.
KNOWN = Calibration(threshold=0.8, margin=0.1, slope=20.0, offset=-12.0, source="test")
NOBODY = float("nan")


def at(*degrees):
    """Return unit rows in the plane; NaN for an angle of NaN."""
    angle = np.radians(np.array(degrees, dtype=np.float64).reshape(-1))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def chosen(speakers, library, params=None, **options):
    matches = match_voices(at(*speakers), at(*library), KNOWN, params or Params(), **options)
    return [match.voice for match in matches]


@pytest.mark.parametrize(
    ("speakers", "library", "expected"),
    [
        pytest.param([0], [], [None], id="empty library"),
        pytest.param([], [0], [], id="nobody speaks"),
        pytest.param([0], [5, 90], [0], id="near"),
        pytest.param([0], [90, 5], [1], id="near, second"),
        pytest.param([0], [40, 90], [None], id="cos 40° is under 0.8"),
        pytest.param([0], [36, 90], [0], id="cos 36° is over"),
        pytest.param([NOBODY], [5], [None], id="no print"),
        pytest.param([NOBODY, 0], [5], [None, 0], id="one without a print"),
        pytest.param([0], [30, -32], [None], id="two strangers to each other about as near"),
        pytest.param([0], [10, -32], [0], id="the lead over the next is the margin"),
        pytest.param([0], [10, 12, 14], [0], id="three prints of one person are no rivals"),
        pytest.param([0, 2], [0, 90], [0, None], id="one to one: the nearer gets it"),
        pytest.param([2, 0], [0, 90], [None, 0], id="whatever the order"),
        pytest.param([0, 8], [4, 16], [0, 1], id="the sum decides, the best voice of both is 0"),
        pytest.param([0, 90, 180], [182, 91, 3], [2, 1, 0], id="three"),
    ],
)
def test_decides(speakers, library, expected):
    assert chosen(speakers, library) == expected


def test_params_go_before_the_calibration():
    assert chosen([0], [40], Params(threshold=0.7)) == [0]
    assert chosen([0], [5], Params(threshold=0.999)) == [None]
    assert chosen([0], [30, -32], Params(margin=0.01)) == [0]


def test_not_one_to_one():
    assert chosen([0, 2], [0, 90], one_to_one=False) == [0, 0]


def test_score_is_the_cosine():
    (match,) = match_voices(at(0), at(60, 30), KNOWN, Params(margin=0))
    assert match.voice == 1
    assert match.score == pytest.approx(np.cos(np.radians(30)), abs=1e-6)


@pytest.mark.parametrize(
    ("speaker", "library", "expected"),
    [
        (0, [0], 1 / (1 + np.exp(-8))),  # one voice: the odds are e^(20 · 1 - 12)
        (90, [0], None),  # nobody
        (0, [0, 180], 1 / (1 + 2 * np.exp(-8))),  # of two, each had half the chance before
        (0, [0, 0], 1 / (1 + 2 * np.exp(-8))),  # the same person twice is no doubt
        (0, [36, -36], None),  # two rivals
    ],
)
def test_confidence(speaker, library, expected):
    (match,) = match_voices(at(speaker), at(*library), KNOWN, Params())
    assert match.confidence == (expected and pytest.approx(expected, abs=1e-6))
    assert (match.voice is None) == (expected is None)


def test_confidence_sinks_with_the_library():
    rng = np.random.default_rng(0)
    strangers = rng.standard_normal((1000, 64))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    me = np.eye(1, 64)
    near = me * 0.85 + np.eye(1, 64, 1) * np.sqrt(1 - 0.85**2)
    matches = [
        match_voices(
            me.astype(np.float32),
            np.vstack([near, strangers[:size]]).astype(np.float32),
            KNOWN,
            Params(least_confidence=least),
        )[0]
        for least in (0, 0.5)
        for size in (1, 10, 100, 1000)
    ]
    confidences = [match.confidence for match in matches[:4]]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] > 0.98
    assert confidences[-1] < 0.3
    # A thousand strangers make one as near as that by chance: not likely enough by default.
    assert [match.voice for match in matches] == [0, 0, 0, 0, 0, 0, 0, None]


def test_a_person_who_is_there_twice_is_found():
    # Both prints of one person are as near; the stranger is far.
    assert chosen([0], [20, -16, 90], Params(threshold=0.8)) == [1]


def test_pooled_print_is_weighted_by_speech():
    assert pool_prints(at(0, 90), np.array([1.0, 1.0])) == pytest.approx(at(45)[0], abs=1e-6)
    tilted = pool_prints(at(0, 90), np.array([30.0, 10.0]))
    assert tilted[1] / tilted[0] == pytest.approx(1 / 3, abs=1e-6)
    # A long video does not outweigh all others: more than a minute makes no better print.
    hours = pool_prints(at(0, 90), np.array([7200.0, 60.0]))
    assert hours == pytest.approx(at(45)[0], abs=1e-6)


def test_every_embedding_model_has_a_calibration():
    # Read, not imported: torch would take most of this file's time.
    engine = Path(matching.__file__).parents[1] / "engines" / "campplus.py"
    (start,) = re.findall(r'self.model = f"(.*?)\{', engine.read_text(encoding="utf-8"))
    assert calibration(f"{start}0123abcd") is CALIBRATIONS["campplus-"]
    assert calibration("ecapa:0123abcd") is CALIBRATIONS["ecapa:"]


def test_unknown_embedding_model():
    with pytest.raises(InputError, match=r"model x-vector\S* is not calibrated"):
        calibration("x-vector")


def test_a_big_library_is_fast():
    rng = np.random.default_rng(0)
    prints = rng.standard_normal((20_000, 256)).astype(np.float32)
    prints /= np.linalg.norm(prints, axis=1, keepdims=True)
    began = time.process_time()
    matches = match_voices(prints[:8], prints, KNOWN, Params(least_confidence=0))
    assert [match.voice for match in matches] == list(range(8))
    assert time.process_time() - began < 2
