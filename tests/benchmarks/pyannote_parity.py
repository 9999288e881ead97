"""Compare pyannote.audio as it comes with spokenby's engine: same models, same sound, side by side.

spokenby's runs twice: exact, in float32, whose turns should be stock pyannote's own, and fast, with
the speaker network in bfloat16, what spokenby takes where the device is made for it.

    python tests/benchmarks/pyannote_parity.py MODELS AUDIO [--seconds 60] [--json FILE]

MODELS is the folder of a pipeline with VBx clustering (community-1); one with random networks of
full size makes `python -m tests.checkpoints.pyannote FOLDER --full-size`. Each run has a process of
its own; rounds alternate between them and the least time of each stage counts. CPU seconds are
given too: on a shared machine they say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

VARIANTS = {"stock": "", "exact": "float32", "fast": "bfloat16"}
OURS = ("exact", "fast")
STAGES = ("segmentation", "embeddings", "clustering")
ENDS_OF_STAGES = dict(
    zip(("segmentation", "embeddings", "discrete_diarization"), STAGES, strict=True)
)
WARM_UP_S = 11  # two chunks
LIBRARIES = ("torch", "torchaudio", "pyannote.audio", "numpy", "scipy")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run one of them in this process."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    import numpy as np
    import soundfile
    import torch
    from pyannote.audio import Pipeline

    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    samples, rate = soundfile.read(options.audio, dtype="float32")
    samples = samples[: round(options.seconds * rate)] if options.seconds else samples
    if options.variant == "stock":
        pipeline, precision = Pipeline.from_pretrained(options.models), nullcontext()
        if options.stock_batch_size:
            pipeline.segmentation_batch_size = options.stock_batch_size
            pipeline.embedding_batch_size = options.stock_batch_size
    else:
        from spokenby.engines import pyannote as engine  # changes how pyannote links voices
        from spokenby.engines.torch import full_precision

        pipeline = engine.Pyannote(
            options.models, options.device, VARIANTS[options.variant]
        )._pipeline
        pipeline.segmentation_batch_size = engine.SEGMENTATION_BATCH[device.type]
        pipeline.embedding_batch_size = options.batch_size or engine.EMBEDDING_BATCH[device.type]
        precision = full_precision()
    pipeline.to(device)
    laps: dict[str, dict[str, float]] = {}
    kept: dict[str, Any] = {}
    clock = [time.perf_counter(), time.process_time()]

    def hook(step: str, result: Any, *, completed: int | None = None, **_: Any) -> None:
        if step not in ENDS_OF_STAGES or completed is not None:
            return
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = [time.perf_counter(), time.process_time()]
        laps[ENDS_OF_STAGES[step]] = {"wall": now[0] - clock[0], "cpu": now[1] - clock[1]}
        clock[:] = now
        kept[step] = result

    sound = torch.from_numpy(samples)[None]
    with precision:
        pipeline({"waveform": sound[:, : WARM_UP_S * rate], "sample_rate": rate})
        clock[:] = [time.perf_counter(), time.process_time()]
        output = pipeline({"waveform": sound, "sample_rate": rate}, hook=hook)
    embeddings = kept["embeddings"]
    np.save(options.keep, embeddings)
    return {
        "stages": laps,
        "peak_memory_mb": peak_memory_mb(),
        "peak_gpu_mb": torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else None,
        "batch_sizes": [pipeline.segmentation_batch_size, pipeline.embedding_batch_size],
        "chunks": len(embeddings),
        "silent_slots": float(np.mean(kept["segmentation"].data.sum(1) == 0)),
        "seconds_of_sound": len(samples) / rate,
        "turns": [
            [turn.start, turn.end, speaker]
            for turn, _, speaker in output.speaker_diarization.itertracks(yield_label=True)
        ],
        "exclusive": [
            [turn.start, turn.end, speaker]
            for turn, _, speaker in output.exclusive_speaker_diarization.itertracks(
                yield_label=True
            )
        ],
    }


def peak_memory_mb() -> float | None:
    """Return the most memory this process ever held, if the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Run all, alternating, each time in a new process."""
    import numpy as np

    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        kept = {variant: Path(folder) / f"{variant}.npy" for variant in VARIANTS}
        for _ in range(options.rounds):
            for variant in VARIANTS:
                command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
                command += ["--keep", str(kept[variant])]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                runs[variant].append(json.loads(done.stdout.splitlines()[-1]))
        vectors = {variant: np.load(kept[variant]) for variant in VARIANTS}
    first = {variant: runs[variant][0] for variant in VARIANTS}
    least = {
        variant: {
            stage: {
                kind: min(run["stages"][stage][kind] for run in runs[variant])
                for kind in ("wall", "cpu")
            }
            for stage in STAGES
        }
        for variant in VARIANTS
    }
    stock = vectors["stock"]
    unit = {
        variant: array / np.linalg.norm(array, axis=-1, keepdims=True)
        for variant, array in vectors.items()
    }
    return {
        "machine": machine(),
        "versions": {name: version(name) for name in LIBRARIES},
        "params": {
            name: value.name if isinstance(value, Path) else value
            for name, value in vars(options).items()
        },
        "batch_sizes": {variant: first[variant]["batch_sizes"] for variant in VARIANTS},
        "seconds_of_sound": first["stock"]["seconds_of_sound"],
        "chunks": first["stock"]["chunks"],
        "silent_slots": first["stock"]["silent_slots"],
        "stages": least,
        "ratio": {
            variant: {
                stage: {
                    kind: least["stock"][stage][kind] / least[variant][stage][kind]
                    for kind in ("wall", "cpu")
                }
                for stage in STAGES
            }
            for variant in OURS
        },
        "peak_memory_mb": {variant: first[variant]["peak_memory_mb"] for variant in VARIANTS},
        "peak_gpu_mb": {variant: first[variant]["peak_gpu_mb"] for variant in VARIANTS},
        "embeddings": {
            variant: {
                "largest_difference": float(np.abs(stock - vectors[variant]).max()),
                "mean_size": float(np.abs(stock).mean()),
                "least_cosine": float((unit["stock"] * unit[variant]).sum(-1).min()),
            }
            for variant in OURS
        },
        "turns": len(first["stock"]["turns"]),
        "speakers": len({speaker for *_, speaker in first["stock"]["turns"]}),
        "same_turns": {
            variant: all(
                first["stock"][kind] == first[variant][kind] for kind in ("turns", "exclusive")
            )
            for variant in OURS
        },
        "der_percent": {
            variant: 100 * error_rate(first["stock"]["turns"], first[variant]["turns"])
            for variant in OURS
        },
    }


def error_rate(reference: list[list[Any]], hypothesis: list[list[Any]]) -> float:
    """Return the diarization error rate, collar 0, of one list of turns against another."""
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    annotations = []
    for turns in (reference, hypothesis):
        annotation = Annotation()
        for track, (start, end, speaker) in enumerate(turns):
            annotation[Segment(start, end), track] = speaker
        annotations.append(annotation)
    return float(DiarizationErrorRate(collar=0.0, skip_overlap=False)(*annotations))


def machine() -> dict[str, Any]:
    import torch

    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def table(result: dict[str, Any]) -> str:
    sound = f"{result['seconds_of_sound']:.0f} s of sound, {result['chunks']} chunks of 3 speakers"
    lines = [
        f"{sound}, {result['silent_slots']:.0%} of them silent",
        f"{'':14}" + "".join(f"{name:>18}" for name in VARIANTS) + f"{'CPU, times less':>20}",
        f"{'':14}" + f"{'wall':>9}{'cpu':>9}" * 3 + "".join(f"{name:>10}" for name in OURS),
    ]
    for stage in STAGES:
        times = [result["stages"][variant][stage] for variant in VARIANTS]
        ratio = [result["ratio"][variant][stage]["cpu"] for variant in OURS]
        lines.append(
            f"{stage:14}"
            + "".join(f"{t['wall']:8.2f}s{t['cpu']:8.2f}s" for t in times)
            + "".join(f"{times:9.2f}x" for times in ratio)
        )
    memory = [result["peak_memory_mb"][variant] or 0 for variant in VARIANTS]
    lines.append(f"{'peak memory':14}" + "".join(f"{size:15.0f} MB" for size in memory))
    lines.append(f"stock: {result['turns']} turns of {result['speakers']} speakers")
    for variant in OURS:
        embeddings = result["embeddings"][variant]
        lines.append(
            f"{variant}: turns {'identical' if result['same_turns'][variant] else 'DIFFERENT'}, "
            f"DER to stock {result['der_percent'][variant]:.2f} %, embeddings differ by at most "
            f"{embeddings['largest_difference']:.1e} (mean size {embeddings['mean_size']:.1e}, "
            f"least cosine {embeddings['least_cosine']:.6f})"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", type=Path, help="folder of a pipeline")
    parser.add_argument("audio", type=Path, help="16 kHz mono file")
    parser.add_argument("--seconds", type=float, help="take so much from the start")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch-size", type=int, help="of spokenby's embeddings stage")
    parser.add_argument("--stock-batch-size", type=int, help="instead of config.yaml's")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options)))
        return
    result = compare(options)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
