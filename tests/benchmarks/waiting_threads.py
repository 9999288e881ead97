"""Measure what threads cost that wait for each other: spinning, as OpenMP has it, or asleep.

    python tests/benchmarks/waiting_threads.py [--at-once 1 2 3] [--minutes 1] [--rounds 2]

So many `spokenby transcribe` at once, each of one video on a site of its own, share the cores.
spokenby sets OMP_WAIT_POLICY=PASSIVE, so that threads sleep. GOMP_SPINCOUNT has those of GNU's
OpenMP spin before they do: 3 ms unless told, 0.1 ms as a compromise. Transcripts are
compared, too.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from measuring import Missing, arguments, finish, run, say, sounds, table, temporary_folder
from sites import EMBEDDED, Site, make_videos, server

WAYS = {
    "spin 3 ms": {"GOMP_SPINCOUNT": "300000"},
    "spin 0.1 ms": {"GOMP_SPINCOUNT": "10000"},
    "asleep": {},
}


class Ran(NamedTuple):
    """What so many runs at once took, in seconds, and their transcripts."""

    cpu: float
    wall: float
    texts: list[str]


def measure(folder: Path, api: str, at_once: int, video: Path, given: dict[str, str]) -> Ran:
    """Transcribe a video on each of some sites at once."""
    sites = [Site(folder / str(number), api, **given) for number in range(at_once)]
    for site in sites:
        site.videos.mkdir(parents=True)
        shutil.copy(video, site.videos)
    with ThreadPoolExecutor(at_once) as runs:
        costs = list(runs.map(lambda site: site.transcribe(*EMBEDDED), sites))
    texts = {path.read_text() for site in sites for path in site.transcripts.glob("*/*.txt")}
    return Ran(sum(ran.cpu for ran in costs), max(ran.wall for ran in costs), sorted(texts))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    rows, results = [], []
    with temporary_folder() as made, server() as api:
        (video,) = make_videos(made / "videos", [60 * options.minutes], sounds(options.sound))
        for at_once in options.at_once:
            best: dict[str, Ran] = {}
            for number in range(options.rounds):
                for way, given in WAYS.items():
                    say(f"{at_once} at once, {way}, round {number + 1} of {options.rounds}")
                    with temporary_folder() as folder:
                        ran = measure(folder, api, at_once, video, given)
                    best[way] = min(best.get(way, ran), ran)
            asleep = best["asleep"]
            if any(ran.texts != asleep.texts for ran in best.values()):
                raise Missing("the transcripts differ")
            for way, ran in best.items():
                ratios = ran.wall / asleep.wall, ran.cpu / asleep.cpu
                rows.append([at_once, way, ran.wall, ran.cpu, *ratios])
                results.append({"at_once": at_once, "way": way, "wall": ran.wall, "cpu": ran.cpu})
    head = ["at once", "waiting", "wall s", "CPU s", "wall, of asleep", "CPU, of asleep"]
    finish("waiting_threads", options, table(head, rows), results)


if __name__ == "__main__":
    run(main)
