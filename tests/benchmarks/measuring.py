"""What the benchmarks share: sounds, costs, processes, tables, results.

What each of them measures does not; see the scripts beside it. Sites that spokenby runs on are in
`sites.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
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

import numpy as np
import psutil
import soundfile

from spokenby.engines.gpus import list_gpus
from spokenby.types import SAMPLE_RATE_HZ

RESULTS = Path(__file__).parents[2] / "data" / "benchmarks"
STOPPED = 130
LOOK_S = 0.1
LIBRARIES = (
    "spokenby",
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


def finish(name: str, options: argparse.Namespace, text: str, results: Any) -> Path:
    """Print what came out and write it, with the machine, versions and params; return where."""
    sys.stdout.write(text + "\n")
    path = options.json or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
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
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


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


# --- sounds


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
    """Note the CPU seconds of each process of a tree; return the memory of all, and the private.

    Of those seen before: a process that has just begun still shares its parent's memory, which
    would count twice.
    """
    memory = private = 0
    with suppress(psutil.Error):
        for process in (tree, *tree.children(recursive=True)):
            with suppress(psutil.Error):
                with process.oneshot():
                    times, used = process.cpu_times(), process.memory_info()
                if process.pid in cpu:
                    memory += used.rss
                    private += used.rss - getattr(used, "shared", used.rss)
                cpu[process.pid] = times.user + times.system
    return memory, private


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to stop; end it if it does not."""
    for end in (lambda: None, process.terminate, process.kill):
        end()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return


def prepare_environment(folder: Path, package: str, release: str, *also: str) -> Path:
    """Return the Python of an environment that has a package; make it if it is not there."""
    place = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    has = f"import importlib.metadata as m; assert m.version({package!r}) == {release!r}"
    if place.exists():
        there = subprocess.run([place, "-c", has], check=False, stderr=subprocess.DEVNULL)
        if not there.returncode:
            return place
    say(f"installing {package} {release} into {folder}: some GB")
    uv = shutil.which("uv")
    # Not with the settings of the folder where this happens to run.
    make = [uv, "venv", "--no-config", folder] if uv else [sys.executable, "-m", "venv", folder]
    subprocess.run(make, check=True, stdout=sys.stderr)
    install = (
        [uv, "pip", "install", "--no-config", "--python", place]
        if uv
        else [place, "-m", "pip", "install"]
    )
    wanted = [*install, f"{package}=={release}", *also]
    if subprocess.run(wanted, check=False, stdout=sys.stderr).returncode:
        raise Missing(f"{package} {release} cannot be installed: see above")
    return place


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="spokenby-benchmark-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
