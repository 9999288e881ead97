"""What the benchmarks share lives here: sounds, costs, processes, sites, tables, results.

What each of them measures does not; see the scripts beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import numpy as np
import psutil
import soundfile

from flows import environment
from flows.children import Child, wait_until_healthy
from whosaid.gpu import list_gpus
from whosaid.types import SAMPLE_RATE_HZ

RESULTS = Path(__file__).parents[2] / "data" / "benchmarks"
STOPPED = 130
LOOK_S = 0.1
LIBRARIES = (
    "whosaid",
    "prefect",
    "torch",
    "pyannote.audio",
    "speechbrain",
    "faster-whisper",
    "ctranslate2",
    "numpy",
)

# --- the command line of a benchmark


def arguments(doc: str, *, speech: bool = True) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes; one without `speech` hears none."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write everything there, not to data/benchmarks")
    if speech:
        parser.add_argument(
            "--sound",
            type=Path,
            action="append",
            help="16 kHz mono speech to repeat, can be given several times; "
            "if left out, the telephone talk of pyannote.audio",
        )
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; Ctrl-C and what is missing end it in one line."""
    try:
        main()
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(STOPPED)
    except Missing as error:
        say(str(error))
        sys.exit(2)


class Missing(Exception):  # noqa: N818 - it is what is said
    """Something that a benchmark needs is not here."""


_BEGUN = time.perf_counter()


def say(text: str) -> None:
    """Tell how far a benchmark is."""
    sys.stderr.write(f"[{time.perf_counter() - _BEGUN:6.1f} s] {text}\n")
    sys.stderr.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    numeric = [all(not isinstance(row[i], str) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * (width - 1) + (":" if right else "-")
        for width, right in zip(widths, numeric, strict=True)
    ]
    return "\n".join([line(head), line(rule), *map(line, cells)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def finish(name: str, options: argparse.Namespace, told: str, results: Any) -> Path:
    """Print what came out and write it, with the machine, versions and params; return where."""
    sys.stdout.write(told + "\n")
    path = options.json or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{it: version(it) for it in LIBRARIES}},
        "params": {key: _plain(value) for key, value in vars(options).items() if key != "json"},
        "results": results,
    }
    path.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")
    say(f"written to {path}")
    return path


def _plain(value: Any) -> Any:
    """Return what JSON can hold; of a path only its name: results are shared."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(it) for it in value] if isinstance(value, list | tuple) else value


def machine() -> dict[str, Any]:
    """Describe this machine, and how busy it is."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": [str(gpu) for gpu in list_gpus()],
        "load": round(psutil.getloadavg()[0], 1),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


# --- sounds and videos


def sounds(given: Sequence[Path] | None) -> list[Path]:
    """Return the files of speech to repeat."""
    if given:
        return list(given)
    spec = find_spec("pyannote.audio")
    (folder,) = spec.submodule_search_locations if spec else ("",)
    return [Path(folder, "sample", "sample.wav")]


def repeat(paths: Sequence[Path], seconds: float) -> np.ndarray:
    """Return the sounds again and again, shape (samples,)."""
    parts = []
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        if rate != SAMPLE_RATE_HZ or samples.ndim != 1:
            raise Missing(f"{path}: {rate} Hz, shape {samples.shape}; 16 kHz mono is needed")
        parts.append(samples)
    return np.resize(np.concatenate(parts), round(seconds * SAMPLE_RATE_HZ))


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


# --- costs


class Cost(NamedTuple):
    """Seconds by the clock, and of all cores: on a busy machine the second says more."""

    wall: float
    cpu: float


def timed(work: Callable[[], Any]) -> Cost:
    """Run something in this process and return what it cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def alternate(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Cost]:
    """Run several works in turn, and return the least that each cost."""
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            say(f"round {number + 1} of {rounds}: {name}")
            costs[name].append(timed(work))
    return {
        name: Cost(min(cost.wall for cost in each), min(cost.cpu for cost in each))
        for name, each in costs.items()
    }


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Return b of the best fit cost = a × size^b; 1 is linear."""
    if len(set(sizes)) < 2 or min(costs) <= 0:
        return None
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


class Ran(NamedTuple):
    """What a process and all its children cost. Memory in bytes, at its peak.

    `private` leaves out what is mapped from files, where the system tells.
    """

    code: int
    wall: float
    cpu: float
    memory: int
    private: int | None


def run_process(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, out: Path | None = None
) -> Ran:
    """Run a command to its end; what it prints goes to a file, or to standard error."""
    begun = time.perf_counter()
    with out.open("wb") if out else nullcontext(sys.stderr) as stream:
        process = subprocess.Popen(list(map(str, command)), env=env, stdout=stream)
    tree, cpu = psutil.Process(process.pid), dict[int, float]()
    memory, private = 0, 0
    try:
        while True:
            used = _look(tree, cpu)
            memory, private = max(memory, used[0]), max(private, used[1])
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
                break
    except KeyboardInterrupt:
        _end(process)  # the same Ctrl-C reached it
        raise
    wall = time.perf_counter() - begun
    return Ran(process.returncode, wall, sum(cpu.values()), memory, private or None)


def _look(tree: psutil.Process, cpu: dict[int, float]) -> tuple[int, int]:
    """Note the CPU seconds of each process of a tree; return the memory of all, and the private."""
    memory = private = 0
    with suppress(psutil.Error):
        for process in (tree, *tree.children(recursive=True)):
            with suppress(psutil.Error):
                with process.oneshot():
                    times, used = process.cpu_times(), process.memory_info()
                cpu[process.pid] = times.user + times.system
                memory += used.rss
                private += used.rss - getattr(used, "shared", used.rss)
    return memory, private


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to stop; end it if it does not."""
    for end in (lambda: None, process.terminate, process.kill):
        end()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return


# --- a site that whosaid runs on


class Site:
    """A folder of videos, transcripts and a cache, and the command line on it."""

    def __init__(self, folder: Path, api: str, **given: str) -> None:
        self.videos = folder / "data" / "videos"
        self.transcripts = folder / "data" / "transcripts"
        self.runs = folder / "data" / "runs"
        own = {name: value for name, value in os.environ.items() if name[:8] != "WHOSAID_"}
        self.environment = {
            **own,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": api,
            "WHOSAID_DATA_DIR": str(folder / "data"),
            **given,
        }

    def transcribe(self, *words: str | Path) -> Ran:
        """Run `whosaid transcribe` as a user would; the Prefect server's work is not counted."""
        command = [sys.executable, "-m", "flows.cli", "transcribe", *words]
        ran = run_process(command, self.environment)
        if ran.code == STOPPED:
            raise KeyboardInterrupt
        if ran.code:
            raise Missing(f"whosaid transcribe ended with exit code {ran.code}")
        return ran

    def manifests(self) -> list[dict[str, Any]]:
        """Return what each transcript's manifest says."""
        paths = sorted(self.transcripts.glob("*/manifest.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def record(self) -> dict[str, Any]:
        """Return what the last run recorded of itself; see `whosaid/telemetry.py`."""
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
            environment.for_child(environment.SERVER, PREFECT_HOME=str(home), PREFECT_API_URL=url),
            home / "server.log",
        )
        try:
            wait_until_healthy(url, started)
            yield url
        finally:
            started.stop()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="whosaid-benchmark-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
