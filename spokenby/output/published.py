"""Keep the transcripts of several hosts in step: the bucket has the newest of each, whole.

`transcripts/<folder>/manifest.json` is written last and names all files by their content, which lie
in `files/<folder>/<sha256>/`: who reads finds the old transcript or the new one, never some of
each. A host has copies of those folders that it has written or opened.

Only what lies directly in the site's folder of transcripts is shared, and nothing at all where the
site has no bucket.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from natsort import natsorted

from spokenby.buckets import AT_ONCE, AWAY_S, Bucket, ChangedError, Stored
from spokenby.database import Database
from spokenby.errors import InputError, SpokenbyError, TransientError
from spokenby.files import explaining, replacing
from spokenby.locks import Place
from spokenby.output import folders, manifest
from spokenby.output.folders import CORRECTIONS, MANIFEST, Files
from spokenby.settings import Settings, read_settings
from spokenby.types import Digest, Seconds

_LOG = logging.getLogger("spokenby")

_TRANSCRIPTS, _FILES = "transcripts/", "files/"

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS transcripts
        (bucket TEXT, folder TEXT, etag TEXT, about BLOB, here TEXT, PRIMARY KEY (bucket, folder))
"""

_TIMES = 5
"""How often to start over when others write during a read."""


class _Known(NamedTuple):
    """What is known of a transcript in the bucket."""

    etag: str
    """Of its manifest."""
    about: bytes
    here: str
    """The etag of the manifest of which this host has all files; empty if it has none."""


def shared_name(folder: Path, settings: Settings) -> str:
    """Return under which name a folder is in the bucket; empty if it is not shared."""
    if not settings.bucket or folder.absolute().parent.resolve() != settings.transcripts.resolve():
        return ""
    kept_here = folder.name.startswith(".") or ".edited-" in folder.name
    return "" if kept_here else folder.name


@contextmanager
def one_writer(locks: Place, folder: Path) -> Iterator[None]:
    """Keep other processes and hosts from writing a folder, which is as new as in the bucket.

    See `folders.one_writer`.
    """
    with folders.one_writer(locks, folder):
        _bring(folder)
        yield


def write_folder(folder: Path, files: Files) -> Path | None:
    """Write the files as the whole content of a folder, in the bucket first.

    See `folders.write_folder`. The caller is its one writer.

    Raises:
        TransientError: likewise; or another host has written it.
    """
    settings = read_settings()
    if not (name := shared_name(folder, settings)):
        return folders.write_folder(folder, files)
    copies = _Copies(settings)
    known: list[_Known] = []
    kept = folders.write_folder(folder, files, lambda fresh: known.append(copies.put(name, fresh)))
    copies.note(name, known[0])
    return kept


def publish(folder: Path) -> None:
    """Bring what was written into a folder to the bucket. The caller is its one writer.

    Raises:
        SpokenbyError: that failed: the folder becomes as it is in the bucket when it is next used.
    """
    settings = read_settings()
    if name := shared_name(folder, settings):
        copies = _Copies(settings)
        try:
            known = copies.put(name, folder)
        except SpokenbyError:
            if before := copies.known(name):
                copies.note(name, before._replace(here=""))
            raise
        copies.note(name, known)


def list_corrections(folder: Path) -> bool:
    """Have a transcript's manifest list its corrections as they are; return whether it did not."""
    about = manifest.read_manifest(folder)
    if not about or CORRECTIONS not in about["files"]:
        return False
    listed = about.pop("files")
    corrections = folders.file_entries({CORRECTIONS: folder / CORRECTIONS})
    if corrections.items() <= listed.items():
        return False
    with replacing(folder / MANIFEST) as partial:
        partial.write_bytes(manifest.as_json(about, listed | corrections))
    return True


def fetch(folder: Path, settings: Settings, patience: Seconds = AWAY_S) -> None:
    """Have a folder on this host as it is in the bucket.

    Args:
        folder: of a transcript.
        settings: the site.
        patience: how long to wait for a bucket that is away.

    Raises:
        TransientError: the bucket cannot be reached, or another process writes the folder.
    """
    if not (name := shared_name(folder, settings)):
        return
    copies = _Copies(settings, patience)
    if not copies.is_here(name, folder):
        with folders.one_writer(settings.claims, folder):
            copies.bring(name, folder)


def look(settings: Settings) -> None:
    """Learn which transcripts the bucket has, and what their manifests say."""
    if settings.bucket:
        _Copies(settings).look()


def list_folders(settings: Settings, pattern: str = "*") -> list[Path]:
    """Return the folders of the site's transcripts, those of a bucket as of the last look.

    Args:
        settings: the site.
        pattern: which their names match.
    """
    found = dict.fromkeys(settings.transcripts.glob(pattern))
    if settings.bucket:
        names = fnmatch.filter(_Copies(settings).names(), pattern)
        found |= dict.fromkeys(settings.transcripts / name for name in names)
    return natsorted(found)


