"""The `spokenby voices` commands."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from flows.cli.enrolling import enroll
from flows.cli.renaming import OverwriteEdited, apply_changes, in_a_row, rewrite
from flows.cli.stopping import stop_on_signals
from flows.cli.terminal import FAILED, cell, open_console, print_json, print_table, say
from flows.server import prefect_settings
from spokenby.errors import InputError
from spokenby.settings import read_settings
from spokenby.voices.roster import VoiceSummary, lacking_prints
from spokenby.wording import clock, count_of, one_line, position

app = App(
    name="voices",
    help="Recognize speakers by voice in every video: name, enroll, merge, split or forget them.",
    default_parameter=Parameter(negative=""),
)

AsJson = Annotated[bool, Parameter(name="--json")]


@app.command(name="list")
def list_voices(*, as_json: AsJson = False) -> int:
    """List the voices of this site: talk time, videos, when last heard.

    For example:

        spokenby voices list
        spokenby voices list --json

    Args:
        as_json: Print JSON.
    """
    voices = _library().voices()
    if as_json:
        print_json([voice._asdict() for voice in voices])
        return 0
    console = open_console()
    table = Table("voice", "number")
    for heading in ("talk time", "videos", "last seen", "voiceprints"):
        table.add_column(heading, justify="right")
    for voice in voices:
        table.add_row(
            cell(voice.name, "" if voice.known else "dim"),
            str(voice.voice),
            clock(voice.seconds),
            str(voice.videos),
            _day(voice.last_seen),
            str(voice.prints),
        )
    print_table(console, table, "voiceprints", "last seen")
    nameless = sum(not voice.known for voice in voices)
    console.print(f"{count_of(len(voices), 'voice')}, {nameless} without a name", highlight=False)
    _tell_lacking(console, voices)
    return 0


@app.command
def show(which: str, *, as_json: AsJson = False) -> int:
    """Show where a voice speaks, with a time to listen to in each video.

    For example:

        spokenby voices show "Speaker 7"
        spokenby voices show Ada

    Args:
        which: A name, the beginning of one, "Speaker 7", or 7.
        as_json: Print JSON.
    """
    library = _library()
    voice, appearances = library.summary(which), library.show(which)
    if as_json:
        print_json({**voice._asdict(), "appearances": [_with_sample(each) for each in appearances]})
        return 0
    console = open_console()
    say(
        console,
        f"{voice.name} (voice {voice.voice}): speaks {clock(voice.seconds)}"
        f" in {count_of(voice.videos, 'video')}; {count_of(voice.prints, 'voiceprint')}"
        f" ({', '.join(voice.models)})",
    )
    _tell_lacking(console, [voice])
    table = Table("video", "as", "talk time", "listen at", "likeness", "sure", "identified")
    for each in appearances:
        table.add_row(
            cell(each.video_name),
            cell(each.speaker),
            clock(each.seconds),
            position(each.sample.start) if each.sample else "",
            "" if each.score is None else f"{each.score:.2f}",
            "" if each.confidence is None else f"{each.confidence:.0%}",
            _day(each.identified),
        )
    print_table(console, table, "identified", "likeness", "as")
    return 0


@app.command
def name(which: str, name: str, /, *, overwrite_edited: OverwriteEdited = False) -> int:
    """Name a voice, in every transcript.

    For example:

        spokenby voices name "Speaker 7" "Ada Lovelace"
        spokenby voices name 7 "Ada Lovelace"

    Args:
        which: "Speaker 7", 7, or the current name.
        name: The name.
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    change = _library().rename(which, name)
    return apply_changes(
        [change], f"{in_a_row(change.before)} is {change.name} now", overwrite=overwrite_edited
    )


@app.command
def merge(
    keep: str, drop: str, /, *, yes: bool = False, overwrite_edited: OverwriteEdited = False
) -> int:
    """Merge two voices of the same person. `split` undoes it, video by video.

    For example:

        spokenby voices merge "Ada Lovelace" "Speaker 7"

    Args:
        keep: The voice that keeps its name and number.
        drop: The voice that is merged into it.
        yes: Do not ask for confirmation.
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    library = _library()
    kept, dropped = library.summary(keep), library.summary(drop)
    _confirm(
        f"{dropped.name} ({count_of(dropped.videos, 'video')}) becomes the same voice as"
        f" {kept.name} ({count_of(kept.videos, 'video')})",
        yes=yes,
    )
    change = library.merge(keep, drop)
    message = f"{dropped.name} is {change.name} now"
    return apply_changes([change], message, overwrite=overwrite_edited)


@app.command
def split(
    which: str,
    video: str,
    /,
    *,
    speaker: str | None = None,
    overwrite_edited: OverwriteEdited = False,
) -> int:
    """Remove a voice from a video in which somebody else speaks.

    For example:

        spokenby voices split "Ada Lovelace" "team meeting"
        spokenby voices split 7 "team meeting" --speaker SPEAKER_02

    Args:
        which: The voice.
        video: Name of the video, as `spokenby voices show` lists it.
        speaker: Which speaker, if the voice is two speakers in that video.
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    change = _library().split(which, video, speaker)
    return apply_changes(
        [change],
        f"{in_a_row(change.before)} is {change.name} in {video}",
        overwrite=overwrite_edited,
    )


