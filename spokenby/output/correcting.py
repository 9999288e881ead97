"""Apply people's corrections to a transcript as recognized."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

import numpy as np

from spokenby.output.corrections import Correction, Who, letters_of
from spokenby.output.formats.shared import plain
from spokenby.stages.merging import Params, join_words, segment_of
from spokenby.types import (
    Seconds,
    Segment,
    Speaker,
    SpeakerTranscript,
    SpokenWord,
    Turn,
    WindowNote,
)
from spokenby.wording import position

TOLERANCE: Seconds = 0.5
"""Recognizers place the same word a few tenths of a second apart."""

ENOUGH_ALIKE = 0.8
"""Who says a passage does not hang on every word: so many of them have to be there still."""
PASSAGE = 5
"""Of fewer words, all have to be there."""

SLIVER: Seconds = 0.5
"""What is left of a turn beside words that go to somebody else goes with them if it is shorter."""

GENERIC_NAME = re.compile(r"Unknown speaker( \w+)?|Speaker \w+|SPEAKER_\d+")
"""Names that say nothing about who it is."""
_PIECE = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff][^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]*"
    r"|[^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
"""A word between spaces, or of Chinese and Japanese, each character with what follows it."""


class Step(NamedTuple):
    """What one correction changed: words, by their place in the text as it was then."""

    number: int
    """Of the correction in the list, from 0."""
    place: int
    size: int
    """How many words stand there since."""
    before: tuple[SpokenWord, ...]


class Unfit(NamedTuple):
    """A correction that was not applied: it stays in the list."""

    number: int
    correction: Correction
    reason: str

    def __str__(self) -> str:
        each = self.correction
        return f"{position(each.start)} {_wish(each)}: {self.reason}"


class Corrected(NamedTuple):
    """A transcript with corrections. What already stood there is neither a step nor unfit."""

    transcript: SpeakerTranscript
    steps: tuple[Step, ...] = ()
    unfit: tuple[Unfit, ...] = ()
    checked: float = 0.0
    """Share of the words that somebody wrote or checked, 0 to 1."""


def apply(transcript: SpeakerTranscript, corrections: Sequence[Correction]) -> Corrected:
    """Return a transcript with corrections, and those that do not fit it.

    A correction fits where its old text stands within `TOLERANCE` of its time: it is applied to
    the nearest such place. It is done already where its new text stands nearer. New words share the
    time of those in whose place they are, in proportion to their length; words that begin or end
    both old and new text keep their own. What goes to another speaker takes its turns along.

    Args:
        transcript: as recognized, under today's names.
        corrections: in the order in which they were made.
    """
    work = _Work(transcript)
    steps, unfit = [], []
    decided: dict[tuple[float, float], int] = {}
    for number, each in enumerate(corrections):
        try:
            step = work.correct(number, each)
        except _UnfitError as reason:
            unfit.append(Unfit(number, each, str(reason)))
            continue
        decided[_place(each)] = number
        if step:
            steps.append(step)
    # Where the same words were corrected again later, only the last word counts.
    lost = [each for each in unfit if decided.get(_place(each.correction), -1) < each.number]
    return Corrected(work.transcript(), tuple(steps), tuple(lost), work.share_by_hand())


def _place(correction: Correction) -> tuple[float, float]:
    return round(correction.start, 2), round(correction.end, 2)


class _UnfitError(Exception):
    """Why a correction does not fit."""


class _Item:
    """A word while corrections change it."""

    __slots__ = ("by_hand", "opens", "segment", "word")

    def __init__(self, word: SpokenWord, segment: int, *, opens: bool, by_hand: bool) -> None:
        self.word = word
        self.segment = segment
        """Place of the segment that it was recognized in."""
        self.opens = opens
        """A segment begins with it, also where the speaker stays."""
        self.by_hand = by_hand


class _Work:
    """A transcript while corrections change it."""

    def __init__(self, transcript: SpeakerTranscript) -> None:
        self._before = transcript
        self._items = [
            _Item(word, place, opens=number == 0, by_hand=False)
            for place, segment in enumerate(transcript.segments)
            for number, word in enumerate(segment.words)
        ]
        self._starts = np.array([item.word.start for item in self._items], dtype=np.float64)
        self._speakers = list(transcript.speakers)
        self._turns = list(transcript.turns)
        self._touched: set[str] = set()
        """Labels of speakers whose figures have changed."""

    def correct(self, number: int, each: Correction) -> Step | None:
        """Apply one correction; return `None` if what it wants stands there already."""
        old, new = letters_of(each.old), None if each.new is None else letters_of(each.new)
        found = self._find(each, old)
        # In one pass: what was typed once must not be typed twice.
        there = self._find(each, new) if new and new != old else None
        done = bool(there and (not found or there.before(found)))
        at = there if done else found or self._find_passage(each)
        if not at:
            if new == "" and not self._between(each.start, each.end):
                return None
            raise _UnfitError(self._now(each))
        place, size = at.place, at.size
        if each.paragraph == "join" and not self._can_join(place):
            raise _UnfitError("somebody else speaks before")
        label = self._resolve(each.speaker) if each.speaker else None
        before = tuple(item.word for item in self._items[place : place + size])
        if each.new is not None and not done:
            size = self._retype(place, size, each.new)
        if label:
            self._give(place, size, label)
        run = self._items[place : place + size]
        if each.paragraph and run:
            run[0].opens = begins = each.paragraph == "split"
            run[0].word = run[0].word.model_copy(update={"paragraph": begins})
        if each.checked or each.new is not None:
            for item in run:
                item.by_hand = True
                item.word = _certain(item.word)
        after = tuple(item.word for item in run)
        return Step(number, place, size, before) if before != after else None

    def _find(self, each: Correction, text: str) -> _Found | None:
        """Return where a text stands, of several places the nearest."""
        best = None
        for place in np.flatnonzero(np.abs(self._starts - each.start) <= TOLERANCE).tolist():
            said, end, count = "", 0.0, 0
            while len(said) < len(text) and place + count < len(self._items):
                word = self._items[place + count].word
                said, end, count = said + letters_of(word.text), max(end, word.end), count + 1
            if said != text or abs(end - each.end) > TOLERANCE:
                continue
            apart = abs(self._starts[place] - each.start) + abs(end - each.end)
            if best is None or apart < best.apart:
                best = _Found(place, count, apart, len(text))
        return best

    def _find_passage(self, each: Correction) -> _Found | None:
        """Return a longer passage of which most words are the same, if no word is to be changed."""
        old = _tokens(each.old)
        if each.new is not None or not each.speaker or len(old) < PASSAGE:
            return None
        places = self._between(each.start, each.end)
        if not places or places[-1] - places[0] + 1 != len(places):
            return None
        run = self._items[places[0] : places[-1] + 1]
        now = [token for item in run for token in _tokens(item.word.text)]
        alike = SequenceMatcher(None, old, now, autojunk=False).ratio()
        return _Found(places[0], len(places), 0.0, 0) if alike >= ENOUGH_ALIKE else None

    def _between(self, start: Seconds, end: Seconds) -> list[int]:
        """Return the places of words that are half inside a time at least."""
        near = (self._starts >= start - _LONGEST_WORD) & (self._starts <= end)
        return [
            place
            for place in np.flatnonzero(near).tolist()
            if start <= (self._items[place].word.start + self._items[place].word.end) / 2 <= end
        ]

    def _now(self, each: Correction) -> str:
        there = [self._items[place].word for place in self._between(each.start, each.end)]
        said = plain(join_words(there))
        return f"now “{_short(said)}”" if said else "no words are there now"

    def _resolve(self, who: Who) -> str:
        """Return the label of who is meant; a person whom the transcript lacks gets one."""
        recognized = {speaker.label: speaker.talk_time for speaker in self._before.speakers}
        if who.label in recognized and (
            who.talk_time is not None and abs(recognized[who.label] - who.talk_time) < 0.01
        ):
            return who.label
        matching = [
            each.label for each in self._speakers if who.voice in {each.voice, *each.merged}
        ]
        if who.voice is not None and len(matching) == 1:
            return matching[0]
        name = plain(who.name)
        matching = [each.label for each in self._speakers if plain(each.name) == name]
        if len(matching) == 1 and not GENERIC_NAME.fullmatch(name):
            return matching[0]
        if len(matching) > 1 or GENERIC_NAME.fullmatch(name) or not name:
            raise _UnfitError(f"who “{_short(name)}” was is not known here")
        numbers = (re.fullmatch(r"SPEAKER_(\d+)", each.label) for each in self._speakers)
        number = 1 + max((int(found[1]) for found in numbers if found), default=-1)
        label = f"SPEAKER_{number:02}"
        self._speakers.append(Speaker(label=label, name=name, talk_time=0.0, words=0))
        return label

    def _can_join(self, place: int) -> bool:
        return place > 0 and (
            self._items[place - 1].word.speaker == self._items[place].word.speaker
        )

    def _retype(self, place: int, count: int, new: str) -> int:
        """Put new words in the place of others; return how many."""
        run = self._items[place : place + count]
        texts = list(_split(plain(new), run[0].word))
        head = 0
        while head < min(len(texts), count) and texts[head] == _written(run[head].word):
            head += 1
        tail = 0
        while tail < min(len(texts), count) - head and texts[-1 - tail] == _written(
            run[-1 - tail].word
        ):
            tail += 1
        if texts and head + tail == count:  # only added to: they need the time of a word
            head, tail = (head - 1, tail) if head else (head, tail - 1)
        typed, replaced = texts[head : len(texts) - tail], run[head : count - tail]
        fresh = self._timed(typed, replaced, place + head + len(replaced)) if typed else []
        result = [*run[:head], *fresh, *run[count - tail :]]
        if not result:
            self._pass_on(run, place + count)
        elif not fresh and head == 0:
            self._pass_on(replaced, place + len(replaced))
        self._items[place : place + count] = result
        self._starts = np.concatenate(
            (
                self._starts[:place],
                [item.word.start for item in result],
                self._starts[place + count :],
            )
        )
        self._touched |= {item.word.speaker for item in run if item.word.speaker}
        return len(result)

    def _timed(
        self, typed: list[tuple[str, bool]], replaced: list[_Item], after: int
    ) -> list[_Item]:
        """Return new words in the time of those that they replace."""
        first, end = replaced[0], max(item.word.end for item in replaced)
        start = first.word.start
        # The last one must not begin after the word behind it.
        following = self._items[after].word.start if after < len(self._items) else end
        latest = min(end, following) if following >= start else end
        total = sum(len(text) for text, _ in typed)
        items: list[_Item] = []
        letters = 0
        for text, spaced in typed:
            begins = start + (latest - start) * letters / total
            letters += len(text)
            ends = start + (latest - start) * letters / total
            word = first.word.model_copy(
                update={
                    "start": begins,
                    "end": ends,
                    "text": text,
                    "spaced": spaced,
                    "confidence": 1.0,
                    "overlap": any(item.word.overlap for item in replaced),
                    **({} if not items else {"paragraph": None}),
                }
            )
            items.append(_Item(word, first.segment, opens=first.opens and not items, by_hand=True))
        items[-1].word = items[-1].word.model_copy(update={"end": end})
        return items

    def _pass_on(self, gone: list[_Item], place: int) -> None:
        """Let the word at a place begin what the deleted words before it began."""
        if place >= len(self._items):
            return
        heir = self._items[place]
        if heir.word.speaker != gone[0].word.speaker:
            return
        heir.opens = heir.opens or gone[0].opens
        if heir.word.paragraph is None and gone[0].word.paragraph is not None:
            heir.word = heir.word.model_copy(update={"paragraph": gone[0].word.paragraph})

    def _give(self, place: int, count: int, label: str) -> None:
        """Give words to a speaker, with their turns."""
        edges = range(place, min(place + count + 1, len(self._items)))
        changed = [n for n in edges if n and self._speaker(n) != self._speaker(n - 1)]
        run = self._items[place : place + count]
        for speaker, group in groupby(run, lambda item: item.word.speaker):
            words = [item.word for item in group]
            if speaker == label:
                continue
            self._touched |= {label, speaker} if speaker else {label}
            self._move_turns(words[0].start, max(word.end for word in words), speaker, label)
        for item in run:
            if item.word.speaker != label:
                item.word = item.word.model_copy(update={"speaker": label, "reason": None})
        for n in edges:
            if not n:
                continue
            if self._speaker(n) != self._speaker(n - 1):
                self._items[n].opens = True
            elif n in changed:
                pause = self._items[n].word.start - self._items[n - 1].word.end
                self._items[n].opens = pause > _MAX_PAUSE

    def _speaker(self, place: int) -> str | None:
        return self._items[place].word.speaker

    def _move_turns(self, start: Seconds, end: Seconds, giver: str | None, taker: str) -> None:
        kept, taken = [], [(start, end)]
        for turn in self._turns:
            if turn.speaker != giver or turn.end <= start or turn.start >= end:
                kept.append(turn)
                continue
            for first, last in ((turn.start, start), (end, turn.end)):
                if last - first > SLIVER:
                    kept.append(Turn(start=first, end=last, speaker=turn.speaker))
                elif last > first:
                    taken.append((first, last))
        low, high = min(first for first, _ in taken), max(last for _, last in taken)
        joined: list[Turn] = []
        apart: list[Turn] = []
        for turn in kept:
            meets = turn.speaker == taker and turn.start <= high and turn.end >= low
            (joined if meets else apart).append(turn)
        whole = Turn(
            start=min([low, *(turn.start for turn in joined)]),
            end=max([high, *(turn.end for turn in joined)]),
            speaker=taker,
        )
        self._turns = sorted([*apart, whole], key=lambda turn: (turn.start, turn.end))

    def share_by_hand(self) -> float:
        by_hand = sum(item.by_hand for item in self._items)
        return round(by_hand / len(self._items), 3) if self._items else 0.0

    def transcript(self) -> SpeakerTranscript:
        """Return the transcript as corrected; what nobody corrected is what it was."""
        return self._before.model_copy(
            update={
                "speakers": tuple(self._figures()),
                "segments": tuple(self._segments()),
                "turns": tuple(self._turns),
                "doubtful": tuple(note for note in self._before.doubtful if self._stays(note)),
            }
        )

    def _segments(self) -> Iterable[Segment]:
        group: list[_Item] = []
        for item in self._items:
            if group and (item.opens or item.word.speaker != group[-1].word.speaker):
                yield self._segment(group)
                group = []
            group.append(item)
        if group:
            yield self._segment(group)

    def _segment(self, group: list[_Item]) -> Segment:
        words = [item.word for item in group]
        before = self._before.segments[group[0].segment]
        same = len(words) == len(before.words) and all(map(_is, words, before.words))
        return before if same else segment_of(words)

    def _figures(self) -> Iterable[Speaker]:
        for speaker in self._speakers:
            if speaker.label not in self._touched:
                yield speaker
                continue
            talk = sum(turn.duration for turn in self._turns if turn.speaker == speaker.label)
            words = sum(item.word.speaker == speaker.label for item in self._items)
            yield speaker.model_copy(update={"talk_time": talk, "words": words})

    def _stays(self, note: WindowNote) -> bool:
        """Return whether a place is doubtful still: not all its words were written or checked."""
        near = (self._starts >= note.start - _LONGEST_WORD) & (self._starts < note.end)
        items = [self._items[place] for place in np.flatnonzero(near).tolist()]
        inside = [item for item in items if item.word.end > note.start]
        return not inside or not all(item.by_hand for item in inside)


class _Found(NamedTuple):
    place: int
    size: int
    apart: Seconds
    letters: int

    def before(self, other: _Found) -> bool:
        """Return whether this is nearer, or says more at the same place."""
        return (self.apart, -self.letters) < (other.apart, -other.letters)


_MAX_PAUSE = Params().max_pause
_LONGEST_WORD: Seconds = 30.0


def _is(word: SpokenWord, other: SpokenWord) -> bool:
    return word is other


def _certain(word: SpokenWord) -> SpokenWord:
    return word if word.confidence == 1 else word.model_copy(update={"confidence": 1.0})


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _written(word: SpokenWord) -> tuple[str, bool]:
    return word.text, word.spaced


def _split(text: str, first: SpokenWord) -> Iterable[tuple[str, bool]]:
    """Yield words of a typed text, and whether a space is before each."""
    for number, token in enumerate(text.split()):
        for place, piece in enumerate(_PIECE.findall(token)):
            yield piece, (first.spaced if number == 0 else True) and place == 0


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _wish(each: Correction) -> str:
    """Return in a few words what a correction wants."""
    old = f"“{_short(plain(each.old))}”"
    wishes = []
    if each.new is not None:
        wishes.append(f"to “{_short(plain(each.new))}”" if letters_of(each.new) else "deleted")
    if each.speaker:
        wishes.append(f"said by {_short(plain(each.speaker.name))}")
    if each.paragraph:
        wishes.append(
            {"split": "begins a paragraph", "join": "continues the paragraph"}[each.paragraph]
        )
    if each.checked:
        wishes.append("checked")
    return f"{old} {', '.join(wishes)}"
