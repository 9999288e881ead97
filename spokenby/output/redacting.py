"""Take names, numbers and speakers out of a transcript, and say what may be left of them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from spokenby.output.correcting import GENERIC_NAME
from spokenby.output.formats.shared import UNKNOWN_SPEAKER, names_of, plain
from spokenby.output.numbers import LANGUAGES, find_numbers
from spokenby.stages.merging import segment_of
from spokenby.stages.words import SENTENCE_ENDS
from spokenby.types import (
    UNSPACED_SCRIPTS,
    Seconds,
    Segment,
    Speaker,
    SpeakerTranscript,
    SpokenWord,
)
from spokenby.wording import position

MARK = "[…]"
"""What stands for words that were taken out."""
REDACTED_SPEAKER = "Redacted speaker"
SPEAKER = "speaker"
"""Why all that somebody says is taken out."""

MARGIN: Seconds = 0.2
"""Sound is taken out so much before and behind a word: recognizers place words this far off."""

_LETTERS_TO_CUT = 5
"""A name of fewer letters is not looked for across other words: "an a" is not Ana."""
_LETTERS_TO_RESEMBLE = 4
_ALIKE = 0.8
_SHOWN = 3
"""So many places of what may be left are named."""

_PART = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d"})
"""Letters whose accent Unicode does not take off."""


class Request(NamedTuple):
    """What to take out."""

    names: tuple[str, ...] = ()
    numbers: bool = False
    speakers: tuple[str, ...] = ()
    """Labels of the transcript: all that they say, and their names."""


class Taken(NamedTuple):
    """What was taken out at one place."""

    start: Seconds
    end: Seconds
    speaker: str
    """As shown before."""
    why: str
    """What asked for it: name, number, speaker."""
    text: str


class Redacted(NamedTuple):
    """A transcript from which something was taken out."""

    transcript: SpeakerTranscript
    name: str
    """Of the video, likewise."""
    taken: tuple[Taken, ...]
    sound: tuple[tuple[Seconds, Seconds], ...]
    """Spans, in order and apart, in which nothing may be heard."""
    doubts: tuple[str, ...]
    """Lines: what was asked for and not found, or may still be there."""


def redact(transcript: SpeakerTranscript, name: str, request: Request) -> Redacted:
    """Return a transcript in which `MARK` stands for what was to be taken out.

    A name is found as whole words, whatever their case, accents and possessive, also where the
    recognizer cut it into other words or joined it. Words that follow each other become one mark,
    which has their time.

    Args:
        transcript: with people's corrections.
        name: of its video.
        request: what to take out.
    """
    shown = names_of(transcript)
    known = [
        name
        for speaker in transcript.speakers
        if speaker.label in request.speakers
        for name in (shown[speaker.label], speaker.track)
    ]
    names = _names((*request.names, *(each for each in known if not GENERIC_NAME.fullmatch(each))))
    languages = {transcript.language, *(part.transcribed for part in transcript.languages)}
    reasons = _Reasons()
    for words in _by_speaker(transcript).values():
        said = _Said([word.text for _, word in words])
        at = [place for place, _ in words]
        for found in names:
            for first, last in said.places(found):
                reasons.add((at[place] for place in range(first, last + 1)), "name", found.written)
        if request.numbers:
            numbers = find_numbers(said.words, said.parts, languages)
            reasons.add((at[place] for place in numbers), "number")
    for place, word in _words(transcript):
        if word.speaker in request.speakers:
            reasons.add([place], SPEAKER)
    segments = tuple(
        _segment(segment, [reasons.why((n, m)) for m in range(len(segment.words))])
        for n, segment in enumerate(transcript.segments)
    )
    taken = tuple(_taken(transcript, reasons, shown))
    turns = [turn for turn in transcript.turns if turn.speaker in request.speakers]
    sound = _joined(
        [(each.start, each.end) for each in taken] + [(turn.start, turn.end) for turn in turns]
    )
    doubts = [*_doubts(segments, names, reasons, languages if request.numbers else set())]
    speakers = _Speakers(transcript.speakers, names, request.speakers)
    copy = _renamed(transcript, segments, speakers)
    title = _line(name, names, numbers=request.numbers)
    return Redacted(
        copy,
        title,
        taken,
        tuple(sound),
        (*doubts, *_doubts_beside(title, copy, names)),
    )


def _folded(text: str) -> str:
    """Return a text without case and accents."""
    letters = unicodedata.normalize("NFKD", text.casefold()).translate(_PLAIN)
    letters = "".join(each for each in letters if not unicodedata.combining(each))
    return unicodedata.normalize("NFKC", letters)


def _parts(text: str) -> list[str]:
    return _PART.findall(_folded(text))


class _Name(NamedTuple):
    written: str
    parts: tuple[str, ...]

    @property
    def letters(self) -> str:
        return "".join(self.parts)


def _names(names: Iterable[str]) -> list[_Name]:
    found = {tuple(_parts(name)): plain(name) for name in names}
    return [_Name(written, parts) for parts, written in found.items() if parts]


def can_be_found(name: str) -> bool:
    """Return whether a name has a letter or a digit to look for."""
    return bool(_parts(name))


class _Said:
    """What one speaker says, as running letters."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.parts = [_parts(word) for word in words]
        self._letters = "".join(part for parts in self.parts for part in parts)
        self._begins: set[int] = set()
        self._firsts: list[int] = []
        """Where each word that has letters begins."""
        self._owners: list[int] = []
        end = 0
        for place, parts in enumerate(self.parts):
            if parts:
                self._firsts.append(end)
                self._owners.append(place)
            for part in parts:
                self._begins.add(end)
                end += len(part)
        self._begins.add(end)

    def places(self, name: _Name) -> Iterator[tuple[int, int]]:
        """Yield the first and the last word of each place where a name is said."""
        letters = name.letters
        inside = [0]
        for part in name.parts:
            inside.append(inside[-1] + len(part))
        start = self._letters.find(letters)
        while start >= 0:
            end = start + len(letters)
            cut = {at - start for at in range(start + 1, end) if at in self._begins}
            whole = len(letters) >= _LETTERS_TO_CUT or cut == set(inside[1:-1])
            unspaced = bool(_UNSPACED.match(letters))
            if (unspaced or (whole and start in self._begins)) and self._ends(end, letters):
                yield self._owner(start), self._owner(end - 1)
            start = self._letters.find(letters, start + 1)

    def _ends(self, end: int, letters: str) -> bool:
        if end in self._begins or _UNSPACED.match(letters[-1]):
            return True
        # The genitive of many languages, and a whole family: the Lovelaces.
        possessive = len(letters) > 2 and self._letters[end] == "s"
        return possessive and end + 1 in self._begins

    def _owner(self, letter: int) -> int:
        return self._owners[bisect_right(self._firsts, letter) - 1]


