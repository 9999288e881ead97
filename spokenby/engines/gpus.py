"""List this machine's GPUs."""

from typing import NamedTuple

import pynvml


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
