"""A person's way through a transcript's page, opened from its folder.

Needs Chromium (Debian: `apt-get install chromium-headless-shell`); skipped without one.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import wait_in
from playwright.sync_api import Browser, Page, expect

from spokenby.engines.av import write_opus
from spokenby.output.formats import Document
from spokenby.output.layers import lay
from spokenby.review import page as review
from tests.review.conversation import (
    VIDEO,
    Line,
    conversation_lines,
    transcript_of,
    write_conversation,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conversation(tmp_path_factory.mktemp("site") / "conversation-12345678")


@pytest.fixture(scope="module")
def opened(browser: Browser, folder: Path) -> Iterator[Page]:
    """Open the page once for all tests; nothing may be asked for but the folder's own files."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda told: told.type == "error" and faults.append(told.text))
    page.goto((folder / "page.html").as_uri())
    page.locator("body.ready").wait_for()
    yield page
    here = folder.as_uri()
    assert [
        url
        for url in asked
        if not url.startswith((f"{here}/page.html", f"{here}/audio.webm", "blob:"))
    ] == []
    assert faults == []
    context.close()


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """Give the page as it is at first."""
    yield opened
    opened.evaluate("document.getElementById('media').pause()")
    opened.evaluate("document.activeElement.blur()")


def go_to(page: Page, seconds: float) -> None:
    """Follow a link to a time; return when the page has done so."""
    page.evaluate(
        """hash => new Promise((done) => {
            addEventListener("hashchange", done, { once: true });
            location.hash = hash;
        })""",
        f"t={seconds}",
    )


def media(page: Page, what: str) -> float:
    return float(page.evaluate(f"document.getElementById('media').{what}"))


def word(page: Page, text: str):
    return page.locator("#text p > span", has_text=re.compile(f"^{re.escape(text)}$")).first


PLAYING = ".playing-word"

BEGUN = """() => {
    const media = document.getElementById('media');
    const once = (event, tell) => new Promise(done =>
        media.addEventListener(event, () => done(tell()), {once: true}));
    window.sought = once('seeking', () => media.currentTime);
    window.begun = once('playing', () => true);
}"""
"""Notes where the sound is sought and that it plays: asked later, it would have played on."""

LOADED = """async () => {
    while (!document.getElementById('media').readyState) await new Promise(requestAnimationFrame);
}"""

SEEN = """until => {
    const media = document.getElementById('media'), seen = [];
    window.seen = new Promise(done => new MutationObserver((_, observer) => {
        const word = document.querySelector('.playing-word');
        if (!word || word.textContent === seen.at(-1)?.[0]) return;
        const at = word.closest('.paragraph').querySelector('.at').textContent;
        seen.push([word.textContent, media.currentTime, at]);
        if (media.currentTime < until) return;
        observer.disconnect();
        done(seen);
    }).observe(document.getElementById('text'), {subtree: true, attributeFilter: ['class']}));
}"""
"""Notes each word that is highlighted: when it was, and the time of its paragraph."""


@contextmanager
def held(page: Page) -> Iterator[None]:
    """Have what plays from a word stay there, for as long as one looks at it."""
    page.evaluate("document.getElementById('media').play = async () => {}")
    yield
    page.evaluate("delete document.getElementById('media').play")


def test_click_on_a_word_plays_from_there_and_the_highlight_follows(page: Page) -> None:
    friday = conversation_lines()[3]
    words = friday.text.split(" ")
    start = friday.start + words.index("three") * (friday.end - friday.start) / len(words)
    page.evaluate(LOADED)
    page.evaluate(BEGUN)
    page.evaluate(SEEN, start + 1.5)
    word(page, "three").click()
    assert page.evaluate("sought") == pytest.approx(start, abs=0.1)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    seen = page.evaluate("seen")
    assert (seen[0][0], seen[0][2]) == ("three", "0:15")
    assert len(seen) > 1
    # A busy machine draws few frames, and whole words are never shown: those that are, are right.
    for text, time, _ in seen:
        assert text in said_about(time), seen
    assert [time for _, time, _ in seen] == sorted(time for _, time, _ in seen)


def said_about(time: float) -> set[str]:
    """Return the words that are said at a time, or ended a moment before."""
    found = set()
    for line in conversation_lines():
        words = line.text.split(" ")
        step = (line.end - line.start) / len(words)
        for number, text in enumerate(words):
            start = line.start + number * step
            if start - 0.1 < time < start + step + 0.3:
                found.add(text)
    return found


def test_click_on_a_lane_plays_from_there(page: Page) -> None:
    box = page.locator("#position").bounding_box()
    assert box
    page.evaluate(LOADED)
    page.evaluate(BEGUN)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    assert page.evaluate("sought") == pytest.approx(media(page, "duration") / 2, abs=0.5)
    assert page.evaluate("begun")
    assert page.locator(".lane").count() == 3
    assert page.locator(".overlap").count() == 6  # three times two people speak at once


