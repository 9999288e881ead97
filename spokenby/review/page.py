"""Write page.html: a transcript to read, listen to, search and quote, in one file.

It asks nothing of a network, and plays what lies beside it. What it shows comes from recognizers
and from people: all of it is escaped, and the browser is told to run this page's own script only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files as package_files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spokenby.output import formats
from spokenby.output.correcting import Step
from spokenby.output.formats import Document
from spokenby.output.formats.shared import UNKNOWN_SPEAKER, names_of, plain
from spokenby.output.layers import Layer
from spokenby.output.paragraphs import cut_paragraphs
from spokenby.review import listening_copy
from spokenby.types import Seconds, SpeakerTranscript, SpokenWord, language_label
from spokenby.wording import clock, count_of

FILE = "page.html"

PARTS = (
    *("data", "player", "lanes", "text", "search", "quote", "speakers", "keys"),
    *("changes", "save", "edit", "replace", "checking", "main"),
)
"""The page's ES modules, each after those it imports from. They share one scope in the page."""

SAMPLE: Seconds = 10.0
"""How long a speaker's sample is at most."""
LOW_CONFIDENCE = 0.5
"""A word below it is doubtful."""

_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_UNSPACED, _OVERLAP = 1, 2
_WHOLE = 0.995


_MENU = {
    "Documents": ("prose", "text"),
    "Captions": ("captions", "chapters"),
    "Tables": ("tables", "document"),
    "Annotation": ("annotation",),
    "Editing": ("editing",),
}
"""The menu of downloads: families of formats by their title."""
_KINDS = {
    "changes": "names only where the speaker changes",
    "never": "without names",
    "minutes": "a table of who said what, and one for decisions",
    "verbatim": "by segment, with pauses and overlaps",
    "plain": "only what was said",
    "chapters": "where the topic changes",
    "links": "names as [[links]]",
    "docx": "Word, as an interview",
    "TextGrid": "Praat",
    "eaf": "ELAN",
    "edl": "25 frames a second",
    "otio": "OpenTimelineIO",
}
"""What a format is whose name does not say it, by the first part of the name."""


class Service(NamedTuple):
    """What the server of a page does for it."""

    token: str = ""
    """The page shows it with what it sends."""
    saving: str = ""
    """Where it sends corrections to, as `PUT`; without it, it offers them for download."""
    naming: str = ""
    """Where it sends the name of a voice to, as `POST`; without it, it shows the command."""
    video: str = ""
    """Address of the video, relative to the page's; without it, the listening copy is played."""
    home: str = ""
    """Address of the page that lists all videos."""
    exports: str = ""
    """Address before the name of a format; without it, the page links to those in its folder."""

    def address(self, url: str) -> dict[str, str] | None:
        """Return where to send something, as the page's script takes it."""
        return {"url": url, "token": self.token} if url else None


NO_SERVICE = Service()
"""Of a page that is opened as a file."""


def render(layer: Layer, files: Collection[str], service: Service = NO_SERVICE) -> dict[str, bytes]:
    """Return page.html of a transcript with its corrections, in which people can correct it.

    Args:
        layer: the transcript with its corrections.
        files: names of those beside it; the page plays the listening copy if it is one of them.
        service: what its server does for it.
    """
    document, script, style = layer.document, _script(), _style()
    page = _template().render(
        title=plain(document.name),
        policy=_policy(script, style, asks=bool(service.saving or service.naming)),
        home=service.home,
        menu=_menu(files, service.exports),
        naming=service.naming,
        script=Markup(script),  # noqa: S704 - our own
        style=Markup(style),  # noqa: S704 - our own
        summary=_summary(document.transcript),
        speakers=_speakers(document.transcript),
        notes=[plain(note) for note in document.about.get("notes", ())],
        warnings=[plain(warning) for warning in document.transcript.named_warnings],
        transcript={
            **_data(document, files, service.video),
            "edit": _edit(layer),
            "save": service.address(service.saving),
            "naming": service.address(service.naming),
        },
    )
    return {FILE: page.encode("utf-8", errors="replace")}


