"""What people and recognizers wrote stays text, and only the page's own script may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spokenby.output.corrections import Correction, Corrections, Who, as_json
from spokenby.output.folders import is_edited
from spokenby.output.formats import Document
from spokenby.output.layers import Layer, lay
from spokenby.output.paragraphs import WORDS, cut_paragraphs
from spokenby.output.rename_speakers import rewrite_folder
from spokenby.review import page
from spokenby.types import Identity, SpokenWord
from tests.review.conversation import (
    VIDEO,
    Line,
    conversation_lines,
    transcript_of,
    write_conversation,
)

NASTY = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!--",
    "שלום עולם",
    "👩‍👩‍👧",
    "'\"&<>`",
    "{{ 7 * 7 }}",
    "\u2028\u202e",
    "x" * 10_000,
]


class Read(HTMLParser):
    """Collects a page's elements, and the text in each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def render(lines: list[Line], name: str = "talk", files=(), **about) -> str:
    document = Document(transcript_of(lines), name, about)
    return page.render(lay(document, VIDEO), files)["page.html"].decode()


def data_of(html: str) -> dict:
    (found,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL
    )
    return json.loads(found)


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:12])
def test_text_stays_text(text: str) -> None:
    shown = " ".join(text.split())
    plain = Read(render([Line(0, 2, "Ada", "well")], name="talk"))
    html = render([Line(0, 2, text, f"{text} a")], name=text, notes=[text])
    read = Read(html)
    # Not one element more than those of a harmless transcript, but for the line of notes.
    extra = [name for name, _ in read.elements]
    for name, _ in plain.elements:
        extra.remove(name)
    assert sorted(extra) == ["li"]
    assert "onerror" not in {key for _, attributes in read.elements for key in attributes}
    data = data_of(html)
    assert data["name"] == data["speakers"][0]["name"] == shown
    words = [word[2] for word in data["paragraphs"][0]["words"]]
    assert " ".join(words) == f"{shown} a"
    assert "".join(read.texts["title"]) == shown
    assert "".join(read.texts["h1"]) == shown
    assert shown in "".join(read.texts["bdi"])
    inside = html.split('id="data">')[1].split("</script>")[0]
    assert not set("<>&") & set(inside)


def test_only_the_own_script_and_style_may_run() -> None:
    html = render(conversation_lines())
    read = Read(html)
    (policy,) = [
        meta["content"]
        for meta in read.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in (policy or "").split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["media-src"] == "'self' file: blob:"
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & set((policy or "").split())
    for kind, start in (("script", '<script type="module">'), ("style", "<style>")):
        (inline,) = re.findall(f"{start}(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    # Styles and handlers in attributes are refused: there must be none.
    for _, attributes in read.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert not re.search(r"https?://", html)


def layer_of(text: str) -> Layer:
    """Return a transcript in which somebody typed a text, and gave a word to a person so called."""
    document = Document(transcript_of([Line(0, 2, "Ada", "well then")]), "talk", {})
    wishes = {"new": text, "author": text[:200], "speaker": Who(name=text[:200])}
    one = Correction(start=0, end=0.9, old="well", when=datetime.now(UTC), **wishes)
    lost = one.model_copy(update={"old": text, "start": 50.0, "end": 51.0})
    content = as_json(Corrections(video=VIDEO, name=text[:1000], corrections=(one, lost)))
    return lay(document, VIDEO, content)


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:12])
def test_what_was_typed_stays_text(text: str) -> None:
    read = Read(html := page.render(layer_of(text), [])["page.html"].decode())
    harmless = Read(page.render(layer_of("word"), [])["page.html"].decode())
    assert [name for name, _ in read.elements] == [name for name, _ in harmless.elements]
    inside = html.split('id="data">')[1].split("</script>")[0]
    assert not set("<>&") & set(inside)
    edit = data_of(html)["edit"]
    assert [each["new"] for each in edit["corrections"]] == [text, text]
    assert edit["who"][1] == {"name": " ".join(text[:200].split())}
    ((number, reason),) = edit["unfit"]
    assert (number, reason) == (1, "no words are there now")


