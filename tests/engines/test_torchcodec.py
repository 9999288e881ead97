"""The studio diarizer gives the same turns with torchcodec absent, broken, misfit or working.

A broken torchcodec is what whosaid was born from: pyannote then reads no files. whosaid hands it
sound, so each case runs in a process of its own and has to come to the same end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.checkpoints.pyannote import build_pipeline

SCRIPT = """
import json, socket, sys
from pathlib import Path

def refuse(self, address):
    raise ConnectionRefusedError(address)

socket.socket.connect = refuse

import numpy as np
import torch

torch.set_num_threads(1)
from whosaid.diarization import Params
from whosaid.engines.pyannote import Pyannote
from whosaid.types import SpeechRegions, Waveform
from pyannote.audio.core import io

noise = np.random.default_rng(0).normal(0, 0.1, 12 * 16_000)
noise *= np.arange(len(noise)) % 9_000 > 999
speech = SpeechRegions(digest="", regions=(), windows=(), duration=12)
engine = Pyannote(Path(sys.argv[1]), device="cpu")
turns = engine.diarize(Waveform(noise.astype(np.float32), "digest"), speech, Params())
print(json.dumps([io.TORCHCODEC_AVAILABLE, [[t.model_dump() for t in part] for part in turns]]))
"""

# Word for word how torchcodec 0.11 fails where FFmpeg's shared libraries are missing.
NO_FFMPEG = '''
raise RuntimeError("""Could not load libtorchcodec. Likely causes:
          1. FFmpeg is not properly installed in your environment. We support
             versions 4, 5, 6, 7, and 8, and we attempt to load libtorchcodec
             for each of those versions. Errors for versions not installed on
             your system are expected; only the error for your installed FFmpeg
             version is relevant. On Windows, ensure you've installed the
             "full-shared" version which ships DLLs.""")
'''

# How one made for a later torch fails.
MISFIT = "import torch\ntorch.library.no_such_registration\n"


def diarize(pipeline: Path, folder: Path | None = None) -> tuple[bool, list[list[object]], str]:
    """Return whether pyannote found torchcodec, the turns, and what was said on stderr."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = os.pathsep.join(str(p) for p in (folder, root) if p)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pipeline)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    available, turns = json.loads(done.stdout.splitlines()[-1])
    return available, turns, done.stderr


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pipeline(tmp_path_factory.mktemp("pyannote") / "pipeline")


@pytest.fixture(scope="module")
def outcomes(
    pipeline: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[bool, list[list[object]], str]]:
    """Return what comes of each fault, and without any torchcodec, as this environment is."""
    folders = {"absent": None}
    for name, fault in (("without FFmpeg", NO_FFMPEG), ("misfit", MISFIT)):
        folders[name] = tmp_path_factory.mktemp("path")
        (folders[name] / "torchcodec").mkdir()
        (folders[name] / "torchcodec" / "__init__.py").write_text(fault)
    with ThreadPoolExecutor(2) as pool:
        runs = {name: pool.submit(diarize, pipeline, folder) for name, folder in folders.items()}
    return {name: run.result() for name, run in runs.items()}


@pytest.fixture(scope="module")
def expected(outcomes: dict[str, tuple[bool, list[list[object]], str]]) -> list[list[object]]:
    _, turns, _ = outcomes["absent"]
    assert len(turns[0]) > 3
    return turns


@pytest.mark.parametrize("case", ["absent", "without FFmpeg", "misfit"])
def test_a_torchcodec_that_cannot_be_imported(
    case: str,
    outcomes: dict[str, tuple[bool, list[list[object]], str]],
    expected: list[list[object]],
) -> None:
    available, turns, said = outcomes[case]
    assert not available
    assert "torchcodec" not in said
    assert turns == expected


def test_the_torchcodec_that_fits_torch(
    pipeline: Path, expected: list[list[object]], tmp_path: Path
) -> None:
    """With FFmpeg's libraries on this machine it works; without, it is genuinely broken."""
    target = ["--target", str(tmp_path), "--no-deps", "torchcodec==0.11.*"]
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "--python", sys.executable] if uv else ["pip", "install"]
    try:
        done = subprocess.run(
            [*command, *target], check=False, capture_output=True, text=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"torchcodec is not to be had: {error}")
    if done.returncode:
        pytest.skip(f"torchcodec is not to be had: {done.stderr.strip().splitlines()[-1]}")
    assert (tmp_path / "torchcodec").is_dir()
    _, turns, said = diarize(pipeline, tmp_path)
    assert "torchcodec" not in said
    assert turns == expected