_Place = tuple[int, int]
"""Of a word: its segment, and its place in that."""


class _Reasons:
    """Why words are to be taken out."""

    def __init__(self) -> None:
        self._why: dict[_Place, set[str]] = defaultdict(set)
        self.found: set[str] = set()
        """The names that are said."""

    def add(self, places: Iterable[_Place], why: str, name: str = "") -> None:
        for place in places:
            self._why[place].add(why)
        if name:
            self.found.add(name)

    def why(self, place: _Place) -> str:
        """Return what asks for a word; empty for nothing, and one reason for all that one says."""
        reasons = self._why.get(place, set())
        return SPEAKER if SPEAKER in reasons else ", ".join(sorted(reasons))


def _words(transcript: SpeakerTranscript) -> Iterator[tuple[_Place, SpokenWord]]:
    for n, segment in enumerate(transcript.segments):
        for m, word in enumerate(segment.words):
            yield (n, m), word


def _by_speaker(
    transcript: SpeakerTranscript,
) -> dict[str | None, list[tuple[_Place, SpokenWord]]]:
    """Return each speaker's words: a name may go on after somebody else's "mhm"."""
    words = defaultdict(list)
    for place, word in _words(transcript):
        words[word.speaker].append((place, word))
    return words


def _segment(segment: Segment, why: Sequence[str]) -> Segment:
    """Return a segment with marks; a new paragraph begins with a mark of its own."""
    if not any(why):
        return segment
    runs: list[tuple[bool, list[SpokenWord]]] = []
    for word, reason in zip(segment.words, why, strict=True):
        if reason and runs and runs[-1][0] and not word.paragraph:
            runs[-1][1].append(word)
        else:
            runs.append((bool(reason), [word]))
    return segment_of([word for out, run in runs for word in ([_mark(run)] if out else run)])


