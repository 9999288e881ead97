"""A person's evening with a site: find, hear, name and correct, in the browser.

Needs Chromium (Debian: `apt-get install chromium-headless-shell`); skipped without one.
"""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import wait_in
from docx import Document
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.testclient import TestClient

from spokenby.output import formats
from spokenby.output.corrections import Correction, Corrections, as_json
from spokenby.settings import read_settings
from spokenby.site.frequent_corrections import OFTEN
from spokenby.site.voice_library import open_library
from spokenby.view import app as view_app
from spokenby.view.address import leading_to
from spokenby.view.videos import Videos
from tests.view.pages import Pages, add_transcript, served

ADA, PETER, JOHN, EVE, OTHER = np.eye(5)
LIKE_ADA = 0.75 * ADA + 0.66 * OTHER
HOSTILE = "<img src=x onerror=alert(1)> שלום '\"&"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Serve four transcripts: three of Ada, in the last two as a voice that only resembles hers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENBY_DATA_DIR", str(tmp_path_factory.mktemp("site") / "data"))
        pages = Pages(read_settings())
        meeting = [
            ("A", "Good morning, the bridge opens on Friday."),
            ("B", "I have the drawings here."),
        ]
        add_transcript(pages, "team meeting", meeting, [ADA, PETER], picture=True)
        interview = [("A", "I build tables."), ("B", "Tell me about the bridge.")]
        add_transcript(pages, "interview", interview, [JOHN, ADA])
        lecture = [("A", "A bridge is a path over water."), ("B", "Why?")]
        add_transcript(pages, "lecture 2", lecture, [LIKE_ADA, EVE])
        add_transcript(pages, HOSTILE, [("A", f"So far about arches. {HOSTILE}")], [LIKE_ADA])
        (pages.settings.videos / "new.mp4").write_bytes(b"not yet transcribed")
        with served(pages):
            yield pages


@pytest.fixture
def page(browser: Browser, site: Pages) -> Iterator[Page]:
    """Open the index with the secret; nothing else than the site's pages may be asked for."""
    context = browser.new_context(viewport={"width": 1180, "height": 820}, reduced_motion="reduce")
    page = context.new_page()
    asked: set[str] = set()
    faults: list[str] = []
    page.on("request", lambda request: asked.add(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda told: told.type == "error" and faults.append(told.text))
    page.goto(site.opened())
    assert page.url == f"{site.url}/"  # the secret is in no history
    yield page
    assert [url for url in asked if not url.startswith((f"{site.url}/", "blob:"))] == []
    # A name that is taken is an answer that a browser reports as a fault.
    assert [fault for fault in faults if "409 (Conflict)" not in fault] == []
    context.close()


def video(page: Page, title: str) -> Locator:
    return page.locator(".video").filter(has=page.get_by_role("heading", name=title, exact=True))


def voice(page: Page, name: str) -> Locator:
    return page.locator(".voice").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_index_shows_every_video_and_a_search_opens_at_the_second(page: Page, site: Pages) -> None:
    expect(page.locator("#counts")).to_have_text("4 done, 1 waiting")
    meeting = video(page, "team meeting")
    expect(meeting).to_contain_text("Speaker 1, Speaker 2")
    expect(meeting).to_contain_text("0:12")
    expect(meeting.locator("img")).to_have_js_property("naturalWidth", 320)
    waiting = video(page, "new.mp4")
    again = waiting.get_by_role("link", name="Transcribe").get_attribute("href")
    assert again == f"http://127.0.0.1:9/again?{site.settings.videos.absolute() / 'new.mp4'}"
    expect(video(page, HOSTILE)).to_be_visible()

    page.get_by_label("Order").select_option("By title")
    titles = page.locator(".video h2").all_text_contents()
    assert titles[1:] == ["interview", "lecture 2", "new.mp4", "team meeting"]
    page.get_by_label("Show only videos or people").fill("SPEAKER 3")
    assert page.locator(".video:visible h2").all_text_contents() == ["interview"]
    page.get_by_label("Show only videos or people").fill("nobody")
    expect(page.get_by_text("No video fits.")).to_be_visible()

    page.get_by_role("searchbox", name="Search what was said").fill("bridge")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="3 lines with “bridge”")).to_be_visible()
    page.get_by_role("link", name="Tell me about the bridge.").click()
    page.locator("body.ready").wait_for()
    wait_in(page, "Math.abs(document.getElementById('media').currentTime - 6) < 0.1")
    expect(page.locator(".playing-word")).to_have_text("Tell")
    page.goto(f"{site.url}/?find=%3C%21")
    expect(page.get_by_text("has no word to look for")).to_be_visible()
    page.goto(f"{site.url}/?find=arches")
    expect(page.locator(".hits")).to_contain_text("onerror=alert(1)")


