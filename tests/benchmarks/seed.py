"""Measure the scenario that spokenby began with: 5 videos of 110 minutes, models of full size.

    python tests/benchmarks/seed.py                      # one GPU, random weights, no network
    python tests/benchmarks/seed.py --models DIR         # real weights: data/models of a site
    python tests/benchmarks/seed.py --scale tiny         # tries out the script, anywhere

One run of the whole command line over a batch, after a short one that warms the machine up (kernels
compiled, files read). Goal on one H100: 120 s, GPU busy over 90 % from the first to the last
kernel, speaker embeddings of a video in 5 s.

Random weights have the architecture and size of community-1 (segmentation-3.0, ResNet34), of
spkrec-ecapa-voxceleb and of Whisper large-v3-turbo. What they say is noise, but the work is that of
real ones: a random segmentation finds one or two speakers a chunk, as a real one does; the Whisper
model ends each window after `--tokens` tokens, by its positional encodings (see
`tests/checkpoints/whisper.py`); of the windows that it makes doubtful only `--retries` a video are
heard again. Real segmentation and PLDA can be given.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from measuring import Missing, Ran, arguments, finish, run, say, sounds, table, temporary_folder
from random_models import TOKENS, make_models, words_for
from sites import Site, make_videos, server

SCALES = {"full": (5, 110.0), "tiny": (2, 0.4)}
WARM_UP_S = 90.0


def words(options: argparse.Namespace, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return words for `spokenby transcribe` and settings of the site: which models it takes."""
    if options.models:
        return ["--profile", "studio"], {"SPOKENBY_MODELS_DIR": str(options.models.resolve())}
    full = options.scale == "full"
    models = make_models(
        options.keep_models or folder / "models",
        whisper="large-v3-turbo" if full else "smallest",
        tokens=options.tokens,
        full_size=full,
        segmentation=options.segmentation,
        plda=options.plda,
    )
    return words_for(models, retries=options.retries), {}


def describe(site: Site, ran: Ran, minutes: float) -> dict[str, Any]:
    """Return what a run cost, from the outside and as it recorded itself."""
    record = site.record()
    spans = record["spans"]
    work = max(span["end"] for span in spans) - min(span["start"] for span in spans)
    embed = [span["end"] - span["ready"] for span in spans if span["stage"] == "embed"]
    return {
        "process_seconds": ran.wall,
        "run_seconds": record["seconds"],
        "work_seconds": work,
        "times_real_time": 60 * minutes / ran.wall,
        "cpu_seconds": ran.cpu,
        "peak_memory_mb": ran.memory / 1e6,
        "gpu_busy_first_to_last_kernel": record["gpu_busy"],
        "gpu_busy_whole_run": record["gpu_busy_whole_run"],
        "gpu_memory_mb": record["figures"].get("gpu_memory", 0) / 1e6 or None,
        "slowest_embed_seconds": max(embed),
        "speakers": [manifest["speakers"] for manifest in site.manifests()],
        "words": [manifest["words"] for manifest in site.manifests()],
        "smaller_batches": [manifest["smaller_batches"] for manifest in site.manifests()],
        "stages": site.stage_costs(),
        "record": record,
    }


def show(result: dict[str, Any]) -> str:
    """Return the tables that are printed."""
    goals = {
        "process_seconds": "120 on one H100",
        "gpu_busy_first_to_last_kernel": "> 90 %",
        "slowest_embed_seconds": "5",
    }
    facts = [
        [name.replace("_", " "), value, goals.get(name, "")]
        for name, value in result.items()
        if isinstance(value, float) or name in goals
    ]
    stages = [[stage, *costs.values()] for stage, costs in result["stages"].items()]
    lines = [
        table(["", "measured", "goal"], facts),
        "",
        table(["stage", "work s, all videos", "longest", "loading its model"], stages),
        f"speakers found: {result['speakers']}; words: {result['words']}",
    ]
    lines += [f"note: {note}" for note in result["record"]["notes"]]
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--videos", type=int, help="how many; 5 at full scale")
    parser.add_argument("--minutes", type=float, help="of each; 110 at full scale")
    parser.add_argument("--models", type=Path, help="installed models of the profile studio")
    parser.add_argument("--keep-models", type=Path, help="make the random ones there, once")
    parser.add_argument("--segmentation", type=Path, help="a real pytorch_model.bin")
    parser.add_argument("--plda", type=Path, help="a folder with a real PLDA")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="a window, of random models")
    parser.add_argument("--retries", type=int, default=5, help="windows a video, of random models")
    parser.add_argument("--in-flight", type=int, default=3, help="videos worked on at once")
    parser.add_argument("words", nargs="*", help="after --: more words for spokenby transcribe")
    options = parser.parse_args()
    if options.models and not options.models.is_dir():
        raise Missing(f"{options.models} is not a folder of models")
    count, minutes = SCALES[options.scale]
    count, minutes = options.videos or count, options.minutes or minutes
    with temporary_folder() as folder, server() as api:
        chosen, settings = words(options, folder)
        settings["SPOKENBY_VIDEOS_IN_FLIGHT"] = str(options.in_flight)
        if options.scale == "full":
            say("warming up")
            cold = Site(folder / "warm-up", api, **settings)
            make_videos(cold.videos, [min(WARM_UP_S, 60 * minutes)], sounds(options.sound))
            cold.transcribe(*chosen, *options.words)
        site = Site(folder / "site", api, **settings)
        make_videos(site.videos, [60 * minutes] * count, sounds(options.sound))
        say(f"{count} videos of {minutes:g} min")
        result = describe(site, site.transcribe(*chosen, *options.words), count * minutes)
        text = f"{count} videos of {minutes:g} min, scale {options.scale}, "
        text += "real weights" if options.models else "random weights"
        path = finish(f"seed-{options.scale}", options, f"{text}\n\n{show(result)}", result)
        picture = max(site.runs.glob("*.svg"))
        say(f"timeline: {shutil.copy(picture, path.with_suffix('.svg'))}")


if __name__ == "__main__":
    run(main)
