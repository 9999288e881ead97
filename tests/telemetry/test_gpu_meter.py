import math

import pytest
from nvml import Card, Nvml
from pynvml import (
    NVML_ERROR_FUNCTION_NOT_FOUND,
    NVML_ERROR_GPU_IS_LOST,
    NVML_ERROR_NO_PERMISSION,
    NVML_ERROR_NOT_SUPPORTED,
    NVMLError,
)

from spokenby.telemetry import gpu_meter


@pytest.mark.parametrize(
    ("visible", "name"),
    [
        (None, "first"),
        ("1", "second"),
        ("1,0", "second"),
        ("GPU-bbbb", "second"),
        ("7", ""),
        ("-1", ""),
        ("", ""),
        ("GPU-cccc", ""),
    ],
)
def test_meter_is_of_the_card_that_cuda_shows(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, name: str
) -> None:
    nvml = Nvml(Card("GPU-aaaa1111", "first"), Card("GPU-bbbb2222", "second"))
    monkeypatch.setattr(gpu_meter, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meter = gpu_meter.open_gpu_meter()
    assert meter.name == name
    assert bool(meter.note) == (not name)
    meter.close()
    assert nvml.users == 0


def test_meter_reads_each_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_meter, "pynvml", Nvml(Card(busy=[5, 97], sm=[1.5, 62.0])))
    meter = gpu_meter.open_gpu_meter()
    assert meter.memory == 85_520_809_984
    assert meter.read() == (5.0, 1.5, 16_106_127_360.0, 412.345)
    assert meter.read() == (97.0, 62.0, 16_106_127_360.0, 412.345)


@pytest.mark.parametrize(
    ("card", "missing"),
    [
        (Card(sm=None), {"sm"}),  # before Hopper
        (Card(refuses={"gpm": NVML_ERROR_FUNCTION_NOT_FOUND}), {"sm"}),  # an old driver
        (Card(refuses={"power": NVML_ERROR_NOT_SUPPORTED}), {"power"}),  # many laptops
        (Card(refuses={"utilization": NVML_ERROR_NOT_SUPPORTED}), {"busy"}),  # a slice of a card
        (Card(refuses={"memory": NVML_ERROR_NO_PERMISSION}), {"memory"}),
    ],
)
def test_figures_that_a_card_does_not_tell_are_nan(
    monkeypatch: pytest.MonkeyPatch, card: Card, missing: set[str]
) -> None:
    monkeypatch.setattr(gpu_meter, "pynvml", Nvml(card))
    reading = gpu_meter.open_gpu_meter().read()
    assert {name for name, value in reading._asdict().items() if math.isnan(value)} == missing


def test_card_that_is_gone_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card()
    monkeypatch.setattr(gpu_meter, "pynvml", Nvml(card))
    meter = gpu_meter.open_gpu_meter()
    card.refuses["all"] = NVML_ERROR_GPU_IS_LOST
    with pytest.raises(NVMLError, match="GPU is lost"):
        meter.read()


def test_card_that_is_gone_from_the_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(Card(refuses={"all": NVML_ERROR_GPU_IS_LOST}))
    monkeypatch.setattr(gpu_meter, "pynvml", nvml)
    meter = gpu_meter.open_gpu_meter()
    assert meter.note == "the GPU does not answer (GPU is lost): GPU figures are missing"
    assert math.isnan(meter.read().busy)
    assert nvml.users == 0


def test_machine_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_meter, "pynvml", Nvml())
    meter = gpu_meter.open_gpu_meter()
    assert meter.note == "no NVIDIA GPU: GPU figures are missing"
    assert all(map(math.isnan, meter.read()))
