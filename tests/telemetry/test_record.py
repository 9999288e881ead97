from __future__ import annotations

import json
import math

import numpy as np
import pytest

from spokenby.progress import StageSpan
from spokenby.telemetry.record import Record, Sample, thinned

NAN = math.nan


def sample(end: float, gpu: float = NAN, cpu: float = NAN, memory: float = NAN) -> Sample:
    return Sample(end, cpu, memory, gpu, NAN, NAN, NAN)


# 10 s: idle, busy, half busy, idle again; samples stand for 2, 1, 4, 1 and 2 s.
UNEVEN = Record([sample(2, 0), sample(3, 100), sample(7, 50), sample(8, 0), sample(10, 0)])


@pytest.mark.parametrize(
    ("intervals", "mean", "peak"),
    [
        ([(0, math.inf)], 30.0, 100.0),
        ([(0, 10)], 30.0, 100.0),
        ([(2, 7)], 60.0, 100.0),
        ([(2.5, 3.5)], 75.0, 100.0),
        ([(4, 4.5)], 50.0, 50.0),
        ([(0, 2), (8, 10)], 0.0, 0.0),
        ([(2, 3), (7, 8)], 50.0, 100.0),
        ([(10, 12)], None, None),  # not seen yet
        ([], None, None),
    ],
)
def test_each_sample_counts_for_the_time_it_stands_for(
    intervals: list[tuple[float, float]], mean: float | None, peak: float | None
) -> None:
    assert UNEVEN.mean("gpu", intervals) == mean
    assert UNEVEN.peak("gpu", intervals) == peak


def test_busy_from_first_to_last_kernel_and_in_the_whole_run() -> None:
    assert UNEVEN.gpu_work == (2.0, 7.0)
    assert UNEVEN.gpu_busy == 60.0
    assert UNEVEN.gpu_busy_whole_run == 30.0


def test_idle_gaps_between_kernels_count_as_idle() -> None:
    record = Record([sample(1, 100), sample(9, 0), sample(10, 100)])
    assert record.gpu_busy == record.gpu_busy_whole_run == 20.0


def test_instants_that_nobody_saw_do_not_count() -> None:
    record = Record([sample(1, 80), sample(3, NAN), sample(4, 20)])
    assert record.mean("gpu") == 50.0
    assert record.mean("gpu", [(1, 3)]) is None
    assert record.peak("gpu", [(1, 3)]) is None


@pytest.mark.parametrize("samples", [[], [sample(1)], [sample(1, 0), sample(2, 0)]])
def test_without_a_kernel_there_is_no_busy_figure(samples: list[Sample]) -> None:
    record = Record(samples)
    assert record.gpu_work is None
    assert record.gpu_busy is None


def test_course_has_a_mean_per_stretch() -> None:
    course = Record([sample(1, 10), sample(2, 30), sample(4, NAN)]).course(
        "gpu", np.array([0.0, 2.0, 3.0, 4.0])
    )
    assert course[0] == 20.0
    assert np.isnan(course[1:]).all()


def test_thinned_has_the_same_means_and_peaks_of_memory() -> None:
    random = np.random.default_rng(1)
    ends = np.cumsum(random.uniform(0.1, 0.6, 64))
    samples = [
        Sample(float(end), *random.uniform(0, 100, 6).tolist()[:2], gpu, NAN, 5.0, NAN)
        for end, gpu in zip(ends, [NAN, NAN, *random.uniform(0, 100, 62)], strict=True)
    ]
    before, after = Record(samples), Record(thinned(samples))
    assert len(after.samples) == 32
    assert after.seconds == before.seconds
    for figure in ("cpu", "gpu"):
        assert after.mean(figure) == pytest.approx(before.mean(figure))
    assert after.peak("memory") == before.peak("memory")
    assert after.mean("sm") is None
    assert math.isnan(after.samples[0].gpu)


SPANS = [
    StageSpan("/v/b.mp4", "diarize", 1, 2, 3, 7),
    StageSpan("/v/a.mp4", "speech", 0, 0, 0, 2),
    StageSpan("/v/a.mp4", "diarize", 7, 7, 7, 8, failed=True),
]


def test_stages_come_in_order_with_what_the_machine_did_meanwhile() -> None:
    record = Record(UNEVEN.samples, SPANS)
    assert list(record.stages()) == ["speech", "diarize"]
    assert record.figures([span.interval for span in record.stages()["diarize"]]) == {"gpu": 40.0}


def test_manifest_tells_of_one_video() -> None:
    record = Record(UNEVEN.samples, SPANS, gpu="H100", notes=["a note"])
    told = record.of_video("/v/a.mp4")
    assert (told["gpu"], told["notes"]) == ("H100", ["a note"])
    assert told["spans"] == [
        {"stage": "speech", "asked": 0, "start": 0, "ready": 0, "end": 2, "gpu": 0.0},
        {
            "stage": "diarize",
            "asked": 7,
            "start": 7,
            "ready": 7,
            "end": 8,
            "failed": True,
            "gpu": 0.0,
        },
    ]


def test_json_holds_all_and_no_folder() -> None:
    record = Record([sample(1, 50), sample(2)], SPANS)
    content = json.dumps(record.to_json(), allow_nan=False)
    assert "/v" not in content
    read = json.loads(content)
    assert read["samples"]["gpu"] == [50.0, None]
    assert read["gpu"] is None
    assert read["gpu_work"] == [0.0, 1.0]
    assert read["stages"]["diarize"]["seconds"] == 5.0
    assert set(read["samples"]) == {"end", *read["units"]}
