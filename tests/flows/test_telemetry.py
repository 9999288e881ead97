"""What a whole run leaves behind about itself: beside the outputs, in manifests, in Prefect."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest
from conftest import Site

VIDEOS = ("conversation.mp4", "telephone talk.mp4")
STORED = {"extract", "speech", "diarize", "embed", "transcribe"}


@pytest.fixture
def picture(finished: Site) -> Path:
    return min((finished.data / "runs").glob("*.svg"))


def test_terminal_says_how_busy_the_machine_was_and_where_the_picture_is(
    finished: Site, picture: Path
) -> None:
    *_, busy, where = finished.first.stdout.splitlines()  # type: ignore[attr-defined]
    assert "CPU " in busy
    assert "peak memory" in busy
    assert where == f"timeline: {picture}"


def test_every_stage_is_in_the_picture_and_in_the_samples(picture: Path) -> None:
    titles = {element.text for element in ET.parse(picture).iter() if element.text}
    seen = json.loads(picture.with_suffix(".json").read_text())
    for name in VIDEOS:
        stages = {span["stage"] for span in seen["spans"] if span["video"] == name}
        assert stages >= STORED | {"merge", "write"}  # the first was inspected before the run
        for stage in stages:
            assert any(title.startswith(f"{name}: {stage} took") for title in titles)
    assert seen["seconds"] == pytest.approx(seen["samples"]["end"][-1])
    assert seen["seconds"] / len(seen["samples"]["end"]) < 10  # it rests while others compute
    assert 1 < seen["figures"]["cpu"] <= 100
    assert 2e8 < seen["figures"]["memory"] < 2e10


def test_manifest_has_the_spans_of_its_video(finished: Site) -> None:
    manifest = finished.manifest("conversation")
    spans = {span["stage"]: span for span in manifest["telemetry"]["spans"]}
    assert STORED | {"merge"} <= set(spans)
    for stage in STORED:
        lasted = spans[stage]["end"] - spans[stage]["ready"]
        assert lasted > manifest["stages"][stage]["seconds"] - 0.1
    assert spans["transcribe"]["cpu"] > 1
    assert manifest["telemetry"]["cores"] >= 1


def test_prefect_has_a_page_with_the_table_and_the_picture(finished: Site, picture: Path) -> None:
    api = finished.environment["PREFECT_API_URL"]
    asked = {"artifacts": {"key": {"any_": ["run"]}}, "sort": "CREATED_DESC"}
    pages = [page["data"] for page in httpx.post(f"{api}/artifacts/filter", json=asked).json()]
    (page,) = [page for page in pages if str(picture) in page]
    assert "| transcribe | 2 |" in page
    assert "](data:image/svg+xml;base64," in page
