"""Compare who speaks when, by pyannote.metrics: diarization errors, and speech without a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from spokenby.evaluation.annotations import Annotation, Line
from spokenby.evaluation.figures import Rate, Settings
from spokenby.types import Turn


class ComparedTurns(NamedTuple):
    """Figures of turns, who each label is by them, and the numbers of speakers: found, right."""

    figures: dict[str, Rate]
    mapping: dict[str, str]
    speakers: tuple[int, int]


def pyannote_annotation(turns: Sequence[Turn]) -> Any:
    """Return turns as pyannote's Annotation."""
    from pyannote.core import Annotation as Labels
    from pyannote.core import Segment

    labels = Labels()
    for track, turn in enumerate(turns):
        labels[Segment(turn.start, turn.end), track] = turn.speaker
    return labels.support()  # of one speaker, nobody can say two things at once


def scored_regions(reference: Annotation, hypothesis: Annotation) -> Any:
    """Return where both are compared, as pyannote's Timeline: all over, if nothing else is said."""
    from pyannote.core import Segment, Timeline

    ends = [turn.end for each in (reference, hypothesis) for turn in each.turns or ()]
    whole = [(0.0, max([*ends, reference.duration, hypothesis.duration, 0.001]))]
    regions = Timeline(Segment(*each) for each in (reference.scored or whole)).support()
    return regions.extrude(Timeline(Segment(*each) for each in reference.ignored))


def compare_turns(
    reference: Annotation, hypothesis: Annotation, settings: Settings
) -> ComparedTurns:
    """Return DER with its parts, JER, and whether the number of speakers is wrong."""
    from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

    right = pyannote_annotation(reference.turns or ())
    found = pyannote_annotation(hypothesis.turns or ())
    regions = scored_regions(reference, hypothesis)
    # pyannote's collar is the width of both sides together.
    options = {"collar": 2 * settings.collar_s, "skip_overlap": settings.skip_overlap}
    metric = DiarizationErrorRate(**options)
    parts = metric(right, found, uem=regions, detailed=True)
    total = float(parts["total"])
    figures = {
        key: Rate(float(parts[part]), total)
        for key, part in {
            "missed": "missed detection",
            "false_alarm": "false alarm",
            "confusion": "confusion",
        }.items()
    }
    figures["der"] = Rate(sum(rate.errors for rate in figures.values()), total)
    jaccard = JaccardErrorRate(**options)(right, found, uem=regions, detailed=True)
    figures["jer"] = Rate(float(jaccard["speaker error"]), float(jaccard["speaker count"]))
    inside = [each.crop(regions) for each in (right, found)]
    number, counted = (len(each.labels()) for each in inside)
    figures["count"] = Rate(float(number != counted), 1)
    mapping = metric.optimal_mapping(*inside)
    return ComparedTurns(figures, {str(a): str(b) for a, b in mapping.items()}, (counted, number))


def uncovered(reference: Annotation, lines: Sequence[Line]) -> dict[str, Rate]:
    """Return how much speech has no line of anybody over it."""
    from pyannote.core import Segment, Timeline

    if any(line.start is None or line.end is None for line in lines):
        return {}
    regions = scored_regions(reference, Annotation())
    speech = pyannote_annotation(reference.turns or ()).get_timeline().support().crop(regions)
    covered = Timeline(Segment(line.start, line.end) for line in lines).support()
    left = speech.extrude(covered).duration()
    return {"uncovered": Rate(float(left), float(speech.duration()))}
