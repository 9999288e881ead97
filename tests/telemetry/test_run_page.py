import math
from pathlib import Path

import pytest

from spokenby.progress import StageSpan
from spokenby.telemetry.record import Record, Sample
from spokenby.telemetry.run_page import in_one_line, write_run_page

NAN = math.nan
GIB = 2.0**30
SPANS = [StageSpan("a.mp4", "speech", 0, 0, 0, 2), StageSpan("a.mp4", "diarize", 2, 3, 4, 8)]
ON_GPU = Record(
    [
        Sample(4, 40, 2 * GIB, 0, 0, GIB, 60),
        Sample(8, 20, 3 * GIB, 90, 70, 14 * GIB, 400),
        Sample(10, 5, 1 * GIB, 0, 0, 14 * GIB, 100),
    ],
    SPANS,
)
ON_CPU = Record([Sample(10, 75, 1.5 * GIB, *[NAN] * 4)], SPANS, notes=["no NVIDIA GPU"])
HEAD_ON_GPU = (
    "| stage | times | seconds | waited | GPU | SM | GPU memory | GPU power | CPU | memory |"
)
IDLE = Record([Sample(10, 75, 1.5 * GIB, 0, 0, GIB, 60)])


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            ON_GPU,
            (
                "GPU busy 90 % from first to last kernel, 36 % of the run; CPU 25 % of 2 cores; "
                "peak memory 14.0 GiB on the GPU, 3.0 GiB of RAM"
            ),
        ),
        (ON_CPU, "CPU 75 % of 2 cores; peak memory 1.5 GiB of RAM; no NVIDIA GPU"),
        (
            IDLE,
            (
                "the GPU was not used; CPU 75 % of 2 cores; "
                "peak memory 1.0 GiB on the GPU, 1.5 GiB of RAM"
            ),
        ),
        (Record([]), ""),
    ],
)
def test_run_in_one_line(record: Record, line: str) -> None:
    record.cores = 2
    assert in_one_line(record) == line


@pytest.mark.parametrize(
    ("record", "rows"),
    [
        (
            ON_GPU,
            [
                HEAD_ON_GPU,
                "| speech | 1 | 2.0 | 0.0 | 0 % | 0 % | 1.0 GiB | 60 W | 40 % | 2.0 GiB |",
                "| diarize | 1 | 4.0 | 2.0 | 90 % | 70 % | 14.0 GiB | 400 W | 20 % | 3.0 GiB |",
            ],
        ),
        (
            ON_CPU,
            [
                "| stage | times | seconds | waited | CPU | memory |",
                "|---|---:|---:|---:|---:|---:|",
                "| diarize | 1 | 4.0 | 2.0 | 75 % | 1.5 GiB |",
            ],
        ),
    ],
)
def test_page_of_a_run_has_a_row_a_stage_and_the_picture(record: Record, rows: list[str]) -> None:
    page = write_run_page(record, "a | b", "<svg/>", Path("runs/x.svg")).splitlines()
    assert page[0] == "# a \\| b"
    assert set(rows) <= set(page)
    assert "![stages over time](data:image/svg+xml;base64,PHN2Zy8+)" in page
    assert any("`runs/x.svg`" in line for line in page)
