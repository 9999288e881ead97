"""Read one file of turns, lines or words: what people write as references, and systems as results.

A reader takes a file and the names under which it may list the recording, and returns what it holds
of it. It raises ValueError, with the place, for what does not fit the format.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from spokenby.evaluation.annotations import Annotation, Line, Region, TimedWord, annotation_of
from spokenby.output.formats import read_document
from spokenby.types import Turn

Reader = Callable[[Path, Collection[str]], Annotation]

_NOT_SCORED = "ignore_time_segment_in_scoring"
"""What the text of an .stm's line is where sclite is to leave it out."""


def _rows(path: Path, ids: Collection[str], id_at: int, least: int) -> Iterator[tuple[int, str]]:
    """Yield the lines of a recording, numbered, from a format of NIST's.

    A file that is named after the recording may list it under any one name.
    """
    status = path.stat()
    listed = _listed(path, status.st_mtime_ns, status.st_size, id_at, least)
    wanted = set(listed) if path.stem in ids and len(listed) == 1 else set(ids)
    if listed and path.stem in ids and not set(listed) & wanted:
        raise ValueError(f"lists {', '.join(sorted(listed)[:3])}, … but not {path.stem}")
    yield from sorted(row for name in wanted for row in listed.get(name, ()))


@lru_cache(maxsize=256)
def _listed(
    path: Path, _changed: int, _size: int, id_at: int, least: int
) -> dict[str, list[tuple[int, str]]]:
    """Return the numbered lines of each recording: a list is read once, however many it holds."""
    rows: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        fields = line.split()
        if not fields or line.lstrip().startswith((";;", "#")):
            continue
        if len(fields) < least:
            raise ValueError(f"line {number} has {len(fields)} fields, not {least}")
        rows.setdefault(fields[id_at], []).append((number, line))
    return rows


def _span(number: int, start: str, end: str, *, lasts: bool = False) -> tuple[float, float]:
    try:
        first, last = float(start), float(end)
    except ValueError:
        raise ValueError(f"line {number}: {start} or {end} is no time in seconds") from None
    last = first + last if lasts else last
    if not 0 <= first <= last < float("inf"):
        raise ValueError(f"line {number}: from {first:g} to {last:g} s")
    return first, last


def read_rttm(path: Path, ids: Collection[str]) -> Annotation:
    """Read turns."""
    turns = []
    for number, line in _rows(path, ids, 1, 8):
        fields = line.split()
        if fields[0] == "SPEAKER":
            start, end = _span(number, *fields[3:5], lasts=True)
            turns.append(Turn(start=start, end=end, speaker=fields[7]))
    return Annotation(turns=_sorted(turns)) if turns else Annotation()


def read_stm(path: Path, ids: Collection[str]) -> Annotation:
    """Read lines with their speakers, which are turns, too."""
    lines, ignored = [], []
    for number, row in _rows(path, ids, 0, 5):
        fields = row.split(maxsplit=5)
        start, end = _span(number, *fields[3:5])
        text = re.sub(r"^<\S*>\s*", "", fields[5] if len(fields) > 5 else "")
        if text.strip().casefold() == _NOT_SCORED or fields[2] == "inter_segment_gap":
            ignored.append(Region(start, end))
        else:
            # Of alternatives, "{a / b}", the first.
            text = re.sub(r"\{([^/{}]*)/[^{}]*\}", r"\1", text)
            lines.append(Line(text.strip(), fields[2], start, end))
    return _spoken(lines, ignored) if lines else Annotation(ignored=tuple(ignored))


def read_ctm(path: Path, ids: Collection[str]) -> Annotation:
    """Read words with times, by nobody."""
    words = []
    for number, row in _rows(path, ids, 0, 5):
        fields = row.split()
        if not fields[4].startswith("<"):  # <ALT_BEGIN> and the like
            words.append(TimedWord(fields[4], *_span(number, *fields[2:4], lasts=True)))
    words.sort(key=lambda word: word.start)
    lines = tuple(Line(word.text, None, word.start, word.end) for word in words)
    return Annotation(lines=lines, words=tuple(words)) if words else Annotation()


