"""Read a GPU's use, memory and power."""

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pynvml


class GpuReading(NamedTuple):
    """A GPU's current figures; NaN where it reports none.

    `busy`: percent of the driver's last sampling window, 1/6 to 1 s by card, in which at least one
    kernel ran. Small kernels one after another give 100 %: `sm` says how much of the card was used.
    `sm`: percent of multiprocessors busy since the last reading, on Hopper and newer.
    `memory`: bytes in use, including other programs and the driver.
    `power`: watts.
    """

    busy: float = math.nan
    sm: float = math.nan
    memory: float = math.nan
    power: float = math.nan


class NoGpu:
    """Replaces a meter where there is no GPU: `note` says why, readings are empty."""

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
        self.memory = int(_query(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total, 0))
        self._samples: list[Any] = []
        if _query(lambda: pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice, 0):
            self._samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
            _query(lambda: pynvml.nvmlGpmSampleGet(handle, self._samples[0]), None)

    def read(self) -> GpuReading:
        """Return the current figures.

        Raises:
            pynvml.NVMLError: the GPU does not respond.
        """
        handle = self._handle
        return GpuReading(
            _query(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            _query(self._read_sm) if self._samples else math.nan,
            _query(lambda: float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
            _query(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        )

    def close(self) -> None:
        """Close the driver."""
        for sample in self._samples:
            pynvml.nvmlGpmSampleFree(sample)
        pynvml.nvmlShutdown()

    def _read_sm(self) -> float:
        """Return the use of multiprocessors between the last sample and a new one."""
        before, now = self._samples
        pynvml.nvmlGpmSampleGet(self._handle, now)
        self._samples.reverse()
        request = pynvml.c_nvmlGpmMetricsGet_t()
        request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        request.sample1, request.sample2 = before, now
        request.numMetrics = 1
        request.metrics[0].metricId = pynvml.NVML_GPM_METRIC_SM_UTIL
        metric = pynvml.nvmlGpmMetricsGet(request).metrics[0]
        return float(metric.value) if metric.nvmlReturn == pynvml.NVML_SUCCESS else math.nan


def open_gpu_meter() -> GpuMeter | NoGpu:
    """Return a meter of the GPU that this process uses: the first that is visible to CUDA.

    CUDA and the driver number GPUs alike only with CUDA_DEVICE_ORDER=PCI_BUS_ID, or if all are of
    one model.
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
    """Return the handle of the first of the GPUs, given by number or start of a UUID."""
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


def _query(query: Callable[[], Any], default: Any = math.nan) -> Any:
    """Return the driver's answer, or `default` if this GPU or user gets none."""
    try:
        return query()
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_FunctionNotFound,
    ):
        return default
