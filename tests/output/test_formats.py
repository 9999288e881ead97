"""Other people's parsers read back what spokenby writes."""

import csv
import html
import io
import json
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import srt
import webvtt
from pyannote.database.util import load_rttm
from webvtt.models import Timestamp

from spokenby.errors import InputError
from spokenby.output import formats
from spokenby.output.corrections import Correction, Corrections, Who
from spokenby.output.formats import shared
from spokenby.stages.merging import join_words
from spokenby.types import (
    LanguagePart,
    Segment,
    Speaker,
    SpeakerTranscript,
    SpokenWord,
    Turn,
    WindowNote,
)

ROOT = Path(__file__).parents[2]
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


def transcript_of(rows, names=(), *, spaced=True, **fields) -> SpeakerTranscript:
    """Make a transcript of segments: rows of speaker and its words, (start, end, text)."""
    segments = []
    for speaker, words in rows:
        spoken = tuple(
            SpokenWord(
                start=s,
                end=e,
                text=t,
                confidence=0.8,
                spaced=spaced,
                speaker=speaker,
                reason=None if speaker else "no turn",
            )
            for s, e, t in words
        )
        segments.append(
            Segment(
                start=spoken[0].start,
                end=max(word.end for word in spoken),
                speaker=speaker,
                text=join_words(spoken),
                confidence=0.8,
                overlap=False,
                words=spoken,
            )
        )
    labels = sorted({segment.speaker for segment in segments if segment.speaker})
    return SpeakerTranscript(
        digest=fields.pop("digest", "abc"),
        language="en",
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
    plain_name, plain = shared.plain(name) or "S0", squeezed(spoken + "then")
    first = start if squeezed(spoken) else start + 1

    captions = list(srt.parse(texts["srt"]))
    lookalike = str.maketrans("<>{}", "‹›()")
    label = plain_name if len(plain_name) <= 30 else f"{plain_name[:29]}…"
    assert squeezed("".join(c.content.removeprefix(f"{label}:") for c in captions)).replace(
        squeezed(label.translate(lookalike)) + ":", ""
    ) == plain.translate(lookalike)
    assert captions[0].start.total_seconds() == round(first)
    # Longer than spoken where there is much to read.
    assert 4 * 3600 + 2 <= captions[-1].end.total_seconds() <= round(first) + 7

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


def test_no_library_of_a_format_is_imported_before_that_format_is_written():
    code = (
        "import sys, spokenby.output.formats\n"
        "slow = {'docx', 'lxml', 'opentimelineio', 'pandas', 'pympi', 'pysubs2'}\n"
        "print(slow & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert ran.stdout.strip() == "set()", ran.stderr


def test_names_that_are_no_utf8_are_written_all_the_same():
    name = "ol\udce9"  # what Python makes of a file name's byte E9
    for body in formats.render(SIMPLE, name, {"path": name}).values():
        body.decode()


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


def cues_of(transcript):
    srt_text, vtt_text = rendered(transcript)["srt"], rendered(transcript)["vtt"]
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


@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize("seed", range(15))
def test_captions_are_short_in_order_apart_and_hold_every_word(seed, spaced):
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
    transcript = transcript_of(rows, names, spaced=spaced)
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
        (0.0, 3.5, ["word word word word word word word"] * 2),
        (3.5, 8.088, ["word word word word word word word word"] * 2),
    ]
    nested = transcript_of([("S0", [(0.0, 3.0, "a"), (1.0, 1.5, "b")])], ["Ann"])
    assert cues_of(nested)[1] == [(0.0, 3.0, ["a b"])]
    slow = transcript_of([("S0", [(float(i), i + 0.5, "word") for i in range(9)])], ["Ann"])
    assert [(start, end) for start, end, _ in cues_of(slow)[1]] == [(0.0, 2.5), (3.0, 8.5)]


def test_words_written_without_spaces_have_none_and_captions_break_between_them():
    texts = ["我们", "用", *[" Visual", " Studio"], *["今天", "写", "程序", "。"] * 8]
    words = [
        SpokenWord(
            start=i / 4,
            end=i / 4 + 0.2,
            text=text.strip(),
            confidence=0.8,
            spaced=text[0] == " " or not i,
            speaker="S0",
        )
        for i, text in enumerate(texts)
    ]
    text = join_words(words)
    assert text.startswith("我们用 Visual Studio今天写程序。今天")
    plain = transcript_of([("S0", [(0.0, 0.2, "x")])], ["Ann"])
    segment = plain.segments[0].model_copy(update={"words": tuple(words), "text": text, "end": 9.0})
    transcript = plain.model_copy(update={"segments": (segment,)})
    files = rendered(transcript)
    assert f"Ann: {text}\n" in files["txt"]
    assert text in files["csv"]
    _, cues = cues_of(transcript)
    assert "".join("".join(lines) for *_, lines in cues) == text
    assert cues[0][2][0] == text[: len(cues[0][2][0])]
    assert len(cues) > 1
    assert formats.read_transcript(files["json"]) == transcript


def test_how_sure_the_language_is_and_how_much_speech_has_words_is_said():
    transcript = SIMPLE.model_copy(update={"language_probability": 0.98, "coverage": 0.954})
    assert (
        "of it speech, 95% of that with words, language: en (0.98 of 1)\n"
        in (rendered(transcript)["txt"])
    )


def test_the_dataframe_holds_the_text_exactly_and_missing_speakers_as_missing():
    segments = formats.to_dataframe(SIMPLE)
    assert list(segments["text"]) == ["Hello there.", "Hi.", "Who?"]
    assert list(segments["speaker"].isna()) == [False, False, True]
    assert list(segments["words"]) == [2, 1, 1]
    formula = transcript_of([("S0", [(0, 1, "=1+1")])])
    assert formats.to_dataframe(formula)["text"][0] == "=1+1"


@pytest.mark.parametrize(
    "begins",
    ["=", "+", "-", "@", "＝", "＋", "－", "＠", "\ufeff=", "\u200b＝", "\t=", "\r@", " \ufeff +"],
)
def test_no_cell_is_a_formula(begins):
    spoken = transcript_of([("S0", [(0, 1, f"{begins}1")])])
    text = formats.render(spoken, "a", {})["transcript.csv"].decode().removeprefix("\ufeff")
    assert next(csv.DictReader(io.StringIO(text)))["text"].startswith("'")


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


def test_the_published_schema_is_that_of_the_types():
    text = json.dumps(formats.json_schema(), indent=2) + "\n"
    path = ROOT / "docs" / "transcript.schema.json"
    assert path.read_text("utf-8") == text, (
        "the types have changed: write the schema again with"
        " `python -m spokenby.output.formats.document > docs/transcript.schema.json`"
    )


@pytest.mark.parametrize("transcript", [SIMPLE, transcript_of([])])
def test_every_transcript_fits_the_schema_and_others_do_not(transcript):
    schema = formats.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(rendered(transcript, about={"notes": []})["json"])
    jsonschema.validate(document, schema)
    for spoilt in ({**document, "duration": "long"}, {**document, "schema_version": 2}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, schema)


def test_a_transcript_is_opened_as_types_and_tables(tmp_path):
    for file, content in formats.render(SIMPLE, "A talk", {}).items():
        (tmp_path / file).write_bytes(content)
    opened = formats.open_transcript(tmp_path)
    assert opened == formats.open_transcript(str(tmp_path / "transcript.json"))
    assert opened.transcript == SIMPLE
    assert (
        list(opened.segments["name"]) == ["Ann", "Bob", None] or opened.segments["name"].isna()[2]
    )
    assert list(opened.words["text"]) == ["Hello", "there.", "Hi.", "Who?"]
    assert list(opened.words["segment"]) == [0, 0, 1, 2]
    assert list(opened.speakers["name"]) == ["Ann", "Bob"]
    assert opened.speakers["voice"].isna().all()
    empty = formats.Document(transcript_of([]), "nothing", {})
    assert [len(table) for table in (empty.segments, empty.words, empty.speakers)] == [0, 0, 0]
    with pytest.raises(InputError, match="name the folder of a transcript"):
        formats.open_transcript(tmp_path / "gone")


def table_of(page: str, heading: str) -> set[str]:
    """Return the first column of the first table under a heading."""
    section = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `([^`]+)` \|", section.group(1), re.MULTILINE))


BESIDE = {"manifest.json", "page.html", "audio.webm", "recognized.json", "corrections.json"}
"""Files of a transcript that are no formats of it."""


def test_the_documentation_names_every_file_field_and_column():
    page = (ROOT / "docs" / "transcript-format.md").read_text("utf-8")
    assert {*table_of(page, "The files of a transcript"), *table_of(page, "On request")} == {
        *map(formats.file_of, formats.FORMATS),
        *BESIDE,
    }
    assert table_of(page, "The files of a transcript") == {*NAMES, *BESIDE}
    assert f"schema version {formats.SCHEMA_VERSION}" in page
    for model in (SpeakerTranscript, LanguagePart, Speaker, Segment, SpokenWord, Turn, WindowNote):
        extra = {"schema_version", "name", "about"} if model is SpeakerTranscript else set()
        assert table_of(page, model.__name__) == set(model.model_fields) | extra, model
    assert table_of(page, "corrections.json, schema version 1") == set(Corrections.model_fields)
    for part in (Correction, Who):
        assert table_of(page, part.__name__) == set(part.model_fields)
    assert table_of(page, "transcript.csv") == set(formats.to_dataframe(SIMPLE).columns)