def test_files_beside_the_page_can_be_downloaded(page: Page, folder: Path) -> None:
    links = page.locator(".downloads a").evaluate_all("links => links.map(link => link.href)")
    there = {path.as_uri() for path in folder.glob("transcript.*")}
    assert set(links) == there
    assert len(links) > 3


def test_link_to_a_time_opens_there(page: Page) -> None:
    go_to(page, 100.5)
    expect(page.locator(PLAYING)).to_be_in_viewport()
    assert media(page, "currentTime") == pytest.approx(100.5, abs=0.01)
    assert media(page, "paused")
    expect(page.locator(".playing-paragraph .at")).to_have_text("1:33")
    assert page.locator(".playing-paragraph .at").get_attribute("href") == "#t=93.689"


def test_only_one_speaker_is_shown(page: Page) -> None:
    page.get_by_role("button", name="Show only Peter").click()
    shown = page.locator("#text h3:visible")
    assert set(shown.all_text_contents()) == {"Peter"}
    of_peter = [line for line in conversation_lines() if line.speaker == "Peter"]
    assert page.locator(".paragraph:visible").count() == len(of_peter)
    page.get_by_role("button", name="Show only Ada").click()
    assert set(shown.all_text_contents()) == {"Ada", "Peter"}
    page.get_by_role("button", name="Show only Peter").click()
    go_to(page, 10)  # of John: a link to what is hidden shows all again
    expect(page.locator(PLAYING)).to_be_in_viewport()
    expect(page.get_by_role("button", name="Show only Ada", pressed=False)).to_be_visible()
    assert page.locator(".paragraph:visible").count() == len(conversation_lines())


def test_search_finds_words_across_case_and_counts_them(page: Page) -> None:
    page.get_by_role("searchbox").fill("HALF AN hour")
    expect(page.locator("#hits")).to_have_text("2")
    assert page.locator("#text .hit").all_text_contents() == [
        "half",
        "an",
        "hour.",
        "Half",
        "an",
        "hour",
    ]
    assert page.locator("#marks i").count() == 2
    page.get_by_role("button", name="Next hit").click()
    page.get_by_role("button", name="Next hit").click()
    expect(page.locator("#hits")).to_have_text("2 of 2")
    expect(page.locator(PLAYING)).to_have_text("Half")
    page.get_by_role("searchbox").fill("")
    expect(page.locator("#text .hit")).to_have_count(0)


def test_keyboard_alone(page: Page) -> None:
    """Play, move, find, read what is doubtful and copy, without a mouse."""
    go_to(page, 5)  # half a minute before what is doubtful first
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    before = media(page, "currentTime")
    page.keyboard.press("ArrowRight")
    assert media(page, "currentTime") == pytest.approx(before + 5, abs=0.01)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("n")
    expect(page.locator(PLAYING)).to_have_text("town.")
    expect(page.locator("#said")).to_contain_text("not sure of this word")
    page.keyboard.press("n")
    expect(page.locator(PLAYING)).to_have_text("dollars.")
    page.keyboard.press("n")
    expect(page.locator("#said")).to_contain_text("noise instead of speech")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".playing-paragraph")).to_contain_text("My father can fix it")
    page.keyboard.press("+")
    assert media(page, "playbackRate") == 1.25
    page.keyboard.press("-")
    page.keyboard.press("/")
    page.keyboard.type("bridge")
    expect(page.locator("#hits")).to_have_text("1")
    page.keyboard.press("Enter")
    expect(page.locator(PLAYING)).to_have_text("bridge")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.locator("#play").focus()
    for _ in range(40):  # everything can be reached, in order, down to the first paragraph
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('a.at')"):
            break
    with held(page):
        page.keyboard.press("Enter")
        expect(page.locator(PLAYING)).to_have_text("Good")
        assert media(page, "currentTime") < 2


def copied(page: Page) -> str:
    """Return what was copied last: the clipboard itself is not the test's to read."""
    return str(page.evaluate("window.copied"))


@pytest.fixture
def clipboard(page: Page) -> Page:
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
    return page


def test_quote_has_speaker_and_time(clipboard: Page) -> None:
    page = clipboard
    go_to(page, 10)
    page.keyboard.press("c")
    expect(page.locator("#said")).to_have_text("Copied with speaker and time")
    assert copied(page) == "“Good morning. I am ready when you are.” (John, 0:09, conversation)"
    page.evaluate(
        """() => {
            const [, second, third] = document.querySelectorAll('#text p');
            getSelection().setBaseAndExtent(second.lastChild, 0, third.children[2], 1);
        }"""
    )
    page.keyboard.press("c")
    expect(page.locator("#said")).to_have_text("Copied with speaker and time")
    assert copied(page) == "John (0:11): “are.”\nPeter (0:12): “So am I.”\n(conversation)"
    page.evaluate("getSelection().empty()")


def test_voice_is_named_by_a_command(clipboard: Page) -> None:
    page = clipboard
    page.get_by_role("button", name="Name John").click()
    page.keyboard.type("Jean-Luc O'Neil")
    page.get_by_role("button", name="Copy the command that names John").click()
    expect(page.locator("#said")).to_contain_text("Copied")
    assert copied(page) == r"spokenby voices name 8 'Jean-Luc O'\''Neil'"
    page.get_by_role("button", name="Name John").click()


