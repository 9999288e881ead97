"""Error rates of turns against references."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyannote.audio
from pyannote.core import Annotation as Labels

from spokenby.evaluation.annotations import Annotation
from spokenby.evaluation.readers import read_rttm
from spokenby.evaluation.scores import pyannote_annotation, score
from spokenby.types import Turn

SAMPLE_RTTM = Path(pyannote.audio.__file__).parent / "sample" / "sample.rttm"


def reference(rttm: Path) -> Labels:
    labels: Labels = pyannote_annotation(read_rttm(rttm, {rttm.stem}).turns or ())
    return labels


def diarization_error(turns: Iterable[Turn], rttm: Path) -> float:
    """Return the DER, without a collar, overlapping speech scored."""
    right = read_rttm(rttm, {rttm.stem})
    return score(right, Annotation(turns=tuple(turns))).figures["der"].value
