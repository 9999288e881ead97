"""Keep people's corrections with a transcript: what was recognized, what was corrected, what shows.

A folder with corrections holds `recognized.json`, in the form of transcript.json, and
`corrections.json`; every other file shows the transcript with the corrections applied. A copy of
the corrections outlives the folder.
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.errors import InputError, SpokenbyError
from spokenby.files import explaining, replacing
from spokenby.locks import Place
from spokenby.output import folders, formats, manifest, published
from spokenby.output.correcting import Corrected, Unfit, apply
from spokenby.output.corrections import Correction, Corrections, as_json, read_corrections
from spokenby.output.folders import CORRECTIONS, RECOGNIZED
from spokenby.output.formats import TRANSCRIPT, Document
from spokenby.output.formats.document import write_json
from spokenby.types import Digest
from spokenby.wording import count_of

_SAID = 3
"""So many corrections that do not fit are named in a warning."""


class Layer(NamedTuple):
    """A transcript with its corrections, of which there may be none."""

    video: Digest
    recognized: Document
    document: Document
    """As it shows: with the corrections, and a warning if some do not fit."""
    corrected: Corrected
    corrections: Corrections
    content: bytes
    """Of corrections.json as it is; empty: there is none."""

    @property
    def files(self) -> dict[str, bytes]:
        """What the folder holds for the corrections' sake."""
        files = {CORRECTIONS: self.content} if self.content else {}
        if self.corrections.corrections:
            files[RECOGNIZED] = write_json(*self.recognized).encode("utf-8", errors="replace")
        return files

    @property
    def counts(self) -> dict[str, float] | None:
        """How many corrections were applied, and do not fit; share of words that are checked."""
        if not self.corrections.corrections:
            return None
        unfit = len(self.corrected.unfit)
        applied = len(self.corrections.corrections) - unfit
        return {"applied": applied, "unfit": unfit, "checked": self.corrected.checked}


Pages = Callable[[Layer, Collection[str]], Mapping[str, bytes]]
"""Takes a transcript and the names of the files in its folder; returns its pages."""


def lay(recognized: Document, video: Digest, content: bytes = b"", source: str = "") -> Layer:
    """Apply corrections to a transcript.

    Args:
        recognized: the transcript without them, under today's names.
        video: its digest.
        content: of corrections.json; empty for none.
        source: what to call it in an error.

    Raises:
        InputError: see `read_corrections`; or they are of another video.
    """
    if not content:
        nothing = Corrections.model_construct(video=video, name=recognized.name)
        return Layer(video, recognized, recognized, Corrected(recognized.transcript), nothing, b"")
    corrections = read_corrections(content, source or CORRECTIONS)
    if corrections.video != video:
        raise InputError(
            f"{source or CORRECTIONS} corrects another video, {corrections.name or 'without name'}",
            f"use it with the transcript of that, not of {recognized.name}",
        )
    corrected = apply(recognized.transcript, corrections.corrections)
    transcript = corrected.transcript
    if corrected.unfit:
        warnings = (*transcript.warnings, _warning(corrected.unfit, len(corrections.corrections)))
        transcript = transcript.model_copy(update={"warnings": warnings})
    shown = recognized._replace(transcript=transcript)
    return Layer(video, recognized, shown, corrected, corrections, content)


def _warning(unfit: Collection[Unfit], total: int) -> str:
    named = "; ".join(str(each) for each in list(unfit)[:_SAID])
    more = "; …" if len(unfit) > _SAID else ""
    verb = "does" if len(unfit) == 1 else "do"
    return f"{len(unfit)} of {count_of(total, 'correction')} {verb} not fit: {named}{more}"


def open_layer(folder: Path, about: Mapping[str, Any]) -> Layer:
    """Read the transcript of a complete folder.

    Args:
        folder: of the transcript.
        about: its manifest.

    Raises:
        InputError: one of its files cannot be read.
    """
    content = _read(folder / CORRECTIONS)
    file = folder / RECOGNIZED
    recognized = formats.open_transcript(file if file.is_file() else folder / TRANSCRIPT)
    return lay(recognized, about["video"]["digest"], content, str(folder / CORRECTIONS))


