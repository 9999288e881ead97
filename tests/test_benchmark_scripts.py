"""The benchmarks run: at a scale at which their figures mean nothing."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

BENCHMARKS = ROOT / "tests" / "benchmarks"


def measure(json_file: Path, script: str, *words: str, **environment: str) -> Any:
    """Run a benchmark and return what it wrote."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *words, "--json", json_file],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| -" in done.stdout  # a table
    return json.loads(json_file.read_text())


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.mark.skipif(
    "EVERY_BENCHMARK" not in os.environ, reason="takes minutes: set EVERY_BENCHMARK=1"
)
def test_seed_scenario_at_the_smallest_scale(tmp_path: Path, prefect_server: str) -> None:
    written = measure(
        tmp_path / "seed.json",
        "seed.py",
        *("--scale", "tiny", "--videos", "1", "--minutes", "0.2", "--tokens", "30"),
        PREFECT_API_URL=prefect_server,
    )
    found = written["results"]
    assert found["words"] == [30]  # of one window
    assert found["speakers"][0] >= 1
    assert {"extract", "speech", "diarize", "embed", "transcribe"} <= found["stages"].keys()
    assert 0 < found["work_seconds"] < found["process_seconds"]
    assert {"processor", "cores", "gpus"} <= written["machine"].keys()
    assert {"torch", "prefect", "ctranslate2"} <= written["versions"].keys()
    assert written["params"]["scale"] == "tiny"
    assert str(tmp_path) not in json.dumps(written)


def test_embeddings_one_by_one_and_in_batches(tmp_path: Path) -> None:
    written = measure(
        tmp_path / "embeddings.json",
        "embeddings.py",
        *("--encoders", "campplus", "--minutes", "1", "--segments", "6", "--speakers", "2"),
        *("--threads", "1"),
    )
    found = written["results"]["campplus"]
    assert (found["segments"], found["measured_on"]) == (38, 6)
    assert [work["segments"] for work in found["works"].values()] == [38, 38, 34]
    assert found["works"]["one by one"]["times_faster"] == 1


def test_who_spoke_when_against_a_reference(tmp_path: Path) -> None:
    written = measure(
        tmp_path / "quality.json",
        "diarization_quality.py",
        *("data/samples", "--seconds", "20", "--num-speakers", "true", "--alone"),
    )
    (row,) = written["results"]["files"]
    assert (row["files"], row["speakers"], row["found"]) == ("conversation", 3, 3)
    assert row["exact"] == "1/1"
    errors = [row[kind] for kind in ("missed detection", "false alarm", "confusion")]
    assert row["DER"] == pytest.approx(sum(errors))
    assert row["DER"] < 15
    assert row["one voice alone"] == "1/1"  # of those who speak for 3 s
    assert written["results"]["settings"]["diarize"]["embedder"] == "campplus"


def test_cost_of_speech_and_speakers(tmp_path: Path) -> None:
    written = measure(tmp_path / "cost.json", "speakers_cost.py", "--minutes", "0.5")
    exact, auto = written["results"]
    assert (exact["computes in"], exact["speakers"]) == ("cpu, float32", 2)
    assert auto["computes in"].startswith("cpu, ")
    stages = [exact[stage] for stage in ("speech", "diarize", "embed")]
    assert min(stages) > 0
    assert exact["together"] == pytest.approx(sum(stages))
    assert exact["of it Silero"] + exact["of it segmentation"] <= exact["speech"]


@pytest.mark.usefixtures("scripts")
def test_exponents() -> None:
    from measuring import exponent

    assert exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert exponent([10, 100], [1, 100]) == pytest.approx(2)
    assert exponent([5, 5], [1, 2]) is None
    assert exponent([1, 2], [0, 1]) is None


@pytest.mark.usefixtures("scripts")
def test_table() -> None:
    from measuring import table

    assert table(["what", "s"], [["a", 0.12345], ["b", 1234.5], ["c", None]]) == (
        "| what |     s |\n| ---- | ----: |\n| a    | 0.123 |\n| b    |  1234 |\n| c    |       |"
    )


@pytest.mark.usefixtures("scripts")
def test_scaling_takes_off_what_a_run_costs_anyway() -> None:
    import scaling

    stages = dict.fromkeys(scaling.STAGES, 1.0)
    points = [
        {
            "videos": count,
            "minutes": 3.0,
            "wall": 20.0 + 5 * count,
            "cpu": 10.0 + 2 * count,
            "memory_mb": 1000.0,
            "private_mb": None,
            "stages": {**stages, "diarize": 3.0 * count},
        }
        for count in (1, 2, 4)
    ]
    fits = scaling.fit(points, {"wall": 20.0, "cpu": 10.0}, "videos")
    assert fits["wall"] == pytest.approx(1)
    assert fits["cpu"] == pytest.approx(1)
    assert fits["memory_mb"] == pytest.approx(0, abs=1e-9)
    assert fits["stages"]["diarize"] == pytest.approx(1)
    assert "exponent" in scaling.show("more videos", points, fits)


@pytest.mark.usefixtures("scripts")
def test_chapters_are_compared_with_topics(tmp_path: Path) -> None:
    import chapters

    turns = [{"speaker": "ab"[n % 2], "content": "well {pause} word " * 100} for n in range(8)]
    topics = [{"relevant_text_span": [["0", "3"]]}, {"relevant_text_span": [["4", "7"]]}]
    for name in ("one", "two"):
        content = {"meeting_transcripts": turns, "topic_list": topics}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    talk = chapters.read(tmp_path / "one.json")
    assert (talk.topics, talk.starts[4], talk.starts[-1]) == ([4], 800, 1600)
    assert chapters.errors(talk, [800]) == (0, 0)
    assert chapters.errors(talk, [700, 900])[0] < chapters.errors(talk, [400, 1200])[0]
    rows = chapters.measure(argparse.Namespace(qmsum=tmp_path, seed=0))
    assert ("meetings", "evenly, the right number", 0, 0, 1, 1) in rows


@pytest.mark.usefixtures("scripts")
def test_voices_that_do_not_change_are_known_again_in_every_video() -> None:
    import voice_identity
    from voice_identity import CHANNELS, DIMENSION, Params, Take

    takes = [
        Take(f"reader {row}", piece, 8.0, CHANNELS[0], vector, 0.1)
        for row, vector in enumerate(np.eye(DIMENSION, dtype=np.float32)[:4])
        for piece in range(2)
    ]
    found = voice_identity.across_videos(takes, Params(), rounds=2)
    assert found == {"precision %": 100, "recall %": 100, "voices": 4, "speakers": 4}


@pytest.mark.usefixtures("scripts")
def test_process_tree_is_added_up() -> None:
    from measuring import run_process

    child = "import time; x = bytearray(60_000_000); time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    ran = run_process([sys.executable, "-c", parent])
    assert ran.code == 0
    assert ran.memory > 60_000_000
    assert ran.cpu > 0


@pytest.mark.usefixtures("scripts")
def test_benchmark_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from measuring import Missing, run

    def interrupted() -> None:
        raise KeyboardInterrupt

    def without_model() -> None:
        raise Missing("there is no model")

    for main, code, said in ((interrupted, 130, "stopped"), (without_model, 2, "no model")):
        with pytest.raises(SystemExit) as ended:
            run(main)
        assert ended.value.code == code
        assert said in capsys.readouterr().err
