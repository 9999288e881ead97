"""Documents, annotation and markers: other programs' readers find every name and word in them."""

import csv
import io
import json
import re
import zipfile
from collections import defaultdict
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import docx
import opentimelineio as otio
import parselmouth
import pympi
import pytest
import yaml
from hypothesis import given
from markdown_it import MarkdownIt
from output.test_formats import ADVERSARIAL, transcript_of
from output.test_formats_properties import transcripts

from spokenby.output import formats
from spokenby.output.formats import editing
from spokenby.output.formats.shared import distinct_names, paragraphs, plain, xml_text
from spokenby.types import WindowNote

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
ODD = [
    *ADVERSARIAL,
    "<script>alert(1)</script>",
    "x" * 10_000,
    "# no heading\n- no list",
    "[[x]]|y",
]


def rendered(transcript, *names, name="talk", about=None):
    return list(formats.render(transcript, name, about or {}, names).values())


def clock(seconds: float) -> str:
    whole = round(seconds * 1000) // 1000
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"


def contributions(transcript):
    names = distinct_names(transcript)
    return [(clock(p.start), xml_text(names[p.speaker]), p.text) for p in paragraphs(transcript)]


def paragraphs_of(content: bytes) -> list[tuple[str, str]]:
    """Read a .docx as plain XML: each paragraph's style and text."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        body = ET.fromstring(file.read("word/document.xml"))
    return [
        (
            "".join(style.get(f"{W}val") for style in paragraph.iter(f"{W}pStyle")),
            "".join(text.text or "" for text in paragraph.iter(f"{W}t")),
        )
        for paragraph in body.iter(f"{W}p")
    ]


class TextOf(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


TALK = transcript_of(
    [
        ("S0", [(1.0, 1.5, "Hello"), (1.5, 2.0, "there.")]),
        ("S0", [(3.5, 4.0, "Again.")]),
        ("S1", [(4.0, 4.5, "Hi.")]),
        (None, [(70.0, 72.0, "Who?")]),
    ],
    ["Ada Lovelace", "Normal"],
    warnings=("1 of 4 words have no speaker",),
    doubtful=(WindowNote(start=60, end=90, reason="loops"),),
)


def test_an_interview_has_speakers_as_styles_and_numbered_lines():
    (content,) = rendered(TALK, "docx", name="A talk", about={"recorded": "2026-03-05"})
    document = docx.Document(io.BytesIO(content))
    assert [(p.style.name, p.text) for p in document.paragraphs] == [
        ("Title", "A talk"),
        ("Facts", "Date: 2026-03-05"),
        ("Facts", "Length: 00:01:12"),
        ("Facts", "Speakers: Ada Lovelace (00:00:01), Normal (00:00:01)"),
        ("Facts", "Note: 1 of 4 words have no speaker"),
        ("Facts", "Doubtful 00:01:00–00:01:30: loops"),
        ("Ada Lovelace", "Ada Lovelace: [00:00:01] Hello there. Again."),
        ("Normal (speaker 2)", "Normal: [00:00:04] Hi."),
        ("Unknown speaker", "Unknown speaker: [00:01:10] Who?"),
    ]
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        body, styles = (ET.fromstring(file.read(f"word/{n}.xml")) for n in ("document", "styles"))
    (numbers,) = body.iter(f"{W}lnNumType")
    assert numbers.get(f"{W}countBy") == "1"
    # The order of elements is fixed: this one comes before the border and the spacing.
    first = {s: s.find(f"{W}pPr/*") for s in styles.iter(f"{W}style")}
    unnumbered = [s for s, e in first.items() if e is not None and "suppressLine" in e.tag]
    assert {s.get(f"{W}styleId") for s in unnumbered} == {"Title", "Facts"}
    ids = [s.get(f"{W}styleId") for s in styles.iter(f"{W}style")]
    assert len(ids) == len(set(ids))


def test_a_verbatim_document_shows_pauses_and_what_was_said_at_once():
    (_, second, *_) = TALK.segments
    at_once = second.words[0].model_copy(update={"overlap": True})
    segments = (TALK.segments[0], second.model_copy(update={"words": (at_once,)}))
    talk = TALK.model_copy(update={"segments": (*segments, *TALK.segments[2:])})
    (content,) = rendered(talk, "verbatim.docx")
    assert [text for style, text in paragraphs_of(content) if style.startswith("Speaker")] == [
        "Ada Lovelace: [00:00:01] Hello there. (2 s)",
        "Ada Lovelace: [00:00:03] [Again.]",
        "Normal: [00:00:04] Hi. (66 s)",
        "Unknown speaker: [00:01:10] Who?",
    ]


def test_minutes_are_a_table_behind_one_for_decisions():
    (content,) = rendered(TALK, "minutes.docx")
    decisions, record = docx.Document(io.BytesIO(content)).tables
    assert [cell.text for cell in decisions.rows[0].cells] == ["What", "Who", "By when"]
    assert [[cell.text for cell in row.cells] for row in record.rows] == [
        ["Time", "Who", "What"],
        ["00:00:01", "Ada Lovelace", "Hello there. Again."],
        ["00:00:04", "Normal", "Hi."],
        ["00:01:10", "Unknown speaker", "Who?"],
    ]


def test_markdown_has_front_matter_and_links_on_request():
    about = {"recorded": "2026-03-05"}
    text, linked = (b.decode() for b in rendered(TALK, "md", "links.md", name="A", about=about))
    head = yaml.safe_load(text.split("---\n")[1])
    assert head == {
        "title": "A",
        "date": "2026-03-05",
        "length": "00:01:12",
        "language": "en",
        "speakers": ["Ada Lovelace", "Normal"],
        "warnings": ["1 of 4 words have no speaker"],
    }
    assert "\n\n**Ada Lovelace** (00:00:01): Hello there. Again.\n\n" in text
    assert "\n\n**[[Ada Lovelace]]** (00:00:01): Hello there. Again.\n\n" in linked
    assert yaml.safe_load(linked.split("---\n")[1])["speakers"] == [
        "[[Ada Lovelace]]",
        "[[Normal]]",
    ]
    (plain_text,) = rendered(TALK, "plain.txt")
    assert plain_text.decode() == (
        "[00:00:01] Ada Lovelace: Hello there. Again.\n\n[00:00:04] Normal: Hi.\n\n"
        "[00:01:10] Unknown speaker: Who?\n\n"
    )


def test_paragraphs_end_with_the_sentence_at_about_80_words_and_at_pauses():
    words = [(n / 2, n / 2 + 0.4, "end." if n % 30 == 29 else "word") for n in range(200)]
    talk = transcript_of([("S0", words), ("S0", [(103.0, 104.0, "late")])], ["Ann"])
    assert [len(part.words) for part in paragraphs(talk)] == [90, 90, 20, 1]


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_and_words_stay_text(odd, tmp_path):
    transcript = transcript_of(
        [("S0", [(0, 1, "so"), (1, 2, odd)]), ("S1", [(2, 3, odd), (3, 4, "then")])], [odd, odd]
    )
    names = [
        "docx",
        "md",
        "links.md",
        "TextGrid",
        "eaf",
        "ctm",
        "stm",
        "markers.csv",
        "edl",
        "otio",
    ]
    word, markdown, links, grid, eaf, ctm, stm, table, edl, timeline = rendered(
        transcript, *names, name=odd
    )
    expected = contributions(transcript)
    assert [text for style, text in paragraphs_of(word) if style.startswith("Speaker")] == [
        f"{name}: [{start}] {text}" for start, name, text in expected
    ]
    docx.Document(io.BytesIO(word))

    for page in (markdown.decode(), links.decode()):
        assert yaml.safe_load(page.split("\n---\n")[0] + "\n")["title"] == xml_text(odd)
        read = TextOf(MarkdownIt("commonmark").render(page.split("\n---\n", 1)[1]))
        assert read.tags <= {"h1", "p", "strong"}
    # What turns text around is left out of pages, as on a terminal.
    said = [re.sub("[\u202e]", "", f"({start}): {text}") for start, _, text in expected]
    shown = re.sub(
        r"\s+",
        " ",
        "".join(
            TextOf(MarkdownIt("commonmark").render(markdown.decode().split("\n---\n", 1)[1])).texts
        ),
    )
    assert all(" ".join(text.split()) in shown for text in said)

    path = tmp_path / "x.TextGrid"
    path.write_bytes(grid)
    praat = parselmouth.read(str(path))
    tiers = list(distinct_names(transcript).values())[:2]
    for number, (tier, (_, _, text)) in enumerate(zip(tiers, expected, strict=True), 1):
        assert parselmouth.praat.call(praat, "Get tier name", number) == xml_text(tier)
        count = parselmouth.praat.call(praat, "Get number of intervals", number)
        labels = [
            parselmouth.praat.call(praat, "Get label of interval", number, n + 1)
            for n in range(count)
        ]
        assert [label for label in labels if label] == [text]

    root = ET.fromstring(eaf)
    assert [tier.get("TIER_ID") for tier in root.iter("TIER")] == list(map(xml_text, tiers))
    assert [v.text for v in root.iter("ANNOTATION_VALUE")] == [text for *_, text in expected]
    (tmp_path / "x.eaf").write_bytes(eaf)
    elan = pympi.Eaf(tmp_path / "x.eaf")
    assert [elan.get_annotation_data_for_tier(xml_text(t))[0][2] for t in tiers] == [
        text for *_, text in expected
    ]

    lines = [line.split(" ") for line in ctm.decode().splitlines()]
    assert [line[4].replace("_", "") for line in lines] == [
        plain(text).replace(" ", "").replace("_", "")
        for text in ("so", odd, odd, "then")
        if plain(text)
    ]
    assert {len(line) for line in lines} == {6}
    rows = [line.split(" ", 6) for line in stm.decode().splitlines()]
    assert [(row[2], row[6]) for row in rows] == [
        (segment.speaker, plain(segment.text).translate(str.maketrans("{}", "()")))
        for segment in transcript.segments
    ]

    cells = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline="")))
    assert [cell["comment"].removeprefix("'") for cell in cells] == [text for *_, text in expected]
    assert not any(cell["name"].startswith(("=", "+", "-", "@")) for cell in cells)
    clips = list(otio.adapters.read_from_string(edl.decode(), "cmx_3600", rate=25).find_clips())
    assert [clip.markers[0].marked_range.start_time.value for clip in clips] == [90_000, 90_050]
    (clip,) = otio.adapters.read_from_string(timeline.decode(), "otio_json").find_clips()
    assert [marker.comment for marker in clip.markers] == [text for *_, text in expected]
    assert [json.loads(timeline)["name"]] == [xml_text(odd) or "transcript"]


def test_a_speaker_without_a_word_is_an_empty_tier(tmp_path):
    transcript = transcript_of([("S0", [(0, 1, "so")])], ["Ada"])
    silent = transcript.speakers[0].model_copy(update={"label": "S1", "name": "Eve"})
    transcript = transcript.model_copy(update={"speakers": (*transcript.speakers, silent)})
    everything = formats.render(transcript, "talk", {}, formats.FORMATS)
    assert len(everything) == len(formats.FORMATS)
    path = tmp_path / "x.TextGrid"
    path.write_bytes(everything["transcript.TextGrid"])
    praat = parselmouth.read(str(path))
    assert parselmouth.praat.call(praat, "Get tier name", 2) == "Eve"
    assert parselmouth.praat.call(praat, "Get number of intervals", 2) == 1


@given(transcripts())
def test_tiers_hold_every_segment_apart_and_in_order(transcript):
    (content,) = rendered(transcript, "eaf")
    root = ET.fromstring(content)
    times = {
        slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")
    }
    found = defaultdict(list)
    for tier in root.iter("TIER"):
        last = 0
        for part in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = (times[part.get(f"TIME_SLOT_REF{n}")] for n in (1, 2))
            assert last <= start < end
            last = end
            found[tier.get("TIER_ID")].append(part.find("ANNOTATION_VALUE").text)
    said = defaultdict(list)
    for segment in transcript.segments:
        if text := xml_text(segment.text):
            said[xml_text(distinct_names(transcript)[segment.speaker])].append(text)
    assert {name: texts for name, texts in found.items() if texts} == said


@pytest.mark.parametrize(("rate", "frames"), editing.RATES.items())
def test_edit_decisions_of_every_frame_rate_are_at_the_right_frame(rate, frames):
    talk = transcript_of([("S0", [(n * 61.37, n * 61.37 + 1, "x")]) for n in range(60)], ["Ann"])
    (content,) = rendered(talk, "edl" if rate == "25" else f"{rate}.edl")
    base = round(frames)
    read = otio.adapters.read_from_string(content.decode(), "cmx_3600", rate=base)
    starts = [clip.source_range.start_time.value for clip in read.find_clips()]
    assert starts == [round(round(n * 61_370) * frames / 1000) for n in range(60)]
    lengths = [int(length) for length in re.findall(r"\|D:(\d+)", content.decode())]
    assert set(lengths) == {round(1 * frames)}


@pytest.mark.parametrize("name", formats.FORMATS)
def test_equal_transcripts_give_equal_files_and_nothing_said_is_one_all_the_same(name):
    first, again = rendered(TALK, name), rendered(TALK.model_copy(deep=True), name)
    assert first == again
    (empty,) = rendered(transcript_of([]), name)
    assert empty != first[0]
