"""The three stages together on real and on synthetic voices, scored by pyannote.metrics."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate
from whosaid.engines.resemblyzer import Resemblyzer

from whosaid import diarization, embeddings, speech
from whosaid.engines.clustering import Clustering
from whosaid.engines.silero import Silero
from whosaid.models import find_model
from whosaid.types import Waveform

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture(scope="module")
def vad():
    return Silero(find_model("silero", "", Path()))


@pytest.fixture(scope="module")
def embedder():
    return Resemblyzer(find_model("resemblyzer", "", Path()), device="cpu")


def read(path):
    samples, _ = soundfile.read(path, dtype="float32")
    return Waveform(samples, path.stem), next(iter(load_rttm(path.with_suffix(".rttm")).values()))


@pytest.fixture(scope="module")
def telephone():
    folder = Path(find_spec("pyannote.audio").submodule_search_locations[0])
    return read(folder / "sample" / "sample.wav")


@pytest.fixture(scope="module")
def conversation():
    return read(SAMPLES / "conversation.flac")


def diarize(waveform, vad, embedder, **wishes):
    found = speech.detect_speech(waveform, vad, speech.Params(), digest="")
    return diarization.diarize_speakers(
        waveform, found, Clustering(embedder), diarization.Params(**wishes), digest=""
    )


def error_rate(reference, result, waveform):
    hypothesis = Annotation()
    for number, turn in enumerate(result.turns):
        hypothesis[Segment(turn.start, turn.end), number] = turn.speaker
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    return metric(reference, hypothesis, uem=Timeline([Segment(0, waveform.duration)]))


def test_telephone_talk(telephone, vad, embedder):
    waveform, reference = telephone
    result = diarize(waveform, vad, embedder)
    assert len(result.speakers) == 2
    assert error_rate(reference, result, waveform) <= 0.25
    voices = embeddings.embed_speakers(waveform, result, embedder, embeddings.Params(), digest="")
    assert voices.vectors.shape == (2, 256)
    assert np.isfinite(voices.vectors).all()
    assert (voices.spread < 0.6).all()


def test_synthetic_conversation(conversation, vad, embedder):
    waveform, reference = conversation
    result = diarize(waveform, vad, embedder)
    assert len(result.speakers) == 3
    assert error_rate(reference, result, waveform) <= 0.10


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_voice_alone(conversation, vad, embedder, number):
    waveform, reference = conversation
    own = reference.label_timeline(sorted(reference.labels())[number])
    cuts = [waveform.samples[int(s.start * 16_000) : int(s.end * 16_000)] for s in own]
    alone = Waveform(np.concatenate(cuts), "")
    assert len(diarize(alone, vad, embedder).speakers) == 1


@pytest.mark.parametrize("wish", [1, 2, 4])
def test_the_wished_number_of_speakers(conversation, vad, embedder, wish):
    result = diarize(conversation[0], vad, embedder, num_speakers=wish)
    assert len(result.speakers) == wish


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.3, 5.0])
def test_silence_has_no_turns(vad, embedder, seconds):
    silence = Waveform(np.zeros(int(seconds * 16_000), np.float32), "")
    assert diarize(silence, vad, embedder).turns == ()


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.5, 3.0])
def test_very_short_speech(telephone, vad, embedder, seconds):
    samples = telephone[0].samples[int(10.7 * 16_000) :][: int(seconds * 16_000)]
    assert len(diarize(Waveform(samples, ""), vad, embedder).speakers) <= 1


def test_exclusive_turns_are_in_order_and_apart(conversation, vad, embedder):
    result = diarize(conversation[0], vad, embedder)
    ends = [0.0, *(turn.end for turn in result.exclusive)]
    assert all(turn.start >= end for turn, end in zip(result.exclusive, ends, strict=False))
    assert result.turns == result.exclusive


class Deaf:
    """An embedder that can embed nothing."""

    model = "deaf"
    computes_in = "cpu"

    def embed(self, waveform, spans, progress):
        return np.full((len(spans), 8), np.nan, np.float32)


def test_speech_that_cannot_be_embedded_has_no_turns(telephone, vad):
    assert diarize(telephone[0], vad, Deaf()).turns == ()
