"""Tidy words, doubts, and hearing again."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

from spokenby.errors import StoppedError
from spokenby.stages.transcription import (
    EACH_PART,
    Heard,
    Params,
    WindowText,
    check_window,
    find_gaps,
    join_pieces,
    repeats_itself,
    tidy_words,
    transcribe_speech,
)
from spokenby.types import LanguagePart, Span, SpeechRegions, Waveform, Word


def spans(*pairs):
    return tuple(Span(start=start, end=end) for start, end in pairs)


def words(*triples):
    return [Word(text=text, start=start, end=end, confidence=0.5) for text, start, end in triples]


def pieces(*texts, length=0.1):
    """Return what a tokenizer cuts words into, one after the other, more and more sure."""
    return [
        Word(text=text, start=i * length, end=(i + 1) * length, confidence=i / 10)
        for i, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ([" eight", " o", "'", "clock", "."], "eight| o'clock."),
        ([" 1", ",", "200", " people", ","], "1,200| people,"),
        ([" 99", ".", "9", "%"], "99.9%"),
        ([" mother", "-", "in", "-", "law", " said"], "mother-in-law| said"),
        ([" www", ".", "example", ".", "com"], "www.example.com"),
        ([" 10", ".", "30", " a", ".", "m", "."], "10.30| a.m."),
        ([' "', "No", ',"', " she", " said", "..."], '"No,"| she| said...'),
        ([" -", " Yes", " ..."], "- Yes ..."),
        (["looked", " up"], "looked| up"),
        (["我们", "用", " Visual", " Stu", "dio", "写", "程", "序", "。", "「", "好", "」"],
         "我们用 Visual Studio写程序。「好」"),
        (["今天", "，", "2", "0", "24", "年"], "今天，2024年"),
        ([" 今天", " 好"], "今天 好"),
        (["สวั", "ส", "ดี", "ครับ"], "สวัสดีครับ"),
        (["안", "녕", " 하세요"], "안녕| 하세요"),
        ([" ", "so", "", " it"], "so| it"),
        ([" ♪"], "♪"),
        ([], ""),
    ],
)  # fmt: skip
def test_pieces_are_joined_to_words_that_keep_their_spaces(cut, expected):
    words = join_pieces(pieces(*cut))
    assert "".join(f" {w.text}" if w.spaced else w.text for w in words).strip() == (
        expected.replace("|", "")
    )
    if "|" in expected or expected.isascii():
        assert [word.text for word in words] == [
            text.strip() for text in expected.split("|") if text
        ]


def test_words_without_spaces_stay_small_and_syllables_whole():
    assert [w.text for w in join_pieces(pieces("我们", "用", " Vis", "ual", "写", "。"))] == [
        "我们",
        "用",
        "Visual",
        "写。",
    ]
    assert [w.text for w in join_pieces(pieces("ด", "\u0e35", "ครับ"))] == ["ด\u0e35", "ครับ"]


def test_a_joined_word_has_the_times_of_its_letters_and_confidence_by_length():
    first, second = join_pieces(pieces(" o", "'", "clock", ".", " it"))
    assert (first.start, first.end) == (0, pytest.approx(0.3))
    assert first.confidence == pytest.approx(0.2 * 5 / 6)
    assert (second.text, second.start) == ("it", 0.4)


def times(tidy):
    return [(word.text, word.start, word.end) for word in tidy]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([("a", 10.5, 10.9)], [("a", 10.5, 10.9)]),
        ([("b", 11, 11.5), ("a", 10.5, 11)], [("a", 10.5, 11), ("b", 11, 11.5)]),
        ([("lasts as spoken", 10, 13)], [("lasts as spoken", 11.3, 13)]),
        ([("the sentence ends.", 10, 13)], [("the sentence ends.", 10, 11.9)]),
        ([("over the pause", 12.9, 15)], [("over the pause", 14, 15)]),
        ([("into the pause", 12, 13.9)], [("into the pause", 12, 13)]),
        ([("outside the window", 9.5, 10.5)], [("outside the window", 10, 10.5)]),
        ([("zero", 12, 12)], [("zero", 12, 12.02)]),
        ([("backwards", 12, 11.5)], [("backwards", 12, 12.02)]),
        ([("at the end", 20, 20)], [("at the end", 19.98, 20)]),
        ([("near speech", 13.1, 13.3)], [("near speech", 13.1, 13.3)]),
        ([("far from speech", 17, 17.4)], []),
        ([(" ", 11, 12), (" spaced ", 11, 12)], [("spaced", 11, 12)]),
        ([], []),
    ],
)
def test_words_are_sorted_in_their_window_and_trimmed_to_speech(heard, expected):
    window = Span(start=10, end=20)
    speech = spans((10, 13), (14, 16), (19, 20))
    assert times(tidy_words(words(*heard), window, speech, margin=0.5)) == expected


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("", False),
        ("no no no no", False),
        ("no " * 7, False),
        ("no " * 8, True),
        ("thank you thank you thank you", False),
        ("Thank you. thank you, " * 2, True),
        ("we are going to go and " * 4, True),
        ("a quick brown fox jumps over the lazy dog and runs away from all the others", False),
        ("start fine and then it goes wrong " + "la di da " * 4 + "end", True),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", True),
    ],
)
def test_loops_are_found_and_plain_speech_is_not(text, loops):
    assert repeats_itself(text.split(), max_compression=2.4) is loops


def test_gaps_are_speech_that_is_longer_than_its_words_can_last():
    heard = words(("a", 11, 12), ("b", 25, 26))
    gaps = find_gaps(heard, Span(start=10, end=30), spans((10, 14), (20, 28)), 1.5)
    assert [((gap.start, gap.end), wordless) for gap, wordless in gaps] == [((10, 28), 10)]
    gaps = find_gaps(words(*SOUND), Span(start=0, end=40), spans((0, 10), (14, 18), (20, 40)), 1.5)
    assert [((gap.start, gap.end), round(lost, 2)) for gap, lost in gaps] == [
        ((14, 18), 4.1),
        ((29.9, 40), 10.1),
    ]


@pytest.mark.parametrize(
    ("stretched", "found"),
    [
        ((("He", 19.6, 21.8), ("took", 21.8, 23.4)), [(18.9, 22.6)]),  # a sentence of 3 s is lost
        ((("He", 19.6, 20.2), ("took", 20.2, 20.9)), [(18.9, 23.4)]),
        ((("He", 19.6, 21.8), ("took the medicine", 21.8, 23.4)), [(18.9, 21.2)]),
        (
            (("He", 19.6, 21.8), ("took", 21.8, 22.2), ("a", 22.3, 22.4), ("dose", 22.5, 23.4)),
            [(18.9, 21.2)],
        ),
        ((("He", 19, 19.6), ("took", 19.7, 20.7), ("a", 21, 21.5), ("large dose", 22, 23.4)), []),
    ],
)
def test_words_stretched_over_lost_ones_leave_a_gap(stretched, found):
    heard = words(("attention.", 18.3, 18.9), *stretched, ("the", 23.4, 23.6), ("end.", 23.7, 24))
    window, speech = Span(start=18, end=24), spans((18.3, 24))
    gaps = find_gaps(tidy_words(heard, window, speech, 0.5), window, speech, 1.5)
    assert [(gap.start, gap.end) for gap, _ in gaps] == found


SOUND = [(f"word{i}", 0.5 * i, 0.5 * i + 0.4) for i in range(20)] + [
    (f"word{i}", 20 + 0.5 * i, 20.4 + 0.5 * i) for i in range(20)
]
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
            return Heard("en", self.alone or [WindowText([])] * len(windows))
        progress(1.0)
        return Heard(language="en", texts=self.first, notes=["half the batch"])

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


def test_a_stop_leaves_out_what_was_to_be_heard_again():
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
                threading.Timer(2, stopped.set).start()  # who stops waits for it
                raise StoppedError("stopped")

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
