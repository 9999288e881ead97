"""Sample this process's use of CPU, memory and GPU while it runs."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import perf_counter, thread_time
from typing import Any, Self

import psutil

from spokenby.progress import StageSpan, collecting_spans
from spokenby.telemetry.gpu_meter import GpuMeter, GpuReading, NoGpu, open_gpu_meter
from spokenby.telemetry.record import Record, Sample, thinned
from spokenby.types import Seconds

EVERY_S = 0.2
SAMPLES_MAX = 8192
"""This many samples take 27 minutes; then pairs are merged, and the sampling rate is halved."""

_PAUSE_PER_COST = 200
"""The sampler pauses this many times as long as it took: under half a percent of one core."""


class ProcessTree:
    """This process and all its children, including those that ended."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._all = [self._process]
        self._look_at = 0.0

    def read(self) -> tuple[Seconds, float]:
        """Return the total CPU time, and the bytes of memory they hold now."""
        cpu = memory = 0.0
        for process in self._all:
            with suppress(psutil.Error), process.oneshot():
                # Includes children that ended and were waited for, except on Windows.
                cpu += sum(process.cpu_times()[:4])
                memory += process.memory_info().rss
        return cpu, memory

    def look_for_children(self) -> None:
        """Find new children, rarely, since that lists every process of the machine."""
        if perf_counter() < self._look_at:
            return
        began = thread_time()
        with suppress(psutil.Error):
            self._all = [self._process, *self._process.children(recursive=True)]
        self._look_at = perf_counter() + max(1.0, 2 * _PAUSE_PER_COST * (thread_time() - began))


class Watch:
    """Takes samples in a thread from `__enter__` to `__exit__`. Never fails a run."""

    def __init__(self, open_meter: Callable[[], GpuMeter | NoGpu] = open_gpu_meter) -> None:
        try:
            self._meter = open_meter()
        except Exception as error:  # noqa: BLE001 - a broken driver is not a reason to end
            self._meter = NoGpu(f"the GPU cannot be read ({error}): GPU figures are missing")
        self._tree = ProcessTree()
        self._notes = [self._meter.note] if self._meter.note else []
        self._samples: list[Sample] = []
        self._spans: list[StageSpan] = []
        self._gpu_lost = False
        self._cores = os.cpu_count() or 1
        self._every_s = EVERY_S
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        self.started = datetime.now(UTC)
        self._tree.look_for_children()
        self._cpu, _ = self._tree.read()
        psutil.cpu_percent()  # it tells of the time since the last call
        self._began = self._last = perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        with suppress(Exception):
            self._meter.close()

    def note(self, span: StageSpan) -> None:
        """Note a stage's span, on the clock of `perf_counter`."""
        asked, start, ready, end = (max(at - self._began, 0.0) for at in span[2:6])
        moved = span._replace(asked=asked, start=start, ready=ready, end=end)
        with self._lock:
            self._spans.append(moved)

    def record(self) -> Record:
        """Return the measurements so far."""
        with self._lock:
            return Record(
                self._samples,
                self._spans,
                gpu=self._meter.name,
                gpu_memory=self._meter.memory,
                notes=self._notes,
                started=self.started,
            )

    def _run(self) -> None:
        pause = self._every_s
        ended = False
        while not ended:
            ended = self._end.wait(pause)
            began = thread_time()
            try:
                self._take()
            except Exception as error:  # noqa: BLE001 - figures are worth less than the run
                self._notes.append(f"watching ended: {type(error).__name__}: {error}")
                return
            pause = max(self._every_s, _PAUSE_PER_COST * (thread_time() - began))
            self._tree.look_for_children()

    def _take(self) -> None:
        try:
            gpu = self._meter.read()
        except Exception as error:  # noqa: BLE001 - whatever the driver throws
            gpu = GpuReading()
            if not self._gpu_lost:
                after = perf_counter() - self._began
                self._notes.append(
                    f"the GPU did not answer after {after:.0f} s ({error}): figures are missing"
                )
                self._gpu_lost = True
        now, (cpu, memory) = perf_counter(), self._tree.read()
        elapsed, self._last = now - self._last, now
        # A child that is found late brings more CPU time than fits: the rest goes to the next
        # samples. One that ended takes its CPU time away on Windows.
        used = min(max(cpu - self._cpu, 0.0), elapsed * self._cores)
        self._cpu = min(self._cpu + used, cpu)
        whole = psutil.virtual_memory()
        sample = Sample(
            now - self._began,
            100 * used / elapsed / self._cores,
            memory,
            *gpu,
            machine_cpu=psutil.cpu_percent(),
            machine_memory=whole.total - whole.available,
        )
        with self._lock:
            self._samples.append(sample)
            if len(self._samples) >= SAMPLES_MAX:
                self._samples = thinned(self._samples)
                self._every_s *= 2


_watches: list[Watch] = []


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch this process, and note the stages that run in it."""
    with Watch() as watch, collecting_spans(watch.note):
        _watches.append(watch)
        try:
            yield watch
        finally:
            _watches.remove(watch)


def seen_of(video: str) -> dict[str, Any]:
    """Return the measurements of a video's stages for its manifest; empty without a watch."""
    return _watches[-1].record().of_video(video) if _watches else {}
