"""Which words are in doubt, what is heard of them, and when their voice decides."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from spokenby.models import find_model
from spokenby.stages.embeddings import Params as EmbeddingParams
from spokenby.stages.embeddings import embed_speakers
from spokenby.stages.turn_edges import Params, decide_edges, find_doubtful
from spokenby.types import (
    Diarization,
    EdgeDecisions,
    SpeakerEmbeddings,
    Transcript,
    Turn,
    Waveform,
    Word,
)

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
A, B, C = "SPEAKER_00", "SPEAKER_01", "SPEAKER_02"
WAVEFORM = Waveform(np.zeros(16_000 * 60, np.float32), "")
TURNS = [(0, 10, A), (10, 20, B), (21, 30, A)]


def transcript(*times):
    words = tuple(Word(start=s, end=e, text="w", confidence=1) for s, e in times)
    return Transcript(digest="", language="en", words=words)


def diarization(rows):
    turns = tuple(Turn(start=s, end=e, speaker=speaker) for s, e, speaker in rows)
    return Diarization(digest="", turns=turns, exclusive=turns)


def voices(vectors=((1, 0), (0, 1), (-1, 0)), speech=(9, 9, 9)):
    count = len(vectors)
    return SpeakerEmbeddings(
        digest="",
        model="clock",
        speakers=(A, B, C)[:count],
        vectors=vectors,
        spread=np.zeros(count),
        speech=speech,
        segments=9,
    )


@pytest.mark.parametrize(
    ("words", "turns", "expected"),
    [
        pytest.param([], TURNS, [], id="no words"),
        pytest.param([(9, 9.5)], [], [], id="no turns"),
        pytest.param([(9, 9.5)], [(0, 10, A), (10, 20, A)], [], id="no change"),
        pytest.param([(9, 9.5)], [(0, 10, A), (10, 20, C)], [], id="a voice of little speech"),
        pytest.param([(14, 15)], [(0, 10, A), (12.1, 20, B)], [], id="turns that do not meet"),
        pytest.param([(4, 5), (8, 8.9)], TURNS, [], id="far from a change"),
        pytest.param([(8.5, 9), (11, 12)], TURNS, [(0, "AB"), (1, "AB")], id="just within reach"),
        pytest.param([(9.8, 10.2)], TURNS, [(0, "AB")], id="over the edge"),
        pytest.param([(20.2, 20.8)], TURNS, [(0, "BA")], id="in the pause between two turns"),
        pytest.param([(21.5, 22), (19, 19.3)], TURNS, [(0, "BA"), (1, "BA")], id="around a pause"),
        pytest.param(
            [(9, 9.4), (9.6, 9.9), (9.9, 10.1), (10.3, 10.5)],
            TURNS,
            [(2, "AB"), (1, "AB"), (3, "AB"), (0, "AB")],
            id="the nearest first",
        ),
        pytest.param(
            [(10.1, 10.3), (10.5, 10.7)],
            [(0, 10, A), (10, 10.8, B), (10.8, 20, A)],
            [(0, "AB"), (1, "BA")],
            id="a short turn: the nearer of its changes",
        ),
    ],
)
def test_words_beside_a_change_are_in_doubt(words, turns, expected):
    known = voices(speech=(9, 9, 2))
    found, rivals = find_doubtful(transcript(*words), diarization(turns), known, Params())
    names = ["".join("ABC"[row] for row in pair) for pair in rivals]
    assert list(zip(found.tolist(), names, strict=True)) == expected


class Compass:
    """An embedder that hears, in degrees, what it was told to hear of the n-th span."""

    model = "clock"
    computes_in = "cpu"

    def __init__(self, *degrees):
        self.degrees = degrees
        self.calls = []

    def embed(self, waveform, spans, progress):
        self.calls.append([(span.start, span.end) for span in spans])
        angle = np.deg2rad(self.degrees[: len(spans)])
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def decide(words, compass, known=None, **params):
    return decide_edges(
        WAVEFORM,
        transcript(*words),
        diarization(TURNS),
        voices() if known is None else known,
        compass,
        Params(**({"listen": 1.0, "margin": 0.5} | params)),
        digest="key",
    )


def test_the_voice_decides_where_it_is_clear():
    words = [(1, 2), (9.0, 9.5), (9.6, 10.2), (10.2, 10.6), (20.2, 20.6), (21, 21.5)]
    compass = Compass(0, 80, 45, 100, np.nan)  # of words 1 to 5
    found = decide(words, compass)
    assert [(d.word, d.speaker) for d in found.decisions] == [(1, A), (2, B), (4, B)]
    assert found.decisions[0].margin == pytest.approx(1)
    assert found.decisions[1].margin == pytest.approx(np.sin(np.pi / 2.25) - np.cos(np.pi / 2.25))
    assert (found.doubtful, found.heard, found.digest) == (5, 5, "key")
    assert EdgeDecisions.model_validate_json(found.model_dump_json()) == found


def test_what_is_heard_is_the_word_and_as_much_around_as_is_needed():
    compass = Compass(0, 0, 0)
    decide([(9.2, 9.6), (9.25, 10.75), (10.9, 11.1)], compass)
    (heard,) = compass.calls
    np.testing.assert_allclose(heard, [(8.9, 9.9), (9.25, 10.75), (10.5, 11.5)])


def test_work_is_bounded_and_the_most_doubtful_words_are_heard_in_time_order():
    words = [(9 + i / 10, 9.1 + i / 10) for i in range(20)]
    compass = Compass(*[0] * 20)
    found = decide(words, compass, max_words=4)
    assert (found.doubtful, found.heard) == (20, 4)
    assert [decision.word for decision in found.decisions] == [8, 9, 10, 11]
    (heard,) = compass.calls
    assert heard == sorted(heard)


def test_without_doubt_nothing_is_heard():
    compass = Compass()
    found = decide([(1, 2)], compass)
    assert (found.decisions, found.doubtful, found.heard, compass.calls) == ((), 0, 0, [])


def test_a_voice_without_print_does_not_compete():
    known = voices(vectors=((1, 0), (np.nan, np.nan)), speech=(9, 0))
    assert decide([(9.8, 10.2)], Compass(0), known).doubtful == 0


@pytest.mark.usefixtures("one_thread")
def test_real_voices_bring_back_words_that_late_changes_gave_away():
    from spokenby.engines.campplus import CamPlus

    rows = [line.split() for line in (SAMPLES / "conversation.rttm").read_text().splitlines()]
    said = [(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows[:14]]
    words = [(t, t + 0.3, who) for s, e, who in said for t in np.arange(s, e - 0.3, 0.35).tolist()]
    words = [word for word in words if sum(s < word[1] and word[0] < e for s, e, _ in said) == 1]
    changes = [said[0][0], *(start + 0.6 for start, *_ in said[1:]), said[-1][1]]
    late = [(s, e, who) for (s, e), (*_, who) in zip(pairwise(changes), said, strict=True)]
    before = [next(who for _, e, who in late if (a + b) / 2 < e) for a, b, _ in words]

    samples, _ = soundfile.read(SAMPLES / "conversation.flac", dtype="float32")
    waveform, turns = Waveform(samples, ""), diarization(late)
    encoder = CamPlus(find_model("campplus", "", Path()), device="cpu")
    known = embed_speakers(waveform, turns, encoder, EmbeddingParams(), digest="")
    said_when = transcript(*(word[:2] for word in words))
    found = decide_edges(waveform, said_when, turns, known, encoder, Params(), digest="")
    after = list(before)
    for decision in found.decisions:
        after[decision.word] = decision.speaker

    wrong = [sum(a != b for a, (*_, b) in zip(who, words, strict=True)) for who in (before, after)]
    assert wrong[0] >= 15
    assert wrong[1] <= 0.4 * wrong[0], wrong


def test_params_refuse_what_makes_no_sense():
    for wrong in ({"reach": -1}, {"listen": 0.1}, {"margin": 3}, {"max_words": 0}):
        with pytest.raises(ValidationError):
            Params(**wrong)
