"""Whisper base itself: real speech with its words, silence, noise, pauses, spaces."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from faster_whisper import decode_audio

from spokenby.engines.faster_whisper import FasterWhisper
from spokenby.engines.segmentation import Segmentation
from spokenby.engines.silero import Silero
from spokenby.models import find_model
from spokenby.stages.merging import join_words
from spokenby.stages.speech import Params as SpeechParams
from spokenby.stages.speech import detect_speech
from spokenby.stages.transcription import Params, transcribe_speech
from spokenby.stages.words import join_pieces
from spokenby.types import SAMPLE_RATE_HZ, SpeechRegions, Transcript, Waveform, Word
from tests.conftest import ROOT
from tests.scoring import word_error_rate


@pytest.fixture(scope="module", autouse=True)
def _no_network():
    def refuse(*args):
        raise AssertionError(f"connects to {args[1:]}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def engine(whisper_base):
    return FasterWhisper(whisper_base, device="cpu", cpu_threads=1)


@pytest.fixture(scope="module")
def telephone() -> tuple[np.ndarray, str]:
    """Return 30 s of a telephone talk and what is said in it."""
    spec = find_spec("pyannote.audio")
    assert spec is not None
    folder = Path(spec.submodule_search_locations[0], "sample")
    samples, _ = soundfile.read(folder / "sample.wav", dtype="float32")
    lines = (folder / "sample.stm").read_text().splitlines()
    return samples, " ".join(line.split(maxsplit=5)[5] for line in lines)


@pytest.fixture(scope="module")
def conversation() -> tuple[np.ndarray, str]:
    """Return the first 20 s of the sample conversation and what is said in it."""
    samples = decode_audio(str(ROOT / "data" / "samples" / "conversation.flac"))
    lines = (ROOT / "data" / "samples" / "conversation.txt").read_text().splitlines()[:4]
    return samples[: 20 * SAMPLE_RATE_HZ], " ".join(line.partition(":")[2] for line in lines)


def find_speech(samples: np.ndarray) -> tuple[Waveform, SpeechRegions]:
    waveform = Waveform(samples.astype(np.float32), "sound")
    vad = Silero(find_model("silero", "", Path()))
    segmenter = nullcontext(Segmentation(find_model("segmentation", "", Path()), device="cpu"))
    return waveform, detect_speech(waveform, vad, segmenter, SpeechParams(), digest="s")


def transcribe(engine: FasterWhisper, samples: np.ndarray, **params: object) -> Transcript:
    waveform, speech = find_speech(samples)
    return transcribe_speech(waveform, speech, engine, Params(**params), digest="d")


def rows(words: tuple[Word, ...]) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for word in words]


def test_a_telephone_talk(engine, telephone):
    samples, said = telephone
    transcript = transcribe(engine, samples)
    assert transcript.language == "en"
    assert transcript.language_probability > 0.9
    assert word_error_rate(said, join_words(transcript.words)) < 0.16  # 0.126 where it was measured
    assert transcript.doubtful == ()
    for word in transcript.words:
        assert word.end - word.start < 1.5


def test_the_sample_conversation_with_a_pause_of_12_s(engine, conversation):
    samples, said = conversation
    cut = round(12.35 * SAMPLE_RATE_HZ)
    apart = np.concatenate([samples[:cut], np.zeros(12 * SAMPLE_RATE_HZ), samples[cut:]])
    transcript = transcribe(engine, apart)
    text = join_words(transcript.words)
    assert word_error_rate(said, text) < 0.06
    assert "o'clock" in text.split() or "o'clock," in text.split()
    assert not [word for word in transcript.words if word.end > 13 and word.start < 24]


@pytest.mark.parametrize("kind", ["silence", "noise", "chords"])
def test_where_nobody_speaks_there_are_no_words(engine, kind):
    time = np.arange(20 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    samples = {
        "silence": np.zeros(len(time)),
        "noise": np.random.default_rng(0).normal(0, 0.1, len(time)),
        "chords": sum(0.1 * np.sin(2 * np.pi * hz * time) for hz in (220, 277.2, 329.6)),
    }[kind]
    assert transcribe(engine, samples).words == ()


def test_words_do_not_depend_on_the_batch(engine, conversation):
    waveform, speech = find_speech(conversation[0])
    speech = speech.model_copy(update={"windows": speech.regions[:3]})
    one, many = (
        transcribe_speech(
            waveform, speech, engine, Params(batch_size=size, language="en"), digest="d"
        )
        for size in (1, 2)
    )
    assert rows(one.words) == rows(many.words)


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        (" At eight o'clock, 1,200 people.", "en", "At|eight|o'clock,|1,200|people."),
        (" It is 99.9% sure.", "en", "It|is|99.9%|sure."),
        (" My mother-in-law’s friend", "en", "My|mother-in-law’s|friend"),
        (" See www.example.com at 10.30 a.m.", "en", "See|www.example.com|at|10.30|a.m."),
        (' He said: "No!" (twice)', "en", 'He|said:|"No!"|(twice)'),
        (" l'homme qu'il a vu, c'est-à-dire", "fr", "l'homme|qu'il|a|vu,|c'est-à-dire"),
        (" Größe für $5.50 €", "de", "Größe|für|$5.50 €"),
        (" 안녕하세요 여러분", "ko", "안녕하세요|여러분"),
    ],
)
def test_the_tokenizer_s_pieces_become_the_words_that_were_said(engine, text, language, words):
    found = cut(engine, text, language)
    assert [word.text for word in found] == words.split("|")
    assert join_words(found) == text.strip()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我用 Visual Studio 写程序。今天天气很好，我们去公园吧！", "zh"),
        ("私はVisual Studioを使います。「はい」", "ja"),
        ("สวัสดีครับ ผมชื่อสมชาย", "th"),
        (" I said 你好 to him.", "en"),
    ],
)
def test_scripts_without_spaces_keep_theirs(engine, text, language):
    found = cut(engine, text, language)
    assert join_words(found) == text.strip()
    assert max(len(word.text) for word in found) < 10, "small words"


def cut(engine: FasterWhisper, text: str, language: str) -> list[Word]:
    tokenizer = engine._tokenizer(language)
    pieces, _ = tokenizer.split_tokens_on_unicode(tokenizer.encode(text))
    return join_pieces([Word(start=0, end=0, text=piece, confidence=1) for piece in pieces])
