"""Make sites for benchmarks: videos, a Prefect server, the command line.

What a run costs is measured in `measuring.py`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from measuring import STOPPED, Missing, Ran, run_process, say, temporary_folder

from flows.server import prefect_settings
from flows.server.processes import Child, wait_until_healthy

EMBEDDED = ("--profile", "embedded")
"""Words for `spokenby transcribe`: the same models on every machine, also on one with a GPU."""


def make_videos(folder: Path, seconds: Sequence[float], paths: Sequence[Path]) -> list[Path]:
    """Write a video of each length, each with other bytes: H.264 and AAC, encoded once only."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder.parent / "base.mp4"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
    inputs = [word for path in paths for word in ("-i", str(path))]
    joined = "".join(f"[{i + 1}:a]" for i in range(len(paths))) + f"concat=n={len(paths)}:v=0:a=1"
    picture = ["-f", "lavfi", "-i", "color=gray:s=64x64:r=5"]
    encode = ["-filter_complex", f"{joined}[a]", "-map", "0:v", "-map", "[a]", "-shortest"]
    subprocess.run([*ffmpeg, *picture, *inputs, *encode, str(base)], check=True)
    videos = []
    for number, length in enumerate(seconds, 1):
        video = folder / f"video {number}.mp4"
        again = ["-stream_loop", "-1", "-i", str(base), "-t", str(length), "-c", "copy"]
        subprocess.run([*ffmpeg, *again, "-metadata", f"title={number}", str(video)], check=True)
        videos.append(video)
    base.unlink()
    return videos


class Site:
    """A folder of videos, transcripts and a cache, and the command line on it."""

    def __init__(self, folder: Path, api: str, **given: str) -> None:
        self.videos = folder / "data" / "videos"
        self.transcripts = folder / "data" / "transcripts"
        self.runs = folder / "data" / "runs"
        environment = {name: value for name, value in os.environ.items() if name[:8] != "SPOKENBY_"}
        self.environment = {
            **environment,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": api,
            "SPOKENBY_DATA_DIR": str(folder / "data"),
            **given,
        }

    def transcribe(self, *words: str | Path) -> Ran:
        """Run `spokenby transcribe` as a user would; the Prefect server's work is not counted."""
        command = [sys.executable, "-m", "flows.cli", "transcribe", *words]
        ran = run_process(command, self.environment)
        if ran.code == STOPPED:
            raise KeyboardInterrupt
        if ran.code:
            raise Missing(f"spokenby transcribe ended with exit code {ran.code}")
        return ran

    def manifests(self) -> list[dict[str, Any]]:
        """Return what each transcript's manifest says."""
        paths = sorted(self.transcripts.glob("*/manifest.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def record(self) -> dict[str, Any]:
        """Return what the last run recorded of itself; see `spokenby/telemetry/record.py`."""
        path = max(self.runs.glob("*.json"))
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record

    def stage_costs(self) -> dict[str, dict[str, float]]:
        """Return what each stage of the last run took, in seconds, standing in line left out.

        `work` is summed over the videos, some of whose stages run side by side; `model` is how long
        the model took to load, or others to let go of it, at its worst.
        """
        costs: dict[str, dict[str, float]] = {}
        for span in self.record()["spans"]:
            stage = costs.setdefault(span["stage"], {"work": 0.0, "longest": 0.0, "model": 0.0})
            work, model = span["end"] - span["ready"], span["ready"] - span["start"]
            stage["work"] += work
            stage["longest"] = max(stage["longest"], work)
            stage["model"] = max(stage["model"], model)
        return costs


@contextmanager
def server() -> Iterator[str]:
    """Yield the address of a Prefect server: $PREFECT_API_URL, or one started for this."""
    if given := os.environ.get("PREFECT_API_URL"):
        yield given
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    with temporary_folder() as home:
        say("starting a Prefect server")
        started = Child(
            "server",
            ["server", "start", "--port", str(port)],
            prefect_settings.for_child(
                prefect_settings.SERVER, PREFECT_HOME=str(home), PREFECT_API_URL=url
            ),
            home / "server.log",
        )
        try:
            wait_until_healthy(url, started)
            yield url
        finally:
            started.stop()