def _mark(words: Sequence[SpokenWord]) -> SpokenWord:
    ending = words[-1].text[-1:]
    return words[0].model_copy(
        update={
            "text": MARK + (ending if ending in SENTENCE_ENDS else ""),
            "end": max(word.end for word in words),
            "confidence": 1.0,
            "overlap": any(word.overlap for word in words),
        }
    )


def _taken(
    transcript: SpeakerTranscript, reasons: _Reasons, shown: Mapping[str | None, str]
) -> Iterator[Taken]:
    for n, segment in enumerate(transcript.segments):
        places = enumerate(segment.words)
        for why, group in groupby(places, lambda each: reasons.why((n, each[0]))):  # noqa: B023
            words = [word for _, word in group]
            if why:
                yield Taken(
                    words[0].start,
                    max(word.end for word in words),
                    shown.get(segment.speaker, UNKNOWN_SPEAKER),
                    why,
                    segment_of(words).text,
                )


def _joined(spans: Iterable[tuple[Seconds, Seconds]]) -> list[tuple[Seconds, Seconds]]:
    """Return spans with their margin, in order; those that touch become one."""
    joined: list[tuple[Seconds, Seconds]] = []
    for start, end in sorted(spans):
        first, last = max(0.0, start - MARGIN), end + MARGIN
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined


class _Speakers:
    """What speakers are called in the copy: those that were asked for, and whose names were."""

    def __init__(
        self, speakers: Iterable[Speaker], names: Sequence[_Name], labels: Sequence[str]
    ) -> None:
        self._names = names
        self._new: dict[str | None, tuple[str, str]] = {}
        """Of a label, the new one and the new name."""
        for speaker in speakers:
            written = (speaker.name, speaker.track)
            if speaker.label in labels or any(_line(each, names) != each for each in written):
                number = len(self._new) + 1
                shown = REDACTED_SPEAKER if number == 1 else f"{REDACTED_SPEAKER} {number}"
                label = f"REDACTED_{number:02}" if speaker.label in labels else speaker.label
                self._new[speaker.label] = label, shown

    def label(self, label: str | None) -> str | None:
        return self._new[label][0] if label in self._new else label

    def speaker(self, speaker: Speaker, words: int) -> Speaker:
        update: dict[str, object] = {"words": words}
        if speaker.label in self._new:
            label, shown = self._new[speaker.label]
            update |= {"label": label, "name": shown, "track": ""}
            update |= {"voice": None, "confidence": None}
        return speaker.model_copy(update=update)

    def segment(self, segment: Segment) -> Segment:
        label = self.label(segment.speaker)
        words = tuple(word.model_copy(update={"speaker": label}) for word in segment.words)
        return segment.model_copy(update={"speaker": label, "words": words})

    def text(self, text: str) -> str:
        """Return a warning, which may name speakers by label, without names."""
        for label, (_, shown) in self._new.items():
            text = re.sub(rf"\b{re.escape(str(label))}\b", shown, text)
        return _line(text, self._names)


