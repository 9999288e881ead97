"""Find corrections that people made again and again, as lines for the site's vocabulary."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from spokenby.errors import InputError
from spokenby.files import explaining, replacing
from spokenby.output.corrections import Correction, read_corrections
from spokenby.settings import Settings
from spokenby.site.vocabularies import FILE, read_vocabulary
from spokenby.site.voice_library import open_library
from spokenby.stages.vocabulary import ARROW, parse_vocabulary
from spokenby.voices.search import fold

OFTEN = 3
"""A correction made so often is worth a line."""

_MOST_WORDS = 4
"""What replaces more words than these is a sentence that was typed again."""
_AROUND = " .,;:!?…\"'“”‘’«»()[]¿¡。、，？！"
_LINES_COUNTED = 1000


class Frequent(NamedTuple):
    """What people corrected in the same way several times."""

    heard: str
    meant: str
    times: int
    left: int
    """Lines of the transcripts that still have what was heard: it may be right there."""
    unfit: str = ""
    """Why it is not offered; empty if it is."""

    @property
    def line(self) -> str:
        """The line for a vocabulary."""
        return f"{self.heard} {ARROW} {self.meant}"


def find_frequent(settings: Settings, least: int = OFTEN) -> list[Frequent]:
    """Return the corrections made at least so often in this site's transcripts, the most first.

    Those that the site's vocabulary has are left out.

    Raises:
        SpokenbyError: the vocabulary, a file of corrections or the voice library cannot be used.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for correction in _corrections(settings.corrections):
        for heard, meant in _changes(correction):
            counts[heard.casefold()][meant] += 1
            written[heard.casefold()][heard] += 1
    file = settings.data_dir / FILE
    there = read_vocabulary(file) if file.is_file() else parse_vocabulary("")
    known = {heard.casefold() for heard, _ in there.replacements}
    found = []
    content = "\n".join(f"{heard} {ARROW} {meant}" for heard, meant in there.replacements)
    ranked = sorted(counts.items(), key=lambda each: (-each[1].most_common(1)[0][1], each[0]))
    for key, meanings in ranked:
        (meant, times), *_ = meanings.most_common(1)
        if times < least or key in known:
            continue
        ((heard, _),) = written[key].most_common(1)
        each = Frequent(heard, meant, times, _lines_with(heard, meant, settings))
        if unfit := _unfit(each, meanings, content):
            each = each._replace(unfit=unfit)
        else:
            content += f"\n{each.line}"
        found.append(each)
    return found


def add_lines(lines: list[str], settings: Settings) -> Path:
    """Append lines to the site's vocabulary; what is there stays. Return the file.

    Raises:
        SpokenbyError: it cannot be read or written.
    """
    file = settings.data_dir / FILE
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    with explaining(file.parent, "set SPOKENBY_DATA_DIR"), lock:
        before = file.read_bytes() if file.is_file() else b""
        apart = b"\n" if before and not before.endswith(b"\n") else b""
        with replacing(file) as partial:
            partial.write_bytes(before + apart + "".join(f"{each}\n" for each in lines).encode())
    return file


def _corrections(folder: Path) -> Iterator[Correction]:
    """Yield the corrections of all videos, each once: of a video there may be several copies."""
    seen = set()
    for path in sorted(folder.glob("*.json")):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror})", "check its permissions"
            ) from error
        found = read_corrections(content, str(path))
        for each in found.corrections:
            if (key := (found.video, each.start, each.old, each.new)) not in seen:
                seen.add(key)
                yield each


def _changes(correction: Correction) -> Iterator[tuple[str, str]]:
    """Yield what was heard and meant in a correction: only the words that differ."""
    if not correction.new:
        return
    old, new = (
        [word.strip(_AROUND) for word in text.split()] for text in (correction.old, correction.new)
    )
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        heard, meant = " ".join(old[a:b]), " ".join(new[c:d])
        if kind != "replace" or max(b - a, d - c) > _MOST_WORDS or not (heard and meant):
            continue
        # A capital at the beginning of a sentence says nothing about the word.
        if heard.casefold() != meant.casefold() or heard[1:] != meant[1:]:
            yield heard, meant


def _lines_with(heard: str, meant: str, settings: Settings) -> int:
    """Return how many lines still have what was heard; 0 where the search can't tell both apart."""
    if fold(heard) == fold(meant) or not fold(heard):
        return 0
    phrase = " ".join(fold(heard))
    return len(open_library(settings).find(f'"{phrase}"', limit=_LINES_COUNTED))


def _unfit(each: Frequent, meanings: Counter[str], content: str) -> str:
    if len(meanings) > 1 and meanings.most_common(2)[1][1] * 4 > each.times:
        others = ", ".join(meant for meant, _ in meanings.most_common(3)[1:])
        return f"it also meant {others}"
    if each.left > each.times:
        return f"{each.left} lines still have it: there it may be right"
    try:
        parse_vocabulary(f"{content}\n{each.line}")
    except ValueError as error:
        return str(error).partition(": ")[2] or str(error)
    return "" if ";" not in each.line else "a vocabulary takes a semicolon for a line break"
