"""A person's way through the browser: fill in the form, start, watch, read, press Retry.

Needs Chromium (Debian: `apt-get install chromium-headless-shell`); skipped without one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import Site, migrate
from playwright.sync_api import Browser, Error, Locator, Page, expect
from served import LOST, Served, children, csrf_token, forget_diarization, wait
from tracing import QUIETED, can_trace, hosts_in, tracer

A_RUN_MS = 300_000


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, finished: Site) -> Iterator[Served]:
    """Yield a copy of the finished site with `spokenby serve` running; stop it with Ctrl-C."""
    site = Served(tmp_path_factory.mktemp("desk"))
    site.copy_data(finished)
    migrate(site)
    for name in ("PREFECT_API_URL", "PYTHONPATH"):  # nobody here kills it in the midst of a stage
        del site.environment[name]
    home, log = tmp_path_factory.mktemp("home"), site.folder / "connections"
    site.environment["HOME"] = str(home)
    for name in filter(QUIETED.match, tuple(site.environment)):
        del site.environment[name]
    before = tracer(log) if can_trace() else []
    told = site.up("both", before=before)
    assert f"ready: {site.home}" in told
    site.pages = re.findall(r"http\S+/\?key=\S+", told)[0]
    yield site
    working = children(site.parts["both"].pid)
    assert len(working) == 3
    assert site.down("both") == 0
    assert not any(map(psutil.pid_exists, working))
    # Server, worker and runs reported to nobody.
    assert not before or hosts_in(log) == set()
    assert not (home / ".cache").exists()


@pytest.fixture
def page(desk: Served, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    hosts = set()
    page.on("request", lambda request: hosts.add(httpx.URL(request.url).host))
    yield page
    context.close()
    assert hosts - {""} == {"127.0.0.1"}, "the UI asked an outside service"  # "": blobs, data


class Attacker(BaseHTTPRequestHandler):
    """A page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>another site</h1>")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def another_site() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Attacker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


ATTACK = """async ([api, deployment]) => {
    const tried = {};
    const attempt = async (name, ask) => {
        try { tried[name] = (await ask()).status } catch { tried[name] = "refused" }
    };
    const body = JSON.stringify({parameters: {paths: []}, job_variables: {command: "touch stolen"}});
    const create = `${api}/deployments/${deployment}/create_flow_run`;
    const json = {"content-type": "application/json"};
    await attempt("read runs", () => fetch(`${api}/flow_runs/filter`, {method: "POST", body: "{}", headers: json}));
    await attempt("create", () => fetch(create, {method: "POST", body, headers: json}));
    await attempt("create, plain", () => fetch(create, {method: "POST", body}));
    await attempt("token", () => fetch(`${api}/csrf-token?client=me`));
    tried.blind = await fetch(create, {method: "POST", body, mode: "no-cors"}).then(() => "sent", () => "refused");
    tried.socket = await new Promise(done => {
        const socket = new WebSocket(`${api.replace("http", "ws")}/events/out`);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    });
    return tried;
}"""  # noqa: E501 - the attacker's


def runs_of(desk: Served) -> int:
    return int(desk.api("POST", "/flow_runs/count", {}))


def test_a_page_of_another_site_neither_reads_nor_starts_runs(
    desk: Served, launch: Callable[..., Browser], another_site: int
) -> None:
    home: str = desk.home
    found = httpx.get(f"{home}/api/deployments/name/transcribe-videos/transcribe-videos")
    before = runs_of(desk)
    port = httpx.URL(home).port
    rules = f"MAP rebound.example 127.0.0.1:{port}, MAP evil.example 127.0.0.1:{another_site}"
    browser = launch(f"--host-resolver-rules={rules}")
    page = browser.new_page()
    page.goto(f"http://evil.example:{another_site}/")
    tried = page.evaluate(ATTACK, [f"{home}/api", found.json()["id"]])
    assert tried.pop("blind") in {"sent", "refused"}  # a page can send blindly: without effect
    assert set(tried.values()) == {"refused"}, tried
    # Rebinding: the name of the other site leads to our server, so to the browser it is one.
    answer = page.goto(f"http://rebound.example:{port}/")
    assert answer
    assert answer.status == 403
    assert "does not answer to the name" in answer.text()
    # Prefect's second UI, which asks an analytics service, is not served.
    hosts = set()
    page.on("request", lambda request: hosts.add(httpx.URL(request.url).host))
    for path in ("/v2", "/v2/dashboard", "/"):
        page.goto(f"{home}{path}")
        with suppress(Error):  # Prefect's UI asks its own server again and again
            page.wait_for_load_state("networkidle", timeout=30_000)
    assert hosts - {""} == {"127.0.0.1"}
    browser.close()
    assert runs_of(desk) == before


