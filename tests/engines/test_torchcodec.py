"""The studio diarizer gives the same turns with torchcodec absent, broken, misfit or working.

A broken torchcodec is what spokenby was born from: pyannote then reads no files. spokenby hands it
sound, so each case has to come to the same end.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lazily import Lazily

checkpoints = Lazily("tests.checkpoints.pyannote")

Outcome = tuple[bool, list[list[Any]], str]
"""Whether pyannote found torchcodec, the turns, regular and exclusive, and what stderr says."""

# For each case pyannote.audio is imported again, beside torch, which takes the time and stays.
SCRIPT = """
import contextlib, io, json, socket, sys
from importlib.util import find_spec
from pathlib import Path

def refuse(self, address):
    raise ConnectionRefusedError(address)

socket.socket.connect = refuse

import soundfile
import torch

torch.set_num_threads(1)
talk = Path(find_spec("pyannote.audio").origin).parent / "sample" / "sample.wav"
samples, _ = soundfile.read(talk, start=8 * 16_000, frames=12 * 16_000, dtype="float32")

def diarize(pipeline):
    from spokenby.stages.diarization import Params
    from spokenby.engines.pyannote import Pyannote
    from spokenby.types import SpeechRegions, Waveform
    from pyannote.audio.core.io import TORCHCODEC_AVAILABLE

    # Unless told not to, speechbrain, which pyannote imports, switches TF32 on everywhere.
    assert not torch.backends.cuda.matmul.allow_tf32
    waveform = Waveform(samples, "digest")
    speech = SpeechRegions(digest="", regions=(), windows=(), duration=12)
    turns = Pyannote(Path(pipeline), device="cpu").diarize(waveform, speech, Params())
    return TORCHCODEC_AVAILABLE, [[turn.model_dump() for turn in part] for part in turns]

outcomes = []
for folder in sys.argv[2:]:
    for name in list(sys.modules):
        if name.startswith(("torchcodec", "pyannote.audio", "spokenby.engines.pyannote")):
            del sys.modules[name]
    sys.path.insert(0, folder)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        outcomes.append([*diarize(sys.argv[1]), said.getvalue()])
    sys.path.remove(folder)
print(json.dumps(outcomes))
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


def install(folder: Path) -> bool:
    """Install the torchcodec that fits our torch into a folder. False if it is not to be had."""
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "--python", sys.executable] if uv else ["pip", "install"]
    command += ["--target", str(folder), "--no-deps", "torchcodec==0.11.*"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, check=False, capture_output=True, timeout=120)
    return (folder / "torchcodec").is_dir()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Return what comes of each torchcodec, and of none, as in the environment of the tests."""
    root = tmp_path_factory.mktemp("torchcodec")
    faults = {"absent": "", "without FFmpeg": NO_FFMPEG, "misfit": MISFIT, "fit": ""}
    for name, fault in faults.items():
        (root / name).mkdir()
        if fault:
            (root / name / "torchcodec").mkdir()
            (root / name / "torchcodec" / "__init__.py").write_text(fault)
    cases = [name for name in faults if name != "fit" or install(root / name)]
    pipeline = checkpoints.build_pipeline(root / "pipeline")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pipeline), *(str(root / name) for name in cases)],
        check=False,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("case", ["absent", "without FFmpeg", "misfit"])
def test_a_torchcodec_that_cannot_be_imported(case: str, outcomes: dict[str, Outcome]) -> None:
    available, turns, said = outcomes[case]
    assert not available
    assert "torchcodec" not in said
    assert len(turns[0]) > 3
    assert turns == outcomes["absent"][1]


def test_the_torchcodec_that_fits_torch(outcomes: dict[str, Outcome]) -> None:
    """With FFmpeg's libraries on this machine it works; without, it is genuinely broken."""
    if "fit" not in outcomes:
        pytest.skip("torchcodec 0.11 is not to be had")
    _, turns, said = outcomes["fit"]
    assert "torchcodec" not in said
    assert turns == outcomes["absent"][1]
