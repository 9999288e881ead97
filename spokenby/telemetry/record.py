"""The measurements of a run, and statistics over them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spokenby.progress import StageSpan
from spokenby.types import Seconds

Floats = npt.NDArray[np.float64]
Interval = tuple[Seconds, Seconds]
WHOLE: tuple[Interval, ...] = ((0.0, math.inf),)


class Sample(NamedTuple):
    """The figures since the previous sample; NaN where they are unknown.

    `cpu`: percent of all cores, by this process and its children.
    `memory`: bytes of RAM they hold; shared memory counts for each.
    `machine_cpu` and `machine_memory`: likewise, by all programs.
    The others are those of `GpuReading`.
    """

    end: Seconds
    cpu: float
    memory: float
    gpu: float
    sm: float
    gpu_memory: float
    power: float
    machine_cpu: float = math.nan
    machine_memory: float = math.nan


UNITS = {
    "cpu": "% of all cores, this process and its children",
    "memory": "bytes of RAM, this process and its children",
    "gpu": "% of the time in which a kernel ran, over the driver's window of 1/6 to 1 s",
    "sm": "% of the GPU's multiprocessors busy",
    "gpu_memory": "bytes in use on the GPU, by other programs too",
    "power": "W of the GPU",
    "machine_cpu": "% of all cores, all programs",
    "machine_memory": "bytes of RAM in use, by all programs",
}
"""The units of a sample's figures."""
_PEAKS = ("memory", "gpu_memory", "machine_memory")


