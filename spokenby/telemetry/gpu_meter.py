"""Read what a GPU does."""

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pynvml


class GpuReading(NamedTuple):
    """What a card did just now; NaN for what it does not tell.

    `busy`: percent of the driver's last sampling window, 1/6 to 1 s by card, in which at least one
    kernel ran. One small kernel after another is 100 %, too: `sm` tells how full the card was.
    `sm`: percent of multiprocessors that were busy since the last reading; Hopper and newer tell.
    `memory`: bytes in use, by other programs and the driver as well.
    `power`: watts.
    """

    busy: float = math.nan
    sm: float = math.nan
    memory: float = math.nan
    power: float = math.nan


class NoGpu:
    """Stands for a card where there is none: says why, and reads as nothing known."""

    name = ""
    memory = 0

    def __init__(self, note: str) -> None:
        self.note = note

    def read(self) -> GpuReading:
        """Return a reading without figures."""
        return GpuReading()

    def close(self) -> None:
        """Do nothing."""


class GpuMeter:
    """Reads one card, whose driver is open until `close`."""

    note = ""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.name: str = pynvml.nvmlDeviceGetName(handle)
        self.memory = int(_ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total, 0))
        self._samples: list[Any] = []
        if _ask(lambda: pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice, 0):
            self._samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
            _ask(lambda: pynvml.nvmlGpmSampleGet(handle, self._samples[0]), None)

    def read(self) -> GpuReading:
        """Return what the card does.

        Raises:
            pynvml.NVMLError: the card does not answer, or is gone.
        """
        handle = self._handle
        return GpuReading(
            _ask(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            _ask(self._read_sm) if self._samples else math.nan,
            _ask(lambda: float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
            _ask(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        )

    def close(self) -> None:
        """Let go of the driver."""
        for sample in self._samples:
            pynvml.nvmlGpmSampleFree(sample)
        pynvml.nvmlShutdown()

    def _read_sm(self) -> float:
        """Return what the multiprocessors did between the last sample and a new one."""
        before, now = self._samples
        pynvml.nvmlGpmSampleGet(self._handle, now)
        self._samples.reverse()
        asked = pynvml.c_nvmlGpmMetricsGet_t()
        asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        asked.sample1, asked.sample2 = before, now
        asked.numMetrics = 1
        asked.metrics[0].metricId = pynvml.NVML_GPM_METRIC_SM_UTIL
        metric = pynvml.nvmlGpmMetricsGet(asked).metrics[0]
        return float(metric.value) if metric.nvmlReturn == pynvml.NVML_SUCCESS else math.nan


def open_gpu_meter() -> GpuMeter | NoGpu:
    """Return a meter of the card that this process computes on: the first that CUDA shows it.

    CUDA and the driver number cards alike only with CUDA_DEVICE_ORDER=PCI_BUS_ID, or where all
    are of one kind.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return NoGpu("no NVIDIA GPU: GPU figures are missing")
    try:
        if handle := _visible_card(os.environ.get("CUDA_VISIBLE_DEVICES", "0")):
            return GpuMeter(handle)
        note = "CUDA_VISIBLE_DEVICES hides every GPU: GPU figures are missing"
    except pynvml.NVMLError as error:
        note = f"the GPU does not answer ({error}): GPU figures are missing"
    pynvml.nvmlShutdown()
    return NoGpu(note)


def _visible_card(visible: str) -> Any:
    """Return the handle of the first of the cards, named by number or by the start of a UUID."""
    first = visible.partition(",")[0].strip()
    count = pynvml.nvmlDeviceGetCount()
    if first.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first)) if int(first) < count else None
    if first.startswith("MIG-"):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    for handle in map(pynvml.nvmlDeviceGetHandleByIndex, range(count)):
        if first and pynvml.nvmlDeviceGetUUID(handle).startswith(first):
            return handle
    return None


def _ask(question: Callable[[], Any], otherwise: Any = math.nan) -> Any:
    """Return what the driver says, or `otherwise` if this card or user is not told that."""
    try:
        return question()
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_FunctionNotFound,
    ):
        return otherwise
