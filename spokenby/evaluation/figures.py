"""What is measured of a transcript: the figures, how turns are compared, a recording's score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from spokenby.evaluation.annotations import TimedWord
from spokenby.types import Seconds

TCP_COLLAR_S = 5.0
"""How far apart the times of two words may be that tcpWER takes for the same: MeetEval's advice."""
CLOSE_S = 0.1


class Rate(NamedTuple):
    """Errors of so many; recordings are taken together by adding both."""

    errors: float
    total: float

    @property
    def value(self) -> float:
        """Errors for each of the total; NaN without any."""
        return self.errors / self.total if self.total else math.nan


class Figure(NamedTuple):
    """How a figure is called, and what it means."""

    title: str
    means: str
    unit: str = "%"


FIGURES = {
    "der": Figure("DER", "speech missed, invented or given to another speaker"),
    "missed": Figure("missed", "of the DER: speech that was missed"),
    "false_alarm": Figure("false al.", "of the DER: speech that was invented"),
    "confusion": Figure("confused", "of the DER: speech given to another speaker"),
    "jer": Figure("JER", "Jaccard error rate: the same, each speaker weighing the same"),
    "count": Figure("miscounted", "recordings in which the number of speakers is wrong"),
    "wer": Figure("WER", "words that are wrong, missing or too many, normalized"),
    "wer_raw": Figure("raw WER", "the same as written: with case and punctuation"),
    "wder": Figure("WDER", "recognized words with the wrong speaker"),
    "cpwer": Figure("cpWER", "WER of each speaker's words by themselves, speakers paired at best"),
    "tcpwer": Figure(
        "tcpWER", f"the same; words more than {TCP_COLLAR_S:g} s apart are not the same"
    ),
    "edges": Figure("word edges", "mean distance of starts and ends of words", "s"),
    "edges_off": Figure("far off", f"starts and ends of words more than {CLOSE_S:g} s off"),
    "uncovered": Figure("uncovered", "speech that no line of the transcript covers"),
    "name_wrong": Figure("names wrong", "names given that are wrong: 100 - precision"),
    "name_missed": Figure("names missed", "people known by name not named: 100 - recall"),
}
"""All figures, in the order in which they are shown; the lower, the better."""


class Settings(NamedTuple):
    """How turns are compared: `collar_s` is left out on each side of a reference's turn edges."""

    collar_s: Seconds = 0.0
    skip_overlap: bool = False

    def __str__(self) -> str:
        collar = f"collar {self.collar_s:g} s" + (" on each side" if self.collar_s else "")
        return f"{collar}, overlap {'left out' if self.skip_overlap else 'scored'}"


DEFAULT = Settings()


class WordMark(NamedTuple):
    """A heard word that is not right, for people to see: `said` is empty for one too many."""

    word: TimedWord
    said: str
    other_speaker: bool


@dataclass(frozen=True)
class Score:
    """How right a system is on a recording.

    Figures that the reference cannot tell are absent; `notes` say why where that surprises.
    """

    figures: Mapping[str, Rate] = field(default_factory=dict)
    speakers: tuple[int, int] | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[WordMark, ...] = ()
    language: str = ""
    notes: tuple[str, ...] = ()