def read_uem(path: Path, ids: Collection[str]) -> Annotation:
    """Read the regions that are scored."""
    regions = [Region(*_span(number, *row.split()[2:4])) for number, row in _rows(path, ids, 0, 4)]
    return Annotation(scored=tuple(regions)) if regions else Annotation()


_NAMED = re.compile(r"^(?:[\[(]?[\d:.,]{4,}[\])]?\s+)?([^\W\d_][^:\n]{0,39}):\s+(\S.*)$")
"""A line of a script: `Ada: Good morning.`, perhaps with a time before it."""


def read_text(path: Path, _ids: Collection[str]) -> Annotation:
    """Read what was said; with speakers if half of the lines begin with `Name:` or more."""
    rows = [row.strip() for row in path.read_text(encoding="utf-8-sig").splitlines()]
    rows = [row for row in rows if row]
    found = [_NAMED.match(row) for row in rows]
    if 2 * sum(map(bool, found)) < len(rows):
        return Annotation(lines=tuple(map(Line, rows))) if rows else Annotation()
    lines: list[Line] = []
    for row, named in zip(rows, found, strict=True):
        speaker = named[1].strip() if named else lines[-1].speaker if lines else None
        lines.append(Line(named[2] if named else row, speaker))
    return Annotation(lines=tuple(lines)) if rows else Annotation()


_VOICE = re.compile(r"^\s*<v(?:\.[^ >]*)?\s+([^>]+)>")
_HEAD = re.compile(r"^\s*(?:\[([^\]\n]{1,40})\]:?|([^\W\d_][^:\n<>]{0,39}):)\s+")


def read_captions(path: Path, _ids: Collection[str]) -> Annotation:
    """Read captions: lines with times, with speakers if half of them have one or more.

    `<v Name>`, `Name:` or `[Name]` begins what somebody says, and one without goes on with the
    speaker before. Fewer are text: `[Applause]`, `Remember: be nice`. Captions are timed for
    reading: they are no turns.
    """
    import pysubs2

    try:
        # As text: undecodable bytes are the file's fault, not the library's.
        text = path.read_text(encoding="utf-8-sig")
        ending = path.suffix[1:].lower()
        file = pysubs2.SSAFile.from_string(text, format_=ending, keep_html_tags=True)
    except pysubs2.Pysubs2Error as error:
        raise ValueError(f"no captions: {error}") from error
    lines: list[Line] = []
    events = sorted(file, key=lambda event: event.start)
    texts = [event.text.replace(r"\N", "\n") for event in events]
    heads = [_VOICE.match(said) or _HEAD.match(said) for said in texts]
    if 2 * sum(map(bool, heads)) < len(heads):
        heads = [None] * len(heads)
    for event, whole, found in zip(events, texts, heads, strict=True):
        speaker = next(filter(None, found.groups())).strip() if found else None
        said = re.sub(r"<[^>]*>|\{[^}]*\}", "", whole[found.end() :] if found else whole)
        speaker = html.unescape(speaker) if speaker else lines[-1].speaker if lines else None
        if text := " ".join(html.unescape(said).split()):
            lines.append(Line(text, speaker, event.start / 1000, event.end / 1000))
    return Annotation(lines=tuple(lines)) if lines else Annotation()


def read_textgrid(path: Path, _ids: Collection[str]) -> Annotation:
    """Read Praat's tiers: one a speaker; one called `… words` has the times of words."""
    from pympi import TextGrid

    try:
        grid = TextGrid(str(path))
        tiers = {
            tier.name: [(start, end, text) for start, end, text in tier.get_intervals()]
            for tier in grid.get_tiers()
            if tier.tier_type == "IntervalTier"
        }
    except Exception as error:  # it raises whatever its parsing ran into
        raise ValueError(f"Praat's tiers cannot be read ({error})") from error
    return _of_tiers(tiers)


def read_elan(path: Path, _ids: Collection[str]) -> Annotation:
    """Read ELAN's tiers: one a speaker; one called `… words` has the times of words."""
    from pympi import Eaf

    try:
        file = Eaf(str(path))
        tiers = {
            name: [
                (start / 1000, end / 1000, text)
                for start, end, text, *_ in file.get_annotation_data_for_tier(name)
            ]
            for name in file.get_tier_names()
        }
    except Exception as error:
        raise ValueError(f"ELAN's tiers cannot be read ({error})") from error
    return _of_tiers(tiers)