def test_a_page_may_ask_only_the_server_that_saves() -> None:
    layer = layer_of("word")
    alone = page.render(layer, [])["page.html"].decode()
    assert "connect-src" not in alone
    assert data_of(alone)["save"] is None
    served = page.render(layer, [], page.Service("t</script>", "save"))
    html = served["page.html"].decode()
    assert "connect-src &#39;self&#39;" in html
    assert data_of(html)["save"] == {"url": "save", "token": "t</script>"}


def test_modules_are_inlined_after_what_they_import() -> None:
    seen: set[str] = set()
    for part in page.PARTS:
        text = (page.package_files("spokenby.review") / "page" / f"{part}.js").read_text("utf-8")
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= seen
        seen.add(part)
    assert not re.search(r"^(import|export)\b", page._script(), re.MULTILINE)


def test_sound_is_what_lies_beside_the_page() -> None:
    lines = conversation_lines()
    assert data_of(render(lines))["audio"] == ""
    assert data_of(render(lines, files=["transcript.txt", "audio.webm"]))["audio"] == "audio.webm"
    layer = lay(Document(transcript_of(lines), "talk", {}), VIDEO)
    served = page.render(layer, [], page.Service(video="talk%202.mp4"))
    assert data_of(served["page.html"].decode())["video"] == "talk%202.mp4"


def test_sample_is_the_longest_stretch_alone() -> None:
    lines = [Line(0, 3, "Ada", "a b c"), Line(4, 30, "Ada", "d e"), Line(31, 32, "Bo", "f")]
    samples = [speaker["sample"] for speaker in data_of(render(lines))["speakers"]]
    assert samples == [[4.0, 14.0], [31.0, 31.9]]


def test_new_names_are_on_the_page_and_the_sound_stays(tmp_path: Path) -> None:
    folder = write_conversation(tmp_path / "conversation-12345678")
    sound = (folder / "audio.webm").read_bytes()
    identities = [Identity(speaker="SPEAKER_01", voice=8, name="Grace & <Co>", known=True)]
    told = rewrite_folder(folder, lambda *_: identities, tmp_path / "locks", pages=page.render)
    assert told.state == "written"
    assert not is_edited(folder)
    assert (folder / "audio.webm").read_bytes() == sound
    html = (folder / "page.html").read_text("utf-8")
    assert "Grace &amp; &lt;Co&gt;" in html
    assert data_of(html)["speakers"][1]["name"] == "Grace & <Co>"
    assert data_of(html)["audio"] == "audio.webm"


def word(text: str, start: float, end: float, speaker: str | None = "SPEAKER_00") -> SpokenWord:
    return SpokenWord(start=start, end=end, text=text, confidence=1, speaker=speaker)


def lengths(words: list[SpokenWord]) -> list[int]:
    transcript = transcript_of([Line(0, 1, "Ada", "x")])
    segment = transcript.segments[0].model_copy(update={"words": tuple(words)})
    split = list(cut_paragraphs(transcript.model_copy(update={"segments": (segment,)})))
    assert [each for paragraph in split for each in paragraph] == words
    return [len(paragraph) for paragraph in split]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([word("a", 0, 1), word("b", 3.0, 4), word("c", 6.1, 7)], [2, 1]),
        ([word("a", 0, 1), word("b", 1, 2, "SPEAKER_01"), word("c", 2, 3, None)], [1, 1, 1]),
        ([word("w", n, n + 1) for n in range(WORDS)] + [word("end.”", 80, 81)] * 2, [81, 1]),
        ([word("w.", n, n + 1) for n in range(3 * WORDS)], [80, 80, 80]),
        ([word("w", n, n + 1) for n in range(2 * WORDS + 1)], [160, 1]),
        ([], []),
    ],
)
def test_paragraphs_end_at_pauses_speakers_and_sentences(
    words: list[SpokenWord], expected: list[int]
) -> None:
    assert lengths(words) == expected