@app.command
def forget(which: str, *, yes: bool = False, overwrite_edited: OverwriteEdited = False) -> int:
    """Delete everything known about a voice, permanently: voiceprints, name, where it speaks.

    The words stay in the transcripts, spoken by an unknown speaker. Ends with exit code 1 if traces
    remain: in a file that cannot be written, or in a transcript that was edited by hand.

    For example:

        spokenby voices forget "Ada Lovelace"

    Args:
        which: The voice.
        yes: Do not ask for confirmation.
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    voice = _library().summary(which)
    _confirm(
        f"{voice.name} will be deleted permanently: {voice.prints} voiceprints, and where it speaks"
        f" in {count_of(voice.videos, 'video')}",
        yes=yes,
    )
    from spokenby.site.voice_library import forget_voice

    change, remains = forget_voice(which, read_settings())
    message = f"{voice.name} is forgotten"
    if remains:
        message = f"{voice.name} is deleted from the voice library, but traces remain"
    code = apply_changes(
        [change],
        message,
        overwrite=overwrite_edited,
        in_edited=f"edited transcripts still name {voice.name}: see above",
    )
    for line in remains:
        say(open_console(), line)
    return FAILED if remains else code


app.command(enroll)


@app.command
def identify(*, overwrite_edited: OverwriteEdited = False) -> int:
    """Compare unnamed speakers with named voices, and rewrite what changes.

    Needs no GPU and no Prefect server. Also finishes a rewrite that was interrupted.

    For example:

        spokenby voices identify
        spokenby voices identify --overwrite-edited

    Args:
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    changes = _library().reidentify()
    console = open_console()
    for change in changes:
        say(console, f"{in_a_row(change.before)} is now recognized as {change.name}")
    if not changes:
        say(console, "no unnamed voice matches a named one")
    return rewrite(console, None, overwrite=overwrite_edited)


@app.command
def rebuild(*paths: str, overwrite_edited: OverwriteEdited = False) -> int:
    """Take the voiceprints that this site's speaker encoder lacks.

    Needed once after the encoder changed, because voices are only compared within one. Takes them
    from stored audio, or from the videos where that is gone. Names are kept, and nothing is taken
    twice. Then compares unnamed speakers with named voices, as `spokenby voices identify` does.

    For example:

        spokenby voices rebuild
        spokenby voices rebuild /archive/talks

    Args:
        paths: Where to look for videos that have moved since they were transcribed.
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    library = _library()
    console = open_console()
    stop_on_signals(console)
    from flows.cli.display import progress_shown
    from flows.hub_token import find_hub_token
    from spokenby.site.voice_rebuilding import rebuild_voiceprints

    settings = read_settings()
    added, failed = 0, []
    with progress_shown(console):
        for video in rebuild_voiceprints(paths, settings, find_hub_token):
            added += video.added
            if video.problem:
                failed.append(f"{video.video_name}: {video.problem}")
    say(console, f"{added} voiceprints were added")
    for line in failed:
        say(console, f"not made: {line}")
    for voice in lacking_prints(library.voices(), settings.voice_encoder):
        if clips := library.enrolled_from(voice.voice):
            names = " ".join(shlex.quote(clip) for clip in clips)
            say(console, f"{voice.name} was enrolled from recordings, which are not stored: run:"
                f" spokenby voices enroll {shlex.quote(voice.name)} {names}")  # fmt: skip
    return max(FAILED if failed else 0, identify(overwrite_edited=overwrite_edited))


@app.command
def export(file: Path) -> int:
    """Export all voices to a file: names, voiceprints, where they speak; no words.

    For example:

        spokenby voices export voices.json

    Args:
        file: File to create. Voiceprints are personal data: keep it safe.
    """
    content = _library().export()
    try:
        with file.open("x", encoding="utf-8") as target:
            json.dump(content, target, ensure_ascii=False, allow_nan=False)
            target.write("\n")
    except FileExistsError:
        raise InputError(f"{file} exists already", "choose another name") from None
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror})", "choose another one") from error
    say(open_console(), f"written: {file}")
    return 0


@app.command(name="import")
def import_voices(file: Path, *, overwrite_edited: OverwriteEdited = False) -> int:
    """Import voices that `spokenby voices export` wrote on another site.

    For example:

        spokenby voices import voices.json

    Args:
        file: The file.
        overwrite_edited: Also rewrite transcripts that were edited by hand; your version is kept
            next to them.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror})", "name another file") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} is not an export of voices ({error})", "name another file"
        ) from error
    brought = _library().import_(content)
    console = open_console()
    say(
        console,
        f"{brought.new} new voices, {brought.joined} joined with known ones,"
        f" {brought.prints} voiceprints, {brought.appearances} appearances",
    )
    return rewrite(console, brought.videos, overwrite=overwrite_edited)


def _library() -> Any:
    prefect_settings.apply()
    from spokenby.site.voice_library import open_library

    return open_library(read_settings())


def _tell_lacking(console: Console, voices: Sequence[VoiceSummary]) -> None:
    """Say how many voices the site's speaker encoder cannot know again, and what to do."""
    settings = read_settings()
    if lacking := lacking_prints(voices, settings.voice_encoder):
        many = f"{len(lacking)} of {len(voices)} voices need" if len(voices) > 1 else "it needs"
        say(
            console,
            f"{many} new voiceprints, by {settings.voice_encoder}: run: spokenby voices rebuild",
        )


def _confirm(what: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere it has to be given as an option.

    Raises:
        InputError: not agreed.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{what}: cannot ask for confirmation here", "to confirm, give --yes")
    if input(f"{one_line(what)}. Continue? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("nothing was changed")


def _with_sample(appearance: Any) -> dict[str, Any]:
    sample = appearance.sample
    return {**appearance._asdict(), "sample": sample and [sample.start, sample.end]}


def _day(time: float | None) -> str:
    return "" if time is None else f"{datetime.fromtimestamp(time).astimezone():%Y-%m-%d %H:%M}"
