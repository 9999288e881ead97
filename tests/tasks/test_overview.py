from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from spokenby.progress import Step, VideoEnded, VideoPlanned, VideosFound
from spokenby.telemetry.overview import Overview
from tasks.again import Again
from tasks.overview import SHOWN, write_overview

DEPLOYMENT = UUID(int=7)
EVIL = "/v/a|b ![x](http://127.0.0.1/x.png).mp4"


def rows(page: str) -> list[list[str]]:
    table = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.replace("\\|", "¦").split("|")[1:-1]] for row in table]


def test_a_row_a_video_and_the_whole_above() -> None:
    overview = Overview()
    overview.note(VideosFound(("/v/talk.mp4", EVIL, "/v/later.mp4"), (10, 10, 10)))
    overview.note(VideoPlanned("/v/talk.mp4", 60.0, ("diarize", "transcribe")))
    overview.note(Step("/v/talk.mp4", "diarize", "running", 0.5))
    overview.note(VideoEnded(EVIL, "failed", "a|b is no video"))
    page = write_overview(overview, Again(DEPLOYMENT, {"paths": ["/v"], "num_speakers": 2}))
    assert page.startswith("**0 of 3 done, 1 failed, time left not known yet**, running for 0:0")
    head, talk, failed, later = rows(page)
    assert head == ["video", "done", "left", "speed", "", "state"]
    assert (talk[0], talk[-1]) == ("talk.mp4", "diarize 50%")
    assert talk[1].endswith(" 22%")
    assert (later[0], later[-1]) == ("later.mp4", "waits for its turn")
    assert failed[-1] == "failed: a¦b is no video"
    assert "![x](" not in page
    assert failed[4].startswith("[run again](/deployments/deployment/")


def test_the_link_opens_the_form_as_the_run_was_asked_for() -> None:
    again = Again(
        DEPLOYMENT, {"paths": ["/v"], "force": (), "language": "de", "output": None, "profile": "x"}
    )
    link = again.link("diarize", "/v/a b.mp4", ["diarize"])
    address = urlsplit(link.removeprefix("[diarize](").removesuffix(")"))
    assert address.path == f"/deployments/deployment/{DEPLOYMENT}/run"
    (parameters,) = parse_qs(address.query)["parameters"]
    assert json.loads(parameters) == {
        "paths": ["/v/a b.mp4"],
        "force": ["diarize"],
        "language": "de – German",
        "profile": "x",
    }
    assert Again(None, {}).link("diarize", "/v/a b.mp4") == ""


def test_a_thousand_videos_are_summed_up() -> None:
    overview = Overview()
    overview.note(VideosFound(tuple(f"/v/{n}.mp4" for n in range(1000)), (1,) * 1000))
    page = write_overview(overview, Again(None, {}))
    assert len(rows(page)) == SHOWN + 2
    assert rows(page)[-1][0] == f"{1000 - SHOWN} more"
