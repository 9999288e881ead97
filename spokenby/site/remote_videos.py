"""Find videos in a bucket, and have one of them on this host's disk while it is read.

`Path("s3://bucket/talk.mp4")` stands for such a video, although it drops a slash: `address_of`
puts that back. No file operation works on it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from spokenby.buckets import AT_ONCE, Bucket, Stored
from spokenby.digests import DigestIndex, digest_of
from spokenby.errors import InputError, SpokenbyError, StoppedError
from spokenby.files import check_room, explaining
from spokenby.progress import is_stopping
from spokenby.settings import SCHEME, Settings, read_settings
from spokenby.types import Digest, Progress, no_progress

_ROOT = Path(SCHEME).parts[0]

_DIGESTS = "digests/"
"""What keys in the site's bucket begin with under which hosts tell each other digests."""

_ETAG, _PROMISED = ".etag", ".promised"
"""Beside a copy: of which bytes it is; how many it will have."""

_listed: dict[str, Stored] = {}
"""By address, what was last seen of videos."""

_searched: set[Path] = set()
"""Folders of which all is in `_listed`."""


def is_remote(path: str | Path) -> bool:
    """Return whether a path stands for what is in a bucket."""
    return Path(path).parts[:1] == (_ROOT,)


def address_of(path: str | Path) -> str:
    """Return how people and other hosts name a video: its path, or its address in a bucket."""
    return SCHEME + "/".join(Path(path).parts[1:]) if is_remote(path) else str(path)


def absolute(path: str | Path) -> Path:
    """Return a path that does not depend on the current folder; an address does not."""
    return Path(path) if is_remote(path) else Path(path).absolute()


def find_below(path: Path) -> tuple[list[Path], list[str]]:
    """Return the object that a path stands for, or all below it; and the addresses without a path.

    Raises:
        InputError: none is there.
        SpokenbyError: the bucket cannot be used.
    """
    bucket, key = _place(path)
    one = bucket.find(key) if key else None
    found = [one] if one else [*bucket.list(f"{key}/" if key else "")]
    if not found:
        raise InputError(f"there is nothing at {address_of(path)}", "check the name")
    if one is None:
        _searched.add(path)
    paths, pathless = [], []
    for each in found:
        address = f"{SCHEME}{bucket.name}/{each.key}"
        if each.key.endswith("/"):  # a folder
            continue
        if address_of(address) == address and ".." not in Path(address).parts:
            _listed[address] = each
            paths.append(Path(address))
        else:  # such as a//b or a/./b
            pathless.append(address)
    return paths, pathless


def read_object(path: Path) -> bytes | None:
    """Return the bytes of a small object beside videos; `None` if there is none.

    Raises:
        SpokenbyError: the bucket cannot be used.
    """
    if address_of(path) not in _listed and not _searched.isdisjoint(path.parents):
        return None
    bucket, key = _place(path)
    got = bucket.get(key)
    return got.content if got else None


