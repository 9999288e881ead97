"""Error rates against references live here: DER by pyannote.metrics, WER by edit distance."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pyannote.audio
from pyannote.core import Annotation, Segment
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

from whosaid.types import SpeakerTranscript, Turn

SAMPLE_RTTM = Path(pyannote.audio.__file__).parent / "sample" / "sample.rttm"


def reference(rttm: Path) -> Annotation:
    (annotation,) = load_rttm(rttm).values()
    return annotation


def annotate(turns: Iterable[Turn]) -> Annotation:
    annotation = Annotation()
    for track, turn in enumerate(turns):
        annotation[Segment(turn.start, turn.end), track] = turn.speaker
    return annotation


def diarization_error(turns: Iterable[Turn], rttm: Path) -> float:
    """Return the DER, without a collar, overlapping speech scored."""
    return float(
        DiarizationErrorRate(collar=0, skip_overlap=False)(reference(rttm), annotate(turns))
    )


def plain_words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower().replace("’", "'")).split()


def spoken_words(transcript: SpeakerTranscript) -> list[str]:
    return plain_words(" ".join(segment.text for segment in transcript.segments))


def word_error(reference: list[str], hypothesis: list[str]) -> float:
    """Return the WER: Levenshtein distance over words, per reference word."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1] / len(reference)