def _menu(files: Collection[str], exports: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return the downloads of each title: names of formats, their addresses, and what they are."""
    there = set(formats.among(files))
    menu = {
        title: [
            (
                name,
                f"{exports}{name}" if exports else formats.file_of(name),
                _KINDS.get(name.partition(".")[0], ""),
            )
            for family in families
            for name in formats.FAMILIES[family]
            if exports or name in there
        ]
        for title, families in _MENU.items()
    }
    return {title: links for title, links in menu.items() if links}


def _policy(script: str, style: str, *, asks: bool) -> str:
    """Return the Content-Security-Policy: nothing but the two inline parts, and media beside it.

    A page that `asks` its server to save or name something may connect to that.
    """
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{_hash(script)}'",
        "style-src": f"'sha256-{_hash(style)}'",
        "media-src": "'self' file: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        **({"connect-src": "'self'"} if asks else {}),
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _script() -> str:
    """Return the modules as one: imports go, as each finds what it imports above itself."""
    folder = package_files(__package__) / "page"
    parts = [(folder / f"{name}.js").read_text("utf-8") for name in PARTS]
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts)


@cache
def _style() -> str:
    return (package_files(__package__) / "page.css").read_text("utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("spokenby.review", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The filter `tojson` escapes <, >, & and '. Other scripts than Latin stay readable.
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    return environment.get_template("page.html.jinja")


def _summary(transcript: SpeakerTranscript) -> list[str]:
    """Return what to know first, in a few words each."""
    words = sum(len(segment.words) for segment in transcript.segments)
    facts = [clock(transcript.duration), count_of(len(transcript.speakers), "speaker")]
    facts.append(count_of(words, "word"))
    if transcript.language:
        facts.append(language_label(transcript.language).rpartition(" – ")[2])
    if transcript.coverage is not None and transcript.coverage < _WHOLE:
        facts.append(f"words for {transcript.coverage:.0%} of the speech")
    return facts


def _speakers(transcript: SpeakerTranscript) -> list[dict[str, Any]]:
    names, total = names_of(transcript), sum(each.talk_time for each in transcript.speakers)
    return [
        {
            "name": names[speaker.label],
            "voice": speaker.voice,
            "share": f"{speaker.talk_time / total:.0%}" if total else "",
            "talks": clock(speaker.talk_time),
            "words": count_of(speaker.words, "word"),
        }
        for speaker in transcript.speakers
    ]


def _data(document: Document, files: Collection[str], video: str) -> dict[str, Any]:
    """Return what the script works with; page/data.js describes it."""
    transcript, names = document.transcript, names_of(document.transcript)
    number = {speaker.label: place for place, speaker in enumerate(transcript.speakers)}
    return {
        "name": plain(document.name),
        "digest": transcript.digest,
        "duration": transcript.duration,
        "audio": listening_copy.FILE if listening_copy.FILE in files else "",
        "video": video,
        "lowConfidence": LOW_CONFIDENCE,
        "unknown": UNKNOWN_SPEAKER,
        "speakers": [
            {
                "label": speaker.label,
                "name": names[speaker.label],
                "voice": speaker.voice,
                "sample": _sample(transcript, speaker.label),
            }
            for speaker in transcript.speakers
        ],
        "paragraphs": [
            {
                "speaker": number.get(words[0].speaker or ""),
                "words": [_word(word) for word in words],
            }
            for words in cut_paragraphs(transcript)
        ],
        "turns": [
            [_rounded(turn.start), _rounded(turn.end), number[turn.speaker]]
            for turn in transcript.turns
            if turn.speaker in number
        ],
        "doubtful": [
            [_rounded(note.start), _rounded(note.end), plain(note.reason)]
            for note in transcript.doubtful
        ],
    }


def _edit(layer: Layer) -> dict[str, Any]:
    """Return what was corrected; page/changes.js describes it."""
    transcript, shown = layer.recognized.transcript, layer.document.transcript
    names = names_of(shown)
    recognized = {speaker.label: speaker.talk_time for speaker in transcript.speakers}
    number = {speaker.label: place for place, speaker in enumerate(shown.speakers)}
    steps = {step.number: step for step in layer.corrected.steps}
    return {
        "video": layer.video,
        "revision": layer.corrections.revision,
        "corrections": [
            each.model_dump(mode="json", exclude_defaults=True)
            for each in layer.corrections.corrections
        ],
        "steps": [
            _step(steps[place], number) if place in steps else None
            for place in range(len(layer.corrections.corrections))
        ],
        "unfit": [[each.number, plain(each.reason)] for each in layer.corrected.unfit],
        "who": [
            {
                "name": names[speaker.label],
                **(
                    {"label": speaker.label, "talk_time": recognized[speaker.label]}
                    if speaker.label in recognized
                    else {}
                ),
                **({} if speaker.voice is None else {"voice": speaker.voice}),
            }
            for speaker in shown.speakers
        ],
    }


def _step(step: Step, number: Mapping[str, int]) -> list[Any]:
    before = [[*_word(word), number.get(word.speaker or "")] for word in step.before]
    return [step.place, step.size, before]


def _word(word: SpokenWord) -> list[Any]:
    flags = _UNSPACED * (not word.spaced) + _OVERLAP * word.overlap
    return [
        _rounded(word.start),
        _rounded(word.end),
        plain(word.text),
        round(word.confidence, 3),
        flags,
    ]


def _rounded(time: Seconds) -> Seconds:
    return round(time, 3)  # to the millisecond


def _sample(transcript: SpeakerTranscript, label: str) -> list[Seconds] | None:
    """Return the longest stretch in which only this speaker is heard, `None` if there is none."""
    segments = [each for each in transcript.segments if each.speaker == label]
    alone = [each for each in segments if not each.overlap] or segments
    if not alone:
        return None
    best = max(alone, key=lambda each: min(each.end - each.start, SAMPLE))
    return [_rounded(best.start), _rounded(min(best.end, best.start + SAMPLE))]