def stored_corrections(folder: Path, video: Digest, copies: Path) -> tuple[bytes, str]:
    """Return the corrections of a video, empty for none, and the path of their file.

    Args:
        folder: where its transcript is, or was.
        video: its digest.
        copies: folder of the copies.
    """
    for path in (folder / CORRECTIONS, *_newest_first(copies.glob(f"{video}*.json"))):
        if content := _read(path):
            return content, str(path)
    return b"", ""


def keep_copy(content: bytes, video: Digest, copies: Path) -> None:
    """Copy the corrections of a video if there is no copy."""
    if content and not any(copies.glob(f"{video}*.json")):
        with _copying(content, _copy_of(video, copies)):
            pass


def forget_name(
    transcripts: Iterable[Path], voices: Collection[int], *, locks: Place, copies: Path
) -> list[str]:
    """Take the names of voices out of all corrections: they give words to their labels then.

    A page that was opened before cannot save the names again. Returns a line for each file that
    cannot be read or written.

    Args:
        transcripts: the folders that may hold corrections; copies of others are looked through,
            too.
        voices: numbers, also of voices that went into another one.
        locks: see `folders.one_writer`.
        copies: folder of the copies.
    """
    remains = []
    nameless: dict[bytes, bytes] = {}  # a file and its copy stay the same

    for folder in transcripts:
        of_video = copies.glob(f"{glob.escape(folder.name[-8:])}*.json")
        try:
            with published.one_writer(locks, folder):
                changed = _take_names(folder / CORRECTIONS, voices, nameless)
                if changed and published.list_corrections(folder):
                    published.publish(folder)
                for path in of_video:
                    _take_names(path, voices, nameless)
        except SpokenbyError as error:
            remains.append(f"the corrections in {folder} may name them: {error}")
    for path in sorted(copies.glob("*.json")):
        try:
            _take_names(path, voices, nameless)
        except SpokenbyError as error:
            remains.append(f"{path} may name them: {error}")
    return remains


def _take_names(path: Path, voices: Collection[int], nameless: dict[bytes, bytes]) -> bool:
    """Write a file of corrections without names, if it has some; `nameless` is by what it was."""
    if not (content := _read(path)):
        return False
    if content not in nameless:
        nameless[content] = _without_names(content, voices, str(path))
    if nameless[content] == content:
        return False
    with _copying(nameless[content], path):
        pass
    return True


def _without_names(content: bytes, voices: Collection[int], source: str) -> bytes:
    corrections = read_corrections(content, source)
    nameless = tuple(_nameless(each, voices) for each in corrections.corrections)
    if nameless == corrections.corrections:
        return content
    return as_json(_with_new_revision(corrections, nameless))


def _nameless(each: Correction, voices: Collection[int]) -> Correction:
    if not each.speaker or each.speaker.voice not in voices:
        return each
    name = each.speaker.label or "Unknown speaker"
    who = each.speaker.model_copy(update={"name": name, "voice": None})
    return each.model_copy(update={"speaker": who})


def render_again(
    folder: Path, about: Mapping[str, Any], layer: Layer, pages: Pages
) -> dict[str, bytes | Path]:
    """Return all files of a folder for a changed transcript, including the manifest.

    Args:
        folder: of the transcript.
        about: its manifest; what it lists and is not rendered is taken over.
        layer: what the files are to show.
        pages: renders those that belong to it.
    """
    about = manifest.corrected(about, layer.document.transcript, layer.counts)
    listed = about.pop("files")
    files: dict[str, bytes | Path] = {
        **formats.render(*layer.document, formats.among(listed)),
        **layer.files,
        **pages(layer, listed),
    }
    others = {name: folder / name for name in listed if name not in {*files, RECOGNIZED}}
    return manifest.with_files(about, files | others)


