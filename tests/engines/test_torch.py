from __future__ import annotations

import pytest
import torch

from whosaid.engines.torch import choose_dtype


@pytest.mark.parametrize("made_for_it", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_is_what_the_device_is_made_for(
    monkeypatch: pytest.MonkeyPatch, device: str, made_for_it: bool
) -> None:
    other = not made_for_it  # what the other kind of device can do does not matter
    cpu, gpu = (made_for_it, other) if device == "cpu" else (other, made_for_it)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": cpu})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    expected = torch.bfloat16 if made_for_it else torch.float32
    assert choose_dtype("auto", torch.device(device)) == expected
    assert choose_dtype("float16", torch.device(device)) == torch.float16
