"""Name the folder of a video's outputs, and write it completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from spokenby.errors import TransientError
from spokenby.files import explain, explaining
from spokenby.locks import Locks, Place, open_locks
from spokenby.types import Digest

MANIFEST = "manifest.json"
CORRECTIONS = "corrections.json"
"""People's work: it says nothing about whether a folder's other files were edited."""
RECOGNIZED = "recognized.json"
"""The transcript without corrections, where there are some."""

Files = Mapping[str, bytes | Path]
"""By name, what a file is to hold, or another file of which it is to be a copy."""

# Files that the system, not the user, puts into a folder.
_SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})

_WAIT_S = 60
"""How long to wait for another process that writes the same folder, which takes a second."""

_ASK_EVERY_S = 0.05

_ELSEWHERE = "choose another output folder"

_NAME_BYTES = 150
# Windows refuses these characters; the rest are control characters, text direction overrides,
# which make a name look like another, and halves of characters that UTF-8 cannot write.
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_WINDOWS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def file_entries(files: Files) -> dict[str, dict[str, str | int]]:
    """Return the entries of manifest.json under `files`: `sha256`, and size in `bytes`."""
    entries: dict[str, dict[str, str | int]] = {}
    for name, content in files.items():
        with _opened(content) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            entries[name] = {"sha256": digest, "bytes": file.seek(0, os.SEEK_END)}
    return entries


def digest_of_file(content: bytes) -> str:
    """Return the SHA-256 of a file's content as manifest.json lists it."""
    return hashlib.sha256(content).hexdigest()


def folder_name(video_name: str, digest: Digest) -> str:
    """Return `<name>-<first 8 digits>`, safe as a folder's name on Windows, macOS and Linux."""
    return f"{safe_name(video_name)}-{digest[:8]}"


def safe_name(video_name: str) -> str:
    """Return a name, or "video", as files can begin with it on Windows, macOS and Linux."""
    # macOS spells accents apart (NFD): the same video must get the same folder everywhere.
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", video_name)).strip(" .").lstrip("-. ")
    name = name.encode()[:_NAME_BYTES].decode(errors="ignore").rstrip(" .\u200d")
    if _WINDOWS_DEVICE.match(name):
        name = f"_{name}"
    return name or "video"


def check_writable(parent: Path) -> None:
    """Raise what writing folders of outputs into `parent`, which is made, would end with.

    Raises:
        InputError: writing is not allowed, no space is left, or something else is in its place.
        TransientError: its disk cannot be reached.
    """
    with explaining(parent, _ELSEWHERE):
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent) as file:
            file.write(b"x" * 4096)


@contextmanager
def one_writer(locks: Place, folder: Path) -> Iterator[None]:
    """Keep other processes from writing a folder of this name.

    Names and the like are read inside, so that nothing newer is overwritten.

    Args:
        locks: where the locks are, the same for all processes.
        folder: the folder to write.

    Raises:
        SpokenbyError: the folder for the locks cannot be written, or the database not be reached.
        TransientError: another process holds the lock for more than a minute.
    """
    writer = open_locks(locks)
    deadline = time.monotonic() + _WAIT_S
    try:
        while not _take(writer, folder.name, locks):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"another process has been writing {folder} for {_WAIT_S} s",
                    "end it, or try again",
                )
            time.sleep(_ASK_EVERY_S)
        yield
    finally:
        writer.close()


def _take(writer: Locks, name: str, locks: Place) -> bool:
    try:
        return writer.take(name)
    except OSError as error:
        raise explain(error, Path(locks), "set SPOKENBY_CACHE_DIR") from error


def write_folder(
    folder: Path, files: Files, publish: Callable[[Path], object] = lambda _fresh: None
) -> Path | None:
    """Write the files as the whole content of `folder`, completely or not at all.

    An existing folder is replaced; a link to one stays, and leads to the new one. If its
    manifest.json does not match its files (one was edited or added by hand), it is kept as
    `<folder>.edited-1` (the next free number) and that path is
    returned.

    Args:
        folder: to be written.
        files: its content.
        publish: called with the whole folder under another name before it takes its place.

    Raises:
        InputError: no permission, no space left, or the name cannot be a folder's.
        TransientError: a file of the folder is in use, or the disk cannot be reached.
    """
    if folder.is_symlink() and folder.is_dir():
        folder = folder.resolve()
    unfinished = f".{folder.name}.tmp-"
    fresh = folder.with_name(unfinished + secrets.token_hex(4))
    try:
        with explaining(folder, _ELSEWHERE):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(folder.parent, unfinished)
            fresh.mkdir()
            for name, content in files.items():
                if content == folder / name and _linked(folder / name, fresh / name):
                    continue
                with (fresh / name).open("xb") as file, _opened(content) as source:
                    shutil.copyfileobj(source, file)
                    file.flush()
                    os.fsync(file.fileno())
            publish(fresh)
            return _swap_in(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _linked(source: Path, copy: Path) -> bool:
    """Give a file that stays another name, if its disk can: a player goes on with it."""
    try:
        copy.hardlink_to(source)
    except OSError:
        return False
    return True


def _opened(content: bytes | Path) -> io.BufferedReader | io.BytesIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def is_edited(folder: Path) -> bool:
    """Return whether the folder holds anything that spokenby did not write.

    Corrections are kept and applied whoever wrote them: they do not count.
    """
    ignored = {MANIFEST, CORRECTIONS, *_SYSTEM_FILES}
    there = {path.name: path for path in folder.iterdir() if path.name not in ignored}
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return any(
            listed[name]["sha256"] != digest_of_file(path.read_bytes())
            for name, path in there.items()
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # A subfolder, an unlisted file, or no readable manifest: keep what is there, if anything.
        return bool(there)


def _swap_in(fresh: Path, folder: Path) -> Path | None:
    """Rename `fresh` to `folder`; return where an edited old folder was kept."""
    if not os.path.lexists(folder):
        fresh.rename(folder)
        return None
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file of this name is there", str(folder))
    kept = _next_edited(folder) if is_edited(folder) else None
    # Replacing a folder with files in one step is not portable: old out, new in.
    old = kept or fresh.with_name(f"{fresh.name}-old")
    folder.rename(old)
    try:
        fresh.rename(folder)
    except BaseException:
        if not folder.exists():
            old.rename(folder)
        raise
    if not kept:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def set_aside(folder: Path) -> Path:
    """Rename a folder as one that was edited by hand; return its new path."""
    kept = _next_edited(folder)
    with explaining(folder, _ELSEWHERE):
        return folder.rename(kept)


def _next_edited(folder: Path) -> Path:
    number = 1
    while os.path.lexists(kept := folder.with_name(f"{folder.name}.edited-{number}")):
        number += 1
    return kept


def _remove_unfinished(parent: Path, prefix: str) -> None:
    """Remove what killed runs left behind."""
    for stale in [path for path in parent.iterdir() if path.name.startswith(prefix)]:
        # Renamed first: if its writer is still alive, its rename fails, instead of publishing a
        # folder whose files are being removed.
        doomed = stale.with_name(prefix + secrets.token_hex(4))
        try:
            stale.rename(doomed)
        except OSError:
            continue
        shutil.rmtree(doomed, ignore_errors=True)
