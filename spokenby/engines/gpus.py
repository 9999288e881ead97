"""What GPUs there are, what they do, and batches that fit their memory, live here.

What runs on them does not; see engines/. Nor does what a run did with them; see telemetry.py.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import pynvml

from spokenby.errors import TransientError

Item = TypeVar("Item")
Result = TypeVar("Result")

_fitting: dict[tuple[str, str], int] = {}
"""Where memory ran out in this process, by (device, engine): the batch size that was left."""


def run_in_batches(
    items: Sequence[Item],
    batch_size: int,
    run: Callable[[Sequence[Item]], Result],
    *,
    key: tuple[str, str],
    is_out_of_memory: Callable[[Exception], bool],
    on_smaller: Callable[[int], None] = lambda _: None,
) -> Iterator[Result]:
    """Yield what `run` returns for each batch of the items, in order.

    A batch that does not fit the device's memory is halved and run again, and no later batch of
    this process with the same key is larger.

    Args:
        items: what to compute; a batch is a slice of it.
        batch_size: the largest batch wished for.
        run: computes one batch; must be safe to call again for the same items.
        key: (device, engine), such as ("cuda", "faster_whisper").
        is_out_of_memory: tells such an exception from others, which are raised as they are.
        on_smaller: told the new size each time a batch was halved, before it is run again: the
            place to free what the failed one left, and to note it for the user.

    Raises:
        TransientError: not even one item fits.
    """
    first = 0
    while first < len(items):
        size = min(batch_size, _fitting.get(key, batch_size))
        batch = items[first : first + size]
        try:
            result = run(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise TransientError(
                    f"the memory of {key[0]} does not hold even one item of {key[1]}",
                    "close other programs that use it, choose a smaller model or the device cpu",
                ) from error
        else:
            first += len(batch)
            yield result
            continue
        # Outside the handler: the traceback no longer holds on to what the failed batch allocated.
        _fitting[key] = len(batch) // 2
        on_smaller(len(batch) // 2)


def smaller_batches() -> dict[str, int]:
    """Return the batch sizes that memory forced on this process, by "device engine"."""
    return {" ".join(key): size for key, size in _fitting.items()}


class Gpu(NamedTuple):
    """An NVIDIA GPU as its driver describes it; memory in bytes."""

    name: str
    memory: int
    free: int
    driver: str

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.free / 2**30:.1f} of {self.memory / 2**30:.1f} GiB free, "
            f"driver {self.driver}"
        )


def list_gpus() -> list[Gpu]:
    """Return this machine's NVIDIA GPUs; none where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [
            Gpu(
                pynvml.nvmlDeviceGetName(handle),
                int((memory := pynvml.nvmlDeviceGetMemoryInfo(handle)).total),
                int(memory.free),
                driver,
            )
            for handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()


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
        self.memory = int(_told(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total, 0))
        self._samples: list[Any] = []
        if _told(lambda: pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice, 0):
            self._samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
            _told(lambda: pynvml.nvmlGpmSampleGet(handle, self._samples[0]), None)

    def read(self) -> GpuReading:
        """Return what the card does.

        Raises:
            pynvml.NVMLError: the card does not answer, or is gone.
        """
        handle = self._handle
        return GpuReading(
            _told(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            _told(self._read_sm) if self._samples else math.nan,
            _told(lambda: float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
            _told(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
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


def _told(ask: Callable[[], Any], otherwise: Any = math.nan) -> Any:
    """Return what the driver says, or `otherwise` if this card or user is not told that."""
    try:
        return ask()
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_FunctionNotFound,
    ):
        return otherwise
