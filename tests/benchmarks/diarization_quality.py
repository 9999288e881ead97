"""Measure diarization on a folder of *.flac or *.wav with an *.rttm beside each.

    python tests/benchmarks/diarization_quality.py FOLDER [--json FILE] [--params JSON]

Errors are percent of reference speech with collar 0 and overlaps scored, by pyannote.metrics;
"confusion" is time given to the wrong speaker. Files without a reference are skipped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import soundfile
import torch
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate
from whosaid.engines.resemblyzer import Resemblyzer

from whosaid import diarization, speech
from whosaid.engines.clustering import Clustering
from whosaid.engines.silero import Silero
from whosaid.types import SAMPLE_RATE_HZ, Diarization, Waveform

PARTS = ("missed detection", "false alarm", "confusion")


def installed(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(package)
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def read_waveform(path: Path) -> Waveform:
    """Read a 16 kHz mono file."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE_HZ or samples.ndim != 1:
        raise ValueError(f"{path}: {rate} Hz, shape {samples.shape}; 16 kHz mono is needed")
    return Waveform(samples, path.stem)


def score(reference: Annotation, result: Diarization, duration: float) -> dict[str, float]:
    """Return seconds of reference speech and of each kind of error."""
    hypothesis = Annotation()
    for number, turn in enumerate(result.turns):
        hypothesis[Segment(turn.start, turn.end), number] = turn.speaker
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    parts = metric(reference, hypothesis, uem=Timeline([Segment(0, duration)]), detailed=True)
    return {name: float(parts[name]) for name in (*PARTS, "total")}


def measure(folder: Path, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Diarize every file of a folder and score it, a row a file."""
    vad = Silero(installed("faster_whisper", "assets", "silero_vad_v6.onnx"))
    speech_params = speech.Params.model_validate(params.get("speech", {}))
    diarization_params = diarization.Params.model_validate(params.get("diarization", {}))
    weights = installed("resemblyzer", "pretrained.pt")
    diarizer = Clustering(Resemblyzer(weights, compute_type=diarization_params.compute_type))
    rows = []
    for path in sorted([*folder.glob("*.flac"), *folder.glob("*.wav")]):
        rttm = path.with_suffix(".rttm")
        if not rttm.exists():
            continue
        reference = next(iter(load_rttm(rttm).values()))
        waveform = read_waveform(path)
        if not waveform.samples.any():
            sys.stderr.write(f"{path.name}: digital silence, skipped\n")
            continue
        began = time.perf_counter()
        regions = speech.detect_speech(waveform, vad, speech_params, digest="")
        result = diarization.diarize_speakers(
            waveform, regions, diarizer, diarization_params, digest=""
        )
        rows.append(
            {
                "file": path.stem,
                "seconds": waveform.duration,
                "x real time": waveform.duration / (time.perf_counter() - began),
                "speakers": len(reference.labels()),
                "found": len(result.speakers),
                **score(reference, result, waveform.duration),
            }
        )
    return rows


def summarise(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return percentages over all rows together, so long files weigh more."""
    total = sum(row["total"] for row in rows)
    parts = {part: 100 * sum(row[part] for row in rows) / total for part in PARTS}
    return {
        "file": name,
        "seconds": sum(row["seconds"] for row in rows),
        "speakers": sum(row["speakers"] for row in rows),
        "found": sum(row["found"] for row in rows),
        "exact": f"{sum(row['speakers'] == row['found'] for row in rows)}/{len(rows)}",
        "x real time": sum(row["seconds"] for row in rows)
        / sum(row["seconds"] / row["x real time"] for row in rows),
        "DER": sum(parts.values()),
        **parts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, help="write settings and numbers here")
    parser.add_argument(
        "--params", type=json.loads, default={}, help='{"speech": {…}, "diarization": {…}}'
    )
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    rows = measure(arguments.folder, arguments.params)
    table = [*(summarise(row["file"], [row]) for row in rows), summarise("all", rows)]
    print(
        f"{'file':16}{'s':>7}{'true':>5}{'found':>6}{'DER':>7}{'miss':>7}{'false':>7}{'conf':>7}{'xRT':>6}"
    )
    for row in table:
        print(
            f"{row['file']:16}{row['seconds']:7.0f}{row['speakers']:5}{row['found']:6}"
            f"{row['DER']:7.1f}{row['missed detection']:7.1f}{row['false alarm']:7.1f}"
            f"{row['confusion']:7.1f}{row['x real time']:6.0f}"
        )
    print(f"speaker count exact: {table[-1]['exact']}; collar 0, overlap scored")
    settings = {
        "collar": 0.0,
        "overlap": "scored",
        "speech": speech.Params.model_validate(arguments.params.get("speech", {})).in_key(),
        "diarization": diarization.Params.model_validate(
            arguments.params.get("diarization", {})
        ).in_key(),
    }
    text = json.dumps({"settings": settings, "rows": table}, indent=2)
    if arguments.json:
        arguments.json.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