def test_sample_of_a_speaker_plays_and_ends(page: Page) -> None:
    page.evaluate(LOADED)
    page.evaluate(BEGUN)
    page.get_by_role("button", name="Play a sample of Peter").click()
    start, end = page.evaluate(
        "JSON.parse(document.getElementById('data').textContent).speakers[2].sample"
    )
    assert page.evaluate("sought") == pytest.approx(start, abs=0.1)
    assert page.evaluate("begun")
    page.evaluate("document.getElementById('media').playbackRate = 8")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert end - 0.1 < media(page, "currentTime") < media(page, "duration") - 1
    page.evaluate("document.getElementById('media').playbackRate = 1")


def test_video_from_disk_takes_the_place_of_the_copy(page: Page, folder: Path) -> None:
    go_to(page, 50)
    page.locator("#file").set_input_files(
        {"name": "notes.mp4", "mimeType": "video/mp4", "buffer": b"no video"}
    )
    expect(page.locator("#said")).to_have_text("This browser cannot play notes.mp4")
    page.evaluate(LOADED)
    assert page.evaluate("document.getElementById('media').src").endswith("audio.webm")
    page.locator("#file").set_input_files(folder / "audio.webm")
    expect(page.locator("#said")).to_have_text("audio.webm plays")
    assert page.evaluate("document.getElementById('media').src").startswith("blob:")
    assert media(page, "currentTime") == pytest.approx(50, abs=0.1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_anybodys_way(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("button", name="Name Ada").click()
    page.get_by_role("searchbox").fill("the")
    expect(page.locator("#hits")).to_have_text(re.compile(r"\d"))
    # The policy keeps scripts out; axe comes in through the debugger.
    found = Axe().run(page)
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Name Ada").click()
    assert found.response["violations"] == [], found.generate_report()


def test_phone_scrolls_in_one_direction(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    for name in ("Play", "5 seconds back", "5 seconds forward"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport()
    go_to(page, 16)
    expect(page.locator(PLAYING)).to_be_in_viewport()
    with held(page):
        word(page, "three").click()
        expect(page.locator(PLAYING)).to_have_text("three")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_print_has_the_text_and_no_player(page: Page, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    expect(page.locator(".player")).to_be_hidden()
    expect(page.locator("#text p").last).to_contain_text("I will see you both then")
    page.emulate_media(media="screen")


def test_two_hours_of_speech_open_at_once_and_scroll_smoothly(
    browser: Browser, tmp_path: Path
) -> None:
    lines: list[Line] = []
    time, words = 0.0, 0
    while words < 20_000:
        for line in conversation_lines():
            length = line.end - line.start
            lines.append(Line(time, time + length, line.speaker, line.text))
            time += length + 0.3
            words += len(line.text.split(" "))
    document = Document(transcript_of(lines), "two hours", {})
    files = review.render(lay(document, VIDEO), ["audio.webm"])
    (tmp_path / "page.html").write_bytes(files["page.html"])
    shutil.copy(review_sound(tmp_path), tmp_path / "audio.webm")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    browser.start_tracing(page=page, categories=["toplevel", "loading"])
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("body.ready").wait_for()
    assert page.locator("#text p > span").count() >= 20_000
    opening_ms = main_thread_ms(browser.stop_tracing(), until="firstContentfulPaint")
    assert 0 < sum(opening_ms) < 1000
    page.evaluate("document.getElementById('media').loop = true")  # it plays until all is asked
    browser.start_tracing(page=page, categories=["toplevel"])
    page.keyboard.press("Space")
    page.mouse.move(600, 500)
    for _ in range(40):
        page.mouse.wheel(0, 240)
        page.evaluate("new Promise(requestAnimationFrame)")
    tasks_ms = main_thread_ms(browser.stop_tracing())
    assert len(tasks_ms) > 40
    assert max(tasks_ms) < 50  # a frame is one of them
    assert page.evaluate("scrollY") > 4000
    wait_in(page, "document.getElementById('media').currentTime > 0.1")
    expect(page.get_by_role("button", name="Follow the playing word")).to_be_visible()
    page.close()


def main_thread_ms(trace: bytes, until: str = "") -> list[float]:
    """Return how long each task of a page's main thread computed: its time, not others'.

    Args:
        trace: of the browser.
        until: an event; only tasks that began before it.
    """
    events = json.loads(trace)["traceEvents"]
    end = min((event["ts"] for event in events if event["name"] == until), default=math.inf)
    assert not until or end < math.inf
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask")
        and "tdur" in event
        and (event["pid"], event["tid"]) in threads
        and event["ts"] < end
    ]


def review_sound(folder: Path) -> Path:
    """Return ten seconds of silence."""
    import numpy as np

    path = folder / "silence.webm"
    with path.open("w+b") as file:
        write_opus(np.zeros(160_000, np.float32), file)
    return path
