"""Tidy words, doubts, and hearing again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from spokenby.errors import StoppedError
from spokenby.stages import transcription
from spokenby.stages.transcription import (
    EACH_PART,
    Params,
    Recognition,
    WindowText,
    check_window,
    transcribe_speech,
)
from spokenby.types import LanguagePart, Span, SpeechRegions, Waveform, Word


def spans(*pairs):
    return tuple(Span(start=start, end=end) for start, end in pairs)


def words(*triples):
    return [Word(text=text, start=start, end=end, confidence=0.5) for text, start, end in triples]


SENTENCE = words(*((f"word{i}", 0.5 * i, 0.5 * i + 0.4) for i in range(20)))
LOOP = words(*(("you", 0.5 * i, 0.5 * i + 0.4) for i in range(20)))


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (WindowText(SENTENCE), []),
        (WindowText(SENTENCE, log_probability=-0.4, no_speech=0.9), []),
        (
            WindowText(SENTENCE, log_probability=-0.4, no_speech=0.99),
            ["there may be no speech here"],
        ),
        (WindowText(SENTENCE, log_probability=-1.4), ["the recognizer was unsure"]),
        (
            WindowText(SENTENCE, log_probability=-1.4, no_speech=0.9),
            ["there may be no speech here"],
        ),
        (WindowText(LOOP), ["the text repeats itself"]),
        (WindowText(SENTENCE, cut_off=True), ["the text repeats itself"]),
        (WindowText([]), ["no words in 10.0 s of speech"]),
        (WindowText(SENTENCE[:6]), ["no words in 7.1 s of speech"]),
        (WindowText(words(("you", 0, 10))), ["no words in 9.3 s of speech"]),
        (
            WindowText(SENTENCE + words(("thanks", 16, 17))),
            ["words left out where nobody speaks: 1"],
        ),
        (
            WindowText(words(*((f"{i}", 0.05 * i, 0.05 * i + 0.05) for i in range(200)))),
            ["there are more words than the speech has room for"],
        ),
    ],
)
def test_a_bad_window_is_doubted_with_its_reason(text, reasons):
    checked = check_window(text, Span(start=0, end=20), spans((0, 10)), Params())
    assert [doubt.reason for doubt in checked.doubts] == reasons


class Scripted:
    """Answers with given texts, and counts how often it is asked again."""

    computes_in = "cpu"
    at_once = 1

    def __init__(self, first, *again, alone=()):
        self.first = first
        self.again = again
        self.alone = list(alone)
        self.asked_again = []
        self.asked = []

    def transcribe(self, waveform, windows, params, progress):
        self.asked.append([(window.start, window.end) for window in windows])
        if len(self.asked) > 1:  # the gaps
            return Recognition("en", self.alone or [WindowText([])] * len(windows))
        progress(1.0)
        return Recognition(language="en", texts=self.first, notes=["half the batch"])

    def transcribe_again(self, waveform, window, language, params, attempt):
        self.asked_again.append((window.start, language, attempt))
        return self.again[attempt] if attempt < len(self.again) else None


def transcribe(engine, fractions=None, regions=((0, 10), (20, 30)), **params):
    windows = spans((0, 20), (20, 40))
    speech = SpeechRegions(digest="s", regions=spans(*regions), windows=windows, duration=40)
    return transcribe_speech(
        Waveform(np.zeros(40 * 16_000, np.float32), "w"),
        speech,
        engine,
        Params(**params),
        digest="d",
        progress=(fractions if fractions is not None else []).append,
    )


def later(heard, by):
    return [
        word.model_copy(update={"start": word.start + by, "end": word.end + by}) for word in heard
    ]


def test_only_doubtful_windows_are_heard_again_and_the_better_text_is_kept():
    engine = Scripted(
        [WindowText(SENTENCE), WindowText(later(LOOP, 20))],
        WindowText([]),
        WindowText(later(SENTENCE, 20)),
        WindowText([]),
    )
    fractions = []
    transcript = transcribe(engine, fractions)
    assert engine.asked_again == [(20, "en", 0), (20, "en", 1)], "no third time"
    assert transcript.doubtful == ()
    assert [word.text for word in transcript.words] == [word.text for word in SENTENCE] * 2
    assert transcript.notes == ("half the batch",)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


STRETCHED = [("He", 2, 4.2), ("took", 4.2, 5.9), *[(t, 6 + i / 2, 6.4 + i / 2) for i, t in
    enumerate(["the", "dose", "and", "was", "glowing"])]]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([("In", 2, 2.2), ("a", 2.3, 2.4), ("moment", 2.5, 3), ("then", 3.4, 3.9), ("no.", 4, 4.5)],
         "Start. In a moment then no. He took the dose and was glowing"),
        ([("In", 2, 2.2), ("a", 2.3, 2.4), ("moment", 2.5, 3.3), ("he", 3.6, 4), ("took", 4.3, 5)],
         "Start. In a moment he took the dose and was glowing"),
        ([("moment", 2, 2.5)], "Start. He took the dose and was glowing"),
        ([("no", i / 4, i / 4 + 0.2) for i in range(8, 20)],
         "Start. He took the dose and was glowing"),
        ([], "Start. He took the dose and was glowing"),
    ],
)  # fmt: skip
def test_speech_without_words_is_heard_alone_and_what_is_found_put_in(found, text):
    said = words(("Start.", 1, 1.5), *STRETCHED)
    engine = Scripted(
        [WindowText(said), WindowText(later(SENTENCE, 20))], alone=[WindowText(words(*found))]
    )
    transcript = transcribe(engine, regions=((1, 1.6), (2, 8.5), (20, 30)))
    assert engine.asked[1:] == [[(1.8, pytest.approx(5.1))]]
    first = [word for word in transcript.words if word.start < 20]
    assert " ".join(word.text for word in first) == text
    assert [bool(transcript.doubtful)] == [text.startswith("Start. He")]
    assert all(a.start <= b.start for a, b in pairwise(first))
    assert engine.asked_again == [], "a small gap is not worth more"


@pytest.mark.parametrize("again", [(), (WindowText([]),), (WindowText(LOOP), WindowText([]))])
def test_what_stays_bad_is_named_and_kept(again):
    engine = Scripted([WindowText(LOOP), WindowText(later(SENTENCE, 20))], *again)
    transcript = transcribe(engine)
    assert [(d.start, d.end, d.reason) for d in transcript.doubtful] == [
        (0, 20, "the text repeats itself")
    ]
    assert [word.text for word in transcript.words[:20]] == ["you"] * 20


@pytest.mark.parametrize(("retries", "windows"), [(0, []), (1, [0]), (2, [0, 20])])
def test_hearing_again_is_bounded(retries, windows):
    engine = Scripted([WindowText(LOOP), WindowText([])], WindowText([]))
    transcript = transcribe(engine, retries=retries)
    assert [start for start, _, attempt in engine.asked_again if attempt == 0] == windows
    assert len(transcript.doubtful) == 2


def test_as_many_windows_are_heard_again_side_by_side_as_the_engine_allows():
    engine = Scripted([WindowText(LOOP), WindowText(later(LOOP, 20))], WindowText([]))
    together = threading.Barrier(2, timeout=30)
    answer = engine.transcribe_again
    engine.transcribe_again = lambda *args: (args[4] or together.wait(), answer(*args))[1]
    engine.at_once = 2
    transcribe(engine)
    assert sorted(engine.asked_again) == [(0, "en", 0), (0, "en", 1), (20, "en", 0), (20, "en", 1)]


def test_a_stop_leaves_out_what_was_to_be_heard_again(monkeypatch):
    engine = Scripted([WindowText(LOOP), WindowText(later(LOOP, 20))], WindowText([]))
    started, stopped = threading.Event(), threading.Event()
    answer = engine.transcribe_again

    def slow(*args):
        started.set()
        assert stopped.wait(30)
        return answer(*args)

    class Stop(list):
        def append(self, fraction):
            super().append(fraction)
            if len(self) == 2:  # after the first pass
                started.wait(30)
                raise StoppedError("stopped")

    class Threads(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            stopped.set()  # who stops waits for it
            super().shutdown(wait)

    monkeypatch.setattr(transcription, "ThreadPoolExecutor", Threads)
    engine.transcribe_again = slow
    with pytest.raises(StoppedError):
        transcribe(engine, Stop())
    assert {start for start, _, _ in engine.asked_again} == {0}


def test_the_language_of_each_part_and_how_sure_it_is():
    english, german = {"en": 0.9, "de": 0.1}, {"de": 0.7, "en": 0.3}
    first = [
        WindowText(SENTENCE, languages=english),
        WindowText(later(SENTENCE, 20), languages=german),
    ]
    transcript = transcribe(Scripted(first))
    assert transcript.language == "en"
    assert transcript.language_probability == pytest.approx(0.6)
    assert transcript.languages == (
        LanguagePart(start=0, end=20, language="en", probability=0.9, transcribed="en"),
        LanguagePart(start=20, end=40, language="de", probability=0.7, transcribed="en"),
    )
    transcript = transcribe(Scripted([WindowText(SENTENCE), WindowText(later(SENTENCE, 20))]))
    assert (transcript.language_probability, transcript.languages) == (None, ())


@pytest.mark.parametrize(("language", "is_set"), [(None, False), ("en", True), (EACH_PART, False)])
def test_whether_the_language_was_set_is_noted(language, is_set):
    transcript = transcribe(
        Scripted([WindowText(SENTENCE), WindowText(later(SENTENCE, 20))]), language=language
    )
    assert transcript.language_set is is_set


def test_no_speech_gives_no_words_and_asks_no_engine():
    speech = SpeechRegions(digest="s", regions=(), windows=(), duration=5)
    waveform = Waveform(np.zeros(80_000, np.float32), "w")
    transcript = transcribe_speech(waveform, speech, None, Params(), digest="d")
    assert transcript.words == ()
    assert transcript.doubtful == ()


def test_speed_only_params_do_not_enter_the_key():
    threads = {"cpu_threads": 2, "workers": 3}
    fast = Params(faster_whisper=threads, device="cuda", batch_size=16)
    assert fast.in_key() == Params().in_key()
    assert Params(faster_whisper={"beam_size": 1}).in_key() != Params().in_key()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("English", "en"),
        ("en-US", "en"),
        ("zh_Hant", "zh"),
        (" haitian  creole ", "ht"),
        ("iw", "he"),
        ("haw", "haw"),
        ("auto-per-part", "auto-per-part"),
        (None, None),
    ],
)
def test_languages_are_kept_as_codes(given, code):
    assert Params(language=given).language == code


@pytest.mark.parametrize("given", ["zz", "", "-", "klingon", "e n", "english!"])
def test_what_is_no_language_is_refused(given):
    with pytest.raises(ValueError, match="no language that Whisper knows"):
        Params(language=given)
