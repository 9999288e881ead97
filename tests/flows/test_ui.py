"""A person's way through the browser: fill in the form, start, watch, read, press Retry.

Needs Chromium (Debian: `apt-get install chromium`); skipped without one.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Site, free_port
from playwright.sync_api import Locator, Page, expect, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)

SOON_MS = 30_000
A_RUN_MS = 180_000


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, finished: Site) -> Iterator[Site]:
    """Yield a copy of the finished site with `spokenby serve` running; stop it with Ctrl-C."""
    site = Site(tmp_path_factory.mktemp("desk"), {})
    site.copy_data(finished)
    site.environment.pop("PREFECT_API_URL", None)
    site.home = f"http://127.0.0.1:{free_port()}"  # type: ignore[attr-defined]
    port = site.home.rpartition(":")[2]  # type: ignore[attr-defined]
    serve = site.start("serve", "--port", port, PREFECT_WORKER_QUERY_SECONDS="1")
    told = ""
    for line in serve.stdout:  # type: ignore[union-attr]
        told += line
        if line.startswith("ready"):
            break
    assert f"ready: {site.home}" in told, told + serve.communicate()[1]  # type: ignore[attr-defined]
    yield site
    listed = subprocess.run(["pgrep", "-P", str(serve.pid)], capture_output=True, check=True)
    children = listed.stdout.split()
    assert len(children) == 2
    serve.send_signal(signal.SIGINT)
    assert serve.wait(60) == 0
    left = subprocess.run(["ps", "-p", b",".join(children)], capture_output=True, check=False)
    assert left.returncode == 1, left.stdout


@pytest.fixture
def page(desk: Site) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(SOON_MS)
        hosts = set()
        page.on("request", lambda request: hosts.add(httpx.URL(request.url).host))
        yield page
        browser.close()
    assert hosts - {""} == {"127.0.0.1"}, "the UI asked an outside service"  # "": blobs, data


def field(page: Page, name: str) -> Locator:
    label = page.get_by_text(re.compile(rf"^{name}( \(Optional\))?$"))
    return page.locator(".schema-form-property").filter(has=label)


def state_of(page: Page) -> Locator:
    return page.locator(".page-heading-flow-run .state-badge").first


def start_from_form(page: Page, desk: Site, video: Path, shot: Path | None = None) -> None:
    """Fill in the form of transcribe-videos and open the run that it starts."""
    page.goto(f"{desk.home}/deployments")  # type: ignore[attr-defined]
    page.get_by_role("link", name="transcribe-videos", exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    paths = field(page, "paths")
    paths.get_by_role("button", name="Add item").click()
    paths.locator("textarea").fill(str(video))
    field(page, "profile").locator(".p-select-button__control").press("Space")
    page.locator(".p-select-option", has_text="embedded").click()
    field(page, "num_speakers").locator("input").fill("2")
    if shot:
        page.mouse.wheel(0, -5000)
        page.screenshot(path=shot)
    with page.expect_response(re.compile("create_flow_run$")) as created:
        page.get_by_role("button", name="Submit").click()
    assert created.value.ok, f"{created.value.text()}: {created.value.request.post_data}"
    page.goto(f"{desk.home}/runs/flow-run/{created.value.json()['id']}")  # type: ignore[attr-defined]


def test_form_starts_a_run_whose_artifact_can_be_read(
    desk: Site, page: Page, tmp_path: Path
) -> None:
    start_from_form(page, desk, desk.videos / "telephone talk.mp4", tmp_path / "form.png")
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    page.screenshot(path=tmp_path / "run.png")
    page.reload()  # the page may have asked for the artifacts before there were any
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text(re.compile("^video-")).last.click()
    for speaker in desk.transcript("telephone talk").speakers:  # numbered over the whole site
        expect(page.get_by_role("cell", name=speaker.name, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "artifact.png")
    assert desk.manifest("telephone talk")["params"]["diarize"]["num_speakers"] == 2


def test_failed_run_is_retried(desk: Site, page: Page, tmp_path: Path) -> None:
    late = desk.folder / "late.mp4"
    start_from_form(page, desk, late)
    expect(state_of(page)).to_have_text("Failed", timeout=A_RUN_MS)
    expect(page.get_by_text("does not exist").first).to_be_visible(timeout=A_RUN_MS)  # in its log
    page.screenshot(path=tmp_path / "failed.png")
    shutil.copy(desk.videos / "telephone talk.mp4", late)
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
