"""Where torch computes, and in what numbers, is decided here.

What it computes is not; see the model libraries' files.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spokenby.engines import gpus


def choose_device(request: str) -> torch.device:
    """Return the device requested; see `gpus.choose_device`."""
    return torch.device(gpus.choose_device(request, "torch", torch.cuda.is_available))


def choose_dtype(request: str, device: torch.device) -> torch.dtype:
    """Return the number type requested; `auto` is bfloat16 on hardware that supports it natively.

    On others, GPUs before Ampere and most older CPUs, it is slower than float32. So it is on a CPU
    whose newer instructions torch does not use, such as under `ATEN_CPU_CAPABILITY=avx2`.
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
    """Return a device and a number type as people read them."""
    return f"{device.type}, {str(dtype).removeprefix('torch.')}"


def cuda_version() -> str | None:
    """Return the CUDA version that torch uses on this machine, `None` if it can't use a GPU."""
    return torch.version.cuda if torch.cuda.is_available() else None


def release_memory(device: torch.device) -> None:
    """Give memory that a stage left unused back to the device: others compute on it, too."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


_inside = 0
_before = (False, False)
_changing = threading.Lock()


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep TF32 switched off, and put it back when the last thread has left.

    The switches are the process's, and pyannote turns them off without turning them back.
    """
    global _inside, _before  # noqa: PLW0603 - so are torch's switches
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
