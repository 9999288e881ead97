"""Measure who spoke when: a folder of *.flac or *.wav with a reference, *.rttm, beside each.

    python tests/benchmarks/diarization_quality.py FOLDER [FILE …] [--num-speakers true] [--half]

Speech, speakers and turns are found by the engines of a profile, as in a run. Errors are those of
`spokenby evaluate`, with collar 0 and overlaps scored; "confusion" is time given to the wrong
speaker. `--alone` measures each speaker of each reference by themselves, too: the
sound where only they speak, joined, should be one speaker.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from measuring import Missing, arguments, finish, run, say, table, timed

from spokenby.engines.loading import load_diarizer, load_segmenter, load_voice_activity
from spokenby.evaluation.annotations import Annotation
from spokenby.evaluation.readers import read_rttm
from spokenby.evaluation.scores import score
from spokenby.evaluation.turns import pyannote_annotation
from spokenby.plan.profiles import Profile, Recipe, make_recipe, read_params
from spokenby.settings import read_settings
from spokenby.stages import diarization, speech
from spokenby.types import SAMPLE_RATE_HZ, Diarization, Turn, Waveform

PARTS = {
    "missed": "missed detection",
    "false_alarm": "false alarm",
    "confusion": "confusion",
}
LEAST_ALONE_S = 3.0


def read_waveform(path: Path, longest_s: float | None) -> Waveform:
    """Read a 16 kHz mono file, or its beginning."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE_HZ or samples.ndim != 1:
        raise Missing(f"{path}: {rate} Hz, shape {samples.shape}; 16 kHz mono is needed")
    return Waveform(samples[: round(longest_s * rate) if longest_s else None], path.stem)


def recordings(paths: Sequence[Path]) -> list[Path]:
    """Return the recordings that have a reference, of folders and files."""
    found = []
    for path in paths:
        here = sorted([*path.glob("*.flac"), *path.glob("*.wav")]) if path.is_dir() else [path]
        found += [it for it in here if it.with_suffix(".rttm").exists()]
    if not found:
        raise Missing("no *.flac or *.wav with an *.rttm beside it")
    return found


def diarize(waveform: Waveform, recipe: Recipe, speakers: int | None) -> Diarization:
    """Return who speaks when, as a run with this recipe finds it."""
    models_dir = read_settings().models
    params = recipe.diarize.model_copy(update={"num_speakers": speakers})
    with load_voice_activity(models_dir) as vad:
        found = speech.detect_speech(
            waveform, vad, load_segmenter(recipe.speech, models_dir), recipe.speech, digest=""
        )
    with load_diarizer(params, models_dir) as diarizer:
        return diarization.diarize_speakers(
            waveform, found if params.needs_speech else None, diarizer, params, digest=""
        )


def alone(turns: Sequence[Turn], waveform: Waveform) -> Iterator[tuple[str, Waveform]]:
    """Yield what each speaker says while nobody else speaks, joined."""
    reference = pyannote_annotation(turns)
    overlaps = reference.get_overlap()
    for label in sorted(reference.labels()):
        own = reference.label_timeline(label).extrude(overlaps)
        cuts = [
            waveform.samples[round(s.start * SAMPLE_RATE_HZ) : round(s.end * SAMPLE_RATE_HZ)]
            for s in own
        ]
        samples = np.concatenate([*cuts, np.zeros(0, np.float32)])
        if len(samples) >= LEAST_ALONE_S * SAMPLE_RATE_HZ:
            yield str(label), Waveform(samples, "")


def measure(path: Path, recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Diarize a file and score it."""
    waveform = read_waveform(path, options.seconds)
    turns = read_rttm(path.with_suffix(".rttm"), {path.stem}).turns or ()
    turns = tuple(
        turn.model_copy(update={"end": min(turn.end, waveform.duration)})
        for turn in turns
        if turn.start < waveform.duration
    )
    number = len({turn.speaker for turn in turns})
    results: list[Diarization] = []
    wish = number if options.num_speakers == "true" else None
    cost = timed(lambda: results.append(diarize(waveform, recipe, wish)))
    figures = score(Annotation(turns=turns), Annotation(turns=results[0].turns)).figures
    row = {
        "file": path.stem,
        "seconds": waveform.duration,
        "cpu": cost.cpu,
        "speakers": number,
        "found": len(results[0].speakers),
        "total": figures["der"].total,
        **{part: figures[key].errors for key, part in PARTS.items()},
    }
    if options.alone:
        row["alone"] = {
            label: len(diarize(sound, recipe, None).speakers)
            for label, sound in alone(turns, waveform)
        }
    return row


def summarize(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return percentages over all rows together, so long files weigh more."""
    total = sum(row["total"] for row in rows)
    parts = {part: 100 * sum(row[part] for row in rows) / total for part in PARTS.values()}
    summary = {
        "files": name,
        "minutes": sum(row["seconds"] for row in rows) / 60,
        "CPU s a minute": 60
        * sum(row["cpu"] for row in rows)
        / sum(row["seconds"] for row in rows),
        "speakers": sum(row["speakers"] for row in rows),
        "found": sum(row["found"] for row in rows),
        "exact": f"{sum(row['speakers'] == row['found'] for row in rows)}/{len(rows)}",
        "DER": sum(parts.values()),
        **parts,
    }
    voices = [found for row in rows for found in row.get("alone", {}).values()]
    return {**summary, "one voice alone": f"{voices.count(1)}/{len(voices)}" if voices else ""}


def by_kind(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows summed up by the letters that their names begin with."""
    kinds = defaultdict(list)
    for row in rows:
        letters = next((i for i, c in enumerate(row["file"]) if not c.isalpha()), None)
        kinds[row["file"][:letters]].append(row)
    return [summarize(f"{kind}*", some) for kind, some in kinds.items()]


def main() -> None:
    parser = arguments(__doc__, speech=False)
    parser.add_argument("recordings", type=Path, nargs="+", help="folders, or files")
    parser.add_argument("--profile", type=Profile, default=Profile.EMBEDDED)
    parser.add_argument("--num-speakers", choices=["free", "true"], default="free")
    parser.add_argument("--half", action="store_true", help="bfloat16, not float32")
    parser.add_argument("--seconds", type=float, help="cut longer files at this")
    parser.add_argument("--alone", action="store_true", help="each speaker alone, too")
    parser.add_argument("--set", action="append", default=[], help="as in spokenby transcribe")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compute_type = "bfloat16" if options.half else "float32"
    chosen = read_params([f"diarize.compute_type={compute_type}", *options.set])
    recipe = make_recipe(options.profile, **chosen)
    rows = []
    for path in recordings(options.recordings):
        rows.append(measure(path, recipe, options))
        say(f"{path.stem}: DER {summarize('', rows[-1:])['DER']:.1f} %")
    files = [summarize(row["file"], [row]) for row in rows]
    kinds = [*by_kind(rows), summarize("all", rows)]
    lines = [table(list(some[0]), [list(row.values()) for row in some]) for some in (files, kinds)]
    lines.append("percent of reference speech, collar 0, overlap scored")
    settings = {
        "speech": recipe.speech.in_key(),
        "diarize": recipe.diarize.in_key(),
    }
    results = {"settings": settings, "files": files, "together": kinds}
    finish("diarization_quality", options, "\n\n".join(lines), results)


if __name__ == "__main__":
    run(main)
