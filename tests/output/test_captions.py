"""Captions: cut where people would cut them, readable, and of one speaker each."""

import html
import io
import re
import unicodedata
from itertools import groupby, pairwise

import av
import pytest
import srt
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st
from output.test_formats import transcript_of
from webvtt.models import Timestamp

from spokenby.errors import InputError
from spokenby.output import formats
from spokenby.output.formats.shared import plain

NAMES = {"S0": "Ann", "S1": "Müller, Bob", None: "Unknown speaker"}
PLAIN = ("a", "so", "word", "Yes.", "well,", "1990", "internationalization", "x" * 50, "")
ODD = (
    "什么？",
    "你好",
    "👩‍👩‍👧",
    "e\u0301\u0301",
    "שלום",
    "<b>",
    "{\\an8}",
    "C:\\new",
    "a\tb\nc",
    "&amp;",
)
TEXTS = st.sampled_from([*PLAIN, *ODD])
SEGMENTS = st.lists(
    st.tuples(
        st.sampled_from(["S0", "S1", None]),
        st.lists(
            st.tuples(
                st.sampled_from([0.0, 0.0, 0.05, 0.4, 2.0]),
                st.sampled_from([0.0, 0.02, 0.2, 0.3, 0.5, 9.0]),
                TEXTS,
            ),
            min_size=1,
            max_size=40,
        ),
    ),
    max_size=5,
)


def columns(line: str) -> int:
    return sum(
        0
        if unicodedata.category(sign) in {"Mn", "Me", "Cf"}
        else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in line
    )


def talk_of(segments, *, spaced=True):
    rows, now = [], 0.0
    for speaker, words in segments:
        timed = []
        for pause, length, text in words:
            now += pause
            timed.append((now, now + length, text))
            now += min(length, 0.5)
        rows.append((speaker, timed))
    used = sorted({speaker for speaker, _ in rows if speaker})
    return transcript_of(rows, [NAMES[label] for label in used], spaced=spaced)


def spoken(sentence: str, speaker="S0", start=0.0, each=0.3):
    """Return a row of words that take so many seconds each."""
    return speaker, [
        (start + i * each, start + (i + 1) * each, word) for i, word in enumerate(sentence.split())
    ]


def read(transcript, name: str):
    """Read captions with a parser of somebody else's: start, end (s), speaker, lines."""
    content = formats.render(transcript, "talk", {}, [name])[f"transcript.{name}"]
    ending = name.rpartition(".")[2]
    if ending == "srt":
        return [
            (cue.start.total_seconds(), cue.end.total_seconds(), "", cue.content.split("\n"))
            for cue in srt.parse(content.decode())
        ]
    if ending == "vtt":
        return [
            (
                *(Timestamp.from_string(t).in_milliseconds() / 1000 for t in (cue.start, cue.end)),
                html.unescape(cue.voice or ""),
                html.unescape(cue.text).split("\n"),
            )
            for cue in webvtt.from_string(content.decode())
        ]
    if b"Dialogue:" not in content:
        return []
    with av.open(io.BytesIO(content), format="ass") as file:
        packets = [packet for packet in file.demux() if packet.pts is not None]
    fields = [bytes(packet).decode().split(",", 8) for packet in packets]
    return [
        (
            packet.pts / 100,
            (packet.pts + (packet.duration or 0)) / 100,
            field[3],
            field[8].split(r"\N"),
        )
        for packet, field in zip(packets, fields, strict=True)
    ]


def shown(text: str, name: str) -> str:
    """Return what a caption shows of a word, without white space."""
    if name.endswith("srt"):
        text = text.translate(str.maketrans("<>{}", "‹›()"))
    if name.endswith("ass"):
        text = text.translate(str.maketrans("{}", "()"))
    return re.sub(r"\s", "", text)


FILES = formats.FAMILIES["captions"]
LONG = [("S0", [(0.0, 9.0, "x" * 10_000)]), ("S1", [(0.0, 0.0, "so")])]


@given(name=st.sampled_from(FILES), segments=SEGMENTS, spaced=st.booleans())
@example("srt", LONG, True)
@example("changes.vtt", LONG, True)
@example("ass", LONG, True)
def test_no_word_is_lost_and_every_limit_holds(name, segments, spaced):
    transcript = talk_of(segments, spaced=spaced)
    cues = read(transcript, name)
    where = name.split(".")[0] if "." in name else "always"
    rest, before = iter(cues), "nobody yet"
    for segment in transcript.segments:
        speaker, first = NAMES[segment.speaker], True
        left = shown("".join(plain(word.text) for word in segment.words), name)
        while left:
            _, _, voice, lines = next(rest)
            text = shown("".join(lines), name).replace("\u2060", "")
            named = where == "always" or (where == "changes" and first and before != speaker)
            if name.endswith("vtt"):
                assert voice == (speaker if named else "")
            elif named:
                head = shown(f"{speaker}:", name)
                assert text.startswith(head)
                text = text.removeprefix(head)
            if name.endswith("ass") and where != "never":
                assert voice == speaker.replace(",", " ")
            assert text, "a caption without words"
            assert left.startswith(text), "a word is lost, doubled, moved, or another speaker's"
            left, first, before = left.removeprefix(text), False, speaker
    assert next(rest, None) is None
    for start, end, _, lines in cues:
        assert 1 <= len(lines) <= 2
        assert max(map(columns, lines)) <= 42
        assert (0 if name.endswith("ass") else 0.001) <= round(end - start, 3) <= 7
    assert all(one[1] <= other[0] for one, other in pairwise(cues))