def test_a_search_in_some_transcripts_looks_past_the_lines_of_others(
    site: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_app, "HITS", 1)
    shown = Videos((str(site.folders["lecture 2"]),), site.settings, lambda *_: "")
    app = view_app.make_app(shown, site.settings, site.key)
    client = TestClient(app, base_url="http://127.0.0.1:4201")
    client.get(f"/?key={site.key}")
    assert "is a path over water" in client.get("/?find=bridge").text


def test_transcript_plays_its_video_and_sends_parts_of_it(page: Page, site: Pages) -> None:
    video(page, "team meeting").get_by_role("link").last.click()
    page.locator("body.ready").wait_for()
    page.evaluate("document.getElementById('media').loop = true")  # it must not have ended already
    page.locator("#text p > span", has_text="Friday.").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    # "Pause" shows as soon as it is to play, which can be before the picture's size is known.
    wait_in(page, "document.getElementById('media').videoWidth === 160")
    page.get_by_role("link", name="All videos").click()
    expect(page.get_by_role("heading", name="Videos")).to_be_visible()
    with site.client() as client:
        for name, begin in (("video", b"ftyp"), ("audio.webm", b"\x1a\x45\xdf\xa3")):
            whole = client.get(site.at("team meeting", name))
            assert begin in whole.content[:12]
            part = client.get(site.at("team meeting", name), headers={"range": "bytes=100-199"})
            assert part.status_code == 206
            assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
            assert part.content == whole.content[100:200]


