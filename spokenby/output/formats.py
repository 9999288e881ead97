"""How a finished transcript looks as files lives here: json srt vtt txt csv rttm.

Who said what does not; see merging.py. Where files go does not; see folders.py. Every file is
described in docs/transcript-format.md.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from spokenby.errors import InputError
from spokenby.types import Seconds, Segment, SpeakerTranscript, SpokenWord

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Of transcript.json. Raised when a field changes its meaning or goes, not when one is added."""

UNKNOWN_SPEAKER = "Unknown speaker"

# What subtitle users expect: two lines of 42 characters, at most 7 s, at least 1 s where there is
# room.
_CUE_LINES = 2
_LINE_CHARACTERS = 42
_CUE_LONGEST_MS = 7000
_CUE_SHORTEST_MS = 1000
_LABEL_CHARACTERS = 30
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")

# SubRip has no escape: players take <…> and {…} for markup and swallow the words in between.
_SUBRIP_LOOKALIKES = str.maketrans("<>{}", "‹›()")

_COLUMNS = {
    "segment": "int64",
    "start": "float64",
    "end": "float64",
    "speaker": "str",
    "name": "str",
    "confidence": "float64",
    "overlap": "bool",
    "words": "int64",
    "reason": "str",
    "text": "str",
}

# What may stand neither in a caption nor in a spreadsheet's cell.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def render(transcript: SpeakerTranscript, name: str, about: dict[str, Any]) -> dict[str, bytes]:
    r"""Return file name → content, UTF-8 with "\n" line ends.

    Args:
        transcript: what to write.
        name: the video's, as shown to people.
        about: how the transcript came about, JSON values; goes into transcript.json as it is. Its
            `notes`, a list of lines, head transcript.txt before the warnings.
    """
    texts = {
        "transcript.json": _json(transcript, name, about),
        "transcript.srt": _srt(transcript),
        "transcript.vtt": _vtt(transcript),
        "transcript.txt": _txt(transcript, name, about),
        "transcript.csv": _csv(transcript),
        "transcript.rttm": _rttm(transcript, name),
    }
    # Half a surrogate pair, from a file name that is no UTF-8, becomes a question mark.
    return {file: text.encode("utf-8", errors="replace") for file, text in texts.items()}


class Document(NamedTuple):
    """What transcript.json holds: the arguments of `render`."""

    transcript: SpeakerTranscript
    name: str
    about: dict[str, Any]


def read_transcript(content: bytes | str) -> SpeakerTranscript:
    """Read the transcript in transcript.json back, exactly as it was.

    Raises:
        InputError: not JSON, another schema version, or fields missing or unknown.
    """
    return read_document(content).transcript


def read_document(content: bytes | str) -> Document:
    """Read the whole of transcript.json back; rendered again, it comes to the same files.

    Raises:
        InputError: as of `read_transcript`.
    """
    next_step = "use a transcript.json that this version of spokenby wrote, or write it again"
    try:
        document = json.loads(content)
        version = document.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(f"transcript.json has schema version {version!r}", next_step)
        name, about = document.pop("name"), document.pop("about")
        for segment in document.get("segments", ()):
            _note_spaces(segment)
        return Document(SpeakerTranscript.model_validate(document), str(name), dict(about))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"transcript.json: {where}: {first['msg']}", next_step) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"transcript.json cannot be read ({error})", next_step) from error


def _note_spaces(segment: dict[str, Any]) -> None:
    """Note which words have a space before them, which files of older versions tell by the text."""
    at = 0
    for word in segment["words"]:
        if "spaced" not in word and (found := segment["text"].find(word["text"].strip(), at)) >= 0:
            word["spaced"] = segment["text"][at:found].isspace() or not found
            at = found + len(word["text"].strip())


def to_dataframe(transcript: SpeakerTranscript) -> pd.DataFrame:
    """Return one row a segment; `speaker` and `name` are missing where nobody could be named.

    Columns: segment (position, from 0), start, end (seconds), speaker (label), name, confidence,
    overlap, words (how many), text.
    """
    names = _names(transcript)
    rows = [
        {**_row(number, segment, names), "words": len(segment.words)}
        for number, segment in enumerate(transcript.segments)
    ]
    return _frame(rows, without="reason")


