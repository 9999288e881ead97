"""Annotation: turns (.rttm) and words (.ctm, .stm) for scoring, tiers for Praat and ELAN."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from spokenby.output.formats.shared import (
    Writer,
    distinct_names,
    plain,
    to_ms,
    xml_text,
)
from spokenby.types import SpeakerTranscript

_UNDATED = "2000-01-01T00:00:00+00:00"
"""Of an .eaf file, which demands a date: equal transcripts give equal files."""


def write_rttm(transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any]) -> str:
    """Write the regular turns; the file id and labels have no spaces, as the format demands."""
    file_id = _token(name)
    return "".join(
        f"SPEAKER {file_id} 1 {turn.start:.3f} {turn.duration:.3f} <NA> <NA> "
        f"{_token(turn.speaker)} <NA> <NA>\n"
        for turn in transcript.turns
        if to_ms(turn.duration)
    )


def write_ctm(transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any]) -> str:
    """Write a line a word, with its confidence; a space inside a word becomes "_"."""
    file_id = _token(name)
    return "".join(
        f"{file_id} 1 {word.start:.3f} {word.duration:.3f} {'_'.join(text.split())} "
        f"{word.confidence:.3f}\n"
        for segment in transcript.segments
        for word in segment.words
        if (text := plain(word.text))
    )


def write_stm(transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any]) -> str:
    """Write a line a segment; braces, which hold alternatives there, become parentheses."""
    file_id, language = _token(name), _token(transcript.language)
    return "".join(
        f"{file_id} 1 {_token(segment.speaker or 'UNKNOWN')} {segment.start:.3f} "
        f"{segment.end:.3f} <o,{language}> {text.translate(_STM_LOOKALIKES)}\n"
        for segment in transcript.segments
        if (text := plain(segment.text))
    )


_STM_LOOKALIKES = str.maketrans("{}", "()")


def write_textgrid(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> bytes:
    """Write for Praat: an interval tier a speaker, a segment an interval."""
    from pympi import TextGrid

    tiers = dict(_tiers(transcript))
    last = max((end for segments in tiers.values() for _, end, _ in segments), default=0)
    grid = TextGrid(xmax=max(last / 1000, transcript.duration, 0.001))
    for tier, segments in tiers.items():
        # The library doubles quotes in texts, but not in names.
        written = grid.add_tier(tier.replace('"', '""'))
        for start_ms, end_ms, text in segments:
            written.add_interval(start_ms / 1000, end_ms / 1000, text, check=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "transcript.TextGrid")
        grid.to_file(path)
        return path.read_bytes()


def write_eaf(transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any]) -> str:
    """Write for ELAN: a tier a speaker, a segment an annotation."""
    from pympi.Elan import Eaf, to_string

    file = Eaf(author="spokenby")
    file.adocument["DATE"] = _UNDATED
    file.remove_tier("default")
    for tier, segments in _tiers(transcript):
        file.add_tier(tier, part=tier)
        for start_ms, end_ms, text in segments:
            file.add_annotation(tier, start_ms, end_ms, text)
    file.add_property("video", xml_text(name))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{to_string(file)}\n'


def _tiers(transcript: SpeakerTranscript) -> Iterator[tuple[str, list[tuple[int, int, str]]]]:
    """Yield each speaker's name and segments: start and end in ms, and text.

    Inside a tier, segments are apart and at least 1 ms long, as annotation programs demand.
    """
    for label, name in distinct_names(transcript).items():
        drafts = [
            (to_ms(segment.start), to_ms(segment.end), text)
            for segment in transcript.segments
            if segment.speaker == label and (text := xml_text(segment.text))
        ]
        if label is None and not drafts:
            continue
        segments: list[tuple[int, int, str]] = []
        for (start, end, text), (following, *_) in pairwise([*drafts, (10**12, 0, "")]):
            first = max(start, segments[-1][1] if segments else 0)
            segments.append((first, max(min(end, following), first + 1), text))
        yield xml_text(name), segments


def _token(text: str) -> str:
    """Return the text as one field of a line, which white space separates."""
    return re.sub(r"[^\w.-]+", "_", text) or "video"


WRITERS: dict[str, Writer] = {
    "transcript.rttm": write_rttm,
    "transcript.ctm": write_ctm,
    "transcript.stm": write_stm,
    "transcript.TextGrid": write_textgrid,
    "transcript.eaf": write_eaf,
}
