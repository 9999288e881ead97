"""Time a sweep of many unchanged videos: `python tests/benchmarks/sweep.py [how many]`.

The videos are a few bytes each, with whole output folders. What is timed reads no video; the first
sweep, that names the files, does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from spokenby.digests import DigestIndex
from spokenby.output.folders import MANIFEST
from spokenby.site.batch import prepare_batch
from spokenby.site.inventory import Inventory, count_states, transcript_key
from spokenby.site.new_videos import Choice, survey

FILES = [f"transcript.{ending}" for ending in ("json", "srt", "vtt", "txt", "csv", "rttm")]


def make_site(data: Path, videos: int) -> None:
    """Write fake videos with an output folder each, as large as a real one's manifest."""
    os.environ["SPOKENBY_DATA_DIR"] = str(data)
    batch = prepare_batch("embedded")
    index = DigestIndex(batch.settings.digest_index)
    known = {}
    for number in range(videos):
        path = data / "videos" / f"day {number // 100}" / f"talk {number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
        os.utime(path, (1.7e9, 1.7e9 + number))
        digest = f"{number * 2654435761 % 2**32:08x}" + "0" * 56
        known[path] = digest
        folder = batch.folder_of(path.stem, digest)
        folder.mkdir(parents=True)
        for name in FILES:
            (folder / name).touch()
        about = {
            "digest": transcript_key(digest, batch),
            "params": batch.recipe.model_dump(mode="json"),
            "files": {name: {"sha256": "0" * 64, "bytes": 0} for name in FILES},
        }
        (folder / MANIFEST).write_text(json.dumps(about, indent=2))
    index.remember_all({path: (path.stat(), digest) for path, digest in known.items()})


def time_sweep() -> tuple[float, str]:
    """Return the seconds that looking at every video takes, and what came of it."""
    started = perf_counter()
    statuses = survey((), Inventory(prepare_batch("embedded")), Choice())
    return perf_counter() - started, count_states(statuses)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        make_site(Path(folder), count)
        for _ in range(3):
            seconds, states = time_sweep()
            print(f"{count} videos: {seconds:.2f} s, {states}")
