"""Rewrite a transcript with current names, from its transcript.json."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spokenby.errors import SpokenbyError
from spokenby.output import folders, formats, manifest
from spokenby.output.formats import TRANSCRIPT
from spokenby.stages.merging import name_speakers
from spokenby.types import Digest, Identity

IdentitiesOf = Callable[[Digest, Digest], Sequence[Identity]]
"""Takes the digests of a video and of its voiceprints, as `VoiceLibrary.identities_of`."""


Pages = Callable[[formats.Document, Collection[str]], Mapping[str, bytes]]
"""Takes a transcript and the names of the files in its folder; returns its pages."""


class Rewritten(NamedTuple):
    """The result for one folder. `edited` by hand means that it was not changed."""

    folder: Path
    state: Literal["written", "unchanged", "edited", "missing", "failed"]
    note: str = ""


def rewrite_folder(
    folder: Path,
    identities_of: IdentitiesOf,
    locks: Path,
    *,
    pages: Pages = lambda _document, _files: {},
    overwrite: bool = False,
) -> Rewritten:
    """Put current names into every file of a finished transcript, without recomputing anything.

    Args:
        folder: of the transcript.
        identities_of: called while no other process writes the folder.
        locks: see `folders.one_writer`.
        pages: renders those that belong to it.
        overwrite: write it even if it was edited by hand; the edited folder is kept.
    """
    try:
        with folders.one_writer(locks, folder):
            return _rewrite(folder, identities_of, pages, overwrite=overwrite)
    except SpokenbyError as error:
        return Rewritten(folder, "failed", str(error))


def _rewrite(
    folder: Path, identities_of: IdentitiesOf, pages: Pages, *, overwrite: bool
) -> Rewritten:
    about = manifest.read_manifest(folder)
    if about is None:
        return Rewritten(folder, "missing", "its transcript is missing or incomplete")
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
    document = document._replace(transcript=transcript)
    rendered = formats.render(*document, formats.among(listed))
    files: dict[str, bytes | Path] = {**rendered, **pages(document, listed)}
    others = {name: folder / name for name in listed if name not in files}
    kept = folders.write_folder(folder, manifest.with_files(about, files | others))
    return Rewritten(folder, "written", f"edited by hand, kept: {kept}" if kept else "")