def stat_of(path: Path) -> os.stat_result:
    """Return size and time of change of a video, as last listed.

    Raises:
        OSError: it is gone, or its bucket cannot be used.
    """
    each = _listed.get(address_of(path)) or _now(path)
    times = (int(each.modified),) * 3
    return os.stat_result(
        (0, 0, 0, 0, 0, 0, each.size, *times),
        {"st_mtime": each.modified, "st_mtime_ns": round(each.modified * 1e9)},
    )


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when a video is written again, as of now: size, time, a number.

    Raises:
        OSError: likewise.
    """
    each = _now(path)
    number = int(hashlib.sha256(each.etag.encode()).hexdigest()[:12], 16)
    return each.size, round(each.modified * 1e9), number


def recall_digest(path: Path, index: DigestIndex | None) -> Digest | None:
    """Return the digest of a video that this host has read, or another one of the site."""
    if index is None:  # its bytes are in question
        return None
    stat = stat_of(path)
    if (digest := index.recall(path, stat)) is None and (digest := _noted(path)):
        index.remember(path, stat, digest)
    return digest


def learn_digests(paths: Iterable[Path], index: DigestIndex) -> None:
    """Let this host know the digests of those videos in buckets that another one has read.

    Raises:
        SpokenbyError: the bucket cannot be used.
    """
    stats = {}
    for path in filter(is_remote, paths):
        with suppress(OSError):  # gone since it was found
            stats[path] = stat_of(path)
    unknown = [*(stats.keys() - index.recall_all(stats).keys())]
    with ThreadPoolExecutor(AT_ONCE) as readers:
        found = dict(zip(unknown, readers.map(_noted, unknown), strict=True))
    index.remember_all({path: (stats[path], digest) for path, digest in found.items() if digest})


def _noted(path: Path) -> Digest | None:
    """Return the digest that a host of the site has noted of a video."""
    settings = read_settings()
    got = Bucket(settings.bucket).get(_DIGESTS + _name(path)) if settings.bucket else None
    digest = got.content.decode("ascii", "replace") if got and got.content else ""
    return digest if len(digest) == len(hashlib.sha256().hexdigest()) else None


def note_digest(path: Path, digest: Digest, index: DigestIndex | None) -> None:
    """Let this host and the others know the digest of a video, of which the copy is here still."""
    settings = read_settings()
    each = _listed.get(address_of(path)) or _now(path)
    if _etag_of_copy(_folder_of(path, settings)) != each.etag:
        return  # it was written again since: the digest is that of the bytes before
    if index:
        index.remember(path, stat_of(path), digest)
    if settings.bucket:
        Bucket(settings.bucket).put(_DIGESTS + _name(path), digest.encode())


@contextmanager
def on_disk(path: Path, progress: Progress = no_progress) -> Iterator[Path]:
    """Yield a file that holds a video: itself, or a copy if it is in a bucket.

    The copy stays until it is released, or the room is needed for another.

    Raises:
        InputError: there is no such video, or it is larger than all copies may be.
        SpokenbyError: the bucket cannot be used.
    """
    if not is_remote(path):
        yield path
        return
    settings = read_settings()
    try:
        each = _now(path)
    except FileNotFoundError:
        raise InputError(f"{address_of(path)} does not exist", "check the name") from None
    folder = _folder_of(path, settings)
    with explaining(folder, "set SPOKENBY_CACHE_DIR"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(folder)
        while True:
            try:
                lock.acquire(timeout=1)
                break
            except Timeout:
                if is_stopping():
                    raise StoppedError("stopped on request") from None
    try:
        copy, partial = folder / path.name, folder / ".partial"
        if not (copy.exists() and _etag_of_copy(folder) == each.etag):
            with explaining(folder, "set SPOKENBY_CACHE_DIR"):
                copy.unlink(missing_ok=True)
                _make_room(each.size, folder, settings)
                Bucket(f"{SCHEME}{path.parts[1]}").download(each, partial, progress)
                partial.replace(copy)
                (folder / _ETAG).write_text(each.etag, "utf-8")
                (folder / _PROMISED).unlink(missing_ok=True)
        os.utime(folder)
        yield copy
    except SpokenbyError as error:  # people know the video by its address
        problem = error.problem.replace(str(folder / path.name), address_of(path))
        raise type(error)(problem, error.next_step) from error
    finally:
        lock.release()


def release(path: str | Path) -> None:
    """Remove the copy of a video in a bucket, unless another process reads it."""
    if is_remote(path):
        _remove(_folder_of(Path(path), read_settings()))


def _make_room(needed: int, folder: Path, settings: Settings) -> None:
    """Promise a copy its room: remove those used longest ago, and wait for those that are read.

    Raises:
        InputError: there will not be room.
    """
    most = round(settings.staging_gb * 1e9)
    if needed > most:
        raise InputError(
            f"a video of {needed / 1e9:.1f} GB is more than the {settings.staging_gb:g} GB that"
            " copies of videos may take",
            "raise SPOKENBY_STAGING_GB",
        )
    while True:
        with _lock_of(_staging(settings) / "room"):  # another copy may begin at the same time
            others = [each for each in _copies(settings) if each != folder]
            taken = sum(_size_of(each) for each in others)
            for other in sorted(others, key=_used):
                if taken + needed <= most:
                    break
                size = _size_of(other)
                taken -= size if _remove(other) else 0
            if taken + needed <= most:
                begun = filter(_is_in_use, others)
                missing = sum(_size_of(each) - _on_disk_of(each) for each in begun)
                check_room(folder, needed + missing, "set SPOKENBY_CACHE_DIR")
                (folder / _PROMISED).write_text(str(needed), "ascii")
                return
        if is_stopping():
            raise StoppedError("stopped on request")
        time.sleep(1)


def _copies(settings: Settings) -> list[Path]:
    with suppress(FileNotFoundError):
        return [path for path in _staging(settings).iterdir() if path.is_dir()]
    return []


def _used(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _size_of(folder: Path) -> int:
    """Return how many bytes a copy has, or will have."""
    promised = 0
    with suppress(OSError, ValueError):
        promised = int((folder / _PROMISED).read_text("ascii"))
    return max(promised, _on_disk_of(folder))


def _on_disk_of(folder: Path) -> int:
    size = 0
    with suppress(OSError):
        for file in folder.iterdir():
            size += file.stat().st_size
    return size


def _etag_of_copy(folder: Path) -> str:
    with suppress(OSError):
        return (folder / _ETAG).read_text("utf-8")
    return ""


def _remove(folder: Path) -> bool:
    if not folder.exists():
        return True
    lock = _lock_of(folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    finally:
        lock.release()


def _is_in_use(folder: Path) -> bool:
    try:
        with _lock_of(folder).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder.with_suffix(".lock"), thread_local=False, fallback_to_soft=False)


def _staging(settings: Settings) -> Path:
    return settings.cache / "videos"


def _folder_of(path: Path, settings: Settings) -> Path:
    return _staging(settings) / digest_of(address_of(path))[:32]


def _place(path: Path) -> tuple[Bucket, str]:
    if len(path.parts) < 2:
        raise InputError(f"{address_of(path)} names no bucket", f"write {SCHEME}bucket/folder")
    return Bucket(f"{SCHEME}{path.parts[1]}"), "/".join(path.parts[2:])


def _now(path: Path) -> Stored:
    """Return what a bucket says of a video now.

    Raises:
        FileNotFoundError: it is gone.
        OSError: the bucket cannot be used.
    """
    bucket, key = _place(path)
    try:
        found = bucket.find(key) if key else None
    except StoppedError:
        raise
    except SpokenbyError as error:
        raise OSError(0, str(error), address_of(path)) from error
    if found is None:
        raise FileNotFoundError(address_of(path))
    _listed[address_of(path)] = found
    return found


def _name(path: Path) -> str:
    each = _listed.get(address_of(path)) or _now(path)
    return digest_of(address_of(path), each.etag, each.size)
