"""Measure the whole pipeline against WhisperX: the same video, checkpoints, beam, batch, threads.

    python tests/benchmarks/whisperx.py --environment DIR [--minutes 2]

WhisperX is installed from the package registry into a virtual environment of its own in DIR, unless
it is there (6 GB: it brings a torch of its own). Both run as processes, from import to the end, in
turn; on a busy machine their CPU seconds say more than the clock. Without `--whisper` and
`--pyannote` the checkpoints have the size of Whisper small and community-1, and random weights: the
Whisper model says 100 tokens in every window, so that both hear as much. whosaid computes in the
number type that it chooses by itself, and once more in float32, as WhisperX does. WhisperX's
aligner is a wav2vec 2.0 of the usual size with random weights; whosaid times its words with
Whisper's own attention, so it has no such part. «Not aligned» is the same run less the aligner's
parts: its words have no times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from measuring import (
    Missing,
    arguments,
    finish,
    run,
    run_process,
    say,
    sounds,
    table,
    temporary_folder,
)
from random_models import Models, make_models, words_for
from sites import Site, make_videos, server

VERSION = "3.8.6"
CHILD = Path(__file__).with_name("whisperx_child.py")
COST = ("wall", "cpu")


def prepare(folder: Path) -> Path:
    """Return the Python of an environment that has WhisperX; make it if it is not there."""
    place = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    has = [
        place,
        "-c",
        f"import importlib.metadata as m; assert m.version('whisperx')=='{VERSION}'",
    ]
    if (
        place.exists()
        and not subprocess.run(has, check=False, stderr=subprocess.DEVNULL).returncode
    ):
        return place
    say(f"installing WhisperX {VERSION} into {folder}: some GB")
    uv = shutil.which("uv")
    subprocess.run(
        [uv, "venv", folder] if uv else [sys.executable, "-m", "venv", folder], check=True
    )
    install = [uv, "pip", "install", "--python", place] if uv else [place, "-m", "pip", "install"]
    if subprocess.run(
        [*install, f"whisperx=={VERSION}"], check=False, stdout=sys.stderr
    ).returncode:
        raise Missing("WhisperX cannot be installed: see above")
    return place


def run_whisperx(
    python: Path, video: Path, models: Models, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Run WhisperX on a video."""
    tools = folder / "tools"  # it calls ffmpeg by its name
    tools.mkdir(exist_ok=True)
    ffmpeg = tools / ("ffmpeg.exe" if os.name == "nt" else "ffmpeg")
    if not ffmpeg.exists():
        shutil.copy(imageio_ffmpeg.get_ffmpeg_exe(), ffmpeg)
    wanted = {
        "video": str(video),
        "whisper": str(models.whisper),
        "pyannote": str(models.pyannote),
        "aligner": str(folder / "aligner") if options.align else "",
        "device": options.device,
        "compute_type": options.compute_type,
        "beam_size": options.beam_size,
        "batch_size": options.batch_size,
        "threads": options.threads,
    }
    env = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
        "OMP_NUM_THREADS": str(options.threads),
    }
    out = folder / "whisperx.json"
    # -P: or this folder's whisperx.py would be taken for the library.
    ran = run_process([python, "-P", CHILD, json.dumps(wanted)], env, out=out)
    if ran.code:
        raise Missing(f"WhisperX ended with exit code {ran.code}: see above")
    found = json.loads(out.read_text(encoding="utf-8").splitlines()[-1])
    made = found["parts"].pop("make the aligner", dict.fromkeys(COST, 0.0))  # it would be there
    return {**ran._asdict(), **{cost: getattr(ran, cost) - made[cost] for cost in COST}, **found}


