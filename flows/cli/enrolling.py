"""The command `voices enroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from flows.cli.renaming import in_a_row, sum_up
from flows.cli.stopping import stop_on_signals
from flows.cli.terminal import FAILED, STOPPED, open_console, say
from flows.server import prefect_settings
from spokenby.errors import InputError
from spokenby.types import Seconds


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
    """Enroll a person from recordings in which nobody else speaks.

    Each needs 5 s of speech or more, without much noise. Whoever was a speaker without a name so
    far, and has this voice, gets the name in every transcript.

    For example:

        spokenby voices enroll "Ada Lovelace" clip1.wav clip2.mp4
        spokenby voices enroll "Ada Lovelace" meeting.mp4 --from 1:02 --to 1:40
        spokenby voices enroll voices/

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
    prefect_settings.apply(verbose=verbose)
    console = open_console()
    people = {name: list(clips)} if clips else _people(Path(name))
    start, end = seconds_of(from_), seconds_of(to)
    stop_on_signals(console)
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
    prefect_settings.check_before_import()
    from flows import final_states
    from flows.cli.display import progress_shown
    from flows.enroll_voice import enroll_voice
    from flows.server.connection import using_server
    from spokenby.progress import is_stopping

    with progress_shown(console), using_server():
        state: Any = enroll_voice(person, recordings, start, end, profile, force, return_state=True)
    if is_stopping():
        return STOPPED
    result = final_states.results_of(state)
    if isinstance(result, list):
        for problem in result:
            say(console, f"{person} was not enrolled: {problem}")
        return FAILED
    enrolled = result.enrolled
    kind = "enrolled" if enrolled.created else "existing voice"
    say(console, f"{enrolled.name} {kind}: {enrolled.added} voiceprints added")
    for change in result.joined:
        say(console, f"{in_a_row(change.before)} is now recognized as {enrolled.name}")
    return sum_up(console, result.rewritten)


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
        raise InputError(f"{time!r} is not a time", "write it as 62, 1:02 or 1:02:03")
    return seconds


def _people(folder: Path) -> dict[str, list[str]]:
    """Return the recordings of each person in a folder of folders."""
    if not folder.is_dir():
        raise InputError(f"no recording of {folder} was named", "name them after the person")
    people = {each.name: [str(each)] for each in sorted(folder.iterdir()) if each.is_dir()}
    if not people:
        raise InputError(
            f"{folder} contains no folders", "create one per person, named after that person"
        )
    return people
