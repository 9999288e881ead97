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

from spokenby.errors import InputError, TransientError
from spokenby.site.remote_videos import absolute, address_of, find_below, is_remote
from spokenby.wording import one_line

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

TRACKS = ".tracks"
"""Ending of a folder that is one recording: a file for each person."""

OnProblem = Callable[[str | Path, InputError], None]
"""Takes the path and what is wrong with it."""

UNFINISHED, HIDDEN, NO_FILE = "unfinished", "hidden", "not a file"
NO_PATH = "with a name that no file can have"
OTHER_ENDING = "of another ending"
NO_TRACK = "of another ending in a folder of tracks"
"""Why a folder search leaves out what is, by its name, a recording."""

LeftOut = dict[Path, str]
"""What a folder search left out, and why. Files that are no recordings are not worth a word."""

_OTHER_MEDIA = frozenset(
    {".aif", ".aifc", ".amv", ".ape", ".au", ".dav", ".divx", ".ds2", ".dss", ".dts", ".dv"}
    | {".dvr-ms", ".eac3", ".f4v", ".gsm", ".mp1", ".mpa", ".mpc", ".mpe", ".mpv", ".ogm", ".ra"}
    | {".rm", ".rmvb", ".snd", ".spx", ".tod", ".trp", ".tta", ".voc", ".wtv", ".wv"}
)
"""Of recordings, too, but rarer; some of these formats nothing here reads."""

_UNFINISHED = (".part", ".tmp", ".temp", ".download")  # talk.temp.mp4: a download under way
_PARTIAL = (*_UNFINISHED, ".partial", ".crdownload", ".filepart", ".aria2", ".!ut")  # talk.mp4.part

_TRACKS_ON_DISK = "copy its folder to a disk: recordings of one file a person are read from there"

_NAMED = 3
"""So many files of a kind are named."""

_HALF = re.compile(r"(.+\.)f[\w+-]+\.\w+")
"""talk.f251.webm: yt-dlp's name of a sound or picture that it has yet to join."""


def find_videos(paths: Sequence[str | Path], left_out: LeftOut | None = None) -> list[Path]:
    """Return the files named and those in the folders named, absolute, each once.

    The order is that of `paths`; a folder's files are sorted as people count (2 before 10). What
    the folders hold besides is added to `left_out`.

    Raises:
        InputError: a path is missing or unreadable, or a folder holds no video.
    """
    left_out = {} if left_out is None else left_out
    found: dict[str, Path] = {}
    for path in _expand(paths):
        for video in _look(absolute(path), left_out):
            found.setdefault(_same(video), video)
    if not found:
        raise InputError("no video was named", "name video files, or folders that hold some")
    return list(found.values())


class BadPath(NamedTuple):
    """A path that leads to no video, or to only some of them, and why."""

    path: str
    error: InputError


def look_for_videos(
    paths: Sequence[str | Path], left_out: LeftOut | None = None
) -> tuple[list[Path], list[BadPath]]:
    """Return what `find_videos` would, and what it would fail for: the rest is found all the same.

    Folders without a video are as good as others.
    """
    left_out = {} if left_out is None else left_out
    found: dict[str, Path] = {}
    problems: list[BadPath] = []

    def note(path: str | Path, error: InputError) -> None:
        problems.append(BadPath(_printable(path), error))

    for path in _expand(paths):
        try:
            videos = sorted(_look_into(absolute(path), note, left_out), key=_natural)
        except InputError as error:
            note(path, error)
            continue
        for video in videos:
            found.setdefault(_same(video), video)
    for named in left_out.keys() & found.values():
        del left_out[named]
    return list(found.values()), problems


def _same(video: Path) -> str:
    """Return what is the same for all names of a file."""
    return str(video) if is_remote(video) else os.path.normcase(os.path.realpath(video))


def sum_up_left_out(left_out: LeftOut) -> str:
    """Return in one line what was left out, and why; empty if nothing was."""
    kinds = []
    for why in (UNFINISHED, HIDDEN, NO_FILE, NO_PATH, OTHER_ENDING, NO_TRACK):
        if names := sorted(one_line(path.name) for path in left_out if left_out[path] == why):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            kinds.append(f"{len(names)} {why} ({', '.join(names[:_NAMED])}{more})")
    hint = ": to transcribe such a file, name it" if OTHER_ENDING in left_out.values() else ""
    hint += ": convert such a track, as to FLAC" if NO_TRACK in left_out.values() else ""
    return f"left out: {'; '.join(kinds)}{hint}" if kinds else ""


def _expand(paths: Sequence[str | Path]) -> Iterator[Path]:
    """Resolve patterns such as `talks/*.mp4`, which shells on Windows hand on as they are."""
    for path in paths:
        matches = () if is_remote(path) or os.path.lexists(path) else glob.glob(str(path))  # noqa: PTH207
        yield from sorted(map(Path, matches), key=_natural) or [Path(path)]


