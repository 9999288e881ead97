"""Prose to work on: Word documents (.docx, from three templates) and Markdown (.md)."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from spokenby.output.formats.shared import (
    UNKNOWN_SPEAKER,
    Writer,
    distinct_names,
    names_of,
    paragraphs,
    timestamp,
    to_ms,
    xml_text,
)
from spokenby.stages.merging import join_words
from spokenby.types import Seconds, Segment, SpeakerTranscript
from spokenby.wording import markdown_cell

if TYPE_CHECKING:
    from docx.document import Document
    from docx.styles.style import ParagraphStyle

Template = Literal["interview", "minutes", "verbatim"]

_UNDATED = datetime(2000, 1, 1, tzinfo=UTC)
"""Of files inside a .docx, which demands dates: equal transcripts give equal files."""

_STYLE_CHARACTERS = 200
"""Word refuses styles with longer names than 253."""

_PAUSE_S: Seconds = 1.0
"""From here on, a verbatim document notes a pause."""


def _write_docx(
    transcript: SpeakerTranscript, name: str, about: Mapping[str, Any], *, template: Template
) -> bytes:
    """Write a Word document; each speaker has a paragraph style.

    `interview` has a paragraph a contribution, `verbatim` a paragraph a segment, with pauses, and
    what was said at the same time as something else in brackets: both number their lines for
    quoting. `minutes` is a table, with another one for decisions to fill in.
    """
    import docx

    document: Document = docx.Document()
    title = xml_text(name) or "Transcript"
    document.core_properties.title = title[:_STYLE_CHARACTERS]
    document.core_properties.author = document.core_properties.comments = ""
    document.core_properties.created = document.core_properties.modified = _UNDATED
    styles = _add_styles(document, transcript)
    document.add_paragraph(title, "Title")
    for line in _facts(transcript, about):
        document.add_paragraph(line, "Facts")
    names = distinct_names(transcript)
    if template == "minutes":
        document.add_heading("Decisions", 1)
        _add_table(document, ("What", "Who", "By when"), [("", "", "")])
        document.add_heading("Record", 1)
        rows = [
            (_time(part.start), xml_text(names[part.speaker]), part.text)
            for part in paragraphs(transcript)
            if part.text
        ]
        _add_table(document, ("Time", "Who", "What"), rows)
    else:
        _number_lines(document)
        for start, speaker, text in _contributions(transcript, template):
            paragraph = document.add_paragraph(style=styles[speaker])
            paragraph.add_run(f"{xml_text(names[speaker])}:").bold = True
            paragraph.add_run(f" [{_time(start)}]", "Time code")
            paragraph.add_run(f" {text}")
    content = io.BytesIO()
    document.save(content)
    return _undated(content)


def _contributions(
    transcript: SpeakerTranscript, template: Template
) -> Iterator[tuple[Seconds, str | None, str]]:
    """Yield start, speaker and text of each paragraph."""
    if template != "verbatim":
        yield from ((p.start, p.speaker, p.text) for p in paragraphs(transcript) if p.text)
        return
    starts = [segment.start for segment in transcript.segments]
    for segment, following in zip(transcript.segments, [*starts[1:], 0.0], strict=False):
        if text := xml_text(_with_overlaps(segment)):
            pause = following - segment.end
            yield (
                segment.start,
                segment.speaker,
                text + (f" ({pause:.0f} s)" if pause >= _PAUSE_S else ""),
            )


def _with_overlaps(segment: Segment) -> str:
    """Return the text with brackets around what was spoken while somebody else spoke."""
    words = list(segment.words)
    for place, word in enumerate(words):
        opens = word.overlap and not (place and segment.words[place - 1].overlap)
        ends = word.overlap and not (place + 1 < len(words) and segment.words[place + 1].overlap)
        text = f"{'[' * opens}{word.text}{']' * ends}"
        words[place] = word.model_copy(update={"text": text})
    return join_words(words)


def _facts(transcript: SpeakerTranscript, about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines below the title: date, length, speakers, and what not to trust."""
    if about.get("recorded"):
        yield f"Date: {xml_text(str(about['recorded']))}"
    yield f"Length: {_time(transcript.duration)}"
    speakers = [
        f"{xml_text(name)} ({_time(speaker.talk_time)})"
        for speaker, name in zip(
            transcript.speakers, distinct_names(transcript).values(), strict=False
        )
    ]
    if speakers:
        yield f"Speakers: {', '.join(speakers)}"
    yield from (f"Note: {xml_text(warning)}" for warning in transcript.named_warnings)
    for note in transcript.doubtful:
        yield f"Doubtful {_time(note.start)}–{_time(note.end)}: {xml_text(note.reason)}"


