from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from nvml import Card, Nvml
from pynvml import NVML_ERROR_GPU_IS_LOST, NVMLError

from spokenby.progress import StageSpan, note_span
from spokenby.telemetry import gpu_meter, sampler
from spokenby.telemetry.gpu_meter import GpuReading, NoGpu
from spokenby.telemetry.sampler import Watch

SPIN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"
NO_GPU = "no NVIDIA GPU: GPU figures are missing"


def wait_for_samples(watch: Watch, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(watch.record().samples) < count and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "EVERY_S", 0.02)
    monkeypatch.setattr(sampler, "_PAUSE_PER_COST", 0)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_meter, "pynvml", Nvml())


def test_children_count_ended_ones_too(no_card: None) -> None:
    with Watch() as watch:
        subprocess.run([sys.executable, "-S", "-c", SPIN.format(0.5)], check=True)
        time.sleep(0.6)
    record = watch.record()
    spent = (record.mean("cpu") or 0) / 100 * record.cores * record.seconds
    if sys.platform != "win32":
        assert 0.49 <= spent < 2  # it is counted in ticks
    assert (record.peak("cpu") or 101) <= 100.001
    assert 10e6 < (record.peak("memory") or 0) < 10e9
    assert 0 < (record.mean("machine_cpu") or 0) <= 100
    assert (record.peak("machine_memory") or 0) > 10e6
    assert record.notes == (NO_GPU,)
    assert "gpu" not in record.figures()


def test_card_is_read_and_released(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(Card(busy=[0, 100, 100, 0]))
    monkeypatch.setattr(gpu_meter, "pynvml", nvml)
    with Watch() as watch:
        wait_for_samples(watch, 5)
    record = watch.record()
    assert record.gpu == "NVIDIA H100 80GB HBM3"
    assert record.notes == ()
    assert 95 <= (record.gpu_busy or 0) <= 100
    assert 0 < (record.gpu_busy_whole_run or 0) < 90
    assert record.mean("sm") == pytest.approx(61.5)
    assert record.mean("power") == pytest.approx(412.345)
    assert record.peak("gpu_memory") == 16_106_127_360
    assert (nvml.users, nvml.taken) == (0, [])


def test_card_that_vanishes_is_noted_once(quick: None) -> None:
    class Vanishing(NoGpu):
        left = 3

        def read(self) -> GpuReading:
            self.left -= 1
            if self.left < 0:
                raise NVMLError(NVML_ERROR_GPU_IS_LOST)
            return GpuReading(busy=100.0)

    with Watch(lambda: Vanishing("")) as watch:
        wait_for_samples(watch, 6)
    record = watch.record()
    (note,) = record.notes
    assert re.match(r"the GPU did not answer after \d+ s \(GPU is lost\): figures are miss", note)
    assert record.mean("gpu") == 100.0
    assert len(record.samples) > 5


def test_broken_driver_costs_only_the_figures() -> None:
    def broken() -> NoGpu:
        raise OSError("nvml.dll is damaged")

    with Watch(broken) as watch:
        pass
    assert watch.record().notes == (
        "the GPU cannot be read (nvml.dll is damaged): GPU figures are missing",
    )
    assert watch.record().mean("cpu") is not None


def test_number_of_samples_is_bounded(no_card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "EVERY_S", 0.001)
    monkeypatch.setattr(sampler, "_PAUSE_PER_COST", 0)
    monkeypatch.setattr(sampler, "SAMPLES_MAX", 4)
    before = time.perf_counter()
    with Watch() as watch:
        began = time.perf_counter()
        while watch._every_s < 0.008 and time.perf_counter() - began < 120:
            time.sleep(0.01)
        watched = time.perf_counter() - began
    assert watch._every_s >= 0.008
    assert len(watch.record().samples) <= 4
    assert watched <= watch.record().seconds <= time.perf_counter() - before


def test_sampler_rests_much_longer_than_it_works(
    no_card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dear(NoGpu):
        def read(self) -> GpuReading:
            end = time.thread_time() + 0.005
            while time.thread_time() < end:
                pass
            return GpuReading()

    monkeypatch.setattr(sampler, "EVERY_S", 0.01)
    with Watch(lambda: Dear("")) as watch:
        time.sleep(0.8)
    # 5 ms of work, 1 s of rest; one at once, one at the end
    assert len(watch.record().samples) <= 2 + watch.record().seconds


def test_spans_are_told_to_whoever_watches(no_card: None) -> None:
    now = time.perf_counter()
    note_span(StageSpan("x.mp4", "speech", now, now, now, now))  # nobody does
    assert sampler.seen_of("x.mp4") == {}
    with sampler.watching() as watch:
        now = time.perf_counter()
        note_span(StageSpan("x.mp4", "speech", now, now + 1, now + 2, now + 5))
        (span,) = sampler.seen_of("x.mp4")["spans"]
    (noted,) = watch.record().spans
    assert (span["stage"], noted.interval[1] - noted.interval[0]) == ("speech", pytest.approx(3.0))
    assert 0 <= noted.asked < 1