def run_whosaid(
    api: str, video: Path, models: Models, options: argparse.Namespace, *, exact: bool
) -> dict[str, Any]:
    """Run whosaid on a video, on a new site; the torch networks in float32 if `exact`."""
    words = words_for(models)
    if exact:
        for stage in ("diarization", "embeddings"):
            words += ["--set", f"{stage}.compute_type=float32"]
    for field in ("device", "beam_size", "batch_size", "compute_type"):
        words += ["--set", f"transcription.{field}={getattr(options, field)}"]
    words += ["--set", f"transcription.cpu_threads={options.threads}"]
    words += ["--set", f"diarization.device={options.device}"]
    with temporary_folder() as folder:
        site = Site(folder, api, OMP_NUM_THREADS=str(options.threads))
        ran = site.transcribe(video, *words)
        (manifest,) = site.manifests()
        parts = {name: {"wall": it["work"]} for name, it in site.stage_costs().items()}
    return {
        **ran._asdict(),
        "parts": parts,
        "words": manifest["words"],
        "speakers": manifest["speakers"],
    }


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run that took the least CPU."""
    return min(runs, key=lambda run: run["cpu"])


def without_alignment(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run of WhisperX less its aligner."""
    parts = {name: cost for name, cost in run["parts"].items() if "align" not in name}
    costs = {
        cost: run[cost]
        - sum(part[cost] for part in run["parts"].values())
        + sum(part[cost] for part in parts.values())
        for cost in COST
    }
    return {**run, **costs, "parts": parts}


def show(best: dict[str, dict[str, Any]]) -> str:
    """Return the tables that are printed."""
    ours = best["whosaid"]
    rows = [
        [
            name,
            *(it["wall"], it["cpu"], it["memory"] / 1e6),
            *(it[cost] / ours[cost] for cost in COST),
            *(f"{it['words']}", f"{it['speakers']}"),
        ]
        for name, it in best.items()
    ]
    head = ["", "wall s", "CPU s", "peak MB", "times whosaid's wall", "… CPU", "words", "speakers"]
    lines = [table(head, rows)]
    for name in ("whosaid", "WhisperX"):
        it = best[name]
        lines.append(f"\n{name}, its parts:")
        costs = [cost for cost in COST if all(cost in part for part in it["parts"].values())]
        parts = [[part, *(spent[cost] for cost in costs)] for part, spent in it["parts"].items()]
        lines.append(table(["part", *(f"{cost} s" for cost in costs)], parts))
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--environment", type=Path, required=True, help="WhisperX's, made if needed"
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--whisper", type=Path, help="folder of a CTranslate2 model")
    parser.add_argument("--pyannote", type=Path, help="folder of a pipeline like community-1")
    parser.add_argument("--speechbrain", type=Path, help="folder of ECAPA: whosaid's voiceprints")
    parser.add_argument("--shape", default="small", help="of the random Whisper model")
    parser.add_argument("--segmentation", type=Path, help="a real one for the random pipeline")
    parser.add_argument("--plda", type=Path, help="a folder of a real one likewise")
    parser.add_argument("--keep-models", type=Path, help="make the random ones there, once")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compute-type", default="int8", help="of both Whispers")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-align", dest="align", action="store_false")
    options = parser.parse_args()
    python = prepare(options.environment.absolute())
    with temporary_folder() as folder, server() as api:
        made = make_models(
            options.keep_models or folder / "models",
            whisper=options.shape,
            segmentation=options.segmentation,
            plda=options.plda,
        )
        given = (options.pyannote, options.speechbrain, options.whisper)
        models = Models(*(mine or random for mine, random in zip(given, made, strict=True)))
        length = [60 * options.minutes]
        (video,) = make_videos(folder / "videos", length, sounds(options.sound))
        runs: dict[str, list[dict[str, Any]]] = {}
        for number in range(options.rounds):
            for name, exact in (("whosaid", False), ("whosaid, float32", True)):
                say(f"round {number + 1} of {options.rounds}: {name}")
                runs.setdefault(name, []).append(
                    run_whosaid(api, video, models, options, exact=exact)
                )
            say(f"round {number + 1} of {options.rounds}: WhisperX")
            runs.setdefault("WhisperX", []).append(
                run_whisperx(python, video, models, folder, options)
            )
    best = {name: least(each) for name, each in runs.items()}
    if options.align:
        best["WhisperX, not aligned"] = without_alignment(best["WhisperX"])
    finish("whisperx", options, f"{options.minutes:g} min\n{show(best)}", best)


if __name__ == "__main__":
    run(main)
