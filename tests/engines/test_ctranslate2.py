"""Device, number type and libraries of CTranslate2, as far as a machine without a GPU can tell."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from spokenby.engines import ctranslate2
from spokenby.engines.ctranslate2 import (
    CUBLAS,
    GIB,
    choose_compute_type,
    choose_device,
    choose_workers,
    find_cublas,
    is_out_of_memory,
    load_cublas,
    room_on,
)
from spokenby.errors import InputError, TransientError


@pytest.mark.parametrize(
    ("asked", "gpus", "chosen"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda")],
)
def test_device(monkeypatch, asked, gpus, chosen):
    monkeypatch.setattr(ctranslate2.ctranslate2, "get_cuda_device_count", lambda: gpus)
    assert choose_device(asked) == chosen


def test_a_missing_gpu_is_never_replaced_silently(monkeypatch):
    monkeypatch.setattr(ctranslate2.ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(InputError, match="no NVIDIA GPU"):
        choose_device("cuda")


NEW_GPU = {"float32", "float16", "bfloat16", "int8", "int8_float16", "int8_float32"}
OLD_GPU = {"float32", "int8", "int8_float32"}


@pytest.mark.parametrize(
    ("device", "can_do", "memory", "chosen"),
    [
        ("cpu", {"float32", "int8", "int8_float32"}, 0, "int8"),
        ("cpu", {"float32"}, 0, "float32"),
        ("cuda", NEW_GPU, 24 * GIB, "float16"),
        ("cuda", NEW_GPU, 8 * GIB, "float16"),
        ("cuda", NEW_GPU, 7 * GIB, "int8_float16"),
        ("cuda", OLD_GPU, 24 * GIB, "int8"),
        ("cuda", {"float32"}, 24 * GIB, "float32"),
    ],
)
def test_compute_type_of_a_model_of_3_gib(monkeypatch, device, can_do, memory, chosen):
    asked = []
    monkeypatch.setattr(
        ctranslate2.ctranslate2,
        "get_supported_compute_types",
        lambda device: asked.append(device) or can_do,
    )
    monkeypatch.setattr(ctranslate2, "gpu_bytes", lambda: memory)
    assert choose_compute_type(device, 3 * GIB) == chosen
    assert asked == [device]


@pytest.mark.parametrize(
    ("device", "threads", "memory", "workers"),
    [
        ("cpu", 16, 26 * GIB, 2),
        ("cpu", 2, 26 * GIB, 2),
        ("cpu", 2, 25 * GIB, 1),
        ("cpu", 1, 64 * GIB, 1),
        ("cuda", 16, 64 * GIB, 1),
    ],
)
def test_workers_for_a_model_of_3_gib(monkeypatch, device, threads, memory, workers):
    monkeypatch.setattr(ctranslate2.psutil, "virtual_memory", lambda: SimpleNamespace(total=memory))
    assert choose_workers(device, threads, 3 * GIB) == workers


def test_cublas_is_found_in_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    assert find_cublas() is None
    folder = tmp_path / "nvidia" / "cublas" / ("bin" if sys.platform == "win32" else "lib")
    folder.mkdir(parents=True)
    (folder / CUBLAS[0]).touch()
    assert find_cublas() is None, "both libraries are needed"
    (folder / CUBLAS[1]).touch()
    assert find_cublas() == folder
    with pytest.raises(InputError, match="cuBLAS for CUDA 12"):
        load_cublas()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (RuntimeError("CUDA failed with error out of memory"), True),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA failed with error no kernel image is available"), False),
        (ValueError("out of memory is no reason here"), False),
    ],
)
def test_out_of_memory_is_told_from_other_faults(error, full):
    assert is_out_of_memory(error) is full
    with pytest.raises(TransientError if full else type(error)), room_on("cuda"):
        raise error
