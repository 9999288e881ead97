"""Error rates of turns and words against references."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spokenby.evaluation.annotations import Annotation, Line
from spokenby.evaluation.readers import read_rttm
from spokenby.evaluation.scores import score
from spokenby.evaluation.turns import pyannote_annotation
from spokenby.types import Turn

if TYPE_CHECKING:
    from pyannote.core import Annotation as Labels


def sample_of_pyannote() -> Path:
    """Return where a recording lies in pyannote.audio, which takes ten seconds to import."""
    (folder,) = find_spec("pyannote.audio").submodule_search_locations
    return Path(folder) / "sample"


SAMPLE_RTTM = sample_of_pyannote() / "sample.rttm"


def reference(rttm: Path) -> Labels:
    labels: Labels = pyannote_annotation(read_rttm(rttm, {rttm.stem}).turns or ())
    return labels


def word_error_rate(said: str, heard: str) -> float:
    """Return the WER of English; without the group `evaluation`, skip the test."""
    pytest.importorskip("meeteval", reason="the group `evaluation` is not installed")
    right, found = (Annotation(lines=(Line(text),), language="en") for text in (said, heard))
    return score(right, found).figures["wer"].value


def diarization_error(turns: Iterable[Turn], rttm: Path) -> float:
    """Return the DER, without a collar, overlapping speech scored."""
    right = read_rttm(rttm, {rttm.stem})
    return score(right, Annotation(turns=tuple(turns))).figures["der"].value
