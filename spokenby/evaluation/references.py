"""Find what a folder holds of a recording, and put it together."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spokenby.errors import SpokenbyError
from spokenby.evaluation.annotations import Annotation
from spokenby.evaluation.readers import LISTS, READERS, RESULTS, Reader
from spokenby.output import formats
from spokenby.output.folders import RECOGNIZED
from spokenby.wording import one_line


class BadFile(NamedTuple):
    """A file that could not be used, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.why}; left out")


class Found(NamedTuple):
    """What a folder holds of a recording: `folder` is that of the first file, if there is any."""

    annotation: Annotation
    folder: Path | None
    bad: tuple[BadFile, ...]


class Annotations:
    """The files of a folder that say something about recordings, looked through once.

    A file is of the recording whose name it has, whatever its ending; a list (RTTM, STM, CTM, UEM)
    may also hold many recordings, under their names.

    Args:
        folder: of the files.
        readers: `READERS` of references, or `RESULTS` of a system: its empty file says that it
            found nothing.
        deep: look through subfolders, too.
    """

    def __init__(
        self, folder: Path, readers: Mapping[str, Reader] = READERS, *, deep: bool = True
    ) -> None:
        self._readers = readers
        self._results = readers is RESULTS
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        self._lists: list[Path] = []
        self._broken: set[Path] = set()  # said once, not for each recording that a list may hold
        for path in sorted(folder.rglob("*") if deep else folder.glob("*")):
            ending = path.suffix.lower()
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if ending not in readers or hidden or not path.is_file():
                continue
            # A transcript's folder has the name of its recording and 8 digits.
            named = re.fullmatch(r"(.+)-[0-9a-f]{8}", path.parent.name)
            ours = path.name == formats.TRANSCRIPT
            self._by_stem[named[1] if ours and named else path.stem].append(path)
            if ending in LISTS:
                self._lists.append(path)

    def of(self, name: str, is_ours: Callable[[Path], bool] = lambda _: False) -> Found:
        """Return what is known of a recording, by its file's name without the ending.

        Args:
            name: of the recording.
            is_ours: whether a file is what is to be measured, and so no reference.
        """
        ids = {name, re.sub(r"[^\w.-]+", "_", name)}  # lists cannot hold spaces
        named_files = [path for each in ids for path in self._by_stem.get(each, ())]
        bad: list[BadFile] = []
        parts: list[tuple[Path, Annotation]] = []
        order = list(self._readers)
        for path in sorted(
            {*named_files, *self._lists},
            key=lambda path: (order.index(path.suffix.lower()), path not in named_files, path),
        ):
            if any(path.suffix.lower() == other.suffix.lower() for other, _ in parts):
                if path in named_files:
                    bad.append(BadFile(path, f"{parts[-1][0]} is there, too"))
                continue
            if path in named_files and is_ours(path):
                bad.append(BadFile(path, "it is this transcript, exported as it is"))
                continue
            part = self._read(path, ids, bad)
            if self._results and path in named_files and not path.read_bytes().strip():
                is_turns = path.suffix.lower() == ".rttm"
                part = Annotation(turns=()) if is_turns else Annotation(lines=())
            if part is not None and part != Annotation():
                parts.append((path, part))
            elif part is not None and path in named_files:
                bad.append(BadFile(path, "nothing is in it"))
        folder = parts[0][0].parent if parts else None
        return Found(_together(parts), folder, tuple(bad))

    def _read(self, path: Path, ids: Collection[str], bad: list[BadFile]) -> Annotation | None:
        if path in self._broken:
            return None
        recognized = path.with_name(RECOGNIZED)  # before people corrected it
        corrected = path.name == formats.TRANSCRIPT and recognized.is_file()
        try:
            return self._readers[path.suffix.lower()](recognized if corrected else path, ids)
        except json.JSONDecodeError:
            bad.append(BadFile(path, "it is no JSON"))
        except UnicodeDecodeError:
            bad.append(BadFile(path, "its text is not UTF-8"))
        except (ValueError, OSError, SpokenbyError) as error:
            bad.append(BadFile(path, str(error)))
        self._broken.add(path)
        return None


def _together(parts: list[tuple[Path, Annotation]]) -> Annotation:
    """Return what several files say: of each thing, what the first says that has it.

    Lines come from the first file that has lines with speakers, else from the first with lines.
    """
    whole, sources = Annotation(), []
    spoken = [path for path, part in parts if part.lines and any(x.speaker for x in part.lines)]
    for path, part in parts:
        gave = []
        for what in ("turns", "lines", "words", "scored"):
            if getattr(part, what) is None or getattr(whole, what) is not None:
                continue
            if what == "lines" and spoken and path != spoken[0]:
                continue
            whole = replace(whole, **{what: getattr(part, what)})
            gave.append({"lines": "text", "words": "times of words"}.get(what, what))
        if part.ignored:
            whole = replace(whole, ignored=(*whole.ignored, *part.ignored))
        whole = replace(
            whole,
            language=whole.language or part.language,
            duration=max(whole.duration, part.duration),
            names=whole.names or part.names,
        )
        if gave:
            sources.append(f"{path.name} ({', '.join(gave)})")
    return replace(whole, sources=tuple(sources))
