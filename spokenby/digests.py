"""Compute digests of files, of folders, and of what a result depends on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from spokenby.database import Database
from spokenby.errors import InputError, TransientError
from spokenby.types import Digest, Progress, no_progress

_LOG = logging.getLogger("spokenby")
_BLOCK_BYTES = 4 * 2**20
_SETTLED_NS = 2_000_000_000
"""A file changed more recently may change again within one tick of its clock: not remembered."""


class DigestIndex:
    """Remember digests of files between runs, by path, size and time of change.

    It only ever saves time; see database.py for what happens where it cannot be used. Each row has
    a checksum: SQLite does not notice a changed bit, which would give a video another's transcript.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(
            path,
            "CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, size INTEGER,"
            " mtime_ns INTEGER, digest TEXT, checksum TEXT)",
        )

    def recall(self, path: Path, stat: os.stat_result) -> Digest | None:
        """Return the digest of the file as it was when `stat` was taken, `None` if not known."""
        return self.recall_all({path: stat}).get(path)

    def recall_all(self, files: Mapping[Path, os.stat_result]) -> dict[Path, Digest]:
        """Return the digests of those files that are known; 10,000 take a fraction of a second."""

        def look(database: sqlite3.Connection) -> dict[Path, Digest]:
            found = {}
            for path, stat in files.items():
                known = _key(path), stat.st_size, stat.st_mtime_ns
                row = database.execute(
                    "SELECT digest, checksum FROM digests"
                    " WHERE path = ? AND size = ? AND mtime_ns = ?",
                    known,
                ).fetchone()
                if row and row[1] == _checksum(*known, str(row[0])):
                    found[path] = row[0]
                elif row:
                    _LOG.warning("%s is damaged: %s is read again", self.path, path)
            return found

        return self._database.use(look, {})

    def places(self, digest: Digest) -> list[Path]:
        """Return the paths at which files of that digest were; they may have changed since."""

        def look(database: sqlite3.Connection) -> list[Path]:
            rows = database.execute("SELECT path FROM digests WHERE digest = ?", (digest,))
            return [Path(os.fsdecode(row[0])) for row in rows]

        return self._database.use(look, [])

    def remember(self, path: Path, stat: os.stat_result, digest: Digest) -> None:
        """Note the digest, unless the file changed only just now."""
        self.remember_all({path: (stat, digest)})

    def remember_all(self, files: Mapping[Path, tuple[os.stat_result, Digest]]) -> None:
        """Note the digests of files, but of those that changed only just now."""
        settled = time.time_ns() - _SETTLED_NS
        rows = [
            (_key(path), stat.st_size, stat.st_mtime_ns, digest)
            for path, (stat, digest) in files.items()
            if stat.st_mtime_ns < settled
        ]
        self._database.use(
            lambda database: database.executemany(
                "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)",
                [(*row, _checksum(*row)) for row in rows],
            ),
            None,
        )


def _checksum(path: bytes, size: int, mtime_ns: int, digest: Digest) -> str:
    return digest_of(path.hex(), size, mtime_ns, digest)


def _key(path: Path) -> bytes:
    if path.parts[:1] == ("s3:",):  # in a bucket, see site/remote_videos.py
        return os.fsencode(path)
    return os.fsencode(path.absolute())  # bytes: names on Linux need not be text


def digest_file(
    path: Path, index: DigestIndex | None = None, progress: Progress = no_progress
) -> Digest:
    """Return the SHA-256 of the file's bytes, from the index where it knows the file.

    Raises:
        InputError: the file cannot be read.
        TransientError: the file changed meanwhile: somebody is still writing it.
    """
    try:
        before = path.stat()
        if index is not None and (known := index.recall(path, before)):
            return known
        digest = _hash(path, before.st_size, progress)
        after = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check its name") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "check the file and its permissions"
        ) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise TransientError(
            f"{path} changed while it was read", "try again when it has been copied completely"
        )
    if index is not None:
        index.remember(path, after, digest)
    return digest


def _hash(path: Path, size: int, progress: Progress) -> Digest:
    # Not hashlib.file_digest: it can neither tell its progress nor be stopped.
    content, block, done = hashlib.sha256(), bytearray(_BLOCK_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            content.update(memoryview(block)[:count])
            done += count
            progress(min(1.0, done / max(size, 1)))
    return content.hexdigest()


def digest_of(*parts: object) -> Digest:
    """Return the SHA-256 of the parts as canonical JSON: lists, dicts, text, finite numbers."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_tree(path: Path, index: DigestIndex | None = None) -> Digest:
    """Return the digest of a model: of a file's bytes, or of a folder's relative names and bytes.

    Hidden names and `__pycache__` do not count: downloaders and Python keep their notes there.

    Raises:
        InputError: there is nothing at `path`, or it cannot be read.
    """
    if not path.is_dir():
        return digest_file(path, index)
    files = []
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        files += [Path(folder, name) for name in names if name[0] != "."]
    if not files:
        raise InputError(f"{path} is an empty folder", "put the model's files there")
    return digest_of(
        *sorted((file.relative_to(path).as_posix(), digest_file(file, index)) for file in files)
    )
