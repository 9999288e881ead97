"""Rewrite a transcript with current names, from what is stored of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spokenby.errors import SpokenbyError
from spokenby.locks import Place
from spokenby.output import folders, layers, manifest, published
from spokenby.output.layers import Pages
from spokenby.stages.merging import name_speakers
from spokenby.types import Digest, Identity

IdentitiesOf = Callable[[Digest, Digest], Sequence[Identity]]
"""Takes the digests of a video and of its voiceprints, as `VoiceLibrary.identities_of`."""


class Rewritten(NamedTuple):
    """The result for one folder. `edited` by hand means that it was not changed."""

    folder: Path
    state: Literal["written", "unchanged", "edited", "missing", "failed"]
    note: str = ""


def rewrite_folder(
    folder: Path,
    identities_of: IdentitiesOf,
    locks: Place,
    *,
    pages: Pages = lambda _layer, _files: {},
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
        with published.one_writer(locks, folder):
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
    layer = layers.open_layer(folder, about)
    recognized = layer.recognized
    if not identities and any(speaker.voice for speaker in recognized.transcript.speakers):
        return Rewritten(
            folder, "failed", "its speakers were found again since: transcribe it again"
        )
    transcript = name_speakers(recognized.transcript, identities)
    if transcript.speakers == recognized.transcript.speakers:
        return Rewritten(folder, "unchanged")
    if folders.is_edited(folder) and not overwrite:
        return Rewritten(folder, "edited", "edited by hand: left as it is")
    recognized = recognized._replace(transcript=transcript)
    layer = layers.lay(recognized, layer.video, layer.content, str(folder / folders.CORRECTIONS))
    about = manifest.renamed(about, transcript, identities)
    files = layers.render_again(folder, about, layer, pages)
    kept = published.write_folder(folder, files)
    return Rewritten(folder, "written", f"edited by hand, kept: {kept}" if kept else "")
