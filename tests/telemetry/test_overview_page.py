from __future__ import annotations

from spokenby.progress import Step, VideoEnded, VideoPlanned, VideosFound
from spokenby.telemetry.overview import Overview
from spokenby.telemetry.overview_page import SHOWN, write_overview

EVIL = "/v/a|b ![x](http://127.0.0.1/x.png).mp4"


def link_to(digest: str, text: str) -> str:
    return f"[{text}](/{digest})"


def rows(page: str) -> list[list[str]]:
    table = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.replace("\\|", "¦").split("|")[1:-1]] for row in table]


def test_a_row_a_video_and_the_whole_above() -> None:
    overview = Overview()
    overview.note(VideosFound(("/v/talk.mp4", EVIL, "/v/later.mp4", "/v/done.mp4"), (10,) * 4))
    overview.note(VideoPlanned("/v/talk.mp4", 60.0, ("diarize", "transcribe")))
    overview.note(Step("/v/talk.mp4", "diarize", "running", 0.5))
    overview.note(VideoEnded(EVIL, "failed", "a|b is no video"))
    overview.note(VideoEnded("/v/done.mp4", "done", "/t", "abc"))
    page = write_overview(overview, link_to, lambda path: f"[again]({len(path)})")
    assert page.startswith("**1 of 4 done, 1 failed, time left not known yet**, running for 0:0")
    head, talk, failed, later, done = rows(page)
    assert head == ["video", "done", "left", "speed", "", "state"]
    assert (talk[0], talk[-1]) == ("talk.mp4", "diarize 50%")
    assert talk[1].endswith(" 22%")
    assert (later[0], later[-1]) == ("later.mp4", "waits for its turn")
    assert failed[-1] == "failed: a¦b is no video"
    assert (done[0], done[1][-4:], done[4]) == ("[done.mp4](/abc)", "100%", "")
    assert "![x](" not in page
    assert (failed[4], talk[4]) == (f"[again]({len(EVIL)})", "")
    for path in ("/v/talk.mp4", "/v/later.mp4"):
        overview.note(VideoEnded(path, "done", "/t", path))
    page = write_overview(overview, link_to, lambda _path: "")
    assert page.startswith("**3 of 4 done, 1 failed**, took 0:0")


def test_a_thousand_videos_are_summed_up() -> None:
    overview = Overview()
    overview.note(VideosFound(tuple(f"/v/{n}.mp4" for n in range(1000)), (1,) * 1000))
    page = write_overview(overview, link_to, lambda _path: "")
    assert len(rows(page)) == SHOWN + 2
    assert rows(page)[-1][0] == f"{1000 - SHOWN} more"
