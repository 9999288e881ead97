"""Show how far a run is in Prefect's UI: one artifact, which moves along."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from spokenby.progress import listening
from spokenby.telemetry.overview import Overview, VideoProgress, about, names, speed_in_words
from spokenby.types import Seconds
from spokenby.wording import clock, markdown_cell, markdown_code
from tasks.again import Again
from tasks.artifacts import link_to_video, tell_prefect

KEY = "overview"
EVERY_S: Seconds = 5.0
"""Between updates; one costs about 20 ms."""

SHOWN = 200
"""Videos in the table: those at work first, then what failed."""

_BAR = 10
_ORDER = ("running", "failed", "stopped", "waiting", "done", "unchanged")


@contextmanager
def overview_shown(again: Again) -> Iterator[None]:
    """Show the videos of the flow run of this context while they are worked on."""
    overview = Overview()
    with listening(overview.note):
        artifact = tell_prefect(
            create_markdown_artifact,
            write_overview(overview, again),
            key=KEY,
            description=overview.summary(),
        )
        if artifact is None:
            yield
            return
        ended = threading.Event()
        keep_moving = partial(_move, artifact, overview, again, ended)
        # In a copy of this context: it knows the server.
        mover = threading.Thread(target=copy_context().run, args=(keep_moving,), daemon=True)
        mover.start()
        try:
            yield
        finally:
            ended.set()
            mover.join()


def _move(artifact: UUID, overview: Overview, again: Again, ended: threading.Event) -> None:
    """Update the artifact now and then, and once more at the end."""
    shown = ("", "")
    with get_client(sync_client=True) as client:
        while True:
            last = ended.wait(EVERY_S)
            now = overview.summary(), write_overview(overview, again)
            if now != shown:
                update = ArtifactUpdate(description=now[0], data=now[1])
                tell_prefect(client.update_artifact, artifact, update)
                shown = now
            if last:
                return


def write_overview(overview: Overview, again: Again) -> str:
    """Return the page: the whole in one line, then a row a video."""
    videos = overview.videos()
    rows = sorted(videos, key=lambda v: _ORDER.index(v.state) if v.state in _ORDER else 1)
    shown = names(video.video for video in rows[:SHOWN])
    lines = [
        f"**{overview.summary()}**, running for {clock(overview.elapsed)}",
        "",
        *(
            f"- model {markdown_cell(step.video)}: {step.fraction:.0%}"
            + (f", {markdown_cell(step.note)}" if step.note else "")
            for step in overview.models
        ),
        "",
        # What may be long comes last: the UI cuts wide tables.
        "| video | done | left | speed | | state |",
        "|---|---|---:|---:|---|---|",
        *(_row(video, shown[video.video], again) for video in rows[:SHOWN]),
    ]
    if rows[SHOWN:]:
        lines.append(f"| {len(rows) - SHOWN} more | | | | | |")
    return "\n".join(lines)


def _row(video: VideoProgress, name: str, again: Again) -> str:
    cell = markdown_cell(name)
    state = video.detail or video.state
    if video.state == "done":
        cell = link_to_video(video.digest, cell)
    elif video.note and video.state == "unchanged":
        state = f"unchanged: {markdown_code(video.note)}"
    elif video.note:
        state = f"{video.state}: {markdown_cell(video.note)}"
    bar = f"{'█' * round(_BAR * video.fraction):░<{_BAR}} {video.fraction:.0%}"
    left = "" if video.left is None else about(video.left)
    ended_badly = video.note and video.state not in {"done", "unchanged"}
    link = again.link("run again", video.video) if ended_badly else ""
    return f"| {cell} | {bar} | {left} | {speed_in_words(video.speed)} | {link} | {state} |"