def words_dataframe(transcript: SpeakerTranscript) -> pd.DataFrame:
    """Return one row a word; `speaker` and `name` are missing where nobody could be named.

    Columns: segment (as in `to_dataframe`), start, end (seconds), speaker (label), name,
    confidence, overlap, reason (why nobody), text.
    """
    names = _names(transcript)
    rows = [
        {**_row(number, word, names), "reason": word.reason}
        for number, segment in enumerate(transcript.segments)
        for word in segment.words
    ]
    return _frame(rows, without="words")


class _Cue(NamedTuple):
    start_ms: int
    end_ms: int
    name: str
    lines: list[str]


def _cues(transcript: SpeakerTranscript, *, labelled: bool) -> list[_Cue]:
    """Cut the segments to captions, sorted and apart; `labelled` ones begin with the name."""
    names = _names(transcript)
    drafts: list[_Cue] = []
    for segment in transcript.segments:
        name = names.get(segment.speaker, UNKNOWN_SPEAKER)
        head = f"{_shortened(name)}:" if labelled else ""
        cue: _Cue | None = None
        for start_ms, end_ms, text in _pieces(segment):
            lines = _filled(cue.lines, text) if cue else []
            if (
                cue is None
                or len(lines) > _CUE_LINES
                or end_ms - cue.start_ms > _CUE_LONGEST_MS
                or (len(cue.lines) == _CUE_LINES and cue.lines[-1].endswith(_SENTENCE_ENDS))
            ):
                if cue:
                    drafts.append(cue)
                cue = _Cue(start_ms, end_ms, name, _filled([head], f" {text.lstrip()}"))
            else:
                cue = cue._replace(end_ms=max(cue.end_ms, end_ms), lines=lines)
        if cue:
            drafts.append(cue)
    return _apart(drafts)


def _apart(drafts: list[_Cue]) -> list[_Cue]:
    """Move cues that overlap, and lengthen short ones into the pause behind them."""
    cues: list[_Cue] = []
    for cue in drafts:
        start = cue.start_ms
        if cues:
            start = max(start, cues[-1].start_ms + 1)
            cues[-1] = cues[-1]._replace(end_ms=min(cues[-1].end_ms, start))
        end = min(max(cue.end_ms, start + _CUE_SHORTEST_MS), start + _CUE_LONGEST_MS)
        cues.append(cue._replace(start_ms=start, end_ms=end))
    return cues


def _pieces(segment: Segment) -> Iterator[tuple[int, int, str]]:
    """Yield start, end (ms) and text of each word, cut where it is longer than a line.

    The text begins with a space where one is written before the word.
    """
    for word in segment.words:
        text = _plain(word.text)
        parts = [text[at : at + _LINE_CHARACTERS] for at in range(0, len(text), _LINE_CHARACTERS)]
        for number, part in enumerate(parts):
            start = word.start + word.duration * number / len(parts)
            end = word.start + word.duration * (number + 1) / len(parts)
            yield _ms(start), _ms(end), part if number or not word.spaced else f" {part}"


def _filled(lines: list[str], text: str) -> list[str]:
    """Return the lines with the text added to the last one, or below where it is full."""
    grown = (lines[-1] + text).lstrip()
    if len(grown) <= _LINE_CHARACTERS:
        return [*lines[:-1], grown]
    return [*lines, text.lstrip()]


def _srt(transcript: SpeakerTranscript) -> str:
    return "".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines).translate(_SUBRIP_LOOKALIKES)
        + "\n\n"
        for number, cue in enumerate(_cues(transcript, labelled=True), 1)
    )


