"""Whisper end to end from a local folder: a small model that understands a language of tones."""

from __future__ import annotations

import shutil
import socket
import threading
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from spokenby.engines import batching
from spokenby.engines.faster_whisper import FasterWhisper
from spokenby.engines.log_mel import LogMel
from spokenby.errors import InputError, StoppedError, TransientError
from spokenby.stages.transcription import Params, transcribe_speech
from spokenby.types import SAMPLE_RATE_HZ, Span, SpeechRegions, Waveform, no_progress
from tests.checkpoints.tones import make_sound
from tests.checkpoints.whisper import make_whisper, random_weights, trained_weights

LENGTHS = (4, 9, 2, 14, 6)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError(f"connects to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(batching, "_fitting", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_whisper(tmp_path_factory.mktemp("models") / "tones", trained_weights())


@pytest.fixture(scope="module")
def engine(folder):
    return FasterWhisper(folder, device="cpu", compute_type="float32", cpu_threads=1)


@pytest.fixture(scope="module")
def bad_engine(tmp_path_factory):
    folder = make_whisper(tmp_path_factory.mktemp("models") / "random", random_weights())
    return FasterWhisper(folder, device="cpu", cpu_threads=1)


def talk(language, lengths=LENGTHS, seed=0):
    """Return a sound, the windows it was made of, and its words."""
    random = np.random.default_rng(seed)
    sounds, windows, words, start = [], [], [], 0.0
    for length in lengths:
        sound, said = make_sound(random, language, 2 * length, length)
        sounds.append(sound)
        windows.append(Span(start=start, end=start + length))
        words += [
            word.model_copy(update={"start": word.start + start, "end": word.end + start})
            for word in said
        ]
        start += length
    return Waveform(np.concatenate(sounds), "tones"), windows, words


def speech_of(windows):
    return SpeechRegions(
        digest="s", regions=tuple(windows), windows=tuple(windows), duration=windows[-1].end
    )


def all_words(heard):
    return [word for text in heard.texts for word in text.words]


@pytest.mark.parametrize("language", ["en", "de"])
def test_language_words_and_times(engine, language):
    sound, windows, said = talk(language)
    heard = engine.transcribe(sound, windows, Params(), no_progress)
    assert heard.language == language
    words = all_words(heard)
    same = SequenceMatcher(None, [w.text for w in said], [w.text for w in words], autojunk=False)
    assert same.ratio() > 0.95
    errors = [
        abs(said[block.a + i].start - words[block.b + i].start)
        for block in same.get_matching_blocks()
        for i in range(block.size)
    ]
    assert np.median(errors) < 0.15
    assert all(0 <= word.confidence <= 1 for word in words)
    assert all(text.log_probability > -0.5 for text in heard.texts)


@pytest.mark.parametrize("seconds", [0, 0.1, 7.3, 30, 31])
@pytest.mark.parametrize("mels", [80, 128])
def test_spectrogram_is_that_of_faster_whisper(mels, seconds):
    random = np.random.default_rng(0)
    loudness = random.uniform(0, 0.3, 400).repeat(1240)
    samples = (loudness * random.normal(size=400 * 1240))[: int(seconds * SAMPLE_RATE_HZ)]
    samples = samples.astype(np.float32)
    padded = np.pad(samples[:480_000], (0, max(480_000 - len(samples), 0)))
    expected = FeatureExtractor(feature_size=mels)(padded, padding=0)
    found = LogMel(mels, "cpu")(samples)
    assert (found.shape, found.dtype) == ((mels, 3000), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_loop_lasts_no_longer_than_its_window_allows(bad_engine, monkeypatch):
    """Windows of 4 and 9 s are not heard for as long as one of 25 s."""
    limits = []
    hear = bad_engine._transcribe_batch
    monkeypatch.setattr(
        bad_engine,
        "_transcribe_batch",
        lambda *args: limits.append((len(args[1]), args[3])) or hear(*args),
    )
    monkeypatch.setattr(bad_engine._whisper, "max_length", 448)
    sound, windows, _ = talk("en", (4, 25, 9))
    params = Params(language="en", faster_whisper={"beam_size": 1}, batch_size=4)
    bad_engine.transcribe(sound, windows, params, no_progress)
    assert [size for size, _ in limits] == [1, 2]
    assert limits[1][1] == 170 < limits[0][1]


def test_a_language_can_be_set(engine):
    sound, windows, _ = talk("en", (4,))
    assert engine.transcribe(sound, windows, Params(language="de"), no_progress).language == "de"
    with pytest.raises(InputError, match="does not know the language 'xx'"):
        engine.transcribe(
            sound, windows, Params().model_copy(update={"language": "xx"}), no_progress
        )


@pytest.mark.parametrize("batch_size", [1, 8])
def test_each_part_is_heard_in_its_own_language(engine, batch_size):
    english, windows, said = talk("en", (9, 14))
    german, later, more = talk("de", (6, 8), seed=1)
    shift = english.duration
    sound = Waveform(np.concatenate([english.samples, german.samples]), "both")
    windows += [Span(start=it.start + shift, end=it.end + shift) for it in later]
    params = Params(language="auto-per-part", batch_size=batch_size)
    transcript = transcribe_speech(sound, speech_of(windows), engine, params, digest="d")
    assert [(part.language, part.transcribed) for part in transcript.languages] == [
        ("en", "en"),
        ("de", "de"),
    ]
    assert transcript.languages[1].start == shift
    texts = [word.text for word in (*said, *more)]
    same = SequenceMatcher(None, texts, [w.text for w in transcript.words], autojunk=False)
    assert same.ratio() > 0.9
    plain = transcribe_speech(
        sound, speech_of(windows), engine, Params(language="en", batch_size=batch_size), digest="d"
    )
    assert [(part.language, part.transcribed) for part in plain.languages] == [
        ("en", "en"),
        ("de", "en"),
    ], "said, though it was not asked for"


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("which", ["engine", "bad_engine"])
def test_one_at_a_time_equals_a_batch(which, beam_size, request):
    engine = request.getfixturevalue(which)
    sound, windows, _ = talk("en")
    one, many = (
        engine.transcribe(
            sound,
            windows,
            Params(batch_size=size, faster_whisper={"beam_size": beam_size}, language="en"),
            no_progress,
        )
        for size in (1, 4)
    )
    for a, b in zip(one.texts, many.texts, strict=True):
        assert [(w.text, w.start, w.end) for w in a.words] == [
            (w.text, w.start, w.end) for w in b.words
        ]
        assert a.log_probability == pytest.approx(b.log_probability, abs=1e-3)
        assert a.cut_off == b.cut_off


def test_workers_hear_side_by_side_and_the_same(folder, engine, monkeypatch):
    sound, windows, _ = talk("en", (4,) * 5)
    params = Params(language="en", batch_size=2)
    expected = engine.transcribe(sound, windows, params, no_progress)
    two = FasterWhisper(folder, device="cpu", compute_type="float32", cpu_threads=2, workers=2)
    hear, sizes, together = two._transcribe_batch, [], threading.Barrier(2, timeout=30)

    def hear_beside_another(sounds, *args):
        sizes.append(len(sounds))
        if len(sounds) == 2:
            together.wait()
        return hear(sounds, *args)

    monkeypatch.setattr(two, "_transcribe_batch", hear_beside_another)
    heard = two.transcribe(sound, windows, params, no_progress)
    assert sizes == [2, 2, 1]
    assert [(w.text, w.start, w.end) for w in all_words(heard)] == [
        (w.text, w.start, w.end) for w in all_words(expected)
    ]


def hear_alone(engine, samples, **params):
    """Return what a window of speech, as somebody took it for, is heard as."""
    speech = speech_of([Span(start=0, end=len(samples) / SAMPLE_RATE_HZ)])
    sound = Waveform(samples.astype(np.float32), "alone")
    return transcribe_speech(sound, speech, engine, Params(language="en", **params), digest="d")


@pytest.mark.parametrize("loudness", [0, 0.2])
def test_silence_and_noise_are_doubted_whatever_is_heard_in_them(engine, loudness):
    samples = np.random.default_rng(0).normal(0, loudness, 10 * SAMPLE_RATE_HZ)
    assert hear_alone(engine, samples).doubtful


def test_silence_is_known_as_no_speech(engine):
    quiet = Waveform(np.zeros(10 * SAMPLE_RATE_HZ, np.float32), "quiet")
    loud, windows, _ = talk("en")
    for sound, spans, expected in ((quiet, [Span(start=0, end=10)], True), (loud, windows, False)):
        heard = engine.transcribe(sound, spans, Params(language="en"), no_progress)
        assert all((text.no_speech > 0.6) is expected for text in heard.texts)


def test_windows_shorter_than_a_frame_and_a_window_of_30_s(engine):
    sound, _, _ = talk("en", (30, 1))
    windows = [Span(start=0, end=30), Span(start=30, end=30.003), Span(start=31, end=31)]
    texts = engine.transcribe(sound, windows, Params(), no_progress).texts
    assert len(texts) == 3
    assert texts[0].words[-1].end > 15


def test_no_windows(engine):
    sound, _, _ = talk("en", (4,))
    assert list(engine.transcribe(sound, [], Params(), no_progress).texts) == []


def test_prompt_and_hotwords_reach_the_model(engine):
    sound, windows, _ = talk("en", (4,))
    plain, prompted = (
        engine.transcribe(sound, windows, params, no_progress).texts[0].log_probability
        for params in (
            Params(),
            Params(faster_whisper={"initial_prompt": "one two", "hotwords": "seven"}),
        )
    )
    assert plain != prompted


def test_terms_reach_the_model_as_far_as_it_has_room_for_them(engine):
    sound, windows, _ = talk("en", (4,))
    heard = {
        vocabulary: engine.transcribe(sound, windows, Params(vocabulary=vocabulary), no_progress)
        for vocabulary in ("", "seven\nnine", "\n".join(f"term {n:03}" for n in range(500)))
    }
    none, few, many = (each.texts[0].log_probability for each in heard.values())
    assert len({none, few, many}) == 3
    *fitting, (note,) = (each.notes for each in heard.values())
    assert fitting == [[], []]
    left_out, named = note.removeprefix(
        "terms of the vocabulary for which the recognizer has no room: "
    ).split(" of 500 ")
    first = 500 - int(left_out)
    assert named == (
        f"({', '.join(f'term {n:03}' for n in range(first, first + 5))} and {500 - first - 5} more)"
    )
    assert 10 < first < 200
    same = Params(faster_whisper={"hotwords": "seven, nine"})
    text = engine.transcribe(sound, windows, same, no_progress).texts[0]
    assert text.log_probability == few


def test_loops_are_heard_again_and_what_stays_bad_is_named(bad_engine):
    sound, windows, _ = talk("en", (4, 9))
    speech = speech_of(windows)
    first, second = (
        transcribe_speech(sound, speech, bad_engine, Params(language="en"), digest="d")
        for _ in range(2)
    )
    assert {doubt.reason for doubt in first.doubtful}
    assert first == second, "hearing again gives the same text each time"
    for word in first.words:
        assert 0 <= word.start < word.end <= 13


def test_a_doubtful_window_is_heard_the_second_time(engine):
    """The first hearing is broken on purpose: the second finds words, sequentially."""
    sound, windows, said = talk("en", (9, 6))

    class BrokenAtFirst:
        computes_in = engine.computes_in
        at_once = engine.at_once

        def transcribe(self, *args):
            heard = engine.transcribe(*args)
            return replace(heard, texts=[replace(text, words=[]) for text in heard.texts])

        transcribe_again = staticmethod(engine.transcribe_again)

    transcript = transcribe_speech(
        sound, speech_of(windows), BrokenAtFirst(), Params(max_wordless_gap=3), digest="d"
    )
    for window in windows:
        found, right = (
            [word for word in words if window.start <= word.start < window.end]
            for words in (transcript.words, said)
        )
        assert len(found) >= len(right) // 2
        same = [a.text == b.text for a, b in zip(found, right, strict=False)]
        assert np.mean(same) > 0.5


def test_out_of_memory_halves_the_batch_once_and_is_told(engine, monkeypatch):
    sound, windows, _ = talk("en", (4,) * 6)
    expected = engine.transcribe(sound, windows, Params(batch_size=1), no_progress)
    sizes = []
    encode = engine._whisper.encode

    def full(features):
        sizes.append(len(features) if features.ndim == 3 else 0)
        if sizes[-1] > 2:
            raise RuntimeError("CUDA failed with error out of memory")
        return encode(features)

    monkeypatch.setattr(engine._whisper, "encode", full)
    heard = engine.transcribe(sound, windows, Params(batch_size=6, language="en"), no_progress)
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    assert heard.notes == ["cpu ran out of memory; windows transcribed at once: 1"]
    assert [w.text for w in all_words(heard)] == [w.text for w in all_words(expected)]
    sizes.clear()
    engine.transcribe(sound, windows, Params(batch_size=6, language="en"), no_progress)
    assert sizes == [1] * 6, "remembered for the process"


def test_no_room_for_one_window_is_transient(engine, monkeypatch):
    def full(features):
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(engine._whisper, "encode", full)
    sound, windows, _ = talk("en", (4,))
    for language in (None, "en"):
        with pytest.raises(TransientError):
            engine.transcribe(sound, windows, Params(language=language), no_progress)


def test_progress_rises_to_the_end_and_can_stop(engine):
    sound, windows, _ = talk("en")
    fractions = []
    engine.transcribe(sound, windows, Params(batch_size=2), fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)

    def stop(fraction):
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        engine.transcribe(sound, windows, Params(batch_size=2), stop)


def test_an_english_only_model(tmp_path):
    folder = make_whisper(tmp_path / "english", trained_weights(), multilingual=False)
    engine = FasterWhisper(folder, device="cpu", cpu_threads=1)
    sound, windows, _ = talk("en", (4,))
    params = Params(faster_whisper={"beam_size": 1})
    assert engine.transcribe(sound, windows, params, no_progress).language == "en"
    with pytest.raises(InputError, match="does not know the language 'de'"):
        engine.transcribe(sound, windows, Params(language="de"), no_progress)


def lose(name):
    return lambda folder: (folder / name).unlink()


def cut(name):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def make_other_architecture(folder):
    """Write a real CTranslate2 model that is no Whisper: a translator."""
    model = (folder / "model.bin").read_bytes()
    assert b"WhisperSpec" in model
    (folder / "model.bin").write_bytes(model.replace(b"WhisperSpec", b"SpeakerSpec"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose("model.bin"), "has no model.bin"),
        (lose("tokenizer.json"), "has no tokenizer.json"),
        (lose("config.json"), "has no config.json"),
        (lose("vocabulary.json"), r"has no vocabulary\.\*"),
        (cut("model.bin"), "cannot be loaded"),
        (cut("tokenizer.json"), "cannot be loaded"),
        (cut("config.json"), "cannot be loaded"),
        (make_other_architecture, "cannot be loaded"),
        (shutil.rmtree, "has no model.bin"),
    ],
)
def test_a_damaged_model_is_one_clear_line(folder, tmp_path, damage, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    damage(copy)
    with pytest.raises(InputError, match=message) as raised:
        FasterWhisper(copy, device="cpu")
    assert "\n" not in str(raised.value)
