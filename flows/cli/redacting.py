"""The command `spokenby redact`: a copy of a transcript without names, numbers or speakers."""

from __future__ import annotations

from pathlib import Path

from flows.cli.terminal import open_console, say


def redact(
    video: str,
    *,
    names: tuple[str, ...] = (),
    numbers: bool = False,
    speaker: tuple[str, ...] = (),
    out: str | None = None,
) -> int:
    """Copy a transcript without some names, without numbers, or without what somebody says.

    In the copy, `[…]` stands for the words, in every format that the transcript's folder has, and a
    tone for their sound; times stay. The original is not touched. The list of what was taken out
    lies beside the copy, not in it: keep it, and pass on the folder only.

    It takes out what the transcript says: a name that was recognized wrongly, a nickname, or who is
    told by what they say is still there. Read the copy, and listen to it, before you pass it on.

    For example:

        spokenby redact talk.mp4 --names "Ada Lovelace, Ada, Lovelace"
        spokenby redact talk.mp4 --numbers --speaker "Speaker 7" --out handover/talk
        spokenby redact data/transcripts/talk-1a2b3c4d --names "Grace Hopper" --numbers

    Args:
        video: The video, or the folder of its transcript.
        names: Names to take out, with commas between; may be given several times. Case, accents
            and possessives don't count. Each is taken out as a whole: add first names alone.
        numbers: Take out numbers: digits in all languages, and spelled out in English, German,
            French, Spanish, Chinese and Japanese.
        speaker: A speaker whose words and name are taken out, wherever that is said; may be given
            several times.
        out: Folder to write; default one in data/redacted.
    """
    from spokenby.errors import InputError
    from spokenby.output.redacting import can_be_found
    from spokenby.settings import read_settings
    from spokenby.site.exports import find_transcripts
    from spokenby.site.redactions import make_copy
    from spokenby.wording import clock, count_of

    wanted = [name.strip() for each in names for name in each.split(",") if name.strip()]
    for name in wanted:
        if not can_be_found(name):
            raise InputError(f"--names: {name!r} has no letter", "write a name")
    if not (wanted or numbers or speaker):
        raise InputError(
            "nothing is to be taken out", "add --names, --numbers or --speaker; see --help"
        )
    settings = read_settings()
    found = find_transcripts(video, settings)
    if len(found) > 1:
        raise InputError(f"{video} holds several transcripts", "name one of them")
    copied = make_copy(
        found[0].folder,
        settings,
        names=wanted,
        numbers=numbers,
        speakers=speaker,
        to=Path(out) if out else None,
    )
    console = open_console()
    redacted = copied.redacted
    sound = sum(end - start for start, end in redacted.sound)
    places = count_of(len(redacted.taken), "place")
    say(console, f"{copied.folder}: {places} taken out, {clock(sound)} of sound")
    for line in (*copied.notes, *redacted.doubts):
        say(console, line)
    say(console, f"what was taken out, to keep and not to pass on: {copied.taken_out}")
    say(
        console,
        "names that were recognized wrongly, nicknames, and who is told by what they say may still"
        " be there: read the copy, and listen to it, before you pass it on",
    )
    return 0
