from __future__ import annotations

import pytest
import torch

from spokenby.engines.torch import choose_dtype


@pytest.mark.parametrize("made_for_it", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_is_what_the_device_is_made_for(
    monkeypatch: pytest.MonkeyPatch, device: str, made_for_it: bool
) -> None:
    other = not made_for_it  # what the other kind of device can do does not matter
    cpu, gpu = (made_for_it, other) if device == "cpu" else (other, made_for_it)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": cpu})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    expected = torch.bfloat16 if made_for_it else torch.float32
    assert choose_dtype("auto", torch.device(device)) == expected
    assert choose_dtype("float16", torch.device(device)) == torch.float16


@pytest.mark.parametrize("capabilities", [{}, {"avx512_bf16": False}, {"avx512_bf16": True}])
def test_auto_is_float32_where_torch_emulates_bfloat16(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool]
) -> None:
    """As on an older CPU, on an ARM, and on a new one that is held to older instructions."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
