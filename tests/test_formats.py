"""Other people's parsers read back what whosaid writes; folders appear whole or not at all."""

import csv
import errno
import html
import io
import json
import os
import random
import re
import subprocess
import sys
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import srt
import webvtt
from pyannote.database.util import load_rttm
from webvtt.models import Timestamp

from whosaid import formats
from whosaid.errors import InputError, TransientError
from whosaid.merging import join_words
from whosaid.types import (
    Segment,
    Speaker,
    SpeakerTranscript,
    SpokenWord,
    Turn,
    WindowNote,
)

ROOT = Path(__file__).parents[1]
NAMES = (
    "transcript.json",
    "transcript.srt",
    "transcript.vtt",
    "transcript.txt",
    "transcript.csv",
    "transcript.rttm",
)
ADVERSARIAL = [
    "plain",
    'she said "no", twice',
    "a --> b",
    "<b>bold</b> {\\an8} <i",
    "Q&A &amp; &lt;v&gt;",
    "two\nlines\r\n\n00:00:01,000 --> 00:00:02,000",
    "tab\tnul\x00bell\x07next\x85line\u2028sep",
    "=HYPERLINK(0)",
    "+1",
    "-- dash",
    "@SUM(1)",
    "héllo wörld 🎙️👩‍👩‍👧",
    "שלום עולם",
    "\u202eevil",
    "semi;colon, comma",
    "x" * 100,
    "NA",
    "",
    " ",
]


def transcript_of(rows, names=(), *, language="en", **fields) -> SpeakerTranscript:
    """Make a transcript of segments: rows of speaker and its words, (start, end, text)."""
    segments = []
    for speaker, words in rows:
        spoken = tuple(
            SpokenWord(start=s, end=e, text=t, confidence=0.8, speaker=speaker)
            if speaker
            else SpokenWord(start=s, end=e, text=t, confidence=0.8, speaker=None, reason="no turn")
            for s, e, t in words
        )
        segments.append(
            Segment(
                start=spoken[0].start,
                end=max(word.end for word in spoken),
                speaker=speaker,
                text=join_words(spoken, language),
                confidence=0.8,
                overlap=False,
                words=spoken,
            )
        )
    labels = sorted({segment.speaker for segment in segments if segment.speaker})
    return SpeakerTranscript(
        digest="abc",
        language=language,
        duration=max((segment.end for segment in segments), default=0.0),
        speech=0.0,
        speakers=tuple(
            Speaker(label=label, name=name, talk_time=1.5, words=2)
            for label, name in zip(labels, names or labels, strict=True)
        ),
        segments=tuple(segments),
        turns=tuple(
            Turn(start=segment.start, end=segment.end, speaker=segment.speaker)
            for segment in segments
            if segment.speaker
        ),
        **fields,
    )


def rendered(transcript, name="talk", about=None) -> dict[str, str]:
    files = formats.render(transcript, name, about or {})
    return {file.removeprefix("transcript."): body.decode() for file, body in files.items()}


