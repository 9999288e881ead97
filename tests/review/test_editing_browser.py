"""A person's way through correcting a transcript, in its file and where it is served.

Needs Chromium (Debian: `apt-get install chromium-headless-shell`); skipped without one.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from spokenby.errors import SpokenbyError
from spokenby.output import formats, layers, manifest
from spokenby.output.corrections import read_corrections
from spokenby.review import page as review
from tests.review.conversation import conversation_lines, write_conversation
from tests.review.test_page_browser import go_to

NASTY = "<script>alert(1)</script> שלום 👩‍👩‍👧 '\"&"
TOKEN = "of this page"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conversation(tmp_path_factory.mktemp("site") / "conversation-aaaaaaaa")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / written.name))


Save = Callable[[bytes], layers.Saved]


@pytest.fixture
def save(folder: Path, tmp_path: Path) -> Save:
    return lambda content: layers.save_corrections(
        folder,
        content,
        locks=tmp_path / "locks",
        copies=tmp_path / "copies",
        pages=review.render,
    )


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Collect what a page complains of: there must be nothing."""
    faults: list[str] = []
    yield faults
    assert faults == []


@pytest.fixture
def page(context: BrowserContext, folder: Path, faults: list[str]) -> Page:
    """Open the page as a file."""
    return opened(context, (folder / "page.html").as_uri(), faults)


def opened(context: BrowserContext, address: str, faults: list[str]) -> Page:
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda told: told.type == "error" and faults.append(told.text))
    page.goto(address)
    page.locator("body.ready").wait_for()
    return page


def word(page: Page, text: str):
    return page.locator("#text p > span", has_text=re.compile(f"^{re.escape(text)}$")).first


def shown(page: Page) -> list[tuple[str, str]]:
    """Return who says what on the page, a pair a paragraph."""
    return [
        tuple(pair)
        for pair in page.evaluate(
            """() => {
                let who = '';
                const parts = [...document.querySelectorAll('#text h3, #text .paragraph')];
                return parts.flatMap(part => {
                    if (part.matches('h3')) { who = part.textContent; return []; }
                    return [[who, part.querySelector('p').textContent]];
                });
            }"""
        )
    ]


def times(page: Page) -> list[str]:
    return page.locator("#text .at").all_text_contents()


def select(page: Page, first: str, last: str) -> None:
    """Drag over words."""
    start, end = word(page, first).bounding_box(), word(page, last).bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + 1, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + end["width"] - 1, end["y"] + end["height"] / 2, steps=4)
    page.mouse.up()
    expect(page.get_by_role("toolbar")).to_be_visible()


def downloaded(page: Page) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "corrections.json"
    return download.value.path().read_bytes()


def test_corrections_of_a_file_are_downloaded_and_the_transcript_is_as_the_page_was(
    page: Page, folder: Path, save: Save, context: BrowserContext, faults: list[str]
) -> None:
    before = shown(page)
    word(page, "everybody.").dblclick()
    page.keyboard.type(NASTY)
    page.keyboard.press("Enter")
    field = page.get_by_role("textbox", name="Correct Thank")
    expect(field).to_be_focused()
    page.keyboard.type("We thank")
    page.keyboard.press("Enter")
    page.keyboard.type("never mind")
    page.keyboard.press("Escape")
    expect(page.locator("#text input")).to_have_count(0)
    assert shown(page)[0][1].startswith(f"Good morning, {NASTY} We thank you for coming.")

    select(page, "ready", "are.")  # John's, to Peter, whose paragraph follows
    page.get_by_role("toolbar").get_by_role("button", name="Peter").click()
    assert shown(page)[1:3] == [
        ("John", "Good morning. I am"),
        ("Peter", "ready when you are. So am I. What time does the show begin?"),
    ]
    select(page, "What", "time")
    page.get_by_role("button", name="New paragraph").click()
    assert shown(page)[2:4] == [
        ("Peter", "ready when you are. So am I."),
        ("Peter", "What time does the show begin?"),
    ]
    select(page, "Half", "hour")
    page.get_by_role("button", name="Somebody else…").click()
    page.keyboard.type("Grace <b>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Grace <b>")).to_have_count(2)
    assert ("Grace <b>", "Half an hour") in shown(page)
    assert page.locator(".lane").count() == 4
    expect(page.get_by_role("button", name="Show only Grace <b>")).to_be_visible()

    page.get_by_role("button", name="Replace…").click()
    page.get_by_role("textbox", name="Words").fill("guest")
    page.get_by_role("textbox", name="By").fill("visitor")
    expect(page.locator("#replace-count")).to_have_text(re.compile(r"^(\d+) of \1 places$"))
    many = page.locator("#replace-list li").count()
    assert many > 1
    page.locator("#replace-list input").first.uncheck()
    page.get_by_role("button", name=f"Replace {many - 1}").click()
    assert sum(text.count("visitor") for _, text in shown(page)) == many - 1
    assert ("Peter", "Who is going to be the visitor?") in shown(page)
    page.get_by_role("button", name="Replace…").click()
    page.get_by_role("textbox", name="Words").fill("who is")
    page.get_by_role("textbox", name="By").fill("who on earth is")
    page.get_by_role("button", name="Replace 1").click()
    assert ("Peter", "Who on earth is going to be the visitor?") in shown(page)

    after, at = shown(page), times(page)
    saved = save(downloaded(page))
    assert saved.unfit == ()
    fresh = opened(context, (folder / "page.html").as_uri(), faults)
    assert shown(fresh) == after
    assert times(fresh) == at
    assert fresh.locator(".lane").count() == 4
    expect(fresh.locator("#corrected")).to_have_text(f"{5 + many} corrections")
    assert "Grace <b>: Half an hour" in (folder / "transcript.txt").read_text("utf-8")

    # Undone one after the other, in a page that has only read of them.
    for _ in range(7):
        fresh.keyboard.press("Control+z")
    expect(fresh.get_by_role("button", name="Undo")).to_be_disabled()
    assert [text for _, text in shown(fresh)] == [text for _, text in before]
    assert shown(fresh) == before
    save(downloaded(fresh))
    assert not (folder / "recognized.json").exists()
    assert "Grace" not in (folder / "transcript.txt").read_text("utf-8")


