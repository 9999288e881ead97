"""Draw a run as SVG: which stage ran when, above the use of the machine.

The SVG is written as text: a plotting library takes two seconds to import, and its bars cannot show
their figures on hover.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spokenby.plan.stages import Stage
from spokenby.progress import StageSpan
from spokenby.svg import HATCHED, PALE, document, rect, steps, text, written
from spokenby.telemetry.record import Record
from spokenby.wording import clock, one_line

VIDEOS_SHOWN = 60
"""Nobody reads a picture of more; those that took longest are shown."""

_COLOURS = {
    "inspect": "#b9bec6",
    **{stage.value: stage.spec.color for stage in Stage},
    "identify": "#c2458b",
    "write": "#4b4f58",
}
_OTHER = "#999999"
_OTHERS = "#9aa3af"
"""The line of all programs, beside that of this run."""
_LINE = "#e3e6eb"

_WIDTH, _LEFT, _RIGHT, _HEAD = 1240, 200, 64, 84
_PLOT = _WIDTH - _LEFT - _RIGHT
_POINTS = 500
_SEEN_S = 0.05
_PERCENTS = {"gpu": "GPU", "sm": "SM", "cpu": "CPU"}
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_GIB = 2**30


class _Curve(NamedTuple):
    figure: str
    colour: str
    fill: bool = True


class _Panel(NamedTuple):
    """One diagram: `scale` in the figure's unit is its top; `message` stands beside it."""

    title: str
    message: str
    curves: tuple[_Curve, ...]
    scale: float
    unit: str


def draw(record: Record, title: str, summary: str) -> str:
    """Return the picture: a band per video with its stages, then GPU, CPU and memory over time."""
    bands, left_out = _bands(record)
    rows = sum(len(band) for band in bands.values())
    row = min(20.0, max(4.0, 900 / max(rows, 1)))
    lanes = rows * row + 8 * len(bands)
    panels = _panels(record)
    bottom = _HEAD + lanes + 92 * len(panels) + 10
    seconds = max(record.seconds, *(span.end for span in record.spans), 0.1)
    parts = [
        text(20, 28, title, size=17, weight=600),
        text(_WIDTH - 20, 28, _where(record), colour=PALE, anchor="end"),
        text(20, 48, "; ".join(filter(None, [summary, left_out])), colour=PALE),
        *_legend(record),
        *_grid(seconds, _HEAD, bottom),
    ]
    top = float(_HEAD)
    for path, band in bands.items():
        height = len(band) * row + 8
        parts += _band(record, path, band, top, row, seconds)
        top += height
    for panel in panels:
        parts += _panel(record, panel, top + 22, seconds)
        top += 92
    return document(_WIDTH, bottom + 34, parts)


def _where(record: Record) -> str:
    when = record.started.astimezone().strftime("%Y-%m-%d %H:%M")
    return ", ".join(filter(None, [record.gpu, f"{record.cores} CPU cores", when]))


def _bands(record: Record) -> tuple[dict[str, list[list[StageSpan]]], str]:
    """Return each video's spans in rows without overlap, and what is not shown."""
    videos: dict[str, list[StageSpan]] = {}
    for span in record.spans:
        videos.setdefault(span.video, []).append(span)
    longest = sorted(videos, key=lambda video: -sum(s.end - s.ready for s in videos[video]))
    shown = set(longest[:VIDEOS_SHOWN])
    bands = {video: _rows(spans) for video, spans in videos.items() if video in shown}
    return bands, f"{len(bands)} of {len(videos)} videos are shown" if videos.keys() > shown else ""


def _rows(spans: Sequence[StageSpan]) -> list[list[StageSpan]]:
    rows: list[list[StageSpan]] = []
    for span in spans:
        free = next((row for row in rows if row[-1].end <= span.asked), None)
        if free is None:
            rows.append([span])
        else:
            free.append(span)
    return rows