def test_a_run_cannot_bring_its_own_command(desk: Served, tmp_path: Path) -> None:
    url = desk.url
    found = httpx.get(f"{url}/deployments/name/transcribe-videos/transcribe-videos").json()
    stolen = tmp_path / "stolen"
    body = {
        "parameters": {"paths": [str(desk.videos / "telephone talk.mp4")]},
        "job_variables": {"command": f"touch '{stolen}'", "env": {"SPOKENBY_DATA_DIR": "/nowhere"}},
    }
    answer = httpx.post(
        f"{url}/deployments/{found['id']}/create_flow_run", json=body, headers=csrf_token(url)
    )
    run = answer.json()["id"] if answer.is_success else ""
    deadline = time.monotonic() + A_RUN_MS / 1000
    while run and time.monotonic() < deadline:
        if httpx.get(f"{url}/flow_runs/{run}").json()["state"]["type"] == "COMPLETED":
            break
        time.sleep(0.5)
    else:
        assert answer.is_client_error, "the run did not complete"
    assert not stolen.exists()


def field(page: Page, name: str) -> Locator:
    label = page.get_by_text(re.compile(rf"^{name}( \(Optional\))?$"))
    return page.locator(".schema-form-property").filter(has=label)


def follow(page: Page, text: str) -> Page:
    """Click a link of an artifact and return the page that opens."""
    with page.expect_popup() as opened:
        page.locator(".markdown-renderer__link", has_text=text).first.click()
    return opened.value


def state_of(page: Page) -> Locator:
    return page.locator(".page-heading-flow-run .state-badge").first


def start_from_form(page: Page, desk: Served, video: Path, shot: Path | None = None) -> None:
    """Fill in the form of transcribe-videos and open the run that it starts."""
    page.goto(f"{desk.home}/deployments")
    page.get_by_role("link", name="transcribe-videos", exact=True).first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    paths = field(page, "Videos or folders")
    paths.get_by_role("button", name="Add item").click()
    paths.locator("textarea").fill(str(video))
    field(page, "Profile").locator(".p-select-button__control").press("Space")
    page.locator(".p-select-option", has_text="embedded").click()
    field(page, "Number of speakers").locator("input").fill("2")
    if shot:
        page.mouse.wheel(0, -5000)
        page.screenshot(path=shot)
    params = field(page, "Merge").last
    params.get_by_text("set", exact=True).click()
    field(page, "Max pause").last.locator("input").fill("2.5")
    submit(page, desk)


def submit(page: Page, desk: Served) -> None:
    """Submit a form and open the run that it starts."""
    with page.expect_response(re.compile("create_flow_run$")) as created:
        page.get_by_role("button", name="Submit").click()
    assert created.value.ok, f"{created.value.text()}: {created.value.request.post_data}"
    page.goto(f"{desk.home}/runs/flow-run/{created.value.json()['id']}")


def overviews_until_the_end(desk: Served, run: str) -> list[str]:
    """Return the overviews of a run that the server had, from the first to the one at its end."""
    wanted = {
        "artifacts": {"key": {"any_": ["overview"]}, "flow_run_id": {"any_": [run]}},
        "sort": "UPDATED_DESC",
    }
    seen: dict[str, None] = {}
    deadline = time.monotonic() + A_RUN_MS / 1000
    ended = False
    with httpx.Client(base_url=desk.url, headers=csrf_token(desk.url)) as client:
        while not ended and time.monotonic() < deadline:
            ended = client.get(f"/flow_runs/{run}").json()["state"]["type"] == "COMPLETED"
            found = client.post("/artifacts/filter", json=wanted).json()
            for artifact in reversed(found):
                seen.pop(artifact["data"], None)
                seen[artifact["data"]] = None
            time.sleep(0.5)
    return list(seen)


