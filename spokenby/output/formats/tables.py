"""Tables: transcript.csv for spreadsheets, and a pandas table of a transcript."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spokenby.output.formats.shared import Writer, names_of, plain
from spokenby.types import SpeakerTranscript

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "segment": "int64",
    "start": "float64",
    "end": "float64",
    "speaker": "str",
    "name": "str",
    "confidence": "float64",
    "overlap": "bool",
    "words": "int64",
    "text": "str",
}

_WORD_COLUMNS = {
    "segment": "int64",
    "start": "float64",
    "end": "float64",
    "speaker": "str",
    "name": "str",
    "text": "str",
    "confidence": "float64",
    "spaced": "bool",
    "overlap": "bool",
}

_SPEAKER_COLUMNS = {
    "speaker": "str",
    "name": "str",
    "voice": "Int64",
    "confidence": "float64",
    "talk_time": "float64",
    "words": "int64",
}

_FORMULA = "=+-@＝＋－＠"
"""Characters that start a formula; East Asian spreadsheets also accept full-width ones."""


def to_dataframe(transcript: SpeakerTranscript) -> pd.DataFrame:
    """Return one row a segment; `speaker` and `name` are missing where nobody could be named.

    Columns: segment (position, from 0), start, end (seconds), speaker (label), name, confidence,
    overlap, words (how many), text.
    """
    import pandas as pd  # takes a second, needed by few commands

    return pd.DataFrame(_rows(transcript), columns=list(_COLUMNS)).astype(_COLUMNS)


def _rows(transcript: SpeakerTranscript) -> list[dict[str, Any]]:
    names = names_of(transcript)
    return [
        {
            "segment": number,
            "start": segment.start,
            "end": segment.end,
            "speaker": segment.speaker,
            "name": names.get(segment.speaker),
            "confidence": segment.confidence,
            "overlap": segment.overlap,
            "words": len(segment.words),
            "text": segment.text,
        }
        for number, segment in enumerate(transcript.segments)
    ]


def words_frame(transcript: SpeakerTranscript) -> pd.DataFrame:
    """Return one row a word, in order of time.

    Columns: segment (position of its segment, from 0), start, end (seconds), speaker (label), name,
    text, confidence, spaced, overlap.
    """
    import pandas as pd

    names = names_of(transcript)
    rows = [
        {
            "segment": number,
            "start": word.start,
            "end": word.end,
            "speaker": word.speaker,
            "name": names.get(word.speaker),
            "text": word.text,
            "confidence": word.confidence,
            "spaced": word.spaced,
            "overlap": word.overlap,
        }
        for number, segment in enumerate(transcript.segments)
        for word in segment.words
    ]
    return pd.DataFrame(rows, columns=list(_WORD_COLUMNS)).astype(_WORD_COLUMNS)


def speakers_frame(transcript: SpeakerTranscript) -> pd.DataFrame:
    """Return one row a speaker, in order of first appearance.

    Columns: speaker (label), name, voice (its number, missing if not known), confidence, talk_time
    (seconds), words (how many).
    """
    import pandas as pd

    rows = [
        {"speaker": speaker.label, **speaker.model_dump(include=set(_SPEAKER_COLUMNS))}
        for speaker in transcript.speakers
    ]
    return pd.DataFrame(rows, columns=list(_SPEAKER_COLUMNS)).astype(_SPEAKER_COLUMNS)


def write_csv(transcript: SpeakerTranscript, _name: str, _about: Mapping[str, Any]) -> str:
    """Write for spreadsheets: with a byte order mark, without which Excel garbles umlauts."""
    table = io.StringIO("\ufeff")
    table.seek(0, io.SEEK_END)
    writer = csv.DictWriter(table, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in _rows(transcript):
        cells = {
            name: f"{value:.3f}" if isinstance(value, float) else value
            for name, value in row.items()
        }
        for name in ("name", "text"):
            cells[name] = inert(plain(row[name] or ""))
        writer.writerow(cells)
    return table.getvalue()


def inert(text: str) -> str:
    """Keep spreadsheets from reading spoken text as a formula, which could load or run things."""
    # Some programs strip invisible characters first.
    first = next((sign for sign in text if sign.isprintable() and not sign.isspace()), "")
    return f"'{text}" if first and first in _FORMULA else text


WRITERS: dict[str, Writer] = {"transcript.csv": write_csv}
