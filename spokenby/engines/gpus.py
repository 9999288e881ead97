"""List this machine's GPUs, and choose the device of a library."""

from collections.abc import Callable
from typing import NamedTuple

import pynvml

from spokenby.errors import InputError


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


def choose_device(request: str, library: str, finds_gpu: Callable[[], bool]) -> str:
    """Return "cuda" or "cpu"; for "auto" the GPU if there is one that the library can use.

    Raises:
        InputError: a GPU is requested and the library finds none.
    """
    if request != "cpu" and finds_gpu():
        return "cuda"
    if request == "cuda":
        raise InputError(
            f"{library} finds no NVIDIA GPU that it can use",
            "check its driver with nvidia-smi, or use the device cpu or auto",
        )
    return "cpu"