_WORDS_TIER = re.compile(r"^(.*?)[\s_-]*\bwords?$", re.IGNORECASE)
_OTHER_TIER = re.compile(r"\b(phones?|phonemes?|notes?|comments?)$", re.IGNORECASE)


def _of_tiers(tiers: dict[str, list[tuple[float, float, str]]]) -> Annotation:
    """Return what tiers hold: speakers' lines, and words with times, as forced aligners write."""
    lines, words = [], []
    for name, intervals in tiers.items():
        said = [(start, end, text.strip()) for start, end, text in intervals if text.strip()]
        if _OTHER_TIER.search(name):
            continue
        if found := _WORDS_TIER.match(name):
            words += [TimedWord(text, a, b, found[1] or None) for a, b, text in said]
        else:
            lines += [Line(text, name, a, b) for a, b, text in said]
    words.sort(key=lambda word: word.start)
    if not lines:
        spoken = [Line(word.text, word.speaker, word.start, word.end) for word in words]
        return Annotation(lines=tuple(spoken), words=tuple(words)) if words else Annotation()
    spoken_by = _spoken(lines, [])
    return Annotation(turns=spoken_by.turns, lines=spoken_by.lines, words=tuple(words) or None)


def read_json(path: Path, _ids: Collection[str]) -> Annotation:
    """Read a transcript.json, or what WhisperX writes: segments with words and speakers."""
    content = path.read_bytes()
    found = json.loads(content)
    if not isinstance(found, dict) or not isinstance(found.get("segments"), list):
        raise ValueError("no list of segments, as WhisperX and spokenby write")  # noqa: TRY004
    if "schema_version" in found:
        return annotation_of(read_document(content))
    try:
        lines = [_segment(each) for each in found["segments"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"a segment without {error}") from error
    turns = [
        Turn(start=line.start or 0.0, end=line.end or 0.0, speaker=line.speaker)
        for line in lines
        if line.speaker
    ]
    words = tuple(word for line in lines for word in line.words)
    language = str(found.get("language") or "")
    spoken = _sorted(turns) if turns or not lines else None  # lines by nobody tell no turns
    return Annotation(spoken, tuple(lines), words or None, language=language)


def _segment(each: dict[str, Any]) -> Line:
    words = tuple(
        TimedWord(word["word"].strip(), float(word["start"]), float(word["end"]))
        for word in each.get("words", ())
        if "start" in word and "end" in word  # WhisperX leaves out those that it can't align
    )
    whole = len(words) == len(each.get("words", ()))
    return Line(
        each["text"].strip(),
        each.get("speaker"),
        float(each["start"]),
        float(each["end"]),
        words if whole else (),
    )


def _spoken(lines: list[Line], ignored: list[Region]) -> Annotation:
    """Return lines with times and speakers, each of which is a turn."""
    lines.sort(key=lambda line: (line.start or 0.0, line.end or 0.0))
    turns = [
        Turn(start=line.start or 0.0, end=line.end or 0.0, speaker=line.speaker or "")
        for line in lines
    ]
    return Annotation(turns=_sorted(turns), lines=tuple(lines), ignored=tuple(ignored))


def _sorted(turns: list[Turn]) -> tuple[Turn, ...]:
    return tuple(sorted(turns, key=lambda turn: (turn.start, turn.end)))


READERS: dict[str, Reader] = {
    ".rttm": read_rttm,
    ".stm": read_stm,
    ".eaf": read_elan,
    ".textgrid": read_textgrid,
    ".ctm": read_ctm,
    ".vtt": read_captions,
    ".srt": read_captions,
    ".txt": read_text,
    ".uem": read_uem,
}
"""By the ending of a reference; of two files that tell the same, the first one here counts."""

LISTS = frozenset({".rttm", ".stm", ".ctm", ".uem"})
"""Formats in which one file may list many recordings."""

RESULTS: dict[str, Reader] = {".json": read_json, **READERS}
"""The same of what a system writes."""