def squeezed(text: str) -> str:
    """Compare words, not how they are spaced or wrapped."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]", "", text)


SIMPLE = transcript_of(
    [
        ("S0", [(62.04, 62.5, "Hello"), (62.5, 63.0, "there.")]),
        ("S1", [(64.0, 64.5, "Hi.")]),
        (None, [(70.0, 72.0, "Who?")]),
    ],
    ["Ann", "Bob"],
    warnings=("1 of 4 words have no speaker",),
    doubtful=(WindowNote(start=60, end=90, reason="loops"),),
)


def test_every_file_exactly():
    texts = rendered(SIMPLE, "A talk", {"notes": ["quality: draft"]})
    assert tuple(f"transcript.{ending}" for ending in texts) == NAMES
    assert texts["srt"] == (
        "1\n00:01:02,040 --> 00:01:03,040\nAnn: Hello there.\n\n"
        "2\n00:01:04,000 --> 00:01:05,000\nBob: Hi.\n\n"
        "3\n00:01:10,000 --> 00:01:12,000\nUnknown speaker: Who?\n\n"
    )
    assert texts["vtt"] == (
        "WEBVTT\n\n"
        "00:01:02.040 --> 00:01:03.040\n<v Ann>Hello there.</v>\n\n"
        "00:01:04.000 --> 00:01:05.000\n<v Bob>Hi.</v>\n\n"
        "00:01:10.000 --> 00:01:12.000\n<v Unknown speaker>Who?</v>\n\n"
    )
    assert texts["txt"] == (
        "A talk\n00:01:12 long, 00:00:00 of it speech, language: en\n"
        "Ann: speaks 00:00:01, 2 words\nBob: speaks 00:00:01, 2 words\n\n"
        "Note: quality: draft\nNote: 1 of 4 words have no speaker\n"
        "Doubtful 00:01:00-00:01:30: loops\n\n"
        "[00:01:02] Ann: Hello there.\n\n[00:01:04] Bob: Hi.\n\n"
        "[00:01:10] Unknown speaker: Who?\n"
    )
    assert texts["csv"] == (
        "\ufeffsegment,start,end,speaker,name,confidence,overlap,words,text\n"
        "0,62.040,63.000,S0,Ann,0.800,False,2,Hello there.\n"
        "1,64.000,64.500,S1,Bob,0.800,False,1,Hi.\n"
        "2,70.000,72.000,,,0.800,False,1,Who?\n"
    )
    assert texts["rttm"] == (
        "SPEAKER A_talk 1 62.040 0.960 <NA> <NA> S0 <NA> <NA>\n"
        "SPEAKER A_talk 1 64.000 0.500 <NA> <NA> S1 <NA> <NA>\n"
    )
    document = json.loads(texts["json"])
    assert list(document)[:4] == ["schema_version", "name", "about", "digest"]
    assert document["about"] == {"notes": ["quality: draft"]}
    assert document["segments"][2]["speaker"] is None


@pytest.mark.parametrize("text", ADVERSARIAL)
@pytest.mark.parametrize("as_name", [False, True])
def test_other_parsers_read_back_whatever_was_said_and_whoever_said_it(text, as_name, tmp_path):
    name = text if as_name else "Ann"
    spoken = "so" if as_name else text
    start = 3 * 3600 + 59 * 60 + 59.9996
    transcript = transcript_of(
        [("S0", [(start, start + 1, spoken), (start + 1, start + 2, "then")])], [name]
    )
    texts = rendered(transcript, text)
    plain_name, plain = formats._plain(name) or "S0", squeezed(spoken + "then")
    first = start if squeezed(spoken) else start + 1

    captions = list(srt.parse(texts["srt"]))
    lookalike = str.maketrans("<>{}", "‹›()")  # noqa: RUF001
    label = plain_name if len(plain_name) <= 30 else f"{plain_name[:29]}…"
    assert squeezed("".join(c.content.removeprefix(f"{label}:") for c in captions)).replace(
        squeezed(label.translate(lookalike)) + ":", ""
    ) == plain.translate(lookalike)
    assert captions[0].start.total_seconds() == round(first)
    assert captions[-1].end.total_seconds() == 4 * 3600 + 2

    cues = webvtt.from_string(texts["vtt"])
    assert squeezed("".join(html.unescape(cue.text) for cue in cues)) == plain
    assert {html.unescape(cue.voice or "") for cue in cues} == {plain_name}
    assert cues[0].start == ("04:00:00.000" if first == start else "04:00:01.000")

    table = pd.read_csv(io.StringIO(texts["csv"].removeprefix("\ufeff")), keep_default_na=False)
    rows = list(csv.DictReader(io.StringIO(texts["csv"].removeprefix("\ufeff"))))
    for cell in (rows[0]["text"], table["text"][0]):
        assert squeezed(cell).removeprefix("'") == plain
    assert rows[0]["name"].removeprefix("'") == plain_name
    for cell in rows[0].values():
        assert not cell.startswith(("=", "+", "-", "@"))

    path = tmp_path / "turns.rttm"
    path.write_text(texts["rttm"], encoding="utf-8")
    ((file_id, annotation),) = load_rttm(path).items() if text != "NA" else [("NA", None)]
    assert not re.search(r"\s", file_id)
    if annotation:
        ((turn, _, speaker),) = annotation.itertracks(yield_label=True)
        assert speaker == "S0"
        assert (turn.start, turn.end) == pytest.approx((start, start + 2), abs=0.001)

    assert formats.read_transcript(texts["json"]) == transcript
    assert json.loads(texts["json"])["name"] == text
    assert len(texts["txt"].split("\n\n")) == 2
    assert squeezed(texts["txt"]).endswith(squeezed(f"{plain_name}:{plain}"))
    for file in texts.values():
        assert "\r" not in file


def test_names_that_are_no_utf8_are_written_all_the_same():
    name = "ol\udce9"  # what Python makes of a file name's byte E9
    for body in formats.render(SIMPLE, name, {"path": name}).values():
        body.decode()
    assert formats.folder_name(name, "0123456789") == "ol_-01234567"


def test_a_transcript_without_words_or_without_anything():
    silent = transcript_of([], warnings=("no speech found",))
    turns = silent.model_copy(
        update={"turns": tuple(Turn(start=0, end=end, speaker="S0") for end in (0.0004, 1))}
    )
    for transcript, lines in ((silent, 0), (turns, 1)):
        texts = rendered(transcript)
        assert texts["srt"] == ""
        assert texts["vtt"] == "WEBVTT\n\n"
        assert len(webvtt.from_string(texts["vtt"])) == 0
        assert len(texts["csv"].splitlines()) == 1
        assert len(texts["rttm"].splitlines()) == lines
        assert "Note: no speech found" in texts["txt"]
        assert formats.read_transcript(texts["json"]) == transcript
        assert formats.to_dataframe(transcript).dtypes["start"] == "float64"
        assert formats.words_dataframe(transcript).empty


def cues_of(transcript):
    srt_text, vtt_text = formats._srt(transcript), formats._vtt(transcript)
    srts = [
        (cue.start.total_seconds(), cue.end.total_seconds(), cue.content.split("\n"))
        for cue in srt.parse(srt_text)
    ]
    vtts = [
        (
            Timestamp.from_string(cue.start).in_milliseconds() / 1000,
            Timestamp.from_string(cue.end).in_milliseconds() / 1000,
            html.unescape(cue.text).split("\n"),
        )
        for cue in webvtt.from_string(vtt_text)
    ]
    return srts, vtts


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("seed", range(15))
def test_captions_are_short_in_order_apart_and_hold_every_word(seed, language):
    draw = random.Random(seed)
    rows, now = [], 0.0
    for _ in range(draw.randrange(1, 12)):
        words = []
        for _ in range(draw.randrange(1, 60)):
            now += draw.choice([0.0, 0.0, 0.01, 0.2, 0.9])
            length = draw.choice([0.0, 0.0004, 0.2, 0.5, 2.0, 9.0])
            text = "abcdefghij"[: draw.randrange(1, 11)] * draw.choice([1, 1, 1, 1, 12])
            words.append((now, now + length, text + draw.choice(["", "", "", ".", ","])))
        rows.append((draw.choice(["S0", "S1", None]), words))
    names = [f"Dr. {label}" for label in sorted({speaker for speaker, _ in rows if speaker})]
    transcript = transcript_of(rows, names, language=language)
    said = squeezed("".join(text for _, words in rows for *_, text in words))
    srts, vtts = cues_of(transcript)

    assert squeezed("".join(line for *_, lines in vtts for line in lines)) == said
    labels = re.compile(r"^(Dr\. S\d|Unknown speaker):\s*")
    assert squeezed("".join(labels.sub("", "\n".join(lines)) for *_, lines in srts)) == said
    for cues in (srts, vtts):
        for start, end, lines in cues:
            assert 0.001 <= round(end - start, 3) <= 7
            assert 1 <= len(lines) <= 2
            assert max(map(len, lines)) <= 42
        for (_, end, _), (start, *_) in pairwise(cues):
            assert end <= start
    assert all(labels.match(lines[0]) for *_, lines in srts)


def test_captions_break_between_words_and_carry_the_words_times():
    texts = ["word"] * 30
    transcript = transcript_of(
        [("S0", [(i / 4, i / 4 + 0.25, text) for i, text in enumerate(texts)])], ["Ann"]
    )
    _, cues = cues_of(transcript)
    assert cues == [
        (0.0, 4.0, ["word word word word word word word word"] * 2),
        (4.0, 7.5, ["word word word word word word word word", "word word word word word word"]),
    ]
    nested = transcript_of([("S0", [(0.0, 3.0, "a"), (1.0, 1.5, "b")])], ["Ann"])
    assert cues_of(nested)[1] == [(0.0, 3.0, ["a b"])]
    slow = transcript_of([("S0", [(float(i), i + 0.5, "word") for i in range(9)])], ["Ann"])
    assert [(start, end) for start, end, _ in cues_of(slow)[1]] == [(0.0, 6.5), (7.0, 8.5)]


def test_a_caption_on_its_second_line_ends_with_the_sentence():
    words = "One two three four five six seven eight nine ten. Next"
    transcript = transcript_of(
        [("S0", [(i / 4, i / 4 + 0.25, word) for i, word in enumerate(words.split())])], ["Ann"]
    )
    assert [lines for *_, lines in cues_of(transcript)[1]] == [
        ["One two three four five six seven eight", "nine ten."],
        ["Next"],
    ]


def test_a_word_longer_than_a_line_is_cut_and_its_time_shared():
    transcript = transcript_of([("S0", [(0.0, 6.0, "x" * 126)])], ["Ann"])
    assert cues_of(transcript)[1] == [
        (0.0, 4.0, ["x" * 42, "x" * 42]),
        (4.0, 6.0, ["x" * 42]),
    ]


def test_dataframes_hold_the_text_exactly_and_missing_speakers_as_missing():
    segments = formats.to_dataframe(SIMPLE)
    assert list(segments["text"]) == ["Hello there.", "Hi.", "Who?"]
    assert list(segments["speaker"].isna()) == [False, False, True]
    assert list(segments["words"]) == [2, 1, 1]
    words = formats.words_dataframe(SIMPLE)
    assert list(words["segment"]) == [0, 0, 1, 2]
    assert list(words["name"].fillna("?")) == ["Ann", "Ann", "Bob", "?"]
    assert list(words["reason"].fillna("")) == ["", "", "", "no turn"]
    formula = transcript_of([("S0", [(0, 1, "=1+1")])])
    assert formats.to_dataframe(formula)["text"][0] == "=1+1"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda text: text[:-20], "cannot be read"),
        (lambda _: "[1, 2]", "cannot be read"),
        (lambda _: "{}", "schema_version"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 99'), "99"),
        (lambda text: text.replace('"language": "en"', '"language": 5'), "language"),
        (lambda text: text.replace('"language"', '"idiom"'), "language"),
    ],
)
def test_a_spoilt_json_is_refused_in_one_line(spoil, named):
    with pytest.raises(InputError, match=named) as caught:
        formats.read_transcript(spoil(rendered(SIMPLE)["json"]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("video", "folder"),
    [
        ("talk", "talk"),
        ("Team meeting 3", "Team meeting 3"),
        ('a<b>c:d"e/f\\g|h?i*j', "a_b_c_d_e_f_g_h_i_j"),
        ("line\nbreak\ttab\x00nul\x7f", "line_break_tab_nul_"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("--rf", "rf"),
        (". .hidden", "hidden"),
        ("trailing. . ", "trailing"),
        ("", "video"),
        (" ..-", "video"),
        ("CON", "_CON"),
        ("nul.part 1", "_nul.part 1"),
        ("com1", "_com1"),
        ("Concert", "Concert"),
        ("🎙️ Podcast 👩‍👩‍👧", "🎙️ Podcast 👩‍👩‍👧"),
        ("שלום", "שלום"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("u\u0308ber", "über"),
        ("x" * 400, "x" * 150),
        ("é" * 100, "é" * 75),
        ("a" + "é" * 100, "a" + "é" * 74),
        ("🎙" * 50, "🎙" * 37),
        ("x" * 149 + " y", "x" * 149),
    ],
)
def test_folder_names_are_safe_everywhere(video, folder):
    name = formats.folder_name(video, "0123456789abcdef")
    assert name == f"{folder}-01234567"
    assert len(name.encode()) <= 160


def manifested(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "manifest.json": json.dumps({"files": formats.file_entries(files)}).encode()}


OLD = manifested({"a.txt": b"old", "b.txt": b"old too"})
NEW = manifested({"a.txt": b"new", "c.txt": "neü\n".encode()})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "transcripts" / "talk [1]-01234567"


def test_file_entries_are_digests_and_sizes():
    assert formats.file_entries({"a": b"abc"}) == {
        "a": {"sha256": sha256(b"abc").hexdigest(), "bytes": 3}
    }


def test_a_folder_is_written_and_replaced_whole(folder):
    assert formats.write_folder(folder, OLD) is None
    assert content(folder) == OLD
    assert formats.write_folder(folder, NEW) is None
    assert content(folder) == NEW
    assert list(folder.parent.iterdir()) == [folder]


def test_an_empty_folder_is_replaced(folder):
    folder.mkdir(parents=True)
    assert formats.write_folder(folder, NEW) is None
    assert content(folder) == NEW


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda f: (f / "a.txt").write_bytes(b"mine"), id="changed"),
        pytest.param(lambda f: (f / "notes.txt").write_bytes(b"mine"), id="added"),
        pytest.param(lambda f: (f / "sub").mkdir(), id="folder added"),
        pytest.param(lambda f: (f / "manifest.json").unlink(), id="manifest gone"),
        pytest.param(lambda f: (f / "manifest.json").write_bytes(b"{"), id="manifest broken"),
        pytest.param(lambda f: (f / "manifest.json").write_bytes(b'{"files": 1}'), id="odd"),
        pytest.param(lambda f: (f / "manifest.json").write_bytes(b"[]"), id="manifest a list"),
    ],
)
def test_an_edited_folder_is_kept_beside(folder, edit):
    for number in (1, 2, 3):
        formats.write_folder(folder, OLD)
        edit(folder)
        edited = sorted(path.name for path in folder.iterdir())
        kept = formats.write_folder(folder, NEW)
        assert kept == folder.with_name(f"{folder.name}.edited-{number}")
        assert sorted(path.name for path in kept.iterdir()) == edited
        assert content(folder) == NEW
    assert len(list(folder.parent.iterdir())) == 4


@pytest.mark.parametrize(
    "touch",
    [
        lambda f: (f / "a.txt").unlink(),
        lambda f: (f / ".DS_Store").write_bytes(b"x"),
        lambda f: (f / "Thumbs.db").write_bytes(b"x"),
        lambda f: os.utime(f / "a.txt", (1, 1)),
    ],
)
def test_what_loses_nothing_is_no_edit(folder, touch):
    formats.write_folder(folder, OLD)
    touch(folder)
    assert formats.write_folder(folder, NEW) is None
    assert content(folder) == NEW


def test_a_file_in_the_way_stays(folder):
    folder.parent.mkdir()
    folder.write_bytes(b"precious")
    with pytest.raises(InputError, match="cannot make the folder"):
        formats.write_folder(folder, NEW)
    assert folder.read_bytes() == b"precious"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, InputError, "no space left"),
        (errno.EDQUOT, InputError, "no space left"),
        (errno.EACCES, InputError, "not allowed"),
        (errno.EROFS, InputError, "not allowed"),
        (errno.EIO, TransientError, "cannot write"),
        (errno.ENOENT, TransientError, "cannot write"),
    ],
)
@pytest.mark.parametrize(
    ("before", "call", "fails_at"),
    [
        (None, "fsync", 1),
        (None, "fsync", 3),
        (None, "rename", 1),
        (OLD, "fsync", 1),
        (OLD, "fsync", 3),
        (OLD, "rename", 1),
        (OLD, "rename", 2),
    ],
)
def test_a_disk_that_refuses_leaves_everything_as_it_was(
    folder, monkeypatch, number, kind, words, before, call, fails_at
):
    """No small full or failing disk can be had in a test: the system call is made to fail."""
    if before:
        formats.write_folder(folder, before)
    place, name = (os, "fsync") if call == "fsync" else (Path, "rename")
    real, calls = getattr(place, name), []

    def fail(*args):
        calls.append(args)
        if len(calls) == fails_at:
            raise OSError(number, os.strerror(number))
        return real(*args)

    monkeypatch.setattr(place, name, fail)
    with pytest.raises(kind, match=words) as caught:
        formats.write_folder(folder, NEW)
    assert str(folder) in str(caught.value)
    if before:
        assert content(folder) == before
    assert list(folder.parent.iterdir()) == ([folder] if before else [])


def test_a_folder_in_use_on_windows_is_tried_again():
    error = PermissionError(errno.EACCES, "Access is denied")
    error.winerror = 32
    assert isinstance(formats._explained(error, Path("x")), TransientError)


def test_a_stop_by_the_user_leaves_everything_as_it_was(folder, monkeypatch):
    formats.write_folder(folder, OLD)

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        formats.write_folder(folder, NEW)
    assert content(folder) == OLD
    assert list(folder.parent.iterdir()) == [folder]


KILLED = """
import os, pathlib, sys
from whosaid import formats
place, name, at, folder = sys.argv[1:]
owner = {"os": os, "path": pathlib.Path}[place]
real, calls = getattr(owner, name), []
def kill(*args):
    calls.append(1)
    if len(calls) == int(at):
        os._exit(9)
    return real(*args)
