"""Measure what threads cost that wait for each other: spinning, as OpenMP has it, or asleep.

    python tests/benchmarks/waiting_threads.py [--at-once 1 2 3] [--minutes 1] [--rounds 2]

So many `spokenby transcribe` at once, each with a video and a site of its own, share the cores.
spokenby sets OMP_WAIT_POLICY=PASSIVE, so that threads sleep; GOMP_SPINCOUNT brings back how long
GNU's OpenMP spins otherwise (3 ms). Transcripts are compared, too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measuring import Missing, arguments, finish, run, say, sounds, table, temporary_folder
from sites import EMBEDDED, Site, make_videos, server

WAYS = {"spinning": {"GOMP_SPINCOUNT": "300000"}, "asleep": {}}


def measure(folder: Path, api: str, at_once: int, seconds: float, sound: list[Path]) -> dict:
    """Return wall and CPU seconds of each way, and the transcripts it wrote."""
    found = {}
    for way, given in WAYS.items():
        say(f"{at_once} at once, {way}")
        sites = [Site(folder / way / str(number), api, **given) for number in range(at_once)]
        for site in sites:
            make_videos(site.videos, [seconds], sound)
        with ThreadPoolExecutor(at_once) as runs:
            costs = list(runs.map(lambda site: site.transcribe(*EMBEDDED), sites))
        texts = {path.read_text() for site in sites for path in site.transcripts.glob("*/*.txt")}
        found[way] = {
            "wall": max(ran.wall for ran in costs),
            "cpu": sum(ran.cpu for ran in costs),
            "texts": sorted(texts),
        }
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    rows, results = [], []
    with server() as api:
        for at_once in options.at_once:
            best: dict[str, dict] = {}
            for _ in range(options.rounds):
                with temporary_folder() as folder:
                    found = measure(
                        folder, api, at_once, 60 * options.minutes, sounds(options.sound)
                    )
                for way, cost in found.items():
                    best[way] = min(best.get(way, cost), cost, key=lambda each: each["cpu"])
            spinning, asleep = best["spinning"], best["asleep"]
            if spinning["texts"] != asleep["texts"]:
                raise Missing("the transcripts differ")
            ratios = [spinning[what] / asleep[what] for what in ("wall", "cpu")]
            rows.append([at_once, *(best[w][c] for w in WAYS for c in ("wall", "cpu")), *ratios])
            results.append(
                {
                    "at_once": at_once,
                    **{f"{w}_{c}": best[w][c] for w in WAYS for c in ("wall", "cpu")},
                }
            )
    head = ["at once", "spinning: wall s", "CPU s", "asleep: wall s", "CPU s"]
    finish("waiting_threads", options, table([*head, "wall ratio", "CPU ratio"], rows), results)


if __name__ == "__main__":
    run(main)
