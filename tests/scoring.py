"""Error rates against references: DER by pyannote.metrics, WER by edit distance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import pyannote.audio
from pyannote.core import Annotation, Segment
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

from spokenby.types import SpeakerTranscript, Turn

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


def wrong_speakers(reference: Sequence[tuple[str, str]], transcript: SpeakerTranscript) -> float:
    """Return the share of rightly recognized words that another speaker is said to have said.

    A name stands for the label that has most of its words.
    """
    heard = [
        (text, segment.speaker)
        for segment in transcript.segments
        for word in segment.words
        for text in plain_words(word.text)
    ]
    texts = [[text for text, _ in words] for words in (reference, heard)]
    same = SequenceMatcher(None, *texts, autojunk=False).get_matching_blocks()
    pairs = [
        (reference[block.a + i][1], heard[block.b + i][1])
        for block in same
        for i in range(block.size)
    ]
    labels = {
        name: Counter(label for other, label in pairs if other == name).most_common(1)[0][0]
        for name in {name for name, _ in pairs}
    }
    return sum(labels[name] != label for name, label in pairs) / len(pairs)