class Record:
    """Samples and spans of a run. Times are seconds from its start."""

    def __init__(
        self,
        samples: Sequence[Sample],
        spans: Sequence[StageSpan] = (),
        *,
        gpu: str = "",
        gpu_memory: int = 0,
        notes: Sequence[str] = (),
        started: datetime | None = None,
    ) -> None:
        self.samples = tuple(samples)
        self.spans = tuple(sorted(spans, key=lambda span: (span.asked, span.end)))
        self.gpu = gpu
        self.gpu_memory = gpu_memory
        self.cores = os.cpu_count() or 1
        self.notes = tuple(notes)
        self.started = started or datetime.now(UTC)
        columns = np.array(samples, dtype=np.float64).reshape(-1, len(Sample._fields)).T
        self.edges: Floats = np.concatenate([[0.0], columns[0]])
        self.values: dict[str, Floats] = dict(zip(UNITS, columns[1:], strict=True))
        widths = np.isfinite(columns[1:]) * np.diff(self.edges)
        areas = np.nan_to_num(columns[1:], nan=0.0) * widths
        sums = np.pad(np.cumsum([areas, widths], axis=2), ((0, 0), (0, 0), (1, 0)))
        self._sums: dict[str, Floats] = dict(zip(UNITS, sums.swapaxes(0, 1), strict=True))

    @property
    def seconds(self) -> Seconds:
        """Length of the record."""
        return float(self.edges[-1])

    def mean(self, figure: str, intervals: Sequence[Interval] = WHOLE) -> float | None:
        """Return a figure's mean over time, idle gaps included.

        Samples are weighted by length. Times without figures don't count; `None` if there are none.
        """
        area, time = self._until(figure, np.array(intervals, dtype=np.float64).reshape(-1, 2))
        seen = float(np.diff(time).sum())
        return float(np.diff(area).sum()) / seen if seen > 0 else None

    def course(self, figure: str, edges: Floats) -> Floats:
        """Return a figure's mean between each edge and the next, NaN where it is unknown."""
        area, time = self._until(figure, edges)
        with np.errstate(invalid="ignore"):
            means: Floats = np.diff(area) / np.diff(time)
        return means

    def peak(self, figure: str, intervals: Sequence[Interval] = WHOLE) -> float | None:
        """Return a figure's highest sample; `None` if it is unknown."""
        found = [
            self.values[figure][
                np.searchsorted(self.edges, start, "right") - 1 : np.searchsorted(self.edges, end)
            ]
            for start, end in intervals
        ]
        known = np.concatenate([*found, [math.nan]])
        known = known[np.isfinite(known)]
        return float(known.max()) if known.size else None

    def _until(self, figure: str, at: Floats) -> tuple[Floats, Floats]:
        """Return a figure's integral up to some times, and for how long it was known by then."""
        area, known = self._sums[figure]
        return np.interp(at, self.edges, area), np.interp(at, self.edges, known)

    @property
    def gpu_work(self) -> Interval | None:
        """From the first to the last kernel on the card, whoever ran it; `None` without any.

        To within a second: the driver's window ends after the kernel does.
        """
        busy = np.flatnonzero(self.values["gpu"] > 0)
        return (float(self.edges[busy[0]]), float(self.edges[busy[-1] + 1])) if busy.size else None

    @property
    def gpu_busy(self) -> float | None:
        """Mean GPU percent from the first to the last kernel."""
        return self.mean("gpu", [self.gpu_work]) if self.gpu_work else None

    @property
    def gpu_busy_whole_run(self) -> float | None:
        """Mean GPU percent over the whole run."""
        return self.mean("gpu")

    def stages(self) -> dict[str, tuple[StageSpan, ...]]:
        """Return the spans of each stage, in the order in which stages first came."""
        names = dict.fromkeys(span.stage for span in self.spans)
        return {name: tuple(s for s in self.spans if s.stage == name) for name in names}

    def figures(self, intervals: Sequence[Interval] = WHOLE) -> dict[str, float]:
        """Return the figures of some intervals: means, and for memory peaks.

        What else ran at the same time, other stages too, is part of them.
        """
        seen = {
            figure: (self.peak if figure in _PEAKS else self.mean)(figure, intervals)
            for figure in UNITS
        }
        rounded = {figure: _rounded(value) for figure, value in seen.items()}
        return {figure: value for figure, value in rounded.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Return everything, for programs: figures over all, by stage and by span, and samples."""
        work = self.gpu_work
        return {
            "schema_version": 1,
            "started": self.started.isoformat(timespec="milliseconds"),
            "seconds": round(self.seconds, 3),
            **self._machine(),
            "units": UNITS,
            "gpu_busy": _rounded(self.gpu_busy),
            "gpu_busy_whole_run": _rounded(self.gpu_busy_whole_run),
            "gpu_work": work and [round(at, 3) for at in work],
            "figures": self.figures(),
            "stages": {
                stage: {
                    "seconds": round(sum(span.end - span.ready for span in spans), 3),
                    **self.figures([span.interval for span in spans]),
                }
                for stage, spans in self.stages().items()
            },
            "spans": [{"video": Path(span.video).name, **self._row(span)} for span in self.spans],
            "samples": {
                "end": [round(float(at), 3) for at in self.edges[1:]],
                **{
                    figure: [_rounded(value) for value in values.tolist()]
                    for figure, values in self.values.items()
                },
            },
        }

    def of_video(self, video: str) -> dict[str, Any]:
        """Return the part of a manifest: the stages of one video, with the machine's figures."""
        return {
            **self._machine(),
            "spans": [self._row(span) for span in self.spans if span.video == video],
        }

    def _machine(self) -> dict[str, Any]:
        return {"gpu": self.gpu or None, "cores": self.cores, "notes": list(self.notes)}

    def _row(self, span: StageSpan) -> dict[str, Any]:
        times = {name: round(getattr(span, name), 3) for name in StageSpan._fields[2:6]}
        failed = {"failed": True} if span.failed else {}
        return {"stage": span.stage, **times, **failed, **self.figures([span.interval])}


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Return half of an even number of samples: the same means, and the same peaks of memory."""
    pairs = np.array(samples, dtype=np.float64).reshape(-1, 2, len(Sample._fields))
    ends = pairs[..., 0]
    widths = np.isfinite(pairs) * np.diff(ends.ravel(), prepend=0.0).reshape(-1, 2, 1)
    with np.errstate(invalid="ignore"):  # unknown: 0 / 0
        means = np.nansum(pairs * widths, axis=1) / widths.sum(axis=1)
    tops = np.fmax(pairs[:, 0], pairs[:, 1])
    rows = np.where([field in {"end", *_PEAKS} for field in Sample._fields], tops, means)
    return [Sample(*row) for row in rows.tolist()]


def _rounded(value: float | None) -> float | None:
    """Return percents and watts with one decimal, bytes without; `None` for unknown figures."""
    if value is None or math.isnan(value):
        return None
    return round(value, 1) if value < 1e5 else round(value)
