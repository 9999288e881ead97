"""Measure what a batch costs that is done already: the same command once more.

    python tests/benchmarks/rerun.py [--videos 5] [--minutes 1]

The first run computes everything, with the models of the embedded profile. The others are the whole
command line, from its start to its end. It should take less than 5 s for 5 videos.
"""

from __future__ import annotations

from measuring import arguments, finish, run, sounds, table, temporary_folder
from sites import EMBEDDED, Site, make_videos, server


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--videos", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with temporary_folder() as folder, server() as api:
        site = Site(folder, api)
        lengths = [60 * options.minutes] * options.videos
        make_videos(site.videos, lengths, sounds(options.sound))
        first = site.transcribe(*EMBEDDED)
        again = [site.transcribe(*EMBEDDED) for _ in range(options.rounds)]
    rows = [["first run", first.wall, first.cpu]]
    rows += [[f"rerun {i}", ran.wall, ran.cpu] for i, ran in enumerate(again, 1)]
    text = f"{options.videos} videos of {options.minutes:g} min\n"
    text += table(["", "wall s", "CPU s"], rows)
    finish(
        "rerun", options, text, {"first": first._asdict(), "again": [r._asdict() for r in again]}
    )


if __name__ == "__main__":
    run(main)
