"""Editing rooms: a marker a paragraph as .markers.csv, .edl and .otio."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from spokenby.output.formats.shared import (
    UNKNOWN_SPEAKER,
    Writer,
    names_of,
    paragraphs,
    plain,
    timestamp,
    to_ms,
    xml_text,
)
from spokenby.output.formats.tables import inert
from spokenby.types import SpeakerTranscript

_COLORS = ("Blue", "Green", "Yellow", "Red", "Pink", "Purple", "Cyan", "Sand")
"""Of markers, as DaVinci Resolve calls them."""

_LOCATORS = ("BLUE", "GREEN", "YELLOW", "RED", "MAGENTA", "BLACK", "CYAN", "WHITE")
"""The same, as far as Avid's locators have them."""

_OTIO_COLORS = ("BLUE", "GREEN", "YELLOW", "RED", "PINK", "PURPLE", "CYAN", "ORANGE")

_EDL_CHARACTERS = 200
"""Of a marker's text: editing programs cut or refuse longer lines."""

_RECORD_S = 3600
"""Where time lines begin in an editing room."""

RATES = {
    "23.976": Fraction(24000, 1001),
    "24": Fraction(24),
    "25": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "59.94": Fraction(60000, 1001),
    "60": Fraction(60),
}
"""Frames a second, as they are called."""

_USUAL_RATE = "25"


class _Marker(NamedTuple):
    start_ms: int
    end_ms: int
    number: int
    """Of the speaker, for a color."""
    name: str
    text: str


def _markers(transcript: SpeakerTranscript) -> Iterator[_Marker]:
    names = names_of(transcript)
    numbers = {label: number for number, label in enumerate(names)}
    for part in paragraphs(transcript):
        start_ms = to_ms(part.start)
        yield _Marker(
            start_ms,
            max(to_ms(part.end), start_ms + 1),
            numbers.get(part.speaker, len(names)) % len(_COLORS),
            xml_text(names.get(part.speaker, UNKNOWN_SPEAKER)),
            part.text,
        )


def write_markers(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write a table for spreadsheets and for programs that import markers."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["name", "start", "end", "seconds", "color", "comment"])
    for marker in _markers(transcript):
        start, end = timestamp(marker.start_ms, "."), timestamp(marker.end_ms, ".")
        seconds = f"{(marker.end_ms - marker.start_ms) / 1000:.3f}"
        name, text = inert(plain(marker.name)), inert(plain(marker.text))
        writer.writerow([name, start, end, seconds, _COLORS[marker.number], text])
    return "\ufeff" + table.getvalue()


def _write_edl(
    transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any], *, rate: str
) -> str:
    """Write an edit decision list of one frame an event, which DaVinci Resolve takes as markers.

    Source times count from 0, record times from 01:00:00:00. Avid's locators are in there, too.
    """
    title = _edl_text(name) or "transcript"
    lines = [f"TITLE: {title}", "FCM: NON-DROP FRAME", ""]
    frames = RATES[rate]
    base, before = round(frames), -1
    for number, marker in enumerate(_markers(transcript), 1):
        frame = before = max(round(marker.start_ms * frames / 1000), before + 1)
        source = [_timecode(frame + more, base) for more in (0, 1)]
        record = [_timecode(frame + more + _RECORD_S * base, base) for more in (0, 1)]
        color, length = (
            _COLORS[marker.number],
            round((marker.end_ms - marker.start_ms) * frames / 1000),
        )
        text = _edl_text(f"{marker.name}: {marker.text}")
        lines += [
            f"{number:03}  001      V     C        {' '.join(source)} {' '.join(record)}",
            f" |C:ResolveColor{color} |M:{text.replace('|', '/')} |D:{max(length, 1)}",
            f"* LOC: {record[0]} {_LOCATORS[marker.number]:<7} {text}",
            "",
        ]
    return "\n".join(lines)


def _edl_text(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _EDL_CHARACTERS else f"{text[: _EDL_CHARACTERS - 1]}…"


def _timecode(frame: int, base: int) -> str:
    seconds, frame = divmod(frame, base)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frame:02}"


def write_otio(transcript: SpeakerTranscript, name: str, _about: Mapping[str, Any]) -> str:
    """Write an OpenTimelineIO time line of the video with its markers; times in milliseconds."""
    import opentimelineio as otio

    def span(start_ms: int, end_ms: int) -> otio.opentime.TimeRange:
        start, length = (
            otio.opentime.RationalTime(ms, 1000) for ms in (start_ms, end_ms - start_ms)
        )
        return otio.opentime.TimeRange(start, length)

    markers = [
        otio.schema.Marker(
            name=marker.name,
            marked_range=span(marker.start_ms, marker.end_ms),
            color=_OTIO_COLORS[marker.number],
            comment=marker.text,
        )
        for marker in _markers(transcript)
    ]
    title = xml_text(name) or "transcript"
    clip = otio.schema.Clip(
        name=title,
        media_reference=otio.schema.MissingReference(name=title),
        source_range=span(0, max(to_ms(transcript.duration), 1)),
        markers=markers,
    )
    timeline = otio.schema.Timeline(name=title)
    timeline.tracks.append(otio.schema.Track(name="V1", kind="Video", children=[clip]))
    return str(timeline.to_json_string(indent=1)) + "\n"


WRITERS: dict[str, Writer] = {
    "transcript.markers.csv": write_markers,
    "transcript.otio": write_otio,
    **{
        f"transcript.{'' if rate == _USUAL_RATE else f'{rate}.'}edl": partial(_write_edl, rate=rate)
        for rate in RATES
    },
}
