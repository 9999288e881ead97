"""Words from pieces, trimmed to speech; loops."""

from __future__ import annotations

import pytest

from spokenby.stages.words import join_pieces, repeats_itself, tidy_words
from spokenby.types import Span, Word


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
    assert (
        repeats_itself(words(*((word, 0, 1) for word in text.split())), max_compression=2.4)
        is loops
    )
