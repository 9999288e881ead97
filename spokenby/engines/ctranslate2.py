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
"""What CTranslate2 4 loads by name at its first matrix product on a GPU, in this order."""


def choose_device(request: str) -> str:
    """Return the device requested; see `gpus.choose_device`."""
    return gpus.choose_device(
        request, "CTranslate2", lambda: ctranslate2.get_cuda_device_count() > 0
    )


def choose_compute_type(device: str, model_bytes: int) -> str:
    """Return the fastest number type of good quality that the device supports.

    Args:
        device: "cpu" or "cuda".
        model_bytes: size of the model's weights, which are usually float16 on disk. A GPU needs
            twice that and 2 GiB for batches; with less it gets 8-bit weights.
    """
    supported = ctranslate2.get_supported_compute_types(device)
    preferred = ["int8", "float32"]
    if device == "cuda":
        roomy = gpu_bytes() >= 2 * model_bytes + 2 * GIB
        preferred = ["float16", *preferred] if roomy else ["int8_float16", *preferred]
    return next(kind for kind in preferred if kind in supported)


def choose_batch_size(device: str) -> int:
    """Return how many windows of 30 s to transcribe in a batch.

    More than 32 are hardly faster. With the largest model and five beams each takes 1/3 GiB.
    """
    return min(max(gpu_bytes() // GIB, 4), 32) if device == "cuda" else 4


def choose_workers(device: str, threads: int, model_bytes: int) -> int:
    """Return how many batches to transcribe in parallel, sharing the threads of a CPU.

    Two are 1.1 to 1.2 times faster on two cores than one with twice the threads, which wait for
    each other after every matrix product. The second takes memory for its batch, 1.3 GB with
    Whisper small, which must fit a quarter of the machine's. Estimated for other sizes.

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
    """Return the folder of CUDA 12's cuBLAS in the package nvidia-cublas-cu12; None without it."""
    spec = find_spec("nvidia")
    for nvidia in (spec and spec.submodule_search_locations) or ():
        for folder in (Path(nvidia, "cublas", "lib"), Path(nvidia, "cublas", "bin")):
            if all((folder / name).is_file() for name in CUBLAS):
                return folder
    return None


def load_cublas() -> None:
    """Make CTranslate2 find CUDA 12's cuBLAS despite the CUDA 13 of torch.

    A library that is loaded already is found by its bare name, wherever it is.

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
    """Raise `TransientError` where the device has no memory for a single window."""
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
    """Return whether CTranslate2 failed because the device's memory is full."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "alloc_failed" in text)
    )
