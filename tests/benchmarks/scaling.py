"""Measure how time and memory grow with the number of videos and with their length.

    python tests/benchmarks/scaling.py
    python tests/benchmarks/scaling.py --videos 1 2 5 10 --lengths 10 30 60 -- --profile open

Each point is one run of the whole command line on a new site. If no words for `spokenby transcribe`
follow «--», it is the embedded profile with its own models. Exponents are of the best fit
a × size^b, after what a run costs without a video to speak of (5 s) is taken off; 1 is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import arguments, exponent, finish, run, say, sounds, table, temporary_folder
from sites import EMBEDDED, Site, make_videos, server

STAGES = (
    *("extract", "speech", "diarize", "embed", "transcribe"),
    *("edges", "merge", "identify", "write"),
)
NOTHING_S = 5.0
MB = 1e6


def measure(
    api: str, count: int, seconds: float, words: Sequence[str], speech: list[Path]
) -> dict[str, Any]:
    """Transcribe some videos on a new site."""
    with temporary_folder() as folder:
        site = Site(folder, api)
        make_videos(site.videos, [seconds] * count, speech)
        ran = site.transcribe(*words)
        stages = {stage: cost["work"] for stage, cost in site.stage_costs().items()}
    return {
        "videos": count,
        "minutes": seconds / 60,
        "wall": ran.wall,
        "cpu": ran.cpu,
        "memory_mb": ran.memory / MB,
        "private_mb": ran.private / MB if ran.private is not None else None,
        "stages": {stage: stages.get(stage, 0.0) for stage in STAGES},
    }


def fit(points: list[dict[str, Any]], nothing: dict[str, Any], size: str) -> dict[str, Any]:
    """Return the exponents of a series."""
    sizes = [point[size] for point in points]
    fits = {
        cost: exponent(sizes, [point[cost] - nothing[cost] for point in points])
        for cost in ("wall", "cpu")
    }
    fits |= {cost: exponent(sizes, [point[cost] for point in points]) for cost in ("memory_mb",)}
    stages = {
        stage: exponent(sizes, [point["stages"][stage] for point in points]) for stage in STAGES
    }
    return {**fits, "stages": stages}


def show(title: str, points: list[dict[str, Any]], fits: dict[str, Any]) -> str:
    head = ["videos", "min each", "wall s", "CPU s", "peak MB", "of it private", *STAGES]
    rows = [
        [
            *(f"{p['videos']}", f"{p['minutes']:.3g}"),
            *(p["wall"], p["cpu"], p["memory_mb"], p["private_mb"]),
            *p["stages"].values(),
        ]
        for p in points
    ]
    ends = [fits["wall"], fits["cpu"], fits["memory_mb"], None, *fits["stages"].values()]
    rows.append(["exponent", "", *ends])
    return f"\n{title}\n{table(head, rows)}"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--videos", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--minutes", type=float, default=3.0, help="of each of these videos")
    parser.add_argument("--lengths", type=float, nargs="+", default=[3.0, 6.0, 12.0, 24.0])
    parser.add_argument("words", nargs="*", help="after --: words for spokenby transcribe")
    options = parser.parse_args()
    speech = sounds(options.sound)
    words = options.words or EMBEDDED
    with server() as api:
        points: dict[tuple[int, float], dict[str, Any]] = {}

        def point(count: int, seconds: float) -> dict[str, Any]:
            if (count, seconds) not in points:
                say(f"{count} of {seconds / 60:.3g} min")
                points[count, seconds] = measure(api, count, seconds, words, speech)
            return points[count, seconds]

        nothing = point(1, NOTHING_S)
        by_videos = [point(count, 60 * options.minutes) for count in options.videos]
        by_length = [point(1, 60 * minutes) for minutes in options.lengths]
    results: dict[str, Any] = {"nothing": nothing}
    text = [f"a run with a video of {NOTHING_S:.0f} s: {nothing['wall']:.1f} s by the clock, "]
    text[0] += f"{nothing['cpu']:.1f} s of CPU, {nothing['memory_mb']:.0f} MB"
    for name, size, series in (
        ("more videos", "videos", by_videos),
        ("longer videos", "minutes", by_length),
    ):
        fits = fit(series, nothing, size)
        results[name] = {"points": series, "exponents": fits}
        text.append(show(name, series, fits))
    text.append("\nStages: seconds by the clock, summed over the videos, without loading models.")
    finish("scaling", options, "\n".join(text), results)


if __name__ == "__main__":
    run(main)