def stamp(folder: Path, settings: Settings) -> object:
    """Return what changes when a transcript does, as of the last look; `None` if there is none."""
    if (name := shared_name(folder, settings)) and (known := _Copies(settings).known(name)):
        return known.etag or None
    try:
        stat = (folder / MANIFEST).stat()
    except (OSError, ValueError):
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def about(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """Return the manifest of a complete transcript, as of the last look; `None` if there is none.

    Its files are here only after `fetch`.
    """
    if not (name := shared_name(folder, settings)):
        return manifest.read_manifest(folder)
    known = _Copies(settings).known(name)
    if known is None:
        return manifest.read_manifest(folder)
    return _parsed(known.about)


def is_written(folder: Path, digest: Digest, settings: Settings) -> bool:
    """Return whether there is the complete transcript of a merge digest, as of the last look."""
    found = about(folder, settings)
    return found is not None and found.get("digest") == digest


def _bring(folder: Path) -> None:
    """Make a folder as it is in the bucket. The caller is its one writer."""
    settings = read_settings()
    if name := shared_name(folder, settings):
        _Copies(settings).bring(name, folder)


class _Copies:
    """The copies that this host has of what is in the bucket."""

    def __init__(self, settings: Settings, patience: Seconds = AWAY_S) -> None:
        self._bucket = Bucket(settings.bucket, patience)
        self._cache = settings.cache
        # Not in the cache, which people delete: what is here, but no longer in the bucket, would
        # pass for something new.
        self._notes = Database(settings.data_dir / "published.sqlite", _SCHEMA)

    def known(self, name: str) -> _Known | None:
        """Return what is known of a transcript."""

        def read(database: sqlite3.Connection) -> _Known | None:
            row = database.execute(
                "SELECT etag, about, here FROM transcripts WHERE bucket = ? AND folder = ?",
                (self._bucket.address(), name),
            ).fetchone()
            return _Known(*row) if row else None

        return self._notes.use(read, None)

    def note(self, name: str, known: _Known) -> None:
        """Note what is known of a transcript."""
        row = self._bucket.address(), name, *known
        self._notes.use(
            lambda database: database.execute(
                "INSERT OR REPLACE INTO transcripts VALUES (?, ?, ?, ?, ?)", row
            ),
            None,
        )

    def names(self) -> list[str]:
        """Return the names of the folders that the bucket has."""

        def read(database: sqlite3.Connection) -> list[str]:
            rows = database.execute(
                "SELECT folder FROM transcripts WHERE bucket = ? AND etag <> ''",
                (self._bucket.address(),),
            )
            return [str(row[0]) for row in rows]

        none: list[str] = []
        return self._notes.use(read, none)

    def look(self) -> None:
        """Read the manifests that have changed."""

        def etags(database: sqlite3.Connection) -> dict[str, str]:
            known = database.execute(
                "SELECT folder, etag FROM transcripts WHERE bucket = ?", (self._bucket.address(),)
            )
            return dict(known.fetchall())

        none: dict[str, str] = {}
        before = self._notes.use(etags, none)
        there = {
            each.key.removeprefix(_TRANSCRIPTS).removesuffix(f"/{MANIFEST}"): each.etag
            for each in self._bucket.list(_TRANSCRIPTS)
            if each.key.endswith(f"/{MANIFEST}")
        }
        changed = [name for name, etag in there.items() if before.get(name) != etag]
        with ThreadPoolExecutor(AT_ONCE) as readers:
            found = readers.map(lambda name: self._bucket.get(_manifest_of(name)), changed)
            read = {
                name: _Known(got.etag, got.content, "")
                for name, got in zip(changed, found, strict=True)
                if got and got.content is not None
            }
        # What is gone: noted so, as there may be a copy here, which `bring` removes.
        read |= {name: _Known("", b"", "") for name in before.keys() - there.keys()}
        rows = [
            (self._bucket.address(), name, *each, before.get(name, ""))
            for name, each in read.items()
        ]
        # Not what this host has written meanwhile.
        self._notes.use(
            lambda database: database.executemany(
                "INSERT INTO transcripts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET etag = excluded.etag, about = excluded.about WHERE etag = ?",
                rows,
            ),
            None,
        )

    def is_here(self, name: str, folder: Path) -> bool:
        """Return whether the copy that is here is the newest, by asking the bucket."""
        known = self.known(name)
        if not known or not known.here or manifest.read_manifest(folder) is None:
            return False
        got = self._bucket.get(_manifest_of(name), known=known.here)
        return got is not None and got.content is None

    def bring(self, name: str, folder: Path) -> None:
        """Make a folder as it is in the bucket: also new, or gone."""
        known = self.known(name)
        here = known.here if known and manifest.read_manifest(folder) is not None else ""
        for _ in range(_TIMES):
            got = self._bucket.get(_manifest_of(name), known=here)
            if got is None:
                self._bring_none(name, folder, copied=bool(known and known.here))
                return
            if got.content is None:
                if known and known.etag != here:
                    self.note(name, known._replace(etag=here))
                return
            if self._copy(name, folder, got.content, copied=bool(known and known.here)):
                self.note(name, _Known(got.etag, got.content, got.etag))
                return
        raise TransientError(
            f"{self._bucket.address(_manifest_of(name))} changed while it was read", "run again"
        )

    def _bring_none(self, name: str, folder: Path, *, copied: bool) -> None:
        """Follow what has no transcript in the bucket: it was removed, or is not there yet."""
        if copied:
            self.note(name, _Known("", b"", ""))
            if not folder.is_dir():
                return
            gone = f"{name} is no longer in {self._bucket.address()}"
            if folders.is_edited(folder) or (folder / CORRECTIONS).is_file():
                _LOG.warning("%s: what people did here is kept: %s", gone, _set_aside(folder))
            else:
                shutil.rmtree(folder, ignore_errors=True)
                _LOG.warning("%s: its copy here was removed", gone)
        elif manifest.read_manifest(folder) is not None:  # from before the site had a bucket
            list_corrections(folder)
            if changed := _changed(folder):
                _LOG.warning("%s stays on this host: %s was changed by hand", folder, changed)
            else:
                self.note(name, self.put(name, folder))

    def _copy(self, name: str, folder: Path, content: bytes, *, copied: bool) -> bool:
        """Write a folder as a manifest of the bucket lists it; return False if it is outdated.

        Args:
            name: of the folder, in the bucket.
            folder: to write.
            content: of the manifest.
            copied: what is there was in the bucket once.
        """
        listed = self._listed(name, content)
        corrections = folder / CORRECTIONS
        ours = corrections.is_file() and _digest_of(corrections)
        if ours and not copied and listed.get(CORRECTIONS, {}).get("sha256") != ours:
            _LOG.warning(
                "%s has other corrections in the bucket: those of this host are in %s",
                name,
                _set_aside(folder),
            )
        with (
            explaining(self._cache, "set SPOKENBY_CACHE_DIR"),
            tempfile.TemporaryDirectory(dir=self._cache, prefix="bring-") as fresh,
        ):
            files: dict[str, bytes | Path] = {}
            for file, entry in listed.items():
                digest, there, copy = entry["sha256"], folder / file, Path(fresh, file)
                if there.is_file() and _digest_of(there) == digest:
                    files[file] = there
                    continue
                key = _file_of(name, file, digest)
                try:
                    self._bucket.download(Stored(key, "", entry["bytes"], 0.0), copy)
                except ChangedError:
                    return False
                if _digest_of(copy) != digest:
                    return False
                files[file] = copy
            if CORRECTIONS not in listed and corrections.is_file():
                files[CORRECTIONS] = corrections
            kept = folders.write_folder(folder, {**files, MANIFEST: content})
        if kept:
            _LOG.warning("%s was edited by hand here: kept as %s", folder, kept.name)
        return True

    def _listed(self, name: str, content: bytes) -> dict[str, dict[str, Any]]:
        """Return the files that a manifest of the bucket lists.

        Raises:
            InputError: it is damaged.
        """
        about = _parsed(content)
        if about and all(map(_is_entry, about["files"], about["files"].values())):
            return about["files"]  # type: ignore[no-any-return]
        raise InputError(
            f"{self._bucket.address(_manifest_of(name))} is damaged",
            "delete it in the bucket, and transcribe the video again",
        )

    def put(self, name: str, folder: Path) -> _Known:
        """Write a folder to the bucket; return what is then known of it.

        Raises:
            ChangedError: another host has written it since this one looked.
        """
        known = self.known(name)
        content = (folder / MANIFEST).read_bytes()
        there = {each.key for each in self._bucket.list(f"{_FILES}{name}/")}
        wanted = set()
        for file, entry in json.loads(content)["files"].items():
            key = _file_of(name, file, entry["sha256"])
            wanted.add(key)
            if key not in there:
                self._bucket.put(key, folder / file)
        try:
            etag = self._bucket.put(
                _manifest_of(name), content, replaces=known.here if known else ""
            )
        except ChangedError as error:
            # The answer to an attempt before may have been lost.
            now = self._bucket.get(_manifest_of(name))
            if now is None or now.content != content:
                raise ChangedError(
                    f"another host has written {name} meanwhile", "run again"
                ) from error
            etag = now.etag
        self._bucket.delete(*(there - wanted))
        return _Known(etag, content, etag)


def _manifest_of(name: str) -> str:
    return f"{_TRANSCRIPTS}{name}/{MANIFEST}"


def _file_of(name: str, file: str, digest: str) -> str:
    return f"{_FILES}{name}/{digest}/{file}"


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_aside(folder: Path) -> str:
    return folders.set_aside(folder).name


def _changed(folder: Path) -> str:
    """Return the name of a file that is not as the folder's manifest lists it; else nothing."""
    for file, entry in ((manifest.read_manifest(folder) or {}).get("files") or {}).items():
        path = folder / file
        if not path.is_file() or _digest_of(path) != entry["sha256"]:
            return str(file)
    return ""


def _is_entry(file: str, entry: Any) -> bool:
    """Return whether a manifest may list this: a file of the folder, with digest and size."""
    named = Path(file).name == file not in {"", ".."}
    return named and isinstance(entry, dict) and {"sha256", "bytes"} <= entry.keys()


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        parsed: dict[str, Any] = json.loads(content)
        return parsed if isinstance(parsed["files"], dict) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