setattr(owner, name, kill)
formats.write_folder(pathlib.Path(folder), {"a.txt": b"1", "b.txt": b"2", "manifest.json": b"{}"})
"""


@pytest.mark.parametrize(
    ("place", "name", "at", "after"),
    [
        ("os", "fsync", 1, OLD),
        ("os", "fsync", 3, OLD),
        ("path", "rename", 1, OLD),
        ("path", "rename", 2, None),  # between old out and new in
    ],
)
def test_what_a_killed_run_left_is_removed_by_the_next_write(folder, place, name, at, after):
    formats.write_folder(folder, OLD)
    other = folder.with_name("other-01234567")
    formats.write_folder(other, OLD)
    command = [sys.executable, "-c", KILLED, place, name, str(at), str(folder)]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 9
    assert (content(folder) if folder.exists() else None) == after
    assert len(list(folder.parent.iterdir())) >= 3  # there are leftovers
    assert formats.write_folder(folder, NEW) is None
    assert content(folder) == NEW
    assert sorted(folder.parent.iterdir()) == sorted([folder, other])


def test_a_run_whose_unfinished_folder_was_taken_away_publishes_nothing(folder, monkeypatch):
    real = os.fsync

    def another_run_comes(descriptor):
        monkeypatch.setattr(os, "fsync", real)
        formats.write_folder(folder, OLD)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", another_run_comes)
    with pytest.raises(TransientError):
        formats.write_folder(folder, NEW)
    assert content(folder) == OLD
    assert list(folder.parent.iterdir()) == [folder]


def table_of(page: str, heading: str) -> set[str]:
    """Return the first column of the first table under a heading."""
    section = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `([^`]+)` \|", section.group(1), re.MULTILINE))


def test_the_documentation_names_every_file_field_and_column():
    page = (ROOT / "docs" / "transcript-format.md").read_text("utf-8")
    assert table_of(page, "The files of a transcript") == {*NAMES, formats.MANIFEST}
    assert f"schema version {formats.SCHEMA_VERSION}" in page
    for model in (SpeakerTranscript, Speaker, Segment, SpokenWord, Turn, WindowNote):
        extra = {"schema_version", "name", "about"} if model is SpeakerTranscript else set()
        assert table_of(page, model.__name__) == set(model.model_fields) | extra, model
    assert table_of(page, "transcript.csv") == set(formats.to_dataframe(SIMPLE).columns)
