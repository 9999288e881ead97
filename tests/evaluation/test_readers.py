"""References of every format are read; what does not fit is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from review.conversation import conversation_lines, transcript_of

from spokenby.evaluation.annotations import Annotation, Line, Region, TimedWord
from spokenby.evaluation.readers import READERS, RESULTS
from spokenby.evaluation.references import Annotations
from spokenby.output import formats
from spokenby.types import Turn

TRANSCRIPT = transcript_of(conversation_lines())


def read(tmp_path: Path, ending: str, text: str, name="talk") -> Annotation:
    path = tmp_path / f"{name}.{ending}"
    path.write_text(text, encoding="utf-8")
    return RESULTS[path.suffix.lower()](path, {name})


def turns(*rows: tuple[str, float, float]) -> tuple[Turn, ...]:
    return tuple(Turn(speaker=a, start=b, end=c) for a, b, c in rows)


def test_rttm(tmp_path):
    found = read(
        tmp_path,
        "rttm",
        "SPKR-INFO talk 1 <NA> <NA> <NA> unknown Ada <NA> <NA>\n"
        "SPEAKER talk 1 1.5 2.0 <NA> <NA> Bob <NA> <NA>\n"
        "SPEAKER talk 1 0.000 2.5 <NA> <NA> Ada <NA> <NA>\n",
    )
    assert found == Annotation(turns=turns(("Ada", 0, 2.5), ("Bob", 1.5, 3.5)))


def test_stm(tmp_path):
    found = read(
        tmp_path,
        "stm",
        ";; a comment\n"
        "talk 1 Ada 0.0 1.5 <o,f0,female> Good {morning / evening} all\n"
        "talk 1 inter_segment_gap 1.5 2 <o,,> \n"
        "talk 1 Bob 2 3 ignore_time_segment_in_scoring\n",
    )
    assert found.lines == (Line("Good morning  all", "Ada", 0, 1.5),)
    assert found.turns == turns(("Ada", 0, 1.5))
    assert found.ignored == (Region(1.5, 2), Region(2, 3))


def test_ctm_and_uem(tmp_path):
    found = read(tmp_path, "ctm", "talk 1 0.5 0.25 Good 0.9\ntalk 1 0.75 0.5 morning\n")
    assert found.words == (TimedWord("Good", 0.5, 0.75), TimedWord("morning", 0.75, 1.25))
    assert [line.text for line in found.lines or ()] == ["Good", "morning"]
    assert read(tmp_path, "uem", "talk 1 0 60\n").scored == (Region(0, 60),)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Good morning.\nHello.\n", [("Good morning.", None), ("Hello.", None)]),
        ("\ufeffAda: Good morning.\n\nBob: Hello.", [("Good morning.", "Ada"), ("Hello.", "Bob")]),
        ("Ada: Good\nmorning.", [("Good", "Ada"), ("morning.", "Ada")]),
        ("[00:00:20] Speaker 2: Hello.", [("Hello.", "Speaker 2")]),
        ("It was so:\nfirst: this,\nthen that,\nand no more", [("It was so:", None)]),
    ],
)
def test_text(tmp_path, text, lines):
    found = [(line.text, line.speaker) for line in read(tmp_path, "txt", text).lines or ()]
    assert found[: len(lines)] == lines


def test_captions(tmp_path):
    vtt = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v.loud Ada Lovelace>Good <i>morning</i> &amp;\n"
        "all</v>\n\n2\n00:00:03.000 --> 00:00:04.500\n<v Bob>Hello\n"
    )
    assert read(tmp_path, "vtt", vtt).lines == (
        Line("Good morning & all", "Ada Lovelace", 1, 2),
        Line("Hello", "Bob", 3, 4.5),
    )
    srt = (
        "1\n00:00:01,000 --> 00:00:02,000\n[SPEAKER_00]: Good\nmorning\n\n"
        "2\n00:00:03,000 --> 00:00:04,500\nall\n\n3\n00:00:05,000 --> 00:00:06,000\nBob: Hello\n"
    )
    assert read(tmp_path, "srt", srt).lines == (
        Line("Good morning", "SPEAKER_00", 1, 2),
        Line("all", "SPEAKER_00", 3, 4.5),
        Line("Hello", "Bob", 5, 6),
    )


def test_whisperx(tmp_path):
    content = {
        "language": "en",
        "segments": [
            {
                "start": 0.5,
                "end": 2,
                "text": " Good 7",
                "speaker": "SPEAKER_01",
                "words": [{"word": "Good", "start": 0.5, "end": 1.0, "score": 0.9}, {"word": "7"}],
            },
            {
                "start": 2.5,
                "end": 3,
                "text": " Yes",
                "words": [{"word": "Yes", "start": 2.5, "end": 3, "score": 0.1}],
            },
        ],
    }
    assert read(tmp_path, "json", json.dumps(content)) == Annotation(
        turns=turns(("SPEAKER_01", 0.5, 2)),
        lines=(
            Line("Good 7", "SPEAKER_01", 0.5, 2),
            Line("Yes", None, 2.5, 3, (TimedWord("Yes", 2.5, 3),)),
        ),
        words=(TimedWord("Yes", 2.5, 3),),
        language="en",
    )


@pytest.mark.parametrize("name", ["rttm", "stm", "eaf", "TextGrid", "ctm", "vtt", "srt", "json"])
def test_what_spokenby_writes_is_read(tmp_path, name):
    (content,) = formats.render(TRANSCRIPT, "talk", {}, [name]).values()
    path = tmp_path / f"talk.{name}"
    path.write_bytes(content)
    found = RESULTS[path.suffix.lower()](path, {"talk"})
    if name in {"rttm", "stm", "eaf", "TextGrid", "json"}:
        assert len(found.turns or ()) == len(TRANSCRIPT.turns)
    if name != "rttm":
        said = " ".join(segment.text for segment in TRANSCRIPT.segments).split()
        got = " ".join(line.text for line in found.lines or ()).split()
        if name == "ctm":  # words of several people at once are in order of time
            got, said = sorted(got), sorted(said)
        assert got == said
    if name in {"eaf", "TextGrid", "vtt", "srt"}:
        assert {line.speaker for line in found.lines or ()} == {"Ada", "John", "Peter"}
    if name in {"ctm", "json"}:
        assert len(found.words or ()) == sum(len(each.words) for each in TRANSCRIPT.segments)


def test_tiers_of_a_forced_aligner(tmp_path):
    from pympi import TextGrid

    grid = TextGrid(xmax=3)
    grid.add_tier("Ada - words").add_interval(0.5, 1.0, "good")
    grid.add_tier("Ada - phones").add_interval(0.5, 0.75, "g")
    grid.to_file(tmp_path / "talk.TextGrid")
    found = READERS[".textgrid"](tmp_path / "talk.TextGrid", ())
    assert found.words == (TimedWord("good", 0.5, 1.0, "Ada"),)
    assert found.lines == (Line("good", "Ada", 0.5, 1.0),)
    assert found.turns is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("talk.rttm", b"SPEAKER talk 1 0.5\n", "line 1 has 4 fields, not 8"),
        ("talk.rttm", b"SPEAKER talk 1 x 1 <NA> <NA> A\n", "line 1: x or 1 is no time"),
        ("talk.stm", b"talk 1 A 3 2 hello\n", "line 1: from 3 to 2 s"),
        ("talk.uem", b"a 1 0 9\nb 1 0 9\n", "lists a, b, … but not talk"),
        ("talk.srt", b"no captions", "nothing is in it"),
        ("talk.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("talk.txt", b"", "nothing is in it"),
        ("talk.TextGrid", b"rubbish", "Praat's tiers cannot be read"),
        ("talk.eaf", b"<rubbish", "ELAN's tiers cannot be read"),
        ("talk.json", b"{", "no JSON"),
        ("talk.json", b"[]", "no list of segments"),
        ("talk.json", b'{"segments": [{"text": "x"}]}', "a segment without"),
        ("talk.json", b'{"segments": [1]}', "a segment without"),
        ("talk.json", b'{"schema_version": 1, "segments": []}', "talk.json"),
        ("all.rttm", b"rubbish\n", "line 1 has 1 fields"),
    ],
)
def test_bad_files_are_one_line_and_others_go_on(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "talk.ctm").write_text("talk 1 0 1 Hello\n")
    files = Annotations(tmp_path, RESULTS if name.endswith("json") else READERS)
    found = files.of("talk")
    (line,) = map(str, found.bad)
    assert says in line
    assert line.startswith(str(tmp_path / name))
    assert "\n" not in line
    assert found.annotation.sources == ("talk.ctm (text, times of words)",)
    assert not [bad for bad in files.of("other").bad if name == "all.rttm"]  # said once


def test_files_of_a_recording_complete_each_other(tmp_path):
    (tmp_path / "all.rttm").write_text(
        "SPEAKER my_talk 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER other 1 0 1 <NA> <NA> B <NA> <NA>\n"
    )
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "my talk.ctm").write_text("anything 1 0 1 Hello\n")
    (tmp_path / "words" / "my talk.txt").write_text("Ada: Hello.\n")
    found = Annotations(tmp_path).of("my talk")
    assert found.annotation.sources == (
        "all.rttm (turns)",
        "my talk.ctm (times of words)",
        "my talk.txt (text)",
    )
    assert found.annotation.turns == turns(("A", 0, 1))
    assert found.annotation.lines == (Line("Hello.", "Ada"),)
    assert not found.bad
    assert Annotations(tmp_path).of("nothing").folder is None
    assert Annotations(tmp_path, deep=False).of("my talk").annotation.words is None


def test_two_references_of_a_kind_are_told(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "talk.txt").write_text("Hello")
    (bad,) = Annotations(tmp_path).of("talk").bad
    assert str(tmp_path / "a" / "talk.txt") in str(bad)


def test_the_file_of_a_recording_comes_before_a_list(tmp_path):
    row = "SPEAKER talk 1 0 1 <NA> <NA> {} <NA> <NA>\n"
    (tmp_path / "all.rttm").write_text(row.format("LIST"))
    for folder in ("z", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "talk.rttm").write_text(row.format(folder))
    found = Annotations(tmp_path).of("talk")
    assert found.annotation.turns == turns(("y", 0, 1))
    assert [bad.path for bad in found.bad] == [tmp_path / "z" / "talk.rttm"]


def test_a_list_is_read_once_for_all_its_recordings(tmp_path, monkeypatch):
    rows = [f"SPEAKER talk{n} 1 0 1 <NA> <NA> A{n} <NA> <NA>\n" for n in range(30)]
    (tmp_path / "all.rttm").write_text("".join(rows))
    reads = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda *a, **k: reads.append(a) or read_text(*a, **k))
    files = Annotations(tmp_path)
    found = [files.of(f"talk{n}").annotation.turns for n in range(30)]
    assert found == [turns((f"A{n}", 0, 1)) for n in range(30)]
    assert len(reads) == 1


def test_an_empty_file_of_a_system_says_that_it_found_nothing(tmp_path):
    (tmp_path / "talk.rttm").write_text("")
    (tmp_path / "talk.srt").write_text("\n")
    (tmp_path / "other.json").write_text('{"segments": []}')
    files = Annotations(tmp_path, RESULTS)
    assert (files.of("talk").annotation.turns, files.of("talk").annotation.lines) == ((), ())
    assert (files.of("other").annotation.turns, files.of("other").annotation.lines) == ((), ())
    assert [bad.why for bad in Annotations(tmp_path).of("talk").bad] == ["nothing is in it"] * 2


def test_heads_of_a_few_captions_are_text(tmp_path):
    said = ["Hello there.", "[Applause] Thank you all", "Remember: be nice", "Good", "bye"]
    times = [f"00:00:0{n},000 --> 00:00:0{n},900" for n in range(len(said))]
    rows = [
        f"{n}\n{time}\n{text}\n" for n, (time, text) in enumerate(zip(times, said, strict=True))
    ]
    lines = read(tmp_path, "srt", "\n".join(rows)).lines or ()
    assert [(line.text, line.speaker) for line in lines] == [(text, None) for text in said]


def test_what_a_system_gives_to_nobody_stays_nobodys(tmp_path):
    both = [
        {"start": 0, "end": 1, "text": "good morning", "speaker": "A"},
        {"start": 1, "end": 2, "text": "yes"},
    ]
    (tmp_path / "talk.json").write_text(json.dumps({"segments": both}))
    (tmp_path / "talk.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\n[A]: good morning\n\n"
        "2\n00:00:01,000 --> 00:00:02,000\nyes\n"
    )
    found = Annotations(tmp_path, RESULTS).of("talk").annotation
    assert [(line.text, line.speaker) for line in found.lines or ()] == [
        ("good morning", "A"),
        ("yes", None),
    ]
