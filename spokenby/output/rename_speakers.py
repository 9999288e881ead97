"""Rewrite a transcript with today's names, from its own transcript.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spokenby.errors import SpokenbyError
from spokenby.output import folders, formats, manifest
from spokenby.stages.merging import name_speakers
from spokenby.types import Digest, Identity

TRANSCRIPT = "transcript.json"

IdentitiesOf = Callable[[Digest, Digest], Sequence[Identity]]
"""Given a video and the voiceprints that were taken of it, as `VoiceLibrary.identities_of`."""


class Rewritten(NamedTuple):
    """The result for one folder. `edited`: by hand, and left as it is."""

    folder: Path
    state: Literal["written", "unchanged", "edited", "missing", "failed"]
    note: str = ""


def rewrite_folder(
    folder: Path, identities_of: IdentitiesOf, locks: Path, *, overwrite: bool = False
) -> Rewritten:
    """Put today's names into every file of a finished transcript. Nothing is computed again.

    Args:
        folder: of the transcript.
        identities_of: asked while nobody else writes the folder.
        locks: from `folders.one_writer`.
        overwrite: write it also if it was edited by hand; what was there is kept beside it.
    """
    try:
        with folders.one_writer(locks, folder):
            return _rewrite(folder, identities_of, overwrite=overwrite)
    except SpokenbyError as error:
        return Rewritten(folder, "failed", str(error))


def _rewrite(folder: Path, identities_of: IdentitiesOf, *, overwrite: bool) -> Rewritten:
    about = manifest.read_manifest(folder)
    if about is None:
        return Rewritten(folder, "missing", "no whole transcript is there any more")
    if not (identified_from := about.get("identified_from")):
        return Rewritten(folder, "unchanged")
    identities = identities_of(about["video"]["digest"], identified_from)
    document = formats.read_document((folder / TRANSCRIPT).read_bytes())
    if not identities and any(speaker.voice for speaker in document.transcript.speakers):
        return Rewritten(
            folder, "failed", "its speakers were found again since: transcribe it again"
        )
    transcript = name_speakers(document.transcript, identities)
    if transcript.speakers == document.transcript.speakers:
        return Rewritten(folder, "unchanged")
    if folders.is_edited(folder) and not overwrite:
        return Rewritten(folder, "edited", "edited by hand: left as it is")
    about = manifest.renamed(about, transcript, identities)
    listed = about.pop("files")
    files = formats.render(transcript, document.name, document.about)
    others = {name: (folder / name).read_bytes() for name in listed if name not in files}
    kept = folders.write_folder(folder, manifest.with_files(about, files | others))
    return Rewritten(folder, "written", f"edited by hand, kept: {kept}" if kept else "")
