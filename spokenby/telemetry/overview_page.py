"""Write the Markdown page of how far a run is."""

from collections.abc import Callable

from spokenby.telemetry.overview import Overview, VideoProgress, about, names, speed_in_words
from spokenby.wording import clock, markdown_cell

SHOWN = 200
"""Videos in the table: those at work first, then what failed."""

_BAR = 10
_ORDER = ("running", "failed", "stopped", "waiting", "done", "unchanged")
_READY = ("done", "unchanged")


def write_overview(
    overview: Overview,
    link_to_video: Callable[[str, str], str],
    run_again: Callable[[str], str],
    pages: str = "",
) -> str:
    """Return the page: the whole run in one line, then a row a video.

    Args:
        overview: of the run.
        link_to_video: makes a Markdown link of a video's digest and text.
        run_again: makes one that runs the video of a path again; empty where that is not possible.
        pages: Markdown link to where transcripts can be read and heard, if that is served.
    """
    videos = overview.videos()
    rows = sorted(videos, key=lambda v: _ORDER.index(v.state) if v.state in _ORDER else 1)[:SHOWN]
    shown = names(video.video for video in rows)
    over = videos and not any(video.state in {"running", "waiting"} for video in videos)
    took = f"{'took' if over else 'running for'} {clock(overview.elapsed)}"
    lines = [
        f"**{overview.summary()}**, {took}{f' · {pages}' if pages else ''}",
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
    ]
    for video in rows:
        name = markdown_cell(shown[video.video])
        cells = [
            link_to_video(video.digest, name) if video.state == "done" else name,
            f"{'█' * round(_BAR * video.fraction):░<{_BAR}} {video.fraction:.0%}",
            "" if video.left is None else about(video.left),
            speed_in_words(video.speed),
            run_again(video.video) if video.note and video.state not in _READY else "",
            _state(video),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if len(videos) > SHOWN:
        lines.append(f"| {len(videos) - SHOWN} more | | | | | |")
    return "\n".join(lines)


def _state(video: VideoProgress) -> str:
    if video.state == "unchanged":
        return f"unchanged: {markdown_cell(video.note)}"
    if video.note and video.state != "done":
        return f"{video.state}: {markdown_cell(video.note)}"
    return video.detail or video.state