class Saved(NamedTuple):
    """What became of corrections."""

    when: datetime
    applied: int
    unfit: tuple[Unfit, ...]
    kept: Path | None = None
    """Where a folder that had been edited by hand is now."""


def save_corrections(
    folder: Path,
    content: bytes,
    *,
    locks: Place,
    copies: Path,
    pages: Pages = lambda _layer, _files: {},
    add: bool = False,
    overwrite: bool = False,
) -> Saved:
    """Write a folder again with other corrections, completely or not at all.

    Args:
        folder: of the transcript.
        content: of corrections.json, as the transcript's page makes it. It holds all corrections:
            one that it lacks is undone.
        locks: see `folders.one_writer`.
        copies: folder of the copies.
        pages: renders those that belong to it.
        add: put those that are new behind the stored ones, whatever changed there meanwhile.
        overwrite: write it even if it was edited by hand; the edited folder is kept.

    Raises:
        InputError: they cannot be read, are of another video, or do not continue the stored ones;
            or there is no such transcript, or it was edited by hand.
        TransientError: the folder cannot be written now.
    """
    given = read_corrections(content)
    with published.one_writer(locks, folder):
        about = manifest.read_manifest(folder)
        if about is None:
            raise InputError(f"{folder}: its transcript is missing or incomplete", "run it again")
        before = open_layer(folder, about)
        video = before.video
        if before.content and add:
            content = as_json(_joined(before.corrections, given))
        elif before.content and not _continues(given, before.corrections):
            raise InputError(
                "the stored corrections have changed since this page was opened",
                "open the page again; spokenby correct --add keeps both",
            )
        elif not given.revision:  # so that a page that was opened before does not undo them
            content = as_json(_with_new_revision(given, given.corrections))
        layer = lay(before.recognized, video, content)
        if folders.is_edited(folder) and not overwrite:
            raise InputError(
                f"{folder} was edited by hand", "keep the edits elsewhere, or: --overwrite-edited"
            )
        files = render_again(folder, about, layer, pages)
        copy = _own_copy(before.content, video, copies)
        with _copying(content, copy):
            kept = published.write_folder(folder, files)
    unfit = layer.corrected.unfit
    applied = len(layer.corrections.corrections) - len(unfit)
    return Saved(datetime.now(UTC), applied, unfit, kept)


def _continues(given: Corrections, stored: Corrections) -> bool:
    """Return whether corrections know the stored ones, or come from the page that wrote those."""
    same_page = given.revision.partition("-")[0] == stored.revision.partition("-")[0]
    return given.builds_on == stored.revision or bool(stored.revision and same_page)


def _joined(stored: Corrections, given: Corrections) -> Corrections:
    new = [each for each in given.corrections if each not in stored.corrections]
    joined = _with_new_revision(given, (*stored.corrections, *new))
    return joined.model_copy(update={"builds_on": stored.revision})


def _with_new_revision(corrections: Corrections, changed: tuple[Correction, ...]) -> Corrections:
    """Return other corrections, which no page that was opened before continues."""
    revision = f"{secrets.token_hex(8)}-1"
    return corrections.model_copy(update={"corrections": changed, "revision": revision})


def _own_copy(content: bytes, video: Digest, copies: Path) -> Path:
    """Return where the copy of a transcript's corrections is to be: in place of the one before.

    Other transcripts of the video have copies, too.
    """
    for path in copies.glob(f"{video}*.json"):
        if content and _read(path) == content:
            return path
    copy = _copy_of(video, copies)
    paths = chain([copy], (copy.with_suffix(f".{number}.json") for number in count(1)))
    return next(path for path in paths if not path.exists())


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _copy_of(video: Digest, copies: Path) -> Path:
    return copies / f"{video}.json"


@contextmanager
def _copying(content: bytes, copy: Path) -> Iterator[None]:
    """Write the copy once what happens inside has gone well; it is for its owner alone."""
    with explaining(copy.parent, "set SPOKENBY_DATA_DIR"):
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(copy) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "check its permissions"
        ) from error
