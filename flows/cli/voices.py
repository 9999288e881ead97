"""The `whosaid voices` commands live here: they read words, ask, and print.

What they do does not; see whosaid/voices.py, tasks/library.py and flows/enroll_voice.py.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from flows import environment
from flows.cli.stopping import STOPPED, stop_on_ctrl_c
from flows.cli.terminal import open_console
from whosaid.errors import InputError
from whosaid.report import clock
from whosaid.settings import read_settings
from whosaid.types import Digest, Seconds

app = App(
    name="voices",
    help="Know speakers by their voice in every video: name, enrol, join, divide, forget them.",
    default_parameter=Parameter(negative=""),
)

FAILED = 1
"""Exit code: not enrolled, or some transcript could not be written again."""

OverwriteEdited = Annotated[bool, Parameter(name="--overwrite-edited")]
AsJson = Annotated[bool, Parameter(name="--json")]


@app.command(name="list")
def list_voices(*, as_json: AsJson = False) -> int:
    """List the voices of this site: talk time, videos, when last heard.

    Examples:

        whosaid voices list
        whosaid voices list --json

    Args:
        as_json: For programs.
    """
    voices = _library().voices()
    if as_json:
        _print_json([voice._asdict() for voice in voices])
        return 0
    console = open_console()
    table = Table("voice", "number")
    for heading in ("talk time", "videos", "last seen", "voiceprints"):
        table.add_column(heading, justify="right")
    for voice in voices:
        table.add_row(
            Text(voice.name, "" if voice.known else "dim"),
            str(voice.voice),
            clock(voice.seconds),
            str(voice.videos),
            _day(voice.last_seen),
            str(voice.prints),
        )
    console.print(table)
    nameless = sum(not voice.known for voice in voices)
    console.print(f"{len(voices)} voices, {nameless} without a name", highlight=False)
    return 0


@app.command
def show(which: str, *, as_json: AsJson = False) -> int:
    """Show where somebody speaks, with a time in each video to listen to.

    Examples:

        whosaid voices show "Speaker 7"
        whosaid voices show Ada

    Args:
        which: A name, its beginning, "Speaker 7", or just 7.
        as_json: For programs.
    """
    library = _library()
    voice, appearances = library.summary(which), library.show(which)
    if as_json:
        _print_json(
            {**voice._asdict(), "appearances": [_with_sample(each) for each in appearances]}
        )
        return 0
    console = open_console()
    console.print(
        f"{voice.name} (voice {voice.voice}): speaks {clock(voice.seconds)}"
        f" in {_videos(voice.videos)}; {voice.prints} voiceprints ({', '.join(voice.models)})",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    table = Table("video", "as", "talk time", "listen at", "likeness", "sure", "identified")
    for each in appearances:
        table.add_row(
            Text(each.video_name),
            each.speaker,
            clock(each.seconds),
            clock(each.sample.start) if each.sample else "",
            "" if each.score is None else f"{each.score:.2f}",
            "" if each.confidence is None else f"{each.confidence:.0%}",
            _day(each.identified),
        )
    console.print(table)
    return 0


@app.command
def name(which: str, name: str, /, *, overwrite_edited: OverwriteEdited = False) -> int:
    """Give a voice a name, in every transcript.

    Examples:

        whosaid voices name "Speaker 7" "Ada Lovelace"
        whosaid voices name 7 "Ada Lovelace"

    Args:
        which: "Speaker 7", just 7, or the name so far.
        name: What it is called from now on.
        overwrite_edited: Also write transcripts that were edited by hand; what was there is kept
            beside them.
    """
    change = _library().rename(which, name)
    return _told([change], f"{_and(change.before)} is {change.name} now", overwrite_edited)


@app.command
def merge(
    keep: str, drop: str, /, *, yes: bool = False, overwrite_edited: OverwriteEdited = False
) -> int:
    """Make two voices one: they are the same person. `split` takes it back, video by video.

    Examples:

        whosaid voices merge "Ada Lovelace" "Speaker 7"

    Args:
        keep: The voice whose name and number stay.
        drop: The voice that becomes the other.
        yes: Do not ask.
        overwrite_edited: Also write transcripts that were edited by hand; what was there is kept
            beside them.
    """
    library = _library()
    kept, dropped = library.summary(keep), library.summary(drop)
    _confirm(
        f"{dropped.name} ({_videos(dropped.videos)}) becomes the same voice as {kept.name}"
        f" ({_videos(kept.videos)})",
        yes=yes,
    )
    change = library.merge(keep, drop)
    return _told([change], f"{dropped.name} is {change.name} now", overwrite_edited)


@app.command
def split(
    which: str,
    video: str,
    /,
    *,
    speaker: str | None = None,
    overwrite_edited: OverwriteEdited = False,
) -> int:
    """Take what a voice says in one video out of it: somebody else speaks there.

    Examples:

        whosaid voices split "Ada Lovelace" "team meeting"
        whosaid voices split 7 "team meeting" --speaker SPEAKER_02

    Args:
        which: The voice.
        video: Name of the video, as `whosaid voices show` lists it.
        speaker: Which of its speakers, if the voice has two in that video.
        overwrite_edited: Also write transcripts that were edited by hand; what was there is kept
            beside them.
    """
    change = _library().split(which, video, speaker)
    return _told([change], f"{_and(change.before)} is {change.name} in {video}", overwrite_edited)


@app.command
def forget(which: str, *, yes: bool = False, overwrite_edited: OverwriteEdited = False) -> int:
    """Delete all that is known of a voice: voiceprints, name, where it speaks. For good.

    What was said stays in the transcripts, by an unknown speaker.

    Examples:

        whosaid voices forget "Ada Lovelace"

    Args:
        which: The voice.
        yes: Do not ask.
        overwrite_edited: Also write transcripts that were edited by hand; what was there is kept
            beside them.
    """
    voice = _library().summary(which)
    _confirm(
        f"{voice.name} is deleted for good: {voice.prints} voiceprints, and where it speaks in"
        f" {_videos(voice.videos)}",
        yes=yes,
    )
    from tasks.library import forget_voice

    change = forget_voice(which, read_settings())
    return _told([change], f"{voice.name} is forgotten", overwrite_edited)


@app.command
def enroll(
    name: str,
    /,
    *clips: str,
    from_: Annotated[str, Parameter(name="--from")] = "",
    to: str = "",
    profile: str | None = None,
    force: bool = False,
    verbose: bool = False,
) -> int:
    """Make a person known by voice, from recordings in which nobody else speaks.

    Each needs 5 s of speech or more, without much noise. Whoever was a speaker without a name so
    far, and has this voice, gets the name in every transcript.

    Examples:

        whosaid voices enroll "Ada Lovelace" clip1.wav clip2.mp4
        whosaid voices enroll "Ada Lovelace" meeting.mp4 --from 1:02 --to 1:40
        whosaid voices enroll voices/

    Args:
        name: Of the person; or a folder that holds a folder of recordings for each person, named
            after them.
        clips: Recordings or videos.
        from_: Where in the recording to begin, as 62, 1:02 or 1:02:03.
        to: Where in the recording to end.
        profile: Which engines to use: voices are only compared within one encoder.
        force: Enroll although the voice is nearly that of another person.
        verbose: Show Prefect's log.
    """
    environment.apply(verbose=verbose)
    console = open_console()
    people = {name: list(clips)} if clips else _people(Path(name))
    start, end = seconds_of(from_), seconds_of(to)
    stop_on_ctrl_c(console)
    code = 0
    for person, recordings in people.items():
        code = max(code, _enroll(console, person, recordings, start, end, profile, force=force))
        if code == STOPPED:
            break
    return code


def _enroll(
    console: Console,
    person: str,
    recordings: list[str],
    start: Seconds,
    end: Seconds,
    profile: str | None,
    *,
    force: bool,
) -> int:
    from flows import endings
    from flows.cli.display import progress_shown
    from flows.enroll_voice import enroll_voice
    from tasks.progress import is_stopping

    with progress_shown(console):
        state: Any = enroll_voice(person, recordings, start, end, profile, force, return_state=True)
    if is_stopping():
        return STOPPED
    told = endings.told_by(state)
    if isinstance(told, list):
        for problem in told:
            _say(console, f"{person} was not enrolled: {problem}")
        return FAILED
    enrolled = told.enrolled
    kind = "enrolled" if enrolled.created else "was known already"
    _say(console, f"{enrolled.name} {kind}: {enrolled.added} voiceprints added")
    for change in told.joined:
        _say(console, f"{_and(change.before)} turned out to be {enrolled.name}")
    return _sum_up(console, told.rewritten)


@app.command
def identify(*, overwrite_edited: OverwriteEdited = False) -> int:
    """Compare speakers without a name to the named voices, and write what changes.

    Needs no GPU and no Prefect server. Brings every transcript up to date with the names, too,
    should writing have been cut short.

    Examples:

        whosaid voices identify
        whosaid voices identify --overwrite-edited

    Args:
        overwrite_edited: Also write transcripts that were edited by hand; what was there is kept
            beside them.
    """
    changes = _library().reidentify()
    console = open_console()
    for change in changes:
        _say(console, f"{_and(change.before)} turned out to be {change.name}")
    if not changes:
        _say(console, "no voice without a name is like a named one")
    return _rewrite(console, None, overwrite_edited)


@app.command
def export(file: Path) -> int:
    """Write all voices to a file: names, voiceprints, where they speak. Not what was said.

    Examples:

        whosaid voices export voices.json

    Args:
        file: Is made; voiceprints are personal data, keep it safe.
    """
    content = _library().export()
    try:
        with file.open("x", encoding="utf-8") as target:
            json.dump(content, target, ensure_ascii=False, allow_nan=False)
            target.write("\n")
    except FileExistsError:
        raise InputError(f"{file} is there already", "choose another name") from None
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror})", "choose another one") from error
    _say(open_console(), f"written: {file}")
    return 0


@app.command(name="import")
def import_voices(file: Path, *, overwrite_edited: OverwriteEdited = False) -> int:
    """Add the voices of another site, from a file that `whosaid voices export` wrote there.

    Examples:

        whosaid voices import voices.json

    Args:
        file: The file.
        overwrite_edited: Also write transcripts that were edited by hand; what was there is kept
            beside them.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror})", "name another file") from error
    except ValueError as error:
        raise InputError(f"{file} is no export of voices ({error})", "name another file") from error
    brought = _library().import_(content)
    console = open_console()
    _say(
        console,
        f"{brought.new} new voices, {brought.joined} joined with known ones,"
        f" {brought.prints} voiceprints, {brought.appearances} appearances",
    )
    return _rewrite(console, brought.videos, overwrite_edited)


