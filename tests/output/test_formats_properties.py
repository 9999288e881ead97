"""Whatever was said, by whoever: other people's parsers read back the same."""

import csv
import html
import io
import json
import math
import re
import unicodedata
from itertools import pairwise

import pandas as pd
import srt
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st
from webvtt.models import Timestamp

from spokenby.output import formats
from spokenby.output.formats import captions
from spokenby.output.formats.shared import plain
from spokenby.stages.merging import join_words
from spokenby.types import Segment, Speaker, SpeakerTranscript, SpokenWord, Turn, WindowNote

MEANS_SOMETHING = (
    *"=+-@\t\r\n\0\x1b\x85\x9b\"',;:|<>&{}[]\\*#\u2028\ufeff\u200b\u2060\u2061\u202e\u00ad\u3000＝＠",
    *("-->", "\r\n\r\n", "\n\n1\n00:00:01,000 --> 00:00:02,000\n", "<v Eve>", "</v>", "{\\an8}"),
    *("=HYPERLINK(0)", "&lt;", "NOTE", "WEBVTT", "1", "NA", "nan", "<NA>", "[00:00:01] Eve:"),
)
WORDS = ("so", "Yes.", "unverständlich", "什么？", "well - ")
PIECES = st.lists(
    st.sampled_from(MEANS_SOMETHING + WORDS * 4) | st.text(max_size=60), min_size=6, max_size=14
)
TIMES = (0.0, 0.0, 0.0, 0.0004, 0.02, 0.4996, 1.0, 2.5, 9.0, 59.9996, 3600.0)
LABELS = ("SPEAKER_00", "SPEAKER_01", None)
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@st.composite
def transcripts(draw: st.DrawFn) -> SpeakerTranscript:
    pieces, drawn = iter(draw(PIECES)), iter(draw(st.binary(min_size=80, max_size=80)))

    def pick(*options):
        return options[next(drawn) % len(options)]

    def text():
        return "".join(next(pieces, "") for _ in range(pick(1, 2, 0, 3)))

    segments, now = [], pick(0.0, 1e5)
    for _ in range(next(drawn) % 4):
        speaker, words = pick(*LABELS), []
        for _ in range(1 + next(drawn) % 3):
            now += pick(*TIMES)
            words.append(
                SpokenWord(
                    start=now,
                    end=now + pick(*TIMES),
                    text=text(),
                    confidence=pick(0.0, 0.5, 1.0),
                    spaced=pick(True, False),
                    speaker=speaker,
                    reason=None if speaker else "no turn",
                )
            )
        segments.append(
            Segment(
                start=words[0].start,
                end=max(word.end for word in words),
                speaker=speaker,
                text=join_words(words),
                confidence=pick(0.0, 0.123456),
                overlap=pick(False, True),
                words=tuple(words),
            )
        )
    return SpeakerTranscript(
        digest="abc",
        language="en",
        duration=max((segment.end for segment in segments), default=0.0),
        speech=pick(*TIMES),
        speakers=tuple(
            Speaker(label=label, name=text(), talk_time=pick(*TIMES), words=next(drawn))
            for label in LABELS[:2]
        ),
        segments=tuple(segments),
        turns=tuple(
            Turn(start=segment.start, end=segment.end, speaker=segment.speaker)
            for segment in segments
            if segment.speaker
        ),
        doubtful=(WindowNote(start=0, end=1, reason=text()),),
        warnings=(text(),),
    )


def rendered(transcript, name="talk", about=None) -> dict[str, str]:
    files = formats.render(transcript, name, about or {})
    return {file.removeprefix("transcript."): body.decode() for file, body in files.items()}


def saying(text: str) -> SpeakerTranscript:
    """Return a transcript of one word by a speaker of the same name."""
    word = SpokenWord(start=0.0, end=1.0, text=text, confidence=1.0, speaker=LABELS[0])
    segment = Segment(
        start=0.0,
        end=1.0,
        speaker=LABELS[0],
        text=join_words([word]),
        confidence=1.0,
        overlap=False,
        words=(word,),
    )
    return SpeakerTranscript(
        digest="abc",
        language="en",
        duration=1.0,
        speech=1.0,
        speakers=(Speaker(label=LABELS[0], name=text, talk_time=1.0, words=1),),
        segments=(segment,),
        turns=(Turn(start=0.0, end=1.0, speaker=LABELS[0]),),
        doubtful=(WindowNote(start=0, end=1, reason=text),),
        warnings=(text,),
    )


def names_of(transcript):
    return {s.label: plain(s.name) or s.label for s in transcript.speakers} | {
        None: "Unknown speaker"
    }


