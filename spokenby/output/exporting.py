"""Write further files of a finished transcript, from its transcript.json; nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spokenby.errors import SpokenbyError
from spokenby.files import explaining, replacing
from spokenby.locks import Place
from spokenby.output import folders, formats, manifest, published

EDITED = "not what spokenby wrote: left as it is"


class Exported(NamedTuple):
    """The result for one file. `edited` means that somebody else's content is there: it stays."""

    path: Path
    state: Literal["written", "unchanged", "edited", "failed"]
    note: str = ""


def export_into(
    folder: Path, names: Sequence[str], locks: Place, *, overwrite: bool = False
) -> list[Exported]:
    """Write formats of a transcript into its folder, and list them in its manifest.

    Args:
        folder: of the transcript.
        names: of `formats.FORMATS`.
        locks: see `folders.one_writer`.
        overwrite: also files that were edited by hand.
    """
    try:
        with published.one_writer(locks, folder):
            return _export_into(folder, names, overwrite=overwrite)
    except SpokenbyError as error:
        return [Exported(folder, "failed", str(error))]


def _export_into(folder: Path, names: Sequence[str], *, overwrite: bool) -> list[Exported]:
    about = manifest.read_manifest(folder)
    if about is None:
        return [Exported(folder, "failed", "its transcript is missing or incomplete")]
    document = formats.open_transcript(folder)
    results, written = [], {}
    for name in names:
        try:
            files = formats.render(*document, [name])
        except SpokenbyError as error:
            results.append(Exported(folder / formats.file_of(name), "failed", str(error)))
            continue
        for file, content in files.items():
            listed = about["files"].get(file, {}).get("sha256", "")
            result = _write(folder / file, content, listed, overwrite=overwrite)
            results.append(result)
            if result.state in {"written", "unchanged"}:
                written[file] = content
    listed = {**about.pop("files"), **folders.file_entries(written)}
    # Last: a file that is not listed is kept as somebody's own, one that is listed must be there.
    _write(folder / folders.MANIFEST, manifest.as_json(about, listed), overwrite=True)
    published.publish(folder)
    return results


def export_to(
    folder: Path, names: Sequence[str], target: Path, stem: str, *, overwrite: bool = False
) -> list[Exported]:
    """Write formats of a transcript into another folder, as `<stem>.docx` and so on.

    Args:
        folder: of the transcript.
        names: of `formats.FORMATS`.
        target: folder to write to; made if it is not there.
        stem: of the files' names.
        overwrite: also files that are there with another content.
    """
    results = []
    try:
        document = formats.open_transcript(folder)
        with explaining(target, "choose another folder"):
            target.mkdir(parents=True, exist_ok=True)
        for name in names:
            (content,) = formats.render(*document, [name]).values()
            results.append(_write(target / f"{stem}.{name}", content, overwrite=overwrite))
    except SpokenbyError as error:
        results.append(Exported(folder, "failed", str(error)))
    return results


def _write(path: Path, content: bytes, listed: str = "", *, overwrite: bool) -> Exported:
    """Write a file unless somebody else's is there.

    `listed` is the SHA-256 of what spokenby wrote there before, if it did.
    """
    with explaining(path.parent, "choose another folder"):
        if path.exists():
            there = path.read_bytes()
            if there == content:
                return Exported(path, "unchanged")
            if not overwrite and folders.digest_of_file(there) != listed:
                return Exported(path, "edited", EDITED)
        with replacing(path) as partial:
            partial.write_bytes(content)
    return Exported(path, "written")


def missing_formats(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the formats that a finished transcript's manifest does not list."""
    about = manifest.read_manifest(folder)
    return [name for name in names if about and formats.file_of(name) not in about["files"]]