def seconds_of(time: str) -> Seconds:
    """Read a time such as 62, 1:02 or 1:02:03.5; empty is 0.

    Raises:
        InputError: it is none.
    """
    seconds = 0.0
    try:
        for part in time.split(":") if time else ():
            seconds = 60 * seconds + float(part)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(f"{time!r} is no time", "write it as 62, 1:02 or 1:02:03")
    return seconds


def _people(folder: Path) -> dict[str, list[str]]:
    """Return the recordings of each person in a folder of folders."""
    if not folder.is_dir():
        raise InputError(
            f"no recording of {folder} was named", "name some after the name of the person"
        )
    people = {each.name: [str(each)] for each in sorted(folder.iterdir()) if each.is_dir()}
    if not people:
        raise InputError(f"{folder} holds no folders", "make one for each person, named after them")
    return people


def _library() -> Any:
    environment.apply()
    from tasks.library import open_library

    return open_library(read_settings())


def _told(changes: Collection[Any], says: str, overwrite: bool) -> int:
    console = open_console()
    _say(console, says)
    return _rewrite(console, {video for each in changes for video in each.videos}, overwrite)


def _rewrite(
    console: Console,
    videos: Collection[Digest] | None,
    overwrite: bool,
) -> int:
    """Write the transcripts of some videos again, all if `None`, and say what became of them."""
    from tasks.library import open_library, rewrite_transcripts

    settings = read_settings()
    if videos is not None and not videos:
        return 0
    total = len(open_library(settings).transcripts(videos))
    rewritten = rewrite_transcripts(videos, settings, overwrite=overwrite)
    return _sum_up(
        console,
        track(
            rewritten,
            "writing transcripts",
            total,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ),
    )