def _look(path: Path, left_out: LeftOut) -> list[Path]:
    videos = sorted(_look_into(path, _raise, left_out), key=_natural)
    if not videos:
        raise no_video_in(path)
    return videos


def no_video_in(folder: str | Path) -> InputError:
    """Return the error that says what a folder should hold."""
    known = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    return InputError(
        f"the folder {address_of(folder)} holds no video", f"put files there ending in {known}"
    )


def _look_into(path: Path, on_problem: OnProblem, left_out: LeftOut) -> Iterator[Path]:
    """Yield the file that `path` names, or the videos below it if it is a folder."""
    if is_remote(path):
        yield from _look_into_bucket(path, on_problem, left_out)
        return
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
    elif stat.S_ISDIR(mode) and path.suffix.lower() == TRACKS:
        yield _with_text_name(path)
        _note_no_tracks(path, left_out)
    elif stat.S_ISDIR(mode):
        yield from _walk(path, on_problem, left_out)
    else:
        raise InputError(f"{path} is neither a file nor a folder", "name a video or a folder")


def _objects_at(path: Path, left_out: LeftOut) -> list[Path]:
    if path.suffix.lower() == TRACKS:
        raise InputError(f"{address_of(path)} is a folder of tracks", _TRACKS_ON_DISK)
    try:
        found, pathless = find_below(path)
    except TransientError as error:
        raise InputError(error.problem, error.next_step) from error
    for address in pathless:
        if Path(address).suffix.lower() in SUFFIXES:
            left_out[Path(address)] = NO_PATH
    return found


def _look_into_bucket(path: Path, on_problem: OnProblem, left_out: LeftOut) -> Iterator[Path]:
    """Yield the video of that address, or the videos below it."""
    found = _objects_at(path, left_out)
    beside: dict[Path, list[str]] = {}
    for each in found:
        beside.setdefault(each.parent, []).append(each.name)
    for each in found:
        if each == path:
            yield each
            continue
        below = each.relative_to(path)
        if any(_is_hidden(name) for name in below.parts[:-1]):
            continue
        if any(Path(name).suffix.lower() == TRACKS for name in below.parts[:-1]):
            on_problem(each, InputError(f"{address_of(each)} is a track", _TRACKS_ON_DISK))
        elif why := why_left_out(each, beside[each.parent]):
            left_out[each] = why
        elif each.suffix.lower() in SUFFIXES:
            yield each


def _walk(top: Path, on_problem: OnProblem, left_out: LeftOut) -> Iterator[Path]:
    def tell(error: OSError) -> None:
        on_problem(error.filename, _unreadable(error))

    seen = set()  # a link may lead back up
    for folder, folders, names in os.walk(top, followlinks=True, onerror=tell):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else [name for name in folders if not _is_hidden(name)]
        if real in seen:
            continue
        seen.add(real)
        as_one = [name for name in folders if Path(name).suffix.lower() == TRACKS]
        folders[:] = [name for name in folders if name not in as_one]
        for name in [*names, *as_one]:
            path = Path(folder, name)
            if why := why_left_out(path, names):
                left_out[path] = why
            elif path.suffix.lower() in SUFFIXES | {TRACKS}:
                try:
                    yield _with_text_name(path)
                except InputError as error:
                    on_problem(path, error)
                if name in as_one:
                    _note_no_tracks(path, left_out)


def _note_no_tracks(folder: Path, left_out: LeftOut) -> None:
    """Add the recordings in a folder of tracks that are none of its tracks."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, to be compared with each other
    except OSError:  # said when it is read
        return
    for path in (folder / name for name in names):
        why = why_left_out(path, names)
        if why not in {"", UNFINISHED}:  # `track_files` refuses that
            left_out[path] = NO_TRACK if why == OTHER_ENDING else why


def is_track_folder(path: Path) -> bool:
    """Return whether a path is a folder that counts as one recording."""
    return path.suffix.lower() == TRACKS and path.is_dir()


def is_recording(path: Path, beside: Collection[str]) -> bool:
    """Return whether a folder search takes a file for a recording, by the names in its folder."""
    return path.suffix.lower() in SUFFIXES and not why_left_out(path, beside)


def why_left_out(path: Path, beside: Collection[str]) -> str:
    """Return why a recording is left out of a folder; empty if it is not, or is no recording."""
    endings = [suffix.lower() for suffix in path.suffixes]
    if not any(ending in SUFFIXES or ending in _OTHER_MEDIA for ending in endings):
        return ""
    if _is_hidden(path.name):
        return HIDDEN
    if endings[-1] in _PARTIAL or (
        endings[-1] in SUFFIXES
        and (path.stem.lower().endswith(_UNFINISHED) or _is_half(path.name, beside))
    ):
        return UNFINISHED
    if endings[-1] in SUFFIXES:
        return "" if is_remote(path) or path.is_file() else NO_FILE
    return OTHER_ENDING if endings[-1] in _OTHER_MEDIA else ""


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
    return address_of(path).encode(errors="replace").decode()


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