def test_form_starts_a_run_whose_artifact_can_be_read(
    desk: Served, page: Page, tmp_path: Path
) -> None:
    start_from_form(page, desk, desk.videos / "telephone talk.mp4", tmp_path / "form.png")
    run = page.url.rpartition("/")[2]
    pages = overviews_until_the_end(desk, run)
    assert len(pages) > 1, pages  # it moved
    assert any("diarize" in seen or "transcribe" in seen for seen in pages), pages
    assert pages[-1].startswith("**1 of 1 done**")
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    page.screenshot(path=tmp_path / "run.png")
    page.reload()  # the page may have asked for the artifacts before there were any
    page.get_by_text("Artifacts", exact=True).click()
    expect(page.get_by_text("1 of 1 done")).to_be_visible()
    page.get_by_text("overview", exact=True).last.click()
    page = follow(page, "telephone talk.mp4")
    for speaker in desk.transcript("telephone talk").speakers:  # numbered over the whole site
        expect(page.get_by_role("cell", name=speaker.name, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "artifact.png")
    artifact = page.url
    page = follow(page, "read and listen")
    expect(page.get_by_role("heading", name="Not admitted")).to_be_visible()
    transcript = page.url
    page.goto(desk.pages)
    page.goto(transcript)
    expect(page.get_by_role("heading", name="telephone talk")).to_be_visible()
    page.goto(artifact)
    assert desk.manifest("telephone talk")["params"]["diarize"]["num_speakers"] == 2
    assert desk.manifest("telephone talk")["params"]["merge"]["max_pause"] == 2.5
    nameless = desk.transcript("telephone talk").speakers[0].name
    page = follow(page, "name")
    expect(field(page, "Voice").locator("textarea")).to_have_value(nameless)
    field(page, "Name").locator("textarea").fill("Ada Lovelace")
    submit(page, desk)
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    assert "Ada Lovelace" in [each.name for each in desk.transcript("telephone talk").speakers]


def test_commands_find_the_server_of_their_site(desk: Served) -> None:
    checked = desk.run("up", "--check")
    assert checked.stdout == f"{desk.home}/api: nothing is missing\n", checked.stderr


def test_failed_video_is_run_again_from_the_overview_and_a_failed_run_is_retried(
    desk: Served, page: Page, tmp_path: Path
) -> None:
    """Follow the overview's link to the filled-in form: all but what failed is stored.

    One broken video is mended before that, the other before the whole run is tried again.
    """
    folder = desk.folder / "three"
    folder.mkdir()
    shutil.copy(desk.videos / "telephone talk.mp4", folder / "talk.mp4")
    broken, later = folder / "late.mp4", folder / "later.mp4"
    broken.write_text("not yet")
    later.write_text("nor this")
    start_from_form(page, desk, folder)
    run = page.url
    expect(state_of(page)).to_have_text("Failed", timeout=A_RUN_MS)
    message = "late.mp4 is not a video or audio file"
    expect(page.get_by_text(message).first).to_be_visible(timeout=A_RUN_MS)  # in its log
    page.screenshot(path=tmp_path / "failed.png")
    page.get_by_text("Details", exact=True).click()
    expect(page.get_by_text(re.compile(f"^{message}"))).to_be_visible()
    told = desk.run_of(run.rpartition("/")[2])["state"]["message"]
    assert told.endswith("(2 of 3 videos failed); to run one again: Artifacts, overview")
    page.get_by_text("Artifacts", exact=True).click()
    expect(page.get_by_text("1 of 3 done, 2 failed")).to_be_visible()
    page.get_by_text("overview", exact=True).last.click()
    expect(page.get_by_role("cell", name=re.compile(message))).to_be_visible()
    page.screenshot(path=tmp_path / "overview.png")
    shutil.copy(desk.videos / "telephone talk.mp4", broken)
    page = follow(page, "run again")
    expect(field(page, "Videos or folders").locator("textarea")).to_have_value(str(broken))
    expect(field(page, "Number of speakers").locator("input")).to_have_value("2")
    page.screenshot(path=tmp_path / "form.png")
    expect(field(page, "Max pause").last.locator("input")).to_have_value("2.5")
    submit(page, desk)
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    assert desk.computed("late") <= {"merge"}

    shutil.copy(desk.videos / "telephone talk.mp4", later)
    page.goto(run)
    expect(state_of(page)).to_have_text("Failed")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    page.get_by_text("Task Runs", exact=True).click()
    expect(page.get_by_text("write later (attempt 2)").first).to_be_visible()


def open_schedule(page: Page, desk: Served) -> Locator:
    """Open the dialog in which a person edits the schedule of sweeps."""
    page.goto(f"{desk.home}/deployments")
    page.get_by_role("link", name="sweep-folder", exact=True).first.click()
    page.locator(".deployment-schedule__menu button").click()
    page.get_by_text("Edit", exact=True).first.click()
    return page.get_by_role("dialog")


def labeled(dialog: Locator, name: str) -> Locator:
    label = dialog.page.get_by_text(name, exact=True)
    return dialog.locator(".p-label").filter(has=label).locator(".p-base-input, .p-toggle")


def choose(page: Page, select: Locator, option: str) -> None:
    select.locator(".p-select-button__control").press("Space")
    page.locator(".p-select-option", has_text=option).click()


@contextmanager
def held(process: psutil.Process) -> Iterator[None]:
    """Hold a process still for as long as one looks at what the page shows of it."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def worker_of(desk: Served) -> psutil.Process:
    """Return the worker that `spokenby serve` has started."""
    serve = psutil.Process(desk.parts["both"].pid)
    (worker,) = (child for child in serve.children() if "worker" in child.cmdline())
    return worker


def process_of(desk: Served, run: str) -> psutil.Process:
    """Return the process in which the worker does a run that has begun."""
    (process,) = (
        child
        for child in worker_of(desk).children()
        if child.environ().get("PREFECT__FLOW_RUN_ID") == run
    )
    return process


def test_serve_is_started_again_and_a_run_goes_on_the_schedule_is_kept_a_folder_watched(
    desk: Served, page: Page, tmp_path: Path
) -> None:
    dialog = open_schedule(page, desk)
    labeled(dialog, "Value").locator("input").fill("12")
    choose(page, labeled(dialog, "Interval"), "Hours")
    labeled(dialog, "Timezone").locator("button").press("Space")
    page.keyboard.type("Berlin")
    page.locator(".p-select-option", has_text="Europe / Berlin").click()
    page.screenshot(path=tmp_path / "schedule.png")
    choose(page, dialog.locator(".p-select", has_text="Select parameters"), "max_attempts")
    page.keyboard.press("Escape")
    field(page, "Attempts").locator("input").fill("5")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    sweep = desk.api("GET", "/deployments/name/sweep-folder/sweep-folder")
    desk.api("PATCH", f"/deployments/{sweep['id']}", {"description": "of an earlier version"})

    forget_diarization(desk, "telephone talk")
    run = desk.trigger(paths=[str(desk.videos / "telephone talk.mp4")])
    desk.wait_for_start(run)
    serve = desk.parts["both"]
    with held(process_of(desk, run)):
        page.goto(f"{desk.home}/runs/flow-run/{run}")
        expect(state_of(page)).to_have_text("Running")
        serve.send_signal(signal.SIGINT)
    told, _ = serve.communicate(timeout=120)
    assert "stopped, continues with the next spokenby serve: telephone talk.mp4" in told

    watched = desk.folder / "watched"
    watched.mkdir()
    new = watched / "new.mp4"
    shutil.copy(desk.videos / "conversation.mp4", new)
    os.utime(new, (0, 0))  # what changed within a minute may still be being written
    told = desk.up("both", "--watch", str(watched))
    assert "updated: deployment sweep-folder" in told
    with held(worker_of(desk)):
        page.reload()
        expect(state_of(page)).to_have_text("Stopped")
        page.get_by_text("Details", exact=True).click()
        message = "stopped with spokenby serve; continues when it is started again"
        expect(page.get_by_text(message)).to_be_visible()
        page.screenshot(path=tmp_path / "stopped.png")
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    assert desk.computed("telephone talk") <= set(LOST)
    assert "crashed (" not in desk.history_of(run)  # which would count against its restarts
    swept = {"flow_runs": {"name": {"any_": ["sweep watched"]}}}  # its name once it has begun
    wait(lambda: desk.api("POST", "/flow_runs/filter", swept), A_RUN_MS / 1000, lambda: swept)

    dialog = open_schedule(page, desk)
    expect(labeled(dialog, "Value").locator("input")).to_have_value("12")
    expect(labeled(dialog, "Interval")).to_have_text("Hours")
    expect(labeled(dialog, "Timezone")).to_have_text("Europe / Berlin")
    expect(field(page, "Attempts").locator("input")).to_have_value("5")
    expect(field(page, "Folders to watch").locator("textarea")).to_have_value(str(watched))
    expect(labeled(dialog, "Active").get_by_role("switch")).to_be_checked()
    page.screenshot(path=tmp_path / "schedule kept.png")

    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="sweep watched").first.click()
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    page.get_by_text("Artifacts", exact=True).click()
    page.screenshot(path=tmp_path / "sweep.png")
    page.get_by_text("run-of-sweep", exact=True).last.click()
    page = follow(page, "new.mp4")
    expect(state_of(page)).to_have_text("Completed", timeout=A_RUN_MS)
    assert desk.output("new").is_dir()
