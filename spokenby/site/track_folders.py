"""Take a folder of one recording a person for one recording: its name ends in `.tracks`.

Its digest covers the names of its files, too: they say who speaks, as titles of streams do.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from zlib import crc32

from spokenby.digests import DigestIndex, digest_file, digest_of
from spokenby.engines.av import Probe, probe
from spokenby.errors import InputError
from spokenby.site.find_videos import (
    UNFINISHED,
    is_recording,
    is_track_folder,
    why_left_out,
)
from spokenby.site.remote_videos import (
    address_of,
    is_remote,
    note_digest,
    on_disk,
    recall_digest,
    stamp_of,
    stat_of,
)
from spokenby.stages.tracks import person_in
from spokenby.types import Digest, Progress, no_progress


def track_files(folder: Path) -> list[Path]:
    """Return the recordings in a folder of tracks, by name.

    Raises:
        InputError: there is none, or one only, or one is still being written, or the folder cannot
            be read.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, to be compared with each other
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror})", "check its permissions"
        ) from error
    reasons = {name: why_left_out(folder / name, names) for name in names}
    if under_way := [name for name in names if reasons[name] == UNFINISHED]:
        raise InputError(
            f"{folder} holds an unfinished file, {under_way[0]}",
            "wait until it is complete, or delete it",
        )
    found = [folder / name for name in names if is_recording(folder / name, names)]
    if len(found) < 2:
        raise InputError(
            f"{folder} holds {'one recording' if found else 'no recording'}: a folder of tracks"
            " holds one for each person",
            "put them there, or rename the folder if it is none of tracks",
        )
    return found


def track_names(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return each recording's file name, and whose it is by that; nothing if it is no folder.

    Raises:
        InputError: see `track_files`.
    """
    if not is_track_folder(folder):
        return ()
    return tuple((file.name, _person(file.stem)) for file in track_files(folder))


def _person(stem: str) -> str:
    """Return whose a file is, if it says so.

    A number before the name is its place, and Zoom adds its own.
    """
    if zoom := re.fullmatch(r"audio(\D+)\d+", stem):
        return person_in(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", zoom[1]))
    named = re.sub(r"^\d+[\s._-]+(?=\D)", "", stem)
    return person_in(named.replace("_", " "))


def probe_recording(path: Path, progress: Progress = no_progress) -> Probe:
    """Return what the file says of itself; of a folder of tracks, how long its longest file is.

    `progress` is told how much of a video in a bucket has been copied.

    Raises:
        InputError: a file is not a recording.
    """
    if not is_track_folder(path):
        with on_disk(path, progress) as file:
            return probe(file)
    probed = [probe(file) for file in track_files(path)]
    return Probe(
        duration=max(each.duration for each in probed),
        audio=tuple(each.audio[0] for each in probed),
        jumping=False,
        recorded=next((each.recorded for each in probed if each.recorded), ""),
    )


def digest_recording(
    path: Path, index: DigestIndex | None = None, progress: Progress = no_progress
) -> Digest:
    """Return the digest of a file's bytes, or of the names and bytes of a folder of tracks.

    Raises:
        InputError: one cannot be read, or the folder holds too few.
        TransientError: a file changed meanwhile.
    """
    if is_remote(path):
        return _digest_remote(path, index, progress)
    if not is_track_folder(path):
        return digest_file(path, index, progress)
    files = track_files(path)
    digests = []
    for number, file in enumerate(files):
        done = number / len(files)
        digests.append(
            digest_file(file, index, lambda part, done=done: progress(done + part / len(files)))  # type: ignore[misc]
        )
    return digest_of([[file.name, each] for file, each in zip(files, digests, strict=True)])


def _digest_remote(path: Path, index: DigestIndex | None, progress: Progress) -> Digest:
    try:
        if known := recall_digest(path, index):
            return known
    except OSError as error:
        raise InputError(f"{address_of(path)} cannot be read ({error})", "check it") from error
    with on_disk(path, progress) as file:
        digest = digest_file(file)
        note_digest(path, digest, index)
    return digest


def newest_stat(path: Path) -> os.stat_result:
    """Return the stat of a file; of a folder of tracks, of the file that changed last.

    Raises:
        OSError: it is gone.
    """
    if is_remote(path):
        return stat_of(path)
    inside = [each.stat() for each in path.iterdir()] if is_track_folder(path) else []
    return max(inside, key=lambda stat: stat.st_mtime_ns, default=path.stat())


def recording_stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced: size, time, number.

    Of a folder of tracks, the sum of each over its files, and their names.
    """
    try:
        if is_remote(path):
            return stamp_of(path)
        files = track_files(path) if is_track_folder(path) else []
        stats = [file.stat() for file in files or [path]]
    except (OSError, InputError):
        return None
    names = "/".join(file.name for file in files).encode()
    return (
        sum(stat.st_size for stat in stats),
        sum(stat.st_mtime_ns for stat in stats),
        sum(stat.st_ino for stat in stats) + crc32(names),
    )