def test_transcript_is_downloaded_in_any_format(page: Page, site: Pages) -> None:
    page.goto(site.url + site.at("team meeting"))
    page.locator(".downloads summary").click()
    got = {}
    for name in ("docx", "changes.srt"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        assert download.value.suggested_filename == f"team meeting.{name}"
        got[name] = download.value.path().read_bytes()
    assert "Friday." in "".join(part.text for part in Document(io.BytesIO(got["docx"])).paragraphs)
    assert "Friday." in got["changes.srt"].decode()
    with site.client() as client:
        for name in formats.FORMATS:
            sent = client.get(site.at("team meeting", f"export/{name}"))
            assert (sent.status_code, bool(sent.content)) == (200, True), name
        assert client.get(site.at("team meeting", "export/papyrus")).status_code == 404


def test_voice_is_named_in_one_video_and_has_the_name_in_another(page: Page, site: Pages) -> None:
    page.goto(site.url + site.at("interview"))
    page.locator("body.ready").wait_for()
    page.get_by_role("button", name="Name Speaker 1", exact=True).click()
    page.keyboard.type("Ada Lovelace")
    page.keyboard.press("Enter")
    expect(page.locator(".named:visible")).to_have_text(
        "Speaker 1 is Ada Lovelace now; transcripts: 2 written again"
    )
    for place in (".lane .name", ".person h3", "#text h3"):
        expect(page.locator(place, has_text="Ada Lovelace")).to_have_count(1)
    page.goto(site.url + site.at("team meeting"))
    expect(page.locator("#text h3").first).to_have_text("Ada Lovelace")
    assert "Ada Lovelace:" in (site.folders["team meeting"] / "transcript.txt").read_text("utf-8")

    page.goto(f"{site.url}/voices")
    expect(voice(page, "Ada Lovelace")).to_contain_text("in 2 videos")
    like_ada = voice(page, "Speaker 4")
    expect(like_ada.locator(".samples li")).to_have_count(2)
    expect(like_ada).to_contain_text("may be Ada Lovelace, 0.75")
    # Slow, so that the samples have not ended when they are stopped.
    page.evaluate("document.getElementById('player').defaultPlaybackRate = 0.1")
    like_ada.get_by_role("button", name="Hear Speaker 4, then Ada Lovelace").click()
    playing = "!document.getElementById('player').paused"
    wait_in(page, playing)
    like_ada.get_by_role("button", name="Hear Speaker 4, then Ada Lovelace").click()
    assert not page.evaluate(playing)
    like_ada.get_by_label("Who is Speaker 4?").fill("ada lovelace")
    page.keyboard.press("Enter")
    expect(like_ada.get_by_role("alert")).to_have_text("Ada Lovelace is the name of another voice")
    voice(page, "Speaker 3").get_by_label("Who is Speaker 3?").fill("typed and not sent")
    like_ada.get_by_role("button", name="The same person: merge with Ada Lovelace").click()
    expect(page.locator("#said")).to_have_text(
        "Speaker 4 is Ada Lovelace now; transcripts: 4 written again"
    )
    expect(voice(page, "Ada Lovelace")).to_contain_text("in 4 videos")
    expect(page.get_by_label("Who is Speaker 3?")).to_have_value("typed and not sent")
    assert [each.name for each in site.transcript(HOSTILE).speakers if each.voice] == [
        "Ada Lovelace"
    ]


def test_voices_are_divided_and_kept_apart(page: Page, site: Pages) -> None:
    library = open_library(site.settings)
    change = library.split("1", "lecture 2", "SPEAKER_00")
    lone = f"Speaker {change.voice}"
    page.goto(f"{site.url}/voices")
    expect(voice(page, lone)).to_be_visible()
    expect(voice(page, lone)).not_to_contain_text("may be Ada")  # divided by hand: not suggested
    assert library.neighbors()[change.voice or 0]


def test_correction_is_saved_and_a_file_of_them_is_taken(
    page: Page, site: Pages, tmp_path: Path
) -> None:
    folder = site.folders["interview"]
    video_digest = json.loads((folder / "manifest.json").read_text())["video"]["digest"]
    correction = {
        "start": 0.0, "end": 4.833, "old": "I build tables.", "new": "I build cables.",
        "when": "2026-03-05T10:00:00Z",
    }  # fmt: skip
    content = {"video": video_digest, "corrections": [correction]}
    file = tmp_path / "corrections.json"
    file.write_text(json.dumps(content))
    page.locator("#corrections").set_input_files(file)
    expect(page.locator("#said")).to_have_text(f"{folder.name}: 1 correction applied")
    expect(video(page, "interview")).to_contain_text("% checked")
    page.goto(f"{site.url}/?find=cables")
    expect(page.get_by_role("heading", name="1 line with “cables”")).to_be_visible()
    with site.client() as client:
        send = {"headers": {"x-spokenby-token": site.token}}
        address = site.at("interview", "corrections")
        stored = json.loads((folder / "corrections.json").read_text())
        stored["corrections"].append({**correction, "old": "I build cables.", "new": "No."})
        stored["builds_on"] = stored.get("revision", "")
        answer = client.put(address, content=json.dumps(stored), **send)
        assert answer.json()["applied"] == 2, answer.text
        bad = client.put(address, content=b"{", **send)
        assert bad.status_code == 400
        assert bad.json()["error"].startswith("corrections.json")
        assert client.put(site.at("interview", "corrections")).status_code == 403


def test_what_is_corrected_again_and_again_is_added_to_the_vocabulary(
    page: Page, site: Pages
) -> None:
    copies = site.settings.corrections
    copies.mkdir(parents=True, exist_ok=True)
    for number in range(OFTEN):
        wish = {"old": "at Ida", "new": "at <b>Ada", "when": datetime.now(UTC)}
        one = Correction(start=number, end=number + 1, **wish)
        content = as_json(Corrections(video="b" * 64, corrections=(one,) * (number + 1)))
        (copies / f"{number}.json").write_bytes(content)
    page.get_by_role("link", name="Vocabulary").click()
    page.wait_for_url("**/vocabulary")  # and for its script, without which a button does nothing
    expect(page.get_by_role("listitem").filter(has_text="Ida → <b>Ada")).to_contain_text("3 times")
    page.get_by_role("button", name="Add Ida => <b>Ada").click()
    expect(page.locator("#said")).to_contain_text("vocabulary.txt: the next runs use it")
    expect(page.get_by_text("No correction was made 3 times")).to_be_visible()
    assert (site.settings.data_dir / "vocabulary.txt").read_text() == "Ida => <b>Ada\n"
    with site.client() as client:
        send = {"headers": {"x-spokenby-token": site.token}}
        answer = client.post("/vocabulary", content=b'{"line": "any => thing"}', **send)
        assert (answer.status_code, "not offered" in answer.json()["error"]) == (400, True)
        assert client.post("/vocabulary", content=b'{"line": "any => thing"}').status_code == 403
    for path in copies.glob("?.json"):
        path.unlink()


def test_browser_is_led_in_by_a_file_that_only_its_owner_can_read(
    browser: Browser, site: Pages
) -> None:
    file = leading_to(site.opened("/voices"), site.settings)
    assert file.stat().st_mode & 0o777 == 0o600
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_url(f"{site.url}/voices")
    expect(page.get_by_role("heading", name="Voices", exact=True)).to_be_visible()
    page.close()


REFUSED = {
    "the name of another site": {"host": "rebound.example"},
    "no port": {"host": "127.0.0.1:none"},
    "another site": {"origin": "http://evil.example"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "a file": {"origin": "null"},
    "in the background": {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
}


def test_nobody_else_is_admitted(site: Pages) -> None:
    paths = ["/", "/voices", "/static/page.css", site.at("interview"),
             site.at("interview", "audio.webm"), site.at("interview", "video")]  # fmt: skip
    with site.client(admitted=False) as stranger:
        for path in [*paths, "/nowhere"]:
            answer = stranger.get(path)
            assert (answer.status_code, "transcript.json" in answer.text) == (403, False), path
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert stranger.get("/", params={"key": "wrong"}).status_code == 403
        assert stranger.post("/voices/name", json={"voice": 1, "name": "Eve"}).status_code == 403
    with site.client() as client:
        cookie = next(iter(client.cookies.jar))
        assert cookie.value != site.key
        assert {"HttpOnly", "SameSite"} <= cookie._rest.keys()
        assert [client.get(path).status_code for path in paths] == [200] * len(paths)
        for what, headers in REFUSED.items():
            assert client.get("/", headers=headers).status_code == 403, what
        # A link on another page leads here; what it opens changes nothing.
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert client.get("/", headers=headers).status_code == 200
        assert client.get("/voices", headers=headers, params={"key": site.key}).status_code == 200
        asked = {"voice": 2, "name": "Eve"}
        for headers in ({}, {"x-spokenby-token": site.key}, {"x-spokenby-token": ""}):
            assert client.post("/voices/name", json=asked, headers=headers).status_code == 403
        for headers in REFUSED.values():
            given = {**headers, "x-spokenby-token": site.token}
            assert client.post("/voices/name", json=asked, headers=given).status_code == 403
        status, _, headers = as_written(client, f"//evil.example/?key={site.key}")
        assert (status, headers["location"]) == (303, "/evil.example/")
    assert "Eve" not in [each.name for each in open_library(site.settings).voices()]


NO_REQUESTS = (
    b"",
    b"[]",
    b'{"voice": 2}',
    b'{"voice": "2", "name": "Eve"}',
    b'{"voice": 2, "name": ""}',
    b'{"voice": 99, "name": "Eve"}',
    b"[" * 9_000,
)


def test_what_is_no_request_is_refused_in_one_line(site: Pages) -> None:
    with site.client() as client:
        headers = {"x-spokenby-token": site.token}
        for asked in NO_REQUESTS:
            answer = client.post("/voices/name", content=asked, headers=headers)
            assert answer.status_code == 400, asked[:40]
            assert "\n" not in answer.json()["error"]
        much = client.post("/voices/name", content=b" " * 20_000, headers=headers)
        assert much.status_code == 413


def test_only_files_of_transcripts_are_sent(site: Pages, tmp_path: Path) -> None:
    folder = site.folders["lecture 2"]
    secret = site.settings.data_dir / "server" / "view-key"
    (folder / "link.txt").symlink_to(secret)
    transcript = folder / "transcript.txt"
    content = transcript.read_bytes()
    transcript.unlink()
    transcript.symlink_to(secret)  # in the manifest, and leads out
    with site.client() as client:
        names = ["link.txt", "transcript.txt", "..%2Fserver%2Fview-key", "%2e%2e", "nothing"]
        names += ["..%5Cview-key", "manifest.json%00", str(secret).replace("/", "%2F")]
        paths = ["/t/../../server/view-key", "/t/%2e%2e/page.html", "/t/0/page.html"]
        paths += ["/static/..%2Fapp.py", "/static/../app.py", "/../server/view-key"]
        for path in [*(site.at("lecture 2", name) for name in names), *paths]:
            status, sent, _ = as_written(client, path)
            assert status == 404, path
            assert site.key.encode() not in sent
        transcript.unlink()
        transcript.write_bytes(content)
        sent = client.get(site.at("lecture 2", "transcript.txt"))
        assert sent.content == content
        assert sent.headers["content-disposition"].startswith("attachment")
    (folder / "link.txt").unlink()


def as_written(client: httpx.Client, path: str) -> tuple[int, bytes, Mapping[str, str]]:
    """Ask for a path without tidying it first, as browsers and httpx do."""
    host = client.base_url
    connection = http.client.HTTPConnection(host.host, host.port or 80)
    cookie = next(iter(client.cookies.jar))
    connection.request("GET", path, headers={"cookie": f"{cookie.name}={cookie.value}"})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_anybodys_way(page: Page, site: Pages, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for path in ("/", "/?find=bridge", "/voices", "/vocabulary", site.at("team meeting")):
        page.goto(site.url + path)
        if path == site.at("team meeting"):
            page.locator("body.ready").wait_for()
            page.locator("[data-do=rename]").first.click()
        found = Axe().run(page)
        assert found.response["violations"] == [], f"{path}: {found.generate_report()}"


def test_phone_scrolls_in_one_direction(page: Page, site: Pages) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    for path in ("/", "/?find=bridge", "/voices"):
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") == 375, path
    with site.client() as client:
        nowhere = client.get("/nowhere")
    assert (nowhere.status_code, "no such page" in nowhere.text) == (404, True)