def _sum_up(console: Console, rewritten: Iterable[Any]) -> int:
    rewritten = list(rewritten)
    for each in rewritten:
        if each.note:
            _say(console, f"{each.folder}: {each.note}")
    counts = Counter(each.state for each in rewritten)
    if counts["edited"]:
        _say(console, "to write these, too: whosaid voices identify --overwrite-edited")
    if rewritten:
        words = {"written": "written again", "unchanged": "as they were", "missing": "not there"}
        told = [f"{counts[state]} {words.get(state, state)}" for state in words if counts[state]]
        told += [f"{counts[state]} {state}" for state in ("edited", "failed") if counts[state]]
        _say(console, f"transcripts: {', '.join(told)}")
    return FAILED if counts["failed"] else 0


def _confirm(what: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere it has to be said beforehand.

    Raises:
        InputError: not agreed.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{what}: nobody is there to be asked", "if that is right, give --yes")
    if input(f"{what}. Go on? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("nothing was changed")


def _with_sample(appearance: Any) -> dict[str, Any]:
    sample = appearance.sample
    return {**appearance._asdict(), "sample": sample and [sample.start, sample.end]}


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=1, ensure_ascii=False))  # noqa: T201 - for programs


def _videos(count: int) -> str:
    return "1 video" if count == 1 else f"{count} videos"


def _and(names: Collection[str]) -> str:
    return " and ".join(names)


def _day(time: float | None) -> str:
    return "" if time is None else f"{datetime.fromtimestamp(time).astimezone():%Y-%m-%d %H:%M}"


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