def _add_styles(
    document: Document, transcript: SpeakerTranscript
) -> dict[str | None, ParagraphStyle]:
    """Add the document's styles; return that of each speaker, by label."""
    from docx.enum.style import WD_STYLE_TYPE
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Pt, RGBColor

    facts = document.styles.add_style("Facts", WD_STYLE_TYPE.PARAGRAPH)
    for style in (facts, document.styles["Title"]):
        # Line 1 is the first that somebody says. Word refuses another order of elements.
        style.element.get_or_add_pPr().insert(0, OxmlElement("w:suppressLineNumbers"))
    facts.base_style = document.styles["Normal"]
    facts.paragraph_format.space_after = Pt(2)
    time_code = document.styles.add_style("Time code", WD_STYLE_TYPE.CHARACTER)
    time_code.font.color.rgb = RGBColor(0x70, 0x70, 0x70)
    styles = {}
    taken = {style.name.casefold() for style in document.styles}
    for number, (label, name) in enumerate(distinct_names(transcript).items(), 1):
        # Word takes what stands behind a comma or semicolon for another name of the style.
        shown = re.sub(r"[,;]", " ", xml_text(name))[:_STYLE_CHARACTERS]
        if shown.casefold() in taken:
            shown = f"{shown} (speaker {number})"
        taken.add(shown.casefold())
        styles[label] = style = document.styles.add_style(shown, WD_STYLE_TYPE.PARAGRAPH)
        style.base_style = document.styles["Normal"]
        style.paragraph_format.space_after = Pt(8)
        style.quick_style = True
        # Of the library's own making, ids of different names may be equal.
        style.element.set(qn("w:styleId"), f"Speaker{number}")
    return styles


def _number_lines(document: Document) -> None:
    """Have each line numbered through the document."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    numbers = OxmlElement("w:lnNumType")
    numbers.set(qn("w:countBy"), "1")
    numbers.set(qn("w:restart"), "continuous")
    section = document.sections[0]._sectPr  # noqa: SLF001 - the library has no other way
    # The order of a section's elements is fixed.
    section.find(qn("w:pgMar")).addnext(numbers)


def _add_table(
    document: Document, head: tuple[str, str, str], rows: list[tuple[str, str, str]]
) -> None:
    from docx.shared import Cm

    widths = [Cm(2.2), Cm(3.6), Cm(10)] if head[0] == "Time" else [Cm(9), Cm(3.6), Cm(3.2)]
    table = document.add_table(rows=1 + len(rows), cols=3, style="Table Grid")
    table.autofit = False
    # Asking the table for its cells each time is quadratic.
    for number, (row, texts) in enumerate(zip(table.rows, [head, *rows], strict=True)):
        for cell, text, width in zip(row.cells, texts, widths, strict=True):
            cell.width = width
            cell.paragraphs[0].add_run(text).bold = number == 0 or None


def _undated(content: io.BytesIO) -> bytes:
    """Return a .docx file without the time at which it was written."""
    undated = io.BytesIO()
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(undated, "w") as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, _UNDATED.timetuple()[:6])
            new.writestr(entry, old.read(name), zipfile.ZIP_DEFLATED)
    return undated.getvalue()


def _write_md(
    transcript: SpeakerTranscript, name: str, about: Mapping[str, Any], *, links: bool
) -> str:
    """Write Markdown with front matter; with `links`, names link to notes about people."""
    shown = {label: xml_text(name) for label, name in names_of(transcript).items()}
    if links:
        shown = {label: f"[[{_note_name(name)}]]" for label, name in shown.items()}
    head: dict[str, Any] = {"title": xml_text(name)}
    if about.get("recorded"):
        head["date"] = xml_text(str(about["recorded"]))
    head |= {
        "length": _time(transcript.duration),
        "language": xml_text(transcript.language),
        "speakers": [shown[speaker.label] for speaker in transcript.speakers],
        "warnings": [xml_text(warning) for warning in transcript.named_warnings],
    }
    # A JSON value is one of YAML, too.
    front = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    blocks = ["\n".join(["---", *front, "---"]), f"# {_markdown(xml_text(name))}"]
    for part in paragraphs(transcript):
        speaker = shown.get(part.speaker, UNKNOWN_SPEAKER)
        speaker = speaker if links and part.speaker in shown else _markdown(speaker)
        if part.text:
            blocks.append(f"**{speaker}** ({_time(part.start)}): {_markdown(part.text)}")
    return "\n\n".join(blocks) + "\n"


def _markdown(text: str) -> str:
    """Return a text that stays as it is; a hash would make it a tag of a note."""
    return markdown_cell(text).replace("#", r"\#")


def _note_name(name: str) -> str:
    """Return a name as the name of a note can be, in a link."""
    return " ".join(re.sub(r'[\[\]|#^<>*"\\/:?]', " ", name).split()) or UNKNOWN_SPEAKER


def _time(time: Seconds) -> str:
    return timestamp(to_ms(time))


WRITERS: dict[str, Writer] = {
    "transcript.docx": partial(_write_docx, template="interview"),
    "transcript.minutes.docx": partial(_write_docx, template="minutes"),
    "transcript.verbatim.docx": partial(_write_docx, template="verbatim"),
    "transcript.md": partial(_write_md, links=False),
    "transcript.links.md": partial(_write_md, links=True),
}
