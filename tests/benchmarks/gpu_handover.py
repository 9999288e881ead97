"""Measure how long the GPU idles between two tasks, on a real Prefect server.

    python tests/benchmarks/gpu_handover.py [--json FILE] [--tasks 10] [--seconds 2]

Tasks that only hold their place for some seconds are submitted all at once, by one run or by two
runs in processes of their own. «plain tag»: a tag limit of 1, as Prefect has it. «tag + lane»: what
spokenby does, a tag limit of 2 and a lane of the host. A gap is from the end of one task's work to
the begin of the next one's. Both on the same server, with spokenby's settings.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from measuring import arguments, finish, run, say, table, temporary_folder
from sites import server

from flows.server import prefect_settings

ONE_RUN = """
import sys, time
from contextlib import nullcontext
from prefect import flow, task
from prefect.futures import wait
from spokenby.site.gpu_slots import gpu_slot

tag, laned = sys.argv[1], sys.argv[2] == "lane"
count, seconds = int(sys.argv[3]), float(sys.argv[4])

@task(tags=[tag])
def compute():
    with gpu_slot() if laned else nullcontext():
        begun = time.time()
        time.sleep(seconds)
        print("SPAN", begun, time.time(), flush=True)

@flow
def run():
    wait([compute.submit() for _ in range(count)])

run()
"""


def measure(site: dict[str, str], tag: str, lane: str, runs: int, args: argparse.Namespace) -> dict:
    """Run the tasks and return their gaps, in seconds."""
    words = [sys.executable, "-c", ONE_RUN, tag, lane, str(args.tasks // runs), str(args.seconds)]
    processes = [
        subprocess.Popen(words, env=site, stdout=subprocess.PIPE, text=True) for _ in range(runs)
    ]
    text = [line for process in processes for line in process.communicate()[0].splitlines()]
    spans = sorted(tuple(map(float, line.split()[1:])) for line in text if line[:4] == "SPAN")
    assert len(spans) == args.tasks, text
    gaps = [begin - end for (_, end), (begin, _) in pairwise(spans)]
    overlapping = sum(gap < 0 for gap in gaps)
    return {
        "runs": runs,
        "gaps": [round(gap, 4) for gap in gaps],
        "mean": round(statistics.mean(gaps), 4),
        "longest": round(max(gaps), 4),
        "overlapping": overlapping,
    }


def main() -> None:
    parser = arguments(__doc__, speech=False)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    with temporary_folder() as folder, server() as url:
        os.environ |= {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url}
        site = {
            **prefect_settings.for_child(prefect_settings.WORKER),
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "SPOKENBY_DATA_DIR": str(folder / "data"),
            "SPOKENBY_GPU_LANES": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            client.create_concurrency_limit("plain", 1)
            client.create_concurrency_limit("laned", 2)
        results = {}
        for name, tag, lane in (("plain tag", "plain", ""), ("tag + lane", "laned", "lane")):
            for runs in (1, 2):
                what = f"{name}, {runs} run{'s' * (runs > 1)}"
                say(what)
                results[what] = measure(site, tag, lane, runs, args)
    rows = [[what, result["mean"], result["longest"]] for what, result in results.items()]
    text = f"{args.tasks} tasks of {args.seconds:g} s\n"
    finish("gpu_handover", args, text + table(["", "mean gap s", "longest"], rows), results)


if __name__ == "__main__":
    run(main)
