from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from spokenby.progress import StageSpan
from spokenby.telemetry.record import Record, Sample
from spokenby.telemetry.timeline import VIDEOS_SHOWN, draw

SVG = "{http://www.w3.org/2000/svg}"
NAN = math.nan
STAGES = ("inspect", "extract", "speech", "diarize", "embed", "merge", "write")
GIB = 2.0**30


def spans_of(video: str, begins: float) -> list[StageSpan]:
    """Return seven stages of 2 s one after the other, and one of 6 s beside them."""
    at = [begins + 2 * number for number in range(len(STAGES) + 1)]
    spans = [StageSpan(video, s, a, a, a, b) for s, a, b in zip(STAGES, at, at[1:], strict=False)]
    beside = StageSpan(video, "transcribe", at[3], at[3] + 1, at[3] + 1.5, at[3] + 6)
    return [*spans, beside]


def samples_of(seconds: float, count: int, *, card: bool) -> list[Sample]:
    figures = (80.0, 55.0, 14 * GIB, 400.0) if card else (NAN, NAN, NAN, NAN)
    return [Sample(seconds * (i + 1) / count, 30.0, 3 * GIB, *figures) for i in range(count)]


def bars(svg: str) -> dict[str, ET.Element]:
    """Return what is drawn for each stage of each video by what the mouse is told of it."""
    groups = {
        str(group.findtext(f"{SVG}title")): group for group in ET.fromstring(svg).iter(f"{SVG}g")
    }
    return {title: group for title, group in groups.items() if ": " in title}


def texts(svg: str) -> list[str]:
    return [str(text.text) for text in ET.fromstring(svg).iter(f"{SVG}text")]


FIVE = [span for number in range(5) for span in spans_of(f"/videos/talk {number}.mp4", 3 * number)]


def test_every_stage_of_every_video_has_a_bar_where_and_as_long_as_it_was() -> None:
    record = Record(samples_of(26, 130, card=True), FIVE, gpu="NVIDIA H100", gpu_memory=80 * 2**30)
    drawn = bars(draw(record, "talk 0.mp4 and 4 more", "busy"))
    assert len(drawn) == 5 * 8
    group = drawn["talk 1.mp4: extract took 2.0 s, from 0:05, GPU 80 %, SM 55 %, CPU 30 %"]
    (bar,) = group.findall(f"{SVG}rect")
    left, width = float(bar.attrib["x"]), float(bar.attrib["width"])
    assert left == pytest.approx(200 + 976 * 5 / 26, abs=0.1)
    assert width == pytest.approx(976 * 2 / 26, abs=0.1)


def test_waiting_and_failing_are_seen() -> None:
    failed = spans_of("talk.mp4", 0)[-1]._replace(failed=True)
    svg = draw(Record(samples_of(14, 70, card=False), [failed]), "talk", "")
    ((title, group),) = bars(svg).items()
    assert title == (
        "talk.mp4: transcribe failed after 4.5 s, from 0:08, waiting for its model 0.5 s before, "
        "waiting for its turn 1.0 s before, CPU 30 %"
    )
    line, model, bar = group.findall(f"{SVG}rect")
    assert line.attrib["fill"] == "url(#hatched)"
    assert len(model.attrib["fill"]) == 9  # see-through
    assert bar.attrib["stroke"]
    assert {"waiting for its model (pale)", "waiting for its turn"} <= set(texts(svg))


def rows(svg: str) -> dict[float, list[tuple[float, float]]]:
    found: dict[float, list[tuple[float, float]]] = {}
    for group in bars(svg).values():
        for bar in group.findall(f"{SVG}rect"):
            x, y, width = (float(bar.attrib[name]) for name in ("x", "y", "width"))
            found.setdefault(y, []).append((x, x + width))
    return found


def test_bars_do_not_cover_each_other_nor_leave_the_picture() -> None:
    svg = draw(Record(samples_of(26, 130, card=True), FIVE), "five", "")
    assert len(rows(svg)) == 5 * 2
    for row in rows(svg).values():
        row.sort()
        assert row[0][0] >= 200
        assert row[-1][1] <= 1240 - 64 + 0.2
        assert all(a[1] <= b[0] + 0.2 for a, b in pairwise(row))


@pytest.mark.parametrize(
    ("card", "panels", "says"),
    [
        (True, ["GPU", "GPU memory", "CPU", "memory"], ["busy 80 %", "80 % of the run", "SM 55 %"]),
        (False, ["CPU", "memory"], ["mean 30 % of 2 cores", "peak 3.0 GiB"]),
    ],
)
def test_diagrams_are_of_what_there_is(card: bool, panels: list[str], says: list[str]) -> None:
    record = Record(samples_of(26, 130, card=card), FIVE, gpu_memory=80 * 2**30 * card)
    record.cores = 2
    shown = texts(draw(record, "five", "the summary"))
    assert [text for text in shown if text in {"GPU", "GPU memory", "CPU", "memory"}] == panels
    assert set(says) <= set(shown)
    assert "the summary" in shown
    assert set(STAGES) <= set(shown)  # the legend


@pytest.mark.parametrize(
    ("samples", "spans"),
    [
        ([], []),
        ([], FIVE),
        ([Sample(1, NAN, NAN, NAN, NAN, NAN, NAN)], []),
        ([Sample(1, 5, 1, 9, NAN, NAN, NAN), Sample(2, *[NAN] * 6), Sample(3, *[1.0] * 6)], []),
        ([Sample(86_400, 10, GIB, 0, 0, GIB, 9)], FIVE),
    ],
)
def test_little_is_drawn_as_well(samples: Sequence[Sample], spans: Sequence[StageSpan]) -> None:
    svg = draw(Record(samples, spans), "", "")
    assert len(bars(svg)) == len(spans)
    assert "nan" not in svg


def test_odd_names_are_shown_as_they_are() -> None:
    name = '<b>&"quoted"\n🎬 \x01\udcff of a name that is much too long for its place.mp4'
    svg = draw(Record([], spans_of(f"/x/{name}", 0)), name, "<&>")
    assert any("<b>" in title and "🎬" in title for title in bars(svg))
    assert '<b>&"quoted" 🎬…lace.mp4' in texts(svg)
    assert svg.encode()


def test_many_videos_and_samples_stay_one_picture() -> None:
    many = [span for n in range(300) for span in spans_of(f"{n}.mp4", float(n))]
    svg = draw(Record(samples_of(320, 8000, card=True), many), "many", "")
    assert len(bars(svg)) == VIDEOS_SHOWN * 8
    assert f"{VIDEOS_SHOWN} of 300 videos are shown" in texts(svg)
    assert len(svg) < 300_000