def _band(
    record: Record,
    path: str,
    rows: list[list[StageSpan]],
    top: float,
    row: float,
    seconds: float,
) -> Iterator[str]:
    name = one_line(Path(path).name)
    height = len(rows) * row
    yield f"<g><title>{written(name)}</title>"
    yield rect(8, top, _WIDTH - 16, height + 4, "#1f243008")
    if height >= 10:
        yield text(20, top + height / 2 + 6, _shortened(name), weight=600)
    yield "</g>"
    for number, spans in enumerate(rows):
        for span in spans:
            yield from _bar(record, span, top + 2 + number * row, row - 2, seconds)


def _bar(
    record: Record, span: StageSpan, top: float, height: float, seconds: float
) -> Iterator[str]:
    asked, start, ready, end = (_LEFT + _PLOT * at / seconds for at in span[2:6])
    colour = _COLOURS.get(span.stage, _OTHER)
    lasted = span.end - span.ready
    yield f"<g><title>{written(_describe(record, span))}</title>"
    if start - asked >= 0.5:
        yield rect(asked, top, start - asked, height, HATCHED)
    if ready - start >= 0.5:
        yield rect(start, top, ready - start, height, f"{colour}66")
    width = max(end - ready, 1.0)
    edge = ' stroke="#d1242f" stroke-width="2"' if span.failed else ""
    yield rect(ready, top, width, height, colour, more=f' rx="2"{edge}')
    label = f"{span.stage} {_short_time(lasted)}"
    for words in (label, span.stage):
        if height >= 12 and width > 6.6 * len(words) + 8:
            yield text(ready + 5, top + height / 2 + 4, words, size=11, colour="#fff", weight=600)
            break
    yield "</g>"


def _describe(record: Record, span: StageSpan) -> str:
    """Return the tooltip of a bar."""
    means = {name: record.mean(name, [span.interval]) for name in _PERCENTS}
    took = f"{'failed after' if span.failed else 'took'} {_short_time(span.end - span.ready)}"
    parts = [f"{span.stage} {took}, from {clock(span.ready)}"]
    if span.ready - span.start > _SEEN_S:
        parts.append(f"waiting for its model {_short_time(span.ready - span.start)} before")
    if span.start - span.asked > _SEEN_S:
        parts.append(f"waiting for its turn {_short_time(span.start - span.asked)} before")
    parts += [f"{_PERCENTS[name]} {mean:.0f} %" for name, mean in means.items() if mean is not None]
    return f"{one_line(Path(span.video).name)}: {', '.join(parts)}"


def _panels(record: Record) -> list[_Panel]:
    """Return the diagrams of the known figures."""
    panels = []
    curves: tuple[_Curve, ...]
    if (gpu := record.gpu_busy_whole_run) is not None:
        busy = record.gpu_busy
        message = f"busy {busy:.0f} %, {gpu:.0f} % of the run" if busy is not None else "not used"
        if (sm := record.mean("sm", [record.gpu_work] if record.gpu_work else [])) is not None:
            message += f", SM {sm:.0f} %"
        curves = (_Curve("gpu", "#76a900"), _Curve("sm", "#35520a", fill=False))
        panels.append(_Panel("GPU", message, curves, 100, "%"))
    if (peak := record.peak("gpu_memory")) is not None:
        whole = f" of {record.gpu_memory / _GIB:.0f}" if record.gpu_memory else ""
        message = f"peak {peak / _GIB:.1f}{whole} GiB"
        curves = (_Curve("gpu_memory", "#8d6bc4"),)
        panels.append(_Panel("GPU memory", message, curves, _ceiling(peak), "GiB"))
    if (cpu := record.mean("cpu")) is not None:
        message = f"mean {cpu:.0f} % of {record.cores} cores"
        if (machine := record.mean("machine_cpu")) is not None:
            message += f", all programs {machine:.0f} %"
        curves = (_Curve("machine_cpu", _OTHERS, fill=False), _Curve("cpu", "#3d7fc4"))
        panels.append(_Panel("CPU", message, curves, 100, "%"))
    if (peak := record.peak("memory")) is not None:
        message = f"peak {peak / _GIB:.1f} GiB"
        if (machine := record.peak("machine_memory")) is not None:
            message += f", all programs {machine / _GIB:.1f}"
        curves = (_Curve("machine_memory", _OTHERS, fill=False), _Curve("memory", "#5f7a8a"))
        scale = _ceiling(max(peak, machine or 0.0))
        panels.append(_Panel("memory", message, curves, scale, "GiB"))
    return panels


