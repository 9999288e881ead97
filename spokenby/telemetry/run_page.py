"""Write the Markdown page of a run: its use of the machine."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from spokenby.progress import StageSpan
from spokenby.telemetry.record import Record
from spokenby.wording import clock, markdown_cell, markdown_code

_GIB = 2**30
_LEGEND = (
    "A stage's figures are those of the whole machine while it ran, including other work; for "
    "memory, the peak. *Waited*: for the GPU, or for its model. *GPU*: the share of time with some "
    "kernel running, which the driver reports for windows of up to a second."
)


def in_one_line(record: Record) -> str:
    """Return a run's use of the machine in one line."""
    parts = []
    busy, of_run = record.gpu_busy, record.gpu_busy_whole_run
    if busy is not None:
        parts.append(f"GPU busy {busy:.0f} % from first to last kernel, {of_run:.0f} % of the run")
    elif of_run is not None:
        parts.append("the GPU was not used")
    if (cpu := record.mean("cpu")) is not None:
        parts.append(f"CPU {cpu:.0f} % of {record.cores} cores")
    peaks = [
        f"{peak / _GIB:.1f} GiB{where}"
        for figure, where in (("gpu_memory", " on the GPU"), ("memory", " of RAM"))
        if (peak := record.peak(figure)) is not None
    ]
    if peaks:
        parts.append(f"peak memory {', '.join(peaks)}")
    return "; ".join([*parts, *record.notes])


def write_run_page(record: Record, title: str, picture: str, kept: Path) -> str:
    """Return a page about one run: each stage's use of the machine, and the picture.

    Args:
        record: the measurements.
        title: the run's name.
        picture: from `timeline.draw`.
        kept: path of the picture.
    """
    columns = [(name, unit) for name, unit in _COLUMNS.items() if record.peak(name) is not None]
    stages = record.stages()
    lines = [
        f"# {markdown_cell(title)}",
        "",
        f"{markdown_cell(in_one_line(record))}. {clock(record.seconds)} in all.",
        "",
        f"| stage | times | seconds | waited |{''.join(f' {_TITLES[n]} |' for n, _ in columns)}",
        f"|---|---:|---:|---:|{'---:|' * len(columns)}",
        *(_stage_row(record, stage, spans, columns) for stage, spans in stages.items()),
        "",
        f"![stages over time](data:image/svg+xml;base64,{b64encode(picture.encode()).decode()})",
        "",
        _LEGEND,
        "",
        f"Picture and samples: {markdown_code(str(kept))} and `.json` beside it",
    ]
    return "\n".join(lines)


_TITLES = {
    "gpu": "GPU",
    "sm": "SM",
    "gpu_memory": "GPU memory",
    "power": "GPU power",
    "cpu": "CPU",
    "memory": "memory",
}
_COLUMNS = {
    "gpu": (1, " %"),
    "sm": (1, " %"),
    "gpu_memory": (_GIB, " GiB"),
    "power": (1, " W"),
    "cpu": (1, " %"),
    "memory": (_GIB, " GiB"),
}


def _stage_row(
    record: Record,
    stage: str,
    spans: Sequence[StageSpan],
    columns: Sequence[tuple[str, tuple[int, str]]],
) -> str:
    seconds = sum(span.end - span.ready for span in spans)
    waited = sum(span.ready - span.asked for span in spans)
    seen = record.figures([span.interval for span in spans])
    cells = [stage, str(len(spans)), f"{seconds:.1f}", f"{waited:.1f}"]
    for name, (unit, sign) in columns:
        digits = 1 if unit == _GIB else 0
        cells.append(f"{seen[name] / unit:.{digits}f}{sign}" if name in seen else "")
    return f"| {' | '.join(cells)} |"
