"""Chapters against the topics that people marked in meetings: Pk and WindowDiff.

--qmsum is a folder of QMSum (https://github.com/Yale-LILY/QMSum, MIT), data/ALL/test: transcripts
of meetings, with the turns of each topic. Times are made up: a word takes 0.36 s, as in slow
speech, and nobody pauses. Measured twice: on the meetings, and on pieces of eight of them one after
the other, of 2 to 6 minutes each.
"""

from __future__ import annotations

import json
import random
import re
from argparse import Namespace
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import measuring
import numpy as np

from spokenby.output.formats import chapters
from spokenby.output.formats.shared import paragraphs
from spokenby.stages.merging import segment_of
from spokenby.types import Speaker, SpeakerTranscript, SpokenWord

WORD_S = 0.36
BUILT = 30
PIECES = 8
PIECE_WORDS = 300, 1000


class Talk(NamedTuple):
    """Turns, each who says it and the words, and the numbers of those that begin a topic."""

    turns: list[tuple[str, list[str]]]
    topics: list[int]

    @property
    def starts(self) -> list[int]:
        """How many words come before each turn, and all."""
        return list(accumulate((len(words) for _, words in self.turns), initial=0))


def read(file: Path) -> Talk:
    content = json.loads(file.read_text("utf-8"))
    turns = [
        (turn["speaker"], re.sub(r"\{.*?\}", "", turn["content"]).split())
        for turn in content["meeting_transcripts"]
    ]
    topic: dict[int, int] = {}
    for number, each in enumerate(content["topic_list"]):
        for first, last in each["relevant_text_span"]:
            for turn in range(int(first), int(last) + 1):
                topic.setdefault(turn, number)
    marked = sorted(turn for turn in topic if turn < len(turns))
    return Talk(turns, [b for a, b in pairwise(marked) if topic[a] != topic[b]])


def build(talks: Sequence[Talk], draw: random.Random) -> Talk:
    """Return pieces of some talks, one after the other."""
    turns: list[tuple[str, list[str]]] = []
    topics = []
    for talk in draw.sample(talks, min(PIECES, len(talks))):
        if turns:
            topics.append(len(turns))
        left = draw.randint(*PIECE_WORDS)
        for turn in talk.turns[draw.randrange(max(1, len(talk.turns) - 20)) :]:
            turns.append(turn)
            left -= len(turn[1])
            if left <= 0:
                break
    return Talk(turns, topics)


def transcript_of(talk: Talk) -> SpeakerTranscript:
    words = [
        SpokenWord(
            start=WORD_S * (first + number),
            end=WORD_S * (first + number + 1),
            text=text,
            confidence=1.0,
            speaker=speaker,
        )
        for (speaker, texts), first in zip(talk.turns, talk.starts, strict=False)
        for number, text in enumerate(texts)
    ]
    segments = [
        segment_of(words[first:last])
        for first, last in pairwise(dict.fromkeys(talk.starts))
        if last > first
    ]
    length = WORD_S * len(words)
    return SpeakerTranscript(
        digest="",
        language="en",
        duration=length,
        speech=length,
        speakers=tuple(
            Speaker(label=who, name=who, talk_time=0.0, words=0)
            for who in dict.fromkeys(who for who, _ in talk.turns)
        ),
        segments=tuple(segments),
        turns=(),
    )


def by_topic(talk: Talk) -> list[float]:
    """Return where chapters begin but for the first, in words."""
    return [each.start_ms / 1000 / WORD_S for each in chapters.chapters_of(transcript_of(talk))[1:]]


def by_speaker(talk: Talk) -> list[float]:
    """Return where they begin in short transcripts, and began in all before."""
    parts = chapters._speakers(paragraphs(transcript_of(talk)))
    return [part.start / WORD_S for part in parts[1:]]


def evenly(step_s: float) -> Callable[[Talk], list[float]]:
    return lambda talk: list(np.arange(step_s / WORD_S, talk.starts[-1], step_s / WORD_S))


def evenly_as_many(talk: Talk) -> list[float]:
    """Return as many as there are topics: nobody knows that beforehand."""
    return list(np.linspace(0, talk.starts[-1], len(talk.topics) + 2)[1:-1])


WAYS: dict[str, Callable[[Talk], list[float]]] = {
    "change of topic": by_topic,
    "change of speaker after a minute": by_speaker,
    "every 5 minutes": evenly(300),
    "every 10 minutes": evenly(600),
    "evenly, the right number": evenly_as_many,
    "none": lambda _: [],
}


def errors(talk: Talk, found: Sequence[float]) -> tuple[float, float]:
    """Return Pk and WindowDiff: 0 is right."""
    length = talk.starts[-1]
    right, ours = np.zeros(length + 1), np.zeros(length + 1)
    np.add.at(right, [talk.starts[turn] for turn in talk.topics], 1)
    np.add.at(ours, np.round(found).astype(int), 1)
    window = max(2, round(length / (len(talk.topics) + 1) / 2))
    inside = [np.cumsum(each)[window:] - np.cumsum(each)[:-window] for each in (right, ours)]
    return (
        float(np.mean((inside[0] > 0) != (inside[1] > 0))),
        float(np.mean(inside[0] != inside[1])),
    )


def measure(options: Namespace) -> list[tuple[str, str, float, float, float, float]]:
    talks = [read(file) for file in sorted(options.qmsum.glob("*.json"))]
    if len(talks) < 2:
        raise measuring.Missing(f"{options.qmsum} has no meetings: name data/ALL/test of QMSum")
    draw = random.Random(options.seed)
    sets = {"meetings": talks, "pieces": [build(talks, draw) for _ in range(BUILT)]}
    rows = []
    for name, members in sets.items():
        for way, place in WAYS.items():
            found = [place(talk) for talk in members]
            pk, difference = np.mean(
                [errors(talk, each) for talk, each in zip(members, found, strict=True)], axis=0
            )
            topics = float(np.mean([len(talk.topics) for talk in members]))
            rows.append(
                (name, way, float(pk), float(difference), np.mean(list(map(len, found))), topics)
            )
            measuring.say(f"{name}, {way}: {pk:.3f}")
    return rows


def main() -> None:
    parser = measuring.arguments(__doc__, speech=False)
    parser.add_argument("--qmsum", type=Path, required=True, help="folder of meetings")
    parser.add_argument("--seed", type=int, default=2, help="of the pieces")
    options = parser.parse_args()
    rows = measure(options)
    head = ["on", "chapters begin", "Pk", "WindowDiff", "found", "topics"]
    measuring.finish(
        "chapters",
        options,
        measuring.table(head, rows),
        [dict(zip(head, row, strict=True)) for row in rows],
    )


if __name__ == "__main__":
    measuring.run(main)