def _panel(record: Record, panel: _Panel, top: float, seconds: float) -> Iterator[str]:
    height = 64.0
    yield text(20, top + 16, panel.title, weight=600)
    figures = panel.message.split(", ")
    for number, words in enumerate(figures):
        yield text(20, top + 32 + 15 * number, words, size=11, colour=PALE)
    unit = 1 if panel.unit == "%" else _GIB
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        yield f'<path d="M{_LEFT} {y:.1f}H{_LEFT + _PLOT}" stroke="{_LINE}"/>'
        label = f"{panel.scale * share / unit:g} {panel.unit}"
        yield text(_LEFT + _PLOT + 6, y + 4, label, size=10, colour=PALE)
    edges = record.edges
    if len(edges) > _POINTS:
        edges = np.linspace(0, record.seconds, _POINTS + 1)
    for curve in panel.curves:
        values = np.clip(record.course(curve.figure, edges) / panel.scale, 0, 1)
        xs = (_LEFT + _PLOT * edges / seconds).tolist()
        ys = (top + height * (1 - values)).tolist()
        base = top + height if curve.fill else None
        if path := steps(xs, ys, base):
            look = (
                f'fill="{curve.colour}55" stroke="{curve.colour}"'
                if curve.fill
                else f'fill="none" stroke="{curve.colour}" stroke-width="1.2"'
            )
            yield f'<path d="{path}" {look} stroke-linejoin="round"/>'
    if panel.title == "GPU" and record.gpu_work:
        yield from _first_to_last(record.gpu_work, top, height, seconds)


def _first_to_last(work: tuple[float, float], top: float, height: float, s: float) -> Iterator[str]:
    """Mark the first and the last kernel."""
    for at in work:
        x = _LEFT + _PLOT * at / s
        yield (
            f'<path d="M{x:.1f} {top - 4:.1f}V{top + height:.1f}" stroke="#35520a" '
            'stroke-dasharray="3 3"/>'
        )


def _legend(record: Record) -> Iterator[str]:
    x = 20.0
    entries = [(stage, _COLOURS.get(stage, _OTHER)) for stage in record.stages()]
    if any(span.ready - span.start > _SEEN_S for span in record.spans):
        entries.append(("waiting for its model (pale)", "#00000033"))
    if any(span.start - span.asked > _SEEN_S for span in record.spans):
        entries.append(("waiting for its turn", HATCHED))
    for name, colour in entries:
        yield rect(x, 60, 11, 11, colour, more=' rx="2"')
        yield text(x + 16, 70, name, size=11, colour=PALE)
        x += 16 + 6.2 * len(name) + 18


def _grid(seconds: float, top: float, bottom: float) -> Iterator[str]:
    step = next((step for step in _STEPS_S if seconds / step <= 12), 28800)
    at = 0.0
    for number in range(math.floor(seconds / step) + 1):
        at = number * step
        x = _LEFT + _PLOT * at / seconds
        yield f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{_LINE}"/>'
        label = f"{at:g} s" if seconds < 120 else clock(at)
        yield text(x, bottom + 16, label, size=11, colour=PALE, anchor="middle")


def _ceiling(value: float) -> float:
    """Round bytes up to a number of GiB whose half is round as well."""
    gib = max(value / _GIB, 0.1)
    unit = 10 ** math.floor(math.log10(gib))
    return float(next(f * unit for f in (1, 2, 4, 6, 8, 10) if f * unit >= gib * 0.9999) * _GIB)


def _short_time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else clock(seconds)


def _shortened(name: str, length: int = 23) -> str:
    return name if len(name) <= length else f"{name[: length - 9]}…{name[-8:]}"
