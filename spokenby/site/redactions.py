"""Make a copy of a transcript's folder without some names, numbers or speakers."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.errors import InputError
from spokenby.files import explaining
from spokenby.output import folders, formats, layers, manifest
from spokenby.output.folders import is_edited
from spokenby.output.formats import Document
from spokenby.output.formats.shared import plain
from spokenby.output.formats.tables import inert
from spokenby.output.redacting import Redacted, Request, Taken, redact
from spokenby.review import listening_copy, page
from spokenby.settings import Settings
from spokenby.types import SpeakerTranscript

TAKEN_OUT = ".taken-out.csv"
"""What the name of the list ends with. It lies beside the copy, not in it."""

_ELSEWHERE = "choose another folder with --out"
_KEPT = ("schema_version", "profile", "made_by", "coverage", "models", "versions")
"""Of the manifest: all else could name somebody or something."""


class Copied(NamedTuple):
    """A redacted copy."""

    folder: Path
    taken_out: Path
    """The list of what it lacks."""
    redacted: Redacted
    notes: tuple[str, ...]
    """What the copy lacks besides, and why."""


def labels_of(transcript: SpeakerTranscript, which: str) -> list[str]:
    """Return the labels of a speaker: by name, the beginning of exactly one name, or label.

    One person may have several labels.

    Raises:
        InputError: none or several match.
    """
    names = {each.label: plain(each.name) or each.label for each in transcript.speakers}
    wanted = " ".join(which.casefold().split())
    whole = [
        label for label, name in names.items() if wanted in {name.casefold(), label.casefold()}
    ]
    found = whole or [
        label for label, name in names.items() if wanted and name.casefold().startswith(wanted)
    ]
    if len({names[label] for label in found}) != 1:
        problem = "matches several speakers" if found else "does not speak here"
        raise InputError(
            f"{which!r} {problem}", f"choose from {', '.join(dict.fromkeys(names.values()))}"
        )
    return found


def make_copy(
    folder: Path,
    settings: Settings,
    *,
    names: Sequence[str] = (),
    numbers: bool = False,
    speakers: Sequence[str] = (),
    to: Path | None = None,
) -> Copied:
    """Write a copy of a transcript's folder from which something was taken out.

    Every format is written again, the sound is encoded again; nothing is copied as it is.

    Args:
        folder: of the transcript.
        settings: the site.
        names: to take out.
        numbers: take out numbers.
        speakers: all that they say, and their names; see `labels_of`.
        to: the folder to write; else one in the site's `redacted`.

    Raises:
        InputError: the transcript is incomplete, a speaker is not there, nothing is to be taken
            out, or something of that name is there already.
        TransientError: the folder cannot be written now.
    """
    about = manifest.read_manifest(folder)
    if about is None:
        raise InputError(f"{folder}: its transcript is missing or incomplete", "run it again")
    layer = layers.open_layer(folder, about)
    # A warning that a correction does not fit quotes what was said.
    warnings = layer.recognized.transcript.warnings
    transcript = layer.document.transcript.model_copy(update={"warnings": warnings})
    labels = tuple(label for which in speakers for label in labels_of(transcript, which))
    redacted = redact(transcript, layer.document.name, Request(tuple(names), numbers, labels))
    same = redacted.transcript.speakers == transcript.speakers
    if not redacted.taken and same and redacted.name == layer.document.name:
        raise InputError(
            f"{folder}: nothing of that is said", "check how the names are written; no copy is made"
        )
    digest = about["video"]["digest"]
    made = settings.data_dir / "redacted" / folders.folder_name(redacted.name, digest)
    target = (to or made).absolute()  # "." has no name, beside which the list could stand
    listed = about["files"]
    with (
        _listing(target, redacted.taken) as taken_out,
        _sound(folder, listed, redacted) as sound,
    ):
        files = _files(redacted, about, layer.document.about, sound, numbers=numbers)
        folders.write_folder(target, files)
    return Copied(target, taken_out, redacted, tuple(_notes(folder, listed, files)))


def _files(
    redacted: Redacted,
    about: Mapping[str, Any],
    origin: Mapping[str, Any],
    sound: Mapping[str, Path],
    *,
    numbers: bool,
) -> dict[str, bytes | Path]:
    """Return the content of the copy: only what is known to hold none of what was taken out."""
    # Of the original's name, as its own: whoever finds both must not take one for the other.
    digest = hashlib.sha256(f"redacted {about['digest']}".encode()).hexdigest()
    transcript = redacted.transcript.model_copy(update={"digest": digest})
    kept = {name: origin[name] for name in ("profile", "made_by") if name in origin}
    kept |= {"notes": [origin["made_by"]]} if "made_by" in origin else {}
    recorded = "" if numbers else about["video"].get("recorded") or ""
    kept |= {"recorded": recorded} if recorded else {}
    document = Document(transcript, redacted.name, kept)
    listed = about["files"]
    files: dict[str, bytes | Path] = {
        **formats.render(*document, formats.among(listed)),
        **sound,
    }
    if page.FILE in listed:
        names = {*files, page.FILE}
        files |= page.render(layers.lay(document, about["video"]["digest"]), names)
    video = {
        "name": redacted.name,
        "digest": about["video"]["digest"],
        "duration": about["video"].get("duration", transcript.duration),
        "audio_streams": about["video"].get("audio_streams", 1),
        "recorded": recorded,
    }
    described = {
        **{name: about[name] for name in _KEPT if name in about},
        "digest": digest,
        "video": video,
        "redacted": {"places": len(redacted.taken)},
    }
    return manifest.with_files(manifest.corrected(described, transcript, None), files)


def _notes(folder: Path, listed: Collection[str], files: Collection[str]) -> Iterator[str]:
    if is_edited(folder):
        yield f"{folder} was edited by hand: the copy is made from its transcript.json"
    known = {*files, folders.RECOGNIZED, folders.CORRECTIONS}
    if left_out := sorted(set(listed) - known):
        yield f"not in the copy: {', '.join(left_out)}"
    if listening_copy.FILE not in files:
        yield "there is no listening copy: the sound is not part of the copy"


@contextmanager
def _sound(
    folder: Path, listed: Collection[str], redacted: Redacted
) -> Iterator[Mapping[str, Path]]:
    if listening_copy.FILE not in listed:
        yield {}
        return
    with listening_copy.covered(folder / listening_copy.FILE, redacted.sound) as copy:
        yield {listening_copy.FILE: copy}


@contextmanager
def _listing(target: Path, taken: Sequence[Taken]) -> Iterator[Path]:
    """Write the list of what was taken out; it vanishes if the copy cannot be written."""
    path = target.with_name(target.name + TAKEN_OUT)
    for there in (target, path):
        if os.path.lexists(there):
            raise InputError(f"{there} is there already", _ELSEWHERE)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["start", "end", "speaker", "why", "text"])
    for each in taken:
        times = f"{each.start:.3f}", f"{each.end:.3f}"
        writer.writerow([*times, inert(each.speaker), each.why, inert(each.text)])
    with explaining(path.parent, _ELSEWHERE):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\ufeff" + table.getvalue())
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise
