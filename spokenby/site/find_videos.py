"""Find the files to transcribe below some paths, by name."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from natsort import natsort_keygen, ns

from spokenby.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv"}
    | {".3gp", ".3g2", ".mts", ".m2ts", ".vob", ".ogv", ".mxf", ".asf"}
)
AUDIO_SUFFIXES = frozenset(
    {".wav", ".mp3", ".m4a", ".flac", ".ogg", ".opus", ".aac", ".wma", ".amr", ".m4b", ".aiff"}
    | {".w64", ".mka", ".oga", ".caf", ".mp2", ".ac3"}
)
SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES
"""What counts in a folder. A file that is named itself may be called anything."""

OnProblem = Callable[[str | Path, InputError], None]
"""Takes the path and what is wrong with it."""

_UNFINISHED = (".part", ".tmp", ".temp", ".download")  # talk.temp.mp4: a download under way

_HALF = re.compile(r"(.+\.)f[\w+-]+\.\w+")
"""talk.f251.webm: yt-dlp's name of a sound or picture that it has yet to join."""


def find_videos(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files named and those in the folders named, absolute, each once.

    The order is that of `paths`; a folder's files are sorted as people count (2 before 10).

    Raises:
        InputError: a path is missing or unreadable, or a folder holds no video.
    """
    found: dict[str, Path] = {}
    for path in _expand(paths):
        for video in _look(path.absolute()):
            found.setdefault(os.path.normcase(os.path.realpath(video)), video)
    if not found:
        raise InputError("no video was named", "name video files, or folders that hold some")
    return list(found.values())


class BadPath(NamedTuple):
    """A path that leads to no video, or to only some of them, and why."""

    path: str
    error: InputError


def look_for_videos(paths: Sequence[str | Path]) -> tuple[list[Path], list[BadPath]]:
    """Return what `find_videos` would, and what it would fail for: the rest is found all the same.

    Folders without a video are as good as others.
    """
    found: dict[str, Path] = {}
    problems: list[BadPath] = []

    def note(path: str | Path, error: InputError) -> None:
        problems.append(BadPath(_printable(path), error))

    for path in _expand(paths):
        try:
            videos = sorted(_look_into(path.absolute(), note), key=_natural)
        except InputError as error:
            note(path, error)
            continue
        for video in videos:
            found.setdefault(os.path.normcase(os.path.realpath(video)), video)
    return list(found.values()), problems


def _expand(paths: Sequence[str | Path]) -> Iterator[Path]:
    """Resolve patterns such as `talks/*.mp4`, which shells on Windows hand on as they are."""
    for path in paths:
        matches = () if os.path.lexists(path) else glob.glob(str(path))  # noqa: PTH207
        yield from sorted(map(Path, matches), key=_natural) or [Path(path)]


def _look(path: Path) -> list[Path]:
    videos = sorted(_look_into(path, _raise), key=_natural)
    if not videos:
        raise no_video_in(path)
    return videos


def no_video_in(folder: str | Path) -> InputError:
    """Return the error that says what a folder should hold."""
    known = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    return InputError(f"the folder {folder} holds no video", f"put files there ending in {known}")


def _look_into(path: Path, on_problem: OnProblem) -> Iterator[Path]:
    """Yield the file that `path` names, or the videos below it if it is a folder."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        raise InputError(
            f"{path} does not exist", "check the name, or put the videos there"
        ) from None
    except OSError as error:
        raise _unreadable(error) from error
    if stat.S_ISREG(mode):
        yield _with_text_name(path)
    elif stat.S_ISDIR(mode):
        yield from _walk(path, on_problem)
    else:
        raise InputError(f"{path} is neither a file nor a folder", "name a video or a folder")


def _walk(top: Path, on_problem: OnProblem) -> Iterator[Path]:
    def tell(error: OSError) -> None:
        on_problem(error.filename, _unreadable(error))

    seen = set()  # a link may lead back up
    for folder, folders, names in os.walk(top, followlinks=True, onerror=tell):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else [name for name in folders if not _is_hidden(name)]
        if real in seen:
            continue
        seen.add(real)
        for name in names:
            path = Path(folder, name)
            if (
                path.suffix.lower() in SUFFIXES
                and not _is_hidden(name)
                and not path.stem.lower().endswith(_UNFINISHED)
                and not _is_half(name, names)
                and path.is_file()
            ):
                try:
                    yield _with_text_name(path)
                except InputError as error:
                    on_problem(path, error)


def _is_half(name: str, beside: Collection[str]) -> bool:
    """Return whether the other half is still under way, or both are being joined."""
    if not (half := _HALF.fullmatch(name)):
        return False
    return any(
        other.startswith(half[1]) and (other.endswith((".part", ".ytdl")) or ".temp." in other)
        for other in beside
    )


def _with_text_name(path: Path) -> Path:
    """Refuse names of bytes that are no text, which Linux allows and results cannot hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the name of {_printable(path)} is not text (UTF-8)", "rename it"
        ) from None
    return path


def _printable(path: str | Path) -> str:
    return str(path).encode(errors="replace").decode()


def _is_hidden(name: str) -> bool:
    # $RECYCLE.BIN and System Volume Information lie on top of every drive of Windows.
    return name.startswith((".", "~", "$")) or name == "System Volume Information"


_counting = natsort_keygen(alg=ns.PATH | ns.IGNORECASE)


def _natural(path: Path) -> tuple[Any, str]:
    return _counting(path), str(path)  # 1.mp4 and 01.mp4 count the same


def _unreadable(error: OSError) -> InputError:
    return InputError(
        f"{error.filename} cannot be read ({error.strerror})", "check its permissions"
    )


def _raise(_path: str | Path, error: InputError) -> NoReturn:
    raise error