def squeezed(text: str) -> str:
    """Compare words, not how they are spaced or wrapped."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]", "", text)


def ms(seconds: float) -> int:
    return round(seconds * 1000)


@given(transcripts(), st.text(), st.dictionaries(st.text(), st.text(), max_size=2))
@example(saying("\x9b2J"), "", {})
@example(saying("\u2028"), "\u2029", {"\x85": "\x7f"})
def test_the_json_is_read_back_exactly_and_nothing_else_holds_control_characters(
    transcript, name, about
):
    files = rendered(transcript, name, {**about, "notes": [name]})
    read = formats.read_document(files["json"])
    assert read == (transcript, name, {**about, "notes": [name]})
    assert rendered(*read) == files
    independent = json.loads(files["json"], parse_constant=lambda _: math.nan)
    assert [
        (word["start"], word["text"]) for part in independent["segments"] for word in part["words"]
    ] == [(word.start, word.text) for part in transcript.segments for word in part.words]
    assert {file: CONTROLS.search(body) for file, body in files.items()} == dict.fromkeys(files)


@given(transcripts())
@example(saying("--"))
def test_captions_hold_every_word_under_its_speaker_in_order_and_apart(transcript):
    files, names = rendered(transcript), names_of(transcript)
    marks = str.maketrans("<>{}", "‹›()")
    in_srt = [
        (squeezed(cue.content), ms(cue.start.total_seconds()), ms(cue.end.total_seconds()))
        for cue in srt.parse(files["srt"])
    ]
    cues = [
        (
            squeezed(f"{html.unescape(cue.voice or '')}:{html.unescape(cue.text)}"),
            Timestamp.from_string(cue.start).in_milliseconds(),
            Timestamp.from_string(cue.end).in_milliseconds(),
        )
        for cue in webvtt.from_string(files["vtt"])
    ]
    for found, longest, table in ((in_srt, 30, marks), (cues, 10**6, {})):
        rest = iter(found)
        for part in transcript.segments:
            name = names[part.speaker]
            head = squeezed(f"{captions._shortened(name) if longest == 30 else name}:")
            left = squeezed("".join(word.text for word in part.words)).translate(table)
            while left:
                text = next(rest)[0]
                assert text.startswith(head.translate(table))
                text = text.removeprefix(head.translate(table))
                assert text
                assert left.startswith(text)
                left = left.removeprefix(text)
        assert next(rest, None) is None
        assert all(1 <= end - start <= 7000 for _, start, end in found)
        assert all(one[2] <= other[1] for one, other in pairwise(found))
        starts = [ms(w.start) for part in transcript.segments for w in part.words if plain(w.text)]
        assert [start for _, start, _ in found[:1]] == starts[:1]


@given(transcripts())
@example(saying("\u2061=1+1"))
@example(saying("\u202e \u180e＝1"))
def test_spreadsheets_annotation_and_text_hold_every_segment(transcript):
    files, names = rendered(transcript), names_of(transcript)
    table = files["csv"].removeprefix("\ufeff")
    rows = list(csv.reader(io.StringIO(table, newline=""), strict=True))
    frame = pd.read_csv(io.StringIO(table), keep_default_na=False, dtype=str)
    assert rows == [list(frame.columns), *frame.to_numpy().tolist()]
    assert len(rows) - 1 == len(transcript.segments)
    for row, part in zip(rows[1:], transcript.segments, strict=True):
        cells = dict(zip(rows[0], row, strict=True))
        assert math.isclose(float(cells["start"]), part.start, abs_tol=0.0006)
        assert math.isclose(float(cells["end"]), part.end, abs_tol=0.0006)
        assert cells["speaker"] == (part.speaker or "")
        for cell, text in ((cells["text"], part.text), (cells["name"], names[part.speaker])):
            assert cell.removeprefix("'") == plain(text).removeprefix("'") or not part.speaker
        for cell in row:
            assert not begins_formula(cell)
    lines = [line.split() for line in files["rttm"].splitlines()]
    turns = [turn for turn in transcript.turns if ms(turn.duration)]
    assert [(line[0], len(line), line[7]) for line in lines] == [
        ("SPEAKER", 10, turn.speaker) for turn in turns
    ]
    for line, turn in zip(lines, turns, strict=True):
        assert math.isclose(float(line[3]), turn.start, abs_tol=0.0006)
        assert math.isclose(float(line[4]), turn.duration, abs_tol=0.0006)
    paragraphs = files["txt"].removesuffix("\n").split("\n\n")[2:]
    assert paragraphs == [
        f"[{clock(part.start)}] {names[part.speaker]}: {plain(part.text)}"
        for part in transcript.segments
    ]


def begins_formula(cell: str) -> bool:
    """Return whether a spreadsheet may run a cell: after what is invisible, a formula's sign."""
    seen = cell.lstrip("".join(sign for sign in cell if unicodedata.category(sign)[0] in "CZ"))
    return seen.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


def clock(seconds: float) -> str:
    whole = ms(seconds) // 1000
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"
