"""Choose CTranslate2's device and number type on this machine, and explain its errors."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import ctranslate2
import psutil

from spokenby.engines import gpus
from spokenby.errors import InputError, TransientError

GIB = 2**30

CUBLAS = (
    ("cublasLt64_12.dll", "cublas64_12.dll")
    if sys.platform == "win32"
    else ("libcublasLt.so.12", "libcublas.so.12")
)
"""What CTranslate2 4 loads by name at its first product on a GPU, the second after the first."""


def choose_device(request: str) -> str:
    """Return the device requested; see `gpus.choose_device`."""
    return gpus.choose_device(
        request, "CTranslate2", lambda: ctranslate2.get_cuda_device_count() > 0
    )


def choose_compute_type(device: str, model_bytes: int) -> str:
    """Return the fastest number type of good quality that the device can do.

    Args:
        device: "cpu" or "cuda".
        model_bytes: size of the model's weights, which are float16 on disk as a rule. A GPU needs
            them and about as much again, and 2 GiB, for batches; with less it gets 8-bit weights.
    """
    can_do = ctranslate2.get_supported_compute_types(device)
    wished = ["int8", "float32"]
    if device == "cuda":
        roomy = gpu_bytes() >= 2 * model_bytes + 2 * GIB
        wished = ["float16", *wished] if roomy else ["int8_float16", *wished]
    return next(kind for kind in wished if kind in can_do)


def choose_batch_size(device: str) -> int:
    """Return how many windows of 30 s to hear at once.

    More than 32 are hardly faster. Five beams of the largest model take a third of a GiB each.
    """
    return min(max(gpu_bytes() // GIB, 4), 32) if device == "cuda" else 4


def choose_workers(device: str, threads: int, model_bytes: int) -> int:
    """Return how many batches to hear side by side, sharing the threads of a CPU.

    Two are faster than one with twice the threads, which wait for each other after every product:
    by 1.1 to 1.2 on two cores. The second takes memory for a batch of its own, with Whisper small
    1.3 GB; a quarter of the machine's shall hold that. Guessed for other sizes.

    Args:
        device: "cpu" or "cuda".
        threads: how many there are to share.
        model_bytes: size of the model's weights on disk.
    """
    if device == "cuda" or threads < 2:
        return 1
    return 2 if 4 * (2 * model_bytes + GIB // 2) <= psutil.virtual_memory().total else 1


def gpu_bytes() -> int:
    """Return the memory of the first GPU."""
    import pynvml

    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total)
    finally:
        pynvml.nvmlShutdown()


def find_cublas() -> Path | None:
    """Return the folder of CUDA 12's cuBLAS in the nvidia-cublas-cu12 package; None without it."""
    spec = find_spec("nvidia")
    for nvidia in (spec and spec.submodule_search_locations) or ():
        for folder in (Path(nvidia, "cublas", "lib"), Path(nvidia, "cublas", "bin")):
            if all((folder / name).is_file() for name in CUBLAS):
                return folder
    return None


def load_cublas() -> None:
    """Make CTranslate2 find CUDA 12's cuBLAS beside the CUDA 13 of torch.

    A library that is loaded already is found by its bare name, wherever it lies.

    Raises:
        InputError: neither the package nor the system has it.
    """
    folder = find_cublas()
    try:
        if sys.platform == "win32" and folder:
            os.add_dll_directory(str(folder))
        for name in CUBLAS:
            ctypes.CDLL(str(folder / name) if folder else name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise InputError(
            f"Whisper needs cuBLAS for CUDA 12 on the GPU, and it cannot be loaded: {error}",
            "run uv sync --group gpu, or use device cpu",
        ) from error


@contextmanager
def room_on(device: str) -> Iterator[None]:
    """Raise `TransientError` where CTranslate2 finds no room on the device for a single thing."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise TransientError(
                f"{device} has not enough free memory for Whisper",
                "close other programs that use it, or choose a smaller model",
            ) from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Say whether CTranslate2 failed because the device's memory is full."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "alloc_failed" in text)
    )
