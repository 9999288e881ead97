"""Choose torch's device and number type, and run batches that fit the device's memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from spokenby.engines import batching, gpus

run_in_batches = partial(
    batching.run_in_batches,
    is_out_of_memory=lambda error: isinstance(error, torch.OutOfMemoryError),
    on_smaller=lambda _: torch.cuda.empty_cache(),
)


def choose_device(request: str) -> torch.device:
    """Return the device requested; see `gpus.choose_device`."""
    return torch.device(gpus.choose_device(request, "torch", torch.cuda.is_available))


def choose_dtype(request: str, device: torch.device) -> torch.dtype:
    """Return the number type requested; `auto` is bfloat16 on hardware that supports it natively.

    Elsewhere, as on GPUs before Ampere and most older CPUs, it is slower than float32. The same
    holds for a CPU whose instructions torch does not use, as under `ATEN_CPU_CAPABILITY=avx2`.
    """
    if request == "auto":
        if device.type == "cuda":
            quick = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            uses_them = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
            quick = uses_them and torch.cpu.get_capabilities().get("avx512_bf16", False)
        return torch.bfloat16 if quick else torch.float32
    dtype: torch.dtype = getattr(torch, request)
    return dtype


def in_words(device: torch.device, dtype: torch.dtype) -> str:
    """Return a device and a number type for people: `cuda, bfloat16`."""
    return f"{device.type}, {str(dtype).removeprefix('torch.')}"


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return a context in which networks compute in a number type."""
    return torch.autocast(device.type, dtype, enabled=dtype is not torch.float32)


def cuda_version() -> str | None:
    """Return the CUDA version that torch uses on this machine, `None` if it can't use a GPU."""
    return torch.version.cuda if torch.cuda.is_available() else None


def release_memory(device: torch.device) -> None:
    """Return unused memory to the device, for others that compute on it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


_inside = 0
_before = (False, False)
_changing = threading.Lock()


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch TF32 off, and back when the last thread has left.

    The switches belong to the process, and pyannote turns them off for good.
    """
    global _inside, _before  # noqa: PLW0603 - torch's switches are global as well
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with _changing:
        if not _inside:
            _before = matmul.allow_tf32, cudnn.allow_tf32
            matmul.allow_tf32 = cudnn.allow_tf32 = False
        _inside += 1
    try:
        yield
    finally:
        with _changing:
            _inside -= 1
            if not _inside:
                matmul.allow_tf32, cudnn.allow_tf32 = _before