def _renamed(
    transcript: SpeakerTranscript, segments: Iterable[Segment], speakers: _Speakers
) -> SpeakerTranscript:
    """Return a transcript with other segments, and with its speakers' new names."""
    segments = tuple(map(speakers.segment, segments))
    counts = Counter(word.speaker for segment in segments for word in segment.words)
    return transcript.model_copy(
        update={
            "segments": segments,
            "speakers": tuple(
                speakers.speaker(each, counts[speakers.label(each.label)])
                for each in transcript.speakers
            ),
            "turns": tuple(
                turn.model_copy(update={"speaker": speakers.label(turn.speaker)})
                for turn in transcript.turns
            ),
            "warnings": tuple(map(speakers.text, transcript.warnings)),
            "doubtful": tuple(
                note.model_copy(update={"reason": speakers.text(note.reason)})
                for note in transcript.doubtful
            ),
            "replaced": {},  # lines of the vocabulary
        }
    )


def _line(text: str, names: Sequence[_Name], *, numbers: bool = False) -> str:
    """Return a line of text, such as a video's name, without the names, and the digits if asked."""
    words = _apart(text).split()
    said = _Said(words)
    places = {
        place
        for name in names
        for first, last in said.places(name)
        for place in range(first, last + 1)
    }
    if numbers:
        places |= find_numbers(words, said.parts, LANGUAGES)
    if not places:
        return text
    return " ".join(
        MARK if place in places else word
        for place, word in enumerate(words)
        if not {place, place - 1} <= places
    )


def _apart(text: str) -> str:
    """Return a text with spaces in what is WrittenLikeThis, as files often are."""
    return "".join(
        f" {letter}" if letter.isupper() and before.islower() else letter
        for before, letter in zip(f" {text}", text, strict=False)
    )


def _doubts_beside(
    title: str, transcript: SpeakerTranscript, names: Sequence[_Name]
) -> Iterator[str]:
    """Yield which names may still be in what stands beside the words, joined with others."""
    beside = [
        ("the title", title),
        *(("a speaker's name", speaker.name) for speaker in transcript.speakers),
        *(("a warning", warning) for warning in transcript.warnings),
    ]
    for what, text in beside:
        letters = "".join(_parts(text))
        for name in names:
            if len(name.letters) >= _LETTERS_TO_RESEMBLE and name.letters in letters:
                yield f"{what}, “{text}”, may still have “{name.written}” in it"


def _doubts(
    segments: Sequence[Segment], names: Sequence[_Name], reasons: _Reasons, languages: set[str]
) -> Iterator[str]:
    """Yield what was asked for and not found, and what may still be there."""
    for name in names:
        if name.written not in reasons.found:
            yield f"“{name.written}” is not said as the transcript has it: check how it is written"
    if unknown := sorted(languages - {*LANGUAGES, "zh", "ja", "yue"}):
        yield f"numbers spelled out in {', '.join(unknown)} are not known: only digits were sought"
    left: dict[str, list[Seconds]] = defaultdict(list)
    for word in (word for segment in segments for word in segment.words):
        if not word.text.startswith(MARK):
            left[plain(word.text).strip(" .,;:!?…\"'“”")].append(word.start)
    for text, times in left.items():
        if _resembles(_parts(text), names):
            places = ", ".join(map(position, times[:_SHOWN]))
            more = ", …" if len(times) > _SHOWN else ""
            yield f"“{text}” is still there, and like a name: {places}{more}"


def _resembles(parts: Iterable[str], names: Iterable[_Name]) -> bool:
    """Return whether a word is part of a name, begins with one, or is written much like one."""
    return any(
        _alike(part, sought)
        for part in parts
        for name in names
        for sought in {*name.parts, name.letters}
    )


def _alike(part: str, sought: str) -> bool:
    if part == sought:
        return len(sought) > 1
    if len(sought) < _LETTERS_TO_RESEMBLE and sought.isascii():
        return False
    alike = difflib.SequenceMatcher(None, sought, part, autojunk=False)
    return part.startswith(sought) or (
        alike.real_quick_ratio() >= _ALIKE
        and alike.quick_ratio() >= _ALIKE
        and alike.ratio() >= _ALIKE
    )