def test_undo_and_redo_are_unlimited(page: Page) -> None:
    before = shown(page)
    for text in ("morning,", "coming.", "radio", "plan"):
        word(page, text).dblclick()
        page.keyboard.type("")
        page.keyboard.press("Delete")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    select(page, "Who", "guest?")
    page.keyboard.press("1")
    after = shown(page)
    assert ("Ada", "Who is going to be the guest? I was going to ask Mary.") in [
        (who, text[:54]) for who, text in after
    ]
    for _ in range(5):
        page.keyboard.press("Control+z")
    assert shown(page) == before
    page.keyboard.press("Control+z")
    expect(page.locator("#said")).to_have_text("Nothing to undo")
    for _ in range(5):
        page.keyboard.press("Control+Shift+z")
    assert shown(page) == after
    expect(page.get_by_role("button", name="Redo")).to_be_disabled()


def test_doubtful_words_are_worked_through_without_a_mouse(page: Page) -> None:
    page.keyboard.press("n")
    expect(page.locator(".playing-word")).to_have_text("town.")
    page.keyboard.press("k")
    expect(page.locator("#said")).to_have_text("Checked. Next: dollars.")
    expect(page.locator("#doubts")).to_have_text("2")
    page.keyboard.press("Enter")
    page.keyboard.type("euros.")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("#text input")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#doubts")).to_have_text("1")
    page.locator("#doubtful summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("^It is right: ")).press("Enter")
    expect(page.locator("#doubtful")).to_be_hidden()
    page.evaluate("document.activeElement.blur()")
    go_to(page, 0.6)
    page.keyboard.press(".")
    page.keyboard.press("Shift+>")
    page.keyboard.press("Shift+>")
    expect(page.get_by_role("toolbar")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == "morning, everybody."
    page.keyboard.press("2")
    assert shown(page)[1] == ("John", "morning, everybody.")
    wishes = json.loads(downloaded(page))["corrections"]
    assert [bool(each.get("checked")) for each in wishes] == [True, False, True, False]
    assert {each["speaker"]["label"] for each in wishes[3:]} == {"SPEAKER_01"}


def test_what_was_not_downloaded_warns_and_is_kept_in_the_browser(page: Page) -> None:
    page.get_by_label("Your name").fill("Ada")
    word(page, "coming.").dblclick()
    page.keyboard.type("nothing.")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator(".corrections .saved")).to_have_text("Not downloaded yet")
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    assert asked == ["beforeunload"]
    page.locator("body.ready").wait_for()
    expect(page.locator("#said")).to_have_text("1 unsaved correction is here again")
    assert shown(page)[0][1].startswith("Good morning, everybody. Thank you for nothing.")
    (one,) = read_corrections(downloaded(page)).corrections
    assert (one.old, one.new, one.author) == ("coming.", "nothing.", "Ada")
    page.reload()  # nobody asks: it is downloaded
    page.locator("body.ready").wait_for()
    assert shown(page)[0][1].startswith("Good morning, everybody. Thank you for nothing.")


@pytest.fixture
def answers() -> threading.Event:
    """Return what is cleared to hold back the answers to what a page sends."""
    answers = threading.Event()
    answers.set()
    return answers


@pytest.fixture
def served(folder: Path, save: Save, answers: threading.Event) -> Iterator[str]:
    """Serve the page, and save what it sends."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, code: int, kind: str, content: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            about = manifest.read_manifest(folder)
            assert about
            layer = layers.open_layer(folder, about)
            html = review.render(layer, [], review.Service(TOKEN, "save"))
            self.answer(200, "text/html; charset=utf-8", html["page.html"])

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            answers.wait()
            assert (self.path, self.headers["X-Spokenby-Token"]) == ("/save", TOKEN)
            try:
                saved = save(content)
                told = {"saved": str(saved.when), "unfit": [str(each) for each in saved.unfit]}
                self.answer(200, "application/json", json.dumps(told).encode())
            except SpokenbyError as error:
                told = {"error": str(error)}
                self.answer(409, "application/json", json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_where_it_is_served_each_change_is_saved(
    served: str,
    answers: threading.Event,
    folder: Path,
    context: BrowserContext,
    faults: list[str],
) -> None:
    other = opened(context, served, [])  # which hears that it is refused
    page = opened(context, served, faults)
    saved = page.locator(".corrections .saved")
    word(page, "coming.").dblclick()
    page.keyboard.type("listening.")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(saved).to_have_text(re.compile("^Saved "))
    expect(page.get_by_role("button", name="Download")).to_be_hidden()
    assert "Thank you for listening." in (folder / "transcript.srt").read_text()
    select(page, "Thank", "listening.")
    answers.clear()
    page.keyboard.press("2")
    expect(saved).to_have_text("Saving…")
    answers.set()
    expect(saved).to_have_text(re.compile("^Saved "))
    assert "John: Thank you for listening." in (folder / "transcript.txt").read_text()

    # A page that was opened before must not write over it.
    other.bring_to_front()
    word(other, "plan").dblclick()
    other.keyboard.type("mess")
    other.keyboard.press("Enter")
    other.keyboard.press("Escape")
    expect(other.locator(".corrections .saved")).to_have_text(
        re.compile("Not saved: the stored corrections have changed since this page was opened")
    )
    assert "mess" not in (folder / "transcript.txt").read_text()
    other.close()

    fresh = opened(context, served, faults)
    expect(fresh.locator("#said")).to_have_text("1 unsaved correction is here again")
    fresh.keyboard.press("Control+z")
    fresh.keyboard.press("Control+z")
    fresh.keyboard.press("Control+z")
    expect(fresh.locator(".corrections .saved")).to_have_text(re.compile("^Saved "))
    text = (folder / "transcript.txt").read_text()
    assert conversation_lines()[0].text in text


def test_corrections_that_no_longer_fit_are_listed(
    folder: Path, context: BrowserContext, save: Save, page: Page, faults: list[str]
) -> None:
    for old, new in (("coming.", "listening."), ("plan", "scheme")):
        word(page, old).dblclick()
        page.keyboard.type(new)
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    content = downloaded(page)
    page.close()
    # Another recognizer hears other words.
    before = formats.open_transcript(folder)
    text = before.transcript.model_dump_json().replace('"coming."', '"humming."')
    heard = type(before.transcript).model_validate_json(text)
    write_conversation(folder, heard)
    assert save(content).applied == 1
    fresh = opened(context, (folder / "page.html").as_uri(), faults)
    fresh.get_by_text("1 does not fit").click()
    expect(fresh.locator("#unfit-list li")).to_contain_text("“coming.” → “listening.”")
    expect(fresh.locator("#unfit-list li")).to_contain_text("now “humming.”")
    assert "1 of 2 corrections does not fit: 0:02 “coming.”" in (
        folder / "transcript.txt"
    ).read_text("utf-8")
    fresh.get_by_role("button", name=re.compile("^Discard")).click()
    expect(fresh.locator("#unfit")).to_be_hidden()
    assert [each.new for each in read_corrections(downloaded(fresh)).corrections] == ["scheme"]


def test_tools_stand_in_nobodys_way(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.locator("#doubtful summary").click()
    select(page, "would", "make")
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()
    page.emulate_media(color_scheme="light")
    word(page, "plan").dblclick()
    page.keyboard.type("scheme")
    page.keyboard.press("Enter")
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Replace…").click()
    page.get_by_role("textbox", name="Words").fill("guest")
    page.get_by_role("textbox", name="By").fill("visitor")
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