@given(st.integers(3, 60), st.sampled_from(["word", "on", "wordiness"]), st.integers(1, 60))
def test_no_caption_of_one_or_two_words_is_left_over(count, word, sentence):
    text = " ".join(f"{word}." if n % sentence == sentence - 1 else word for n in range(count))
    for name in ("srt", "never.srt"):
        cues = read(transcript_of([spoken(text)], ["Ann"]), name)
        assert min(len(" ".join(lines).replace("Ann:", "").split()) for *_, lines in cues) > 2


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("We could meet on Friday, if you like.", ["We could meet on Friday, if you like."]),
        (
            "One two three four five six seven eight nine ten. Next we go on from here to there.",
            ["One two three four five", "six seven eight nine ten."],
        ),
        (
            "She has worked there for a long time, and she knows everybody in this town.",
            ["She has worked there for a long time,", "and she knows everybody in this town."],
        ),
        ("我们今天写程序。" * 2, ["我们今天写程序。我们今天写程序。"]),
    ],
)
def test_lines_break_where_people_pause(text, lines):
    (_, _, _, first), *_ = read(transcript_of([spoken(text)], ["Ann"]), "never.srt")
    assert first == lines


def test_a_sentence_begins_a_caption_rather_than_ending_one():
    text = "I was going to ask her about all of this tomorrow. However she left the town last week."
    cues = read(transcript_of([spoken(text)], ["Ann"]), "srt")
    assert [" ".join(lines) for *_, lines in cues][-1].startswith("Ann: However she left")


def test_a_caption_stays_for_a_second_and_as_long_as_reading_it_takes():
    rows = [
        spoken("No.", "S0", 0.0),
        spoken("Forty characters are read in two seconds.", "S1", 5.0, each=0.1),
        spoken("Yes.", "S0", 20.0),
        spoken("And on it goes with more words from here.", "S1", 20.4, each=0.4),
    ]
    cues = read(transcript_of(rows, ["Ann", "Bob"]), "never.srt")
    assert [(start, end) for start, end, *_ in cues[:2]] == [(0.0, 1.0), (5.0, 5.0 + 2.411)]
    (start, end, *_), (following, *_) = cues[2:4]
    # The answer comes half a second late, so that the short one before it can be read.
    assert (start, end, following) == (20.0, 20.9, 20.9)


def test_ordinary_speech_is_never_too_fast_to_read():
    text = "It begins on Friday afternoon, at three, and we have half an hour. " * 12
    for start, end, _, lines in read(
        transcript_of([spoken(text, each=0.36)], ["Ann"]), "never.vtt"
    ):
        assert end - start >= 1
        assert sum(map(len, lines)) / (end - start) <= 17


def test_a_word_longer_than_a_line_is_cut_and_its_time_shared():
    cues = read(transcript_of([("S0", [(0.0, 6.0, "x" * 126)])], ["Ann"]), "never.srt")
    assert [line for *_, lines in cues for line in lines] == ["x" * 42] * 3
    assert cues[-1][:2] in {(2.0, 6.941), (4.0, 6.471)}


def test_each_speaker_has_a_style_and_a_color_in_ass():
    rows = [spoken("Hello there.", "S0"), spoken("Hi, you.", "S1", 2.0), spoken("Who?", None, 5.0)]
    content = formats.render(transcript_of(rows, ["Ann", "Ann"]), "talk", {}, ["ass", "never.ass"])
    for file, styles in {
        "transcript.ass": ["Ann", "Ann (S1)", "Unknown speaker"],
        "transcript.never.ass": ["Speaker 1", "Speaker 2", "Speaker 3"],
    }.items():
        lines = content[file].decode().splitlines()
        found = [line.removeprefix("Style: ").split(",") for line in lines if line[:6] == "Style:"]
        assert [style[0] for style in found] == styles
        assert len({style[3] for style in found}) == 3
        used = [line.split(",")[3] for line in lines if line.startswith("Dialogue:")]
        assert [style for style, _ in groupby(used)] == styles
    assert b"Ann" not in content["transcript.never.ass"]


def test_ass_says_that_it_holds_ten_hours():
    long = transcript_of([("S0", [(36_000.0, 36_001.0, "late")])])
    with pytest.raises(InputError, match=r"10 hours.*\.srt"):
        formats.render(long, "talk", {}, ["ass"])