def _vtt(transcript: SpeakerTranscript) -> str:
    cues = (
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n"
        f"<v {html.escape(cue.name, quote=False)}>"
        + html.escape("\n".join(cue.lines), quote=False)
        + "</v>\n\n"
        for cue in _cues(transcript, labelled=False)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _txt(transcript: SpeakerTranscript, name: str, about: Mapping[str, Any]) -> str:
    """Write for reading: what to know first, then a paragraph a segment."""
    names = _names(transcript)
    length, speech = _clock(_ms(transcript.duration)), _clock(_ms(transcript.speech))
    sure = transcript.language_probability
    language = transcript.language + (f" ({sure:.2f} of 1)" if sure is not None else "")
    covered = transcript.coverage
    words = f", {covered:.0%} of that with words" if covered is not None else ""
    head = [_plain(name), f"{length} long, {speech} of it speech{words}, language: {language}"]
    head += [
        f"{names[speaker.label]}: speaks {_clock(_ms(speaker.talk_time))}, {speaker.words} words"
        for speaker in transcript.speakers
    ]
    notes = [
        f"Note: {_plain(note)}" for note in (*about.get("notes", ()), *transcript.named_warnings)
    ]
    notes += [
        f"Doubtful {_clock(_ms(note.start))}-{_clock(_ms(note.end))}: {_plain(note.reason)}"
        for note in transcript.doubtful
    ]
    paragraphs = [
        f"[{_clock(_ms(segment.start))}] "
        f"{names.get(segment.speaker, UNKNOWN_SPEAKER)}: {_plain(segment.text)}"
        for segment in transcript.segments
    ]
    blocks = ["\n".join(head), "\n".join(notes), *paragraphs]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _csv(transcript: SpeakerTranscript) -> str:
    """Write for spreadsheets: with a byte order mark, without which Excel garbles umlauts."""
    table = to_dataframe(transcript)
    for column in ("name", "text"):
        table[column] = [
            _inert(_plain(text)) if isinstance(text, str) else "" for text in table[column]
        ]
    return "\ufeff" + table.to_csv(index=False, float_format="%.3f", lineterminator="\n")


def _inert(text: str) -> str:
    """Keep spreadsheets from reading spoken text as a formula, which could fetch or run things."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _rttm(transcript: SpeakerTranscript, name: str) -> str:
    """Write the regular turns; the file id and labels have no spaces, as the format demands."""
    file_id = _token(name)
    return "".join(
        f"SPEAKER {file_id} 1 {turn.start:.3f} {turn.duration:.3f} <NA> <NA> "
        f"{_token(turn.speaker)} <NA> <NA>\n"
        for turn in transcript.turns
        if _ms(turn.duration)
    )


def _json(transcript: SpeakerTranscript, name: str, about: Mapping[str, Any]) -> str:
    """Write a line a field, and a line a member of a list: to be read, compared, and written fast.

    Python's own indentation takes five times as long as all the rest.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "about": about,
        **transcript.model_dump(mode="json"),
    }
    return "{\n" + ",\n".join(f'"{key}": {_listed(document[key])}' for key in document) + "\n}\n"


def _listed(value: Any) -> str:
    encode = partial(json.dumps, ensure_ascii=False, allow_nan=False)
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(map(encode, value)) + "\n]"
    return encode(value)


def _row(
    number: int, piece: Segment | SpokenWord, names: Mapping[str | None, str]
) -> dict[str, Any]:
    return {
        "segment": number,
        "start": piece.start,
        "end": piece.end,
        "speaker": piece.speaker,
        "name": names.get(piece.speaker),
        "confidence": piece.confidence,
        "overlap": piece.overlap,
        "text": piece.text,
    }


def _frame(rows: list[dict[str, Any]], without: str) -> pd.DataFrame:
    # Imported late: no command line should wait half a second for it.
    import pandas as pd

    kinds = {column: kind for column, kind in _COLUMNS.items() if column != without}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _names(transcript: SpeakerTranscript) -> dict[str | None, str]:
    """Return label → name as shown."""
    return {speaker.label: _plain(speaker.name) or speaker.label for speaker in transcript.speakers}


def _plain(text: str) -> str:
    """Return the text as one line without control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


def _shortened(name: str) -> str:
    """Return a name that leaves room for words beside it in a caption."""
    return name if len(name) <= _LABEL_CHARACTERS else f"{name[: _LABEL_CHARACTERS - 1]}…"


def _token(text: str) -> str:
    """Return the text as one field of RTTM, which white space separates."""
    return re.sub(r"[^\w.-]+", "_", text) or "video"


def _ms(time: Seconds) -> int:
    return round(time * 1000)


def _clock(ms: int, point: str = "") -> str:
    """Return 01:02:03, with milliseconds where there is a decimal `point`."""
    seconds, ms = divmod(ms, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}{point}{ms:03}" if point else clock
