"""Measure the whole pipeline against WhisperX: the same recordings, Whisper, beam and threads.

    python tests/benchmarks/whisperx.py --environment DIR [--plda DIR] [--recording FILE …]

spokenby runs as its profile `embedded` does by itself, WhisperX as its command line does. Both run
as processes, from import to the end, in turn; on a busy machine their CPU seconds say more than the
clock. WhisperX is installed from the package registry into a virtual environment of its own in DIR,
unless it is there (6 GB: it brings a torch of its own).

Whisper base is the real one in both, and so is each one's network that finds speech. WhisperX
finds speakers with pyannote: the real segmentation-3.0, the PLDA of `--plda`, and a full-size
speaker network with random weights; it aligns words with a wav2vec 2.0 of the usual size, random as
well. No package carries the real ones. Random weights are as much work, but what they say means
nothing, so only spokenby's speakers are scored, unless `--pyannote` and `--aligner` name real
models. «Not aligned» is the same run less the aligner's parts: its words have no times.

The sample conversation and the telephone talk of pyannote.audio are heard, and each `--recording`.
What is said in one stands beside it: in an `.stm`, in a `.txt` of lines `<speaker>: <words>`, or,
without speakers, in a `words.json`, as for `words.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import soundfile
from measuring import (
    Missing,
    arguments,
    finish,
    prepare_environment,
    run,
    run_process,
    say,
    sounds,
    table,
    temporary_folder,
)
from sites import Site, server

from spokenby.evaluation.annotations import Annotation, Line
from spokenby.evaluation.readers import read_stm, read_text
from spokenby.evaluation.scores import check_libraries, score
from spokenby.models import find_model

VERSION = "3.8.6"
CHILD = Path(__file__).with_name("whisperx_child.py")
SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "conversation.flac"
COST = ("wall", "cpu")


class Recording(NamedTuple):
    """A file and what is said in it."""

    path: Path
    right: Annotation


class Models(NamedTuple):
    """Folders of a Whisper model and a pyannote pipeline, and the name or folder of an aligner."""

    whisper: Path
    pyannote: Path
    aligner: str


# --- what is said


def read_recording(path: Path) -> Recording:
    """Return a recording with the text beside it."""
    path = path.absolute()
    for ending, read in ((".stm", read_stm), (".txt", read_text)):
        if (beside := path.with_suffix(ending)).exists():
            return Recording(path, read(beside, {path.stem}))
    listed = path.parent / "words.json"
    texts = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
    if path.stem not in texts:
        raise Missing(f"{path}: no text beside it")
    return Recording(path, Annotation(lines=(Line(texts[path.stem]["text"]),)))


def judge(
    recording: Recording, lines: Sequence[Line], *, real_speakers: bool = True
) -> dict[str, Any]:
    """Compare what was heard in a recording with what was said, as `spokenby evaluate` does.

    `wrong_speaker` is the WDER in percent; None where nobody knows who spoke, or where what found
    the speakers has random weights.
    """
    figures = score(recording.right, Annotation(lines=tuple(lines)), language="en").figures
    known = real_speakers and "wder" in figures
    return {
        "wer": 100 * figures["wer"].value,
        "words": figures["wer"].total,
        "speakers": len({line.speaker for line in lines} - {None}),
        "wrong_speaker": 100 * figures["wder"].value if known else None,
        "text": "\n".join(f"{line.speaker}: {line.text}" for line in lines),
    }


# --- WhisperX


def make_pyannote(folder: Path, plda: Path | None) -> Path:
    """Return a pipeline like community-1 with a random speaker network of full size."""
    from tests.checkpoints.pyannote import build_pipeline

    return build_pipeline(folder, full_size=True, plda=plda)


def run_whisperx(
    python: Path,
    recordings: Sequence[Recording],
    models: Models,
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Run WhisperX on recordings."""
    tools = folder / "tools"  # it calls ffmpeg by its name
    tools.mkdir(exist_ok=True)
    ffmpeg = tools / ("ffmpeg.exe" if os.name == "nt" else "ffmpeg")
    if not ffmpeg.exists():
        shutil.copy(imageio_ffmpeg.get_ffmpeg_exe(), ffmpeg)
    wanted = {
        "recordings": [str(recording.path) for recording in recordings],
        "whisper": str(models.whisper),
        "pyannote": str(models.pyannote),
        "aligner": models.aligner,
        "random_aligner": str(folder / "aligner"),
        "device": options.device,
        "compute_type": options.compute_type,
        "beam_size": options.beam_size,
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
    spoken = [[Line(text, who) for who, text in each] for each in found.pop("turns")]
    real = bool(options.pyannote and options.aligner)
    return {
        **ran._asdict(),
        **{cost: getattr(ran, cost) - made[cost] for cost in COST},
        **found,
        "recordings": {
            recording.path.stem: judge(recording, each, real_speakers=real)
            for recording, each in zip(recordings, spoken, strict=True)
        },
    }


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


# --- spokenby


def run_spokenby(
    api: str, recordings: Sequence[Recording], models: Models, options: argparse.Namespace
) -> dict[str, Any]:
    """Run spokenby on recordings, on a new site."""
    words = ["--profile", "embedded", "--language", "en", "--no-identify"]
    words += ["--set", f"transcribe.model={models.whisper}"]
    words += ["--set", f"transcribe.device={options.device}"]
    for field in ("beam_size", "compute_type"):
        words += ["--set", f"transcribe.faster_whisper.{field}={getattr(options, field)}"]
    words += ["--set", f"transcribe.faster_whisper.cpu_threads={options.threads}"]
    words += ["--set", f"diarize.device={options.device}"]
    with temporary_folder() as folder:
        site = Site(folder, api, OMP_NUM_THREADS=str(options.threads))
        ran = site.transcribe(*(recording.path for recording in recordings), *words)
        parts = {name: {"wall": it["work"]} for name, it in site.stage_costs().items()}
        heard = {}
        for recording in recordings:
            (written,) = site.transcripts.glob(f"{recording.path.stem}*/transcript.json")
            segments = json.loads(written.read_text(encoding="utf-8"))["segments"]
            lines = [Line(segment["text"], segment["speaker"]) for segment in segments]
            heard[recording.path.stem] = judge(recording, lines)
    return {**ran._asdict(), "parts": parts, "recordings": heard}


# --- both


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run that took the least CPU."""
    return min(runs, key=lambda run: run["cpu"])


def show(best: dict[str, dict[str, Any]], recordings: Sequence[Recording]) -> str:
    """Return the tables that are printed."""
    ours, theirs = best["spokenby"], best["WhisperX"]
    rows = [
        [
            name,
            *(it["wall"], it["cpu"], it["memory"] / 1e6),
            *(it[cost] / ours[cost] for cost in COST),
        ]
        for name, it in best.items()
    ]
    lines = [table(["", "wall s", "CPU s", "peak MB", "times spokenby's wall", "… CPU"], rows), ""]
    both = {"spokenby": ours["recordings"], "WhisperX": theirs["recordings"]}
    head = ["recording", "words", *(f"{name} WER %" for name in both)]
    head += [f"{name} wrong speaker %" for name in both]
    rows = [
        [
            name,
            it["words"],
            *(both[side][name]["wer"] for side in both),
            *(both[side][name]["wrong_speaker"] for side in both),
        ]
        for name, it in ours["recordings"].items()
    ]
    lines.append(table(head, rows))
    for side, it in (("spokenby", ours), ("WhisperX", theirs)):
        lines.append(f"\n{side}, its parts:")
        costs = [cost for cost in COST if all(cost in part for part in it["parts"].values())]
        parts = [[part, *(spent[cost] for cost in costs)] for part, spent in it["parts"].items()]
        lines.append(table(["part", *(f"{cost} s" for cost in costs)], parts))
    seconds = sum(soundfile.info(recording.path).duration for recording in recordings)
    return f"{len(recordings)} recordings, {seconds / 60:.1f} min\n" + "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, speech=False)
    parser.add_argument(
        "--environment", type=Path, required=True, help="WhisperX's, made if needed"
    )
    parser.add_argument("--recording", type=Path, action="append", default=[], help="hear it, too")
    parser.add_argument("--whisper", type=Path, help="folder of another CTranslate2 model")
    parser.add_argument("--plda", type=Path, help="folder of a real one; else random")
    parser.add_argument("--pyannote", type=Path, help="folder of a pipeline like community-1")
    parser.add_argument("--aligner", default="", help="folder of a wav2vec 2.0; else random")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compute-type", default="int8", help="of both Whispers")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    check_libraries()
    recordings = [read_recording(path) for path in (SAMPLE, *sounds(None), *options.recording)]
    python = prepare_environment(options.environment.absolute(), "whisperx", VERSION)
    with temporary_folder() as folder, server() as api:
        models = Models(
            options.whisper or find_model("faster_whisper", "", folder / "models"),
            options.pyannote or make_pyannote(folder / "pyannote", options.plda),
            options.aligner,
        )
        runs: dict[str, list[dict[str, Any]]] = {}
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}: spokenby")
            runs.setdefault("spokenby", []).append(run_spokenby(api, recordings, models, options))
            say(f"round {number + 1} of {options.rounds}: WhisperX")
            runs.setdefault("WhisperX", []).append(
                run_whisperx(python, recordings, models, folder, options)
            )
    best = {name: least(each) for name, each in runs.items()}
    best["WhisperX, not aligned"] = without_alignment(best["WhisperX"])
    finish("whisperx", options, show(best, recordings), best)


if __name__ == "__main__":
    run(main)
