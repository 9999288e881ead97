import math
from collections.abc import Callable, Iterator, Sequence

import pytest
from nvml import Card, Nvml
from pynvml import (
    NVML_ERROR_FUNCTION_NOT_FOUND,
    NVML_ERROR_GPU_IS_LOST,
    NVML_ERROR_NO_PERMISSION,
    NVML_ERROR_NOT_SUPPORTED,
    NVMLError,
)

from spokenby.engines import gpus
from spokenby.engines.gpus import run_in_batches
from spokenby.errors import TransientError

KEY = ("cuda", "test")


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_fitting", {})


def device_that_holds(room: int, seen: list[int]) -> Callable[[Sequence[int]], list[int]]:
    def run(batch: Sequence[int]) -> list[int]:
        seen.append(len(batch))
        if len(batch) > room:
            raise MemoryError
        return [2 * item for item in batch]

    return run


def batches(
    count: int, size: int, run: Callable[[Sequence[int]], list[int]], key: tuple[str, str] = KEY
) -> Iterator[list[int]]:
    return run_in_batches(
        range(count), size, run, key=key, is_out_of_memory=lambda e: isinstance(e, MemoryError)
    )


@pytest.mark.parametrize(
    ("count", "size", "room", "seen"),
    [
        (0, 4, 9, []),
        (5, 2, 9, [2, 2, 1]),
        (4, 8, 9, [4]),
        (10, 8, 3, [8, 4, 2, 2, 2, 2, 2]),
        (3, 3, 1, [3, 1, 1, 1]),
    ],
)
def test_every_item_once_in_order_whatever_fits(
    count: int, size: int, room: int, seen: list[int]
) -> None:
    sizes: list[int] = []
    results = [x for batch in batches(count, size, device_that_holds(room, sizes)) for x in batch]
    assert results == [2 * item for item in range(count)]
    assert sizes == seen


def test_the_size_that_fits_is_remembered_per_device_and_engine() -> None:
    list(batches(8, 8, device_that_holds(2, [])))
    same: list[int] = []
    list(batches(8, 8, device_that_holds(2, same)))
    assert same == [2, 2, 2, 2]
    other: list[int] = []
    list(batches(8, 8, device_that_holds(8, other), key=("cuda", "other")))
    assert other == [8]


def test_each_halving_is_told() -> None:
    told: list[int] = []
    run = device_that_holds(2, [])
    list(
        run_in_batches(
            range(8), 8, run, key=KEY, is_out_of_memory=lambda e: True, on_smaller=told.append
        )
    )
    assert told == [4, 2]


def test_one_item_that_does_not_fit_is_one_clear_line() -> None:
    with pytest.raises(TransientError, match="does not hold even one item"):
        list(batches(4, 2, device_that_holds(0, [])))


def test_other_faults_pass_as_they_are() -> None:
    def run(batch: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batches(4, 2, run))


def test_what_memory_forced_is_told_for_the_manifest() -> None:
    assert gpus.smaller_batches() == {}
    gpus._fitting[("cuda", "pyannote")] = 4
    assert gpus.smaller_batches() == {"cuda pyannote": 4}


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
    monkeypatch.setattr(gpus, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meter = gpus.open_gpu_meter()
    assert meter.name == name
    assert bool(meter.note) == (not name)
    meter.close()
    assert nvml.users == 0


def test_meter_reads_each_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "pynvml", Nvml(Card(busy=[5, 97], sm=[1.5, 62.0])))
    meter = gpus.open_gpu_meter()
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
    monkeypatch.setattr(gpus, "pynvml", Nvml(card))
    reading = gpus.open_gpu_meter().read()
    assert {name for name, value in reading._asdict().items() if math.isnan(value)} == missing


def test_card_that_is_gone_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card()
    monkeypatch.setattr(gpus, "pynvml", Nvml(card))
    meter = gpus.open_gpu_meter()
    card.refuses["all"] = NVML_ERROR_GPU_IS_LOST
    with pytest.raises(NVMLError, match="GPU is lost"):
        meter.read()


def test_card_that_is_gone_from_the_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(Card(refuses={"all": NVML_ERROR_GPU_IS_LOST}))
    monkeypatch.setattr(gpus, "pynvml", nvml)
    meter = gpus.open_gpu_meter()
    assert meter.note == "the GPU does not answer (GPU is lost): GPU figures are missing"
    assert math.isnan(meter.read().busy)
    assert nvml.users == 0


def test_machine_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "pynvml", Nvml())
    meter = gpus.open_gpu_meter()
    assert meter.note == "no NVIDIA GPU: GPU figures are missing"
    assert all(map(math.isnan, meter.read()))
