from __future__ import annotations

import io

from rich.console import Console

from flows.cli.display import print_statuses, progress_shown
from spokenby.plan.profiles import Profile, make_recipe
from spokenby.progress import Step, announce
from spokenby.site.inventory import State, VideoStatus
from spokenby.types import TranscriptSummary, Video

DONE = VideoStatus(
    "/v/talk one.mp4",
    State.DONE,
    folder="/t/talk one-12345678",
    video=Video(
        path="/v/talk one.mp4", name="talk one", digest="d", duration=6600, audio_streams=1
    ),
    summary=TranscriptSummary(
        speakers=4,
        words=15021,
        seconds=110,
        stored=("extract", "speech"),
        warnings=("12 words have no speaker",),
    ),
)
SAME = DONE._replace(
    state=State.UNCHANGED, summary=TranscriptSummary(speakers=4, words=15021, seconds=0, stored=())
)
FAILED = VideoStatus("/v/broken\n[red].mp4", State.FAILED, stage="inspect", cause="not a video")


def shown(*statuses: VideoStatus) -> str:
    out = io.StringIO()
    recipe = make_recipe(Profile.EMBEDDED)
    print_statuses(Console(file=out, width=100), statuses, recipe, 123.4)
    return out.getvalue()


def test_table_places_warnings_and_failures() -> None:
    text = shown(DONE, FAILED)
    row = next(line for line in text.splitlines() if "talk one.mp4" in line)
    for cell in ("1:50:00", "4", "15021", "110.0", "60.0", "2 of 5 stages"):
        assert cell in row
    assert "/t/talk one-12345678" in text
    assert "warning: talk one.mp4: 12 words have no speaker" in text
    assert "failed: broken [red].mp4: inspect: not a video" in text
    assert "1 of 2 videos transcribed; 123.4 s in all" in text
    assert "words by faster-whisper-base, speakers by campplus-zh-en" in text


def test_what_concerns_several_videos_is_said_once() -> None:
    assert DONE.summary
    louder = DONE.summary.model_copy(update={"warnings": (*DONE.summary.warnings, "loud")})
    other = DONE._replace(path="/v/other.mp4", summary=louder)
    text = shown(DONE, other)
    assert text.count("12 words have no speaker") == 1
    assert "warning: talk one.mp4, other.mp4: 12 words have no speaker" in text
    assert "warning: other.mp4: loud" in text


def test_nothing_to_do_is_said() -> None:
    text = shown(SAME)
    assert "everything" in text
    assert "1 of 1 video transcribed; already up to date" in text


def test_piped_progress_is_plain_lines() -> None:
    out = io.StringIO()
    with progress_shown(Console(file=out, width=100)):
        announce(Step("/v/talk [1].mp4", "diarize", "running", 0.1))
        announce(Step("/v/talk [1].mp4", "diarize", "done", 1.0))
    assert out.getvalue() == "talk [1].mp4: diarize done\n"


def test_terminal_progress_shows_every_stage() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True)
    with progress_shown(console):
        announce(Step("/v/talk.mp4", "extract", "done", 1.0))
        announce(Step("/v/talk.mp4", "diarize", "running", 0.42))
    assert "diarize 42%" in out.getvalue()


def test_names_cannot_command_the_terminal() -> None:
    name = "\x1b[2J\x9b31m\u202egpj[red].mp4"
    bad = DONE._replace(path=f"/v/{name}", folder=f"/t/{name}")
    text = shown(bad, FAILED._replace(path=f"/v/{name}", cause=name))
    assert not set("\x1b\x9b\u202e") & set(text)
    assert text.count("gpj[red].mp4") == 5
    assert "failed: \ufffd[2J" in text

    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True)
    with progress_shown(console):
        announce(Step(f"/v/{name}", "diarize", "running", 0.1, name))
        announce(Step(name, "model", "running", 0.1, name))
    assert not set("\x9b\u202e") & set(out.getvalue())
    assert "\x1b[2J" not in out.getvalue()
    assert "gpj[red].mp4" in out.getvalue()
