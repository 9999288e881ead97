"""What a run does about its models before it starts: join, fetch, check, or end with one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from spokenby.errors import InputError
from spokenby.models import CATALOGUE, find_model, installed
from spokenby.plan.stages import Stage
from spokenby.progress import Step, listening
from spokenby.site.batch import Batch, prepare_batch
from spokenby.site.model_files import make_models_ready
from tests.carried import CONTENT, SMALL, without, write_halves
from tests.hub import Hub, Repo, running

HALVES = ("tests_first_half", "tests_second_half")


def no_token(model):
    return None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a hub that has the small model, to this process, which nobody is logged in on."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running(Hub({SMALL.repo: Repo(CONTENT, revision=SMALL.revision)})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        yield hub


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Return a run that uses the small model, which two packages carry."""
    write_halves(tmp_path / "lib")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setattr("spokenby.models.catalogue.CATALOGUE", (*CATALOGUE, SMALL))
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
    chosen = {"engine": "faster_whisper", "model": SMALL.name}
    return prepare_batch("embedded", params={"transcribe": chosen})


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Yield what is announced, but for how far it is."""
    lines: list[str] = []

    def note(step: Step) -> None:
        if step.state != "running":
            lines.append(f"{step.video}: {step.note or step.state}")

    with listening(note):
        yield lines


def whisper_of(batch: Batch) -> Path:
    return find_model("faster_whisper", SMALL.name, batch.settings.models)


def test_pieces_are_joined_and_announced(batch: Batch, told: list[str]) -> None:
    assert not batch.settings.models.exists()
    make_models_ready(batch, no_token)
    assert [record.name for _, record in installed(batch.settings.models)] == [SMALL.name]
    assert told == [
        "small-whisper: joining its 0 MB from the packages tests-first-half and tests-second-half",
        "small-whisper: done",
    ]
    told.clear()
    make_models_ready(batch, no_token)
    assert told == []


def test_only_the_models_of_the_stages_are_made_ready(batch: Batch) -> None:
    make_models_ready(batch, no_token, (Stage.SPEECH, Stage.DIARIZE, Stage.EMBED))
    assert not batch.settings.models.exists()


def test_a_package_that_is_gone_is_replaced_by_the_hub(
    batch: Batch, hub: Hub, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = batch.model_identities
    without(HALVES, monkeypatch)
    make_models_ready(batch, no_token)
    assert told == [
        (
            "small-whisper: fetching 0 MB from 127.0.0.1/tests/small-whisper (MIT), because "
            "the packages tests-first-half and tests-second-half are not installed"
        ),
        "small-whisper: done",
    ]
    assert (whisper_of(batch) / "model.bin").read_bytes() == CONTENT["model.bin"]
    chosen = {"engine": "faster_whisper", "model": SMALL.name}
    again = prepare_batch("embedded", params={"transcribe": chosen})
    assert again.model_identities == before
    hub.asked.clear()
    make_models_ready(again, no_token)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("gone", "line"),
    [
        ("server", "127.0.0.1 cannot be reached ("),
        ("server", "check the network and HTTPS_PROXY, then run again: spokenby models fetch"),
        ("repository", "127.0.0.1 has no repository tests/small-whisper: run: uv sync --group"),
        ("offline", "HF_HUB_OFFLINE is set: nothing can be fetched: run: uv sync --group weights"),
        ("offline", "; or unset it, then run: spokenby models fetch small-whisper"),
    ],
)
def test_with_both_gone_a_run_ends_with_one_line(
    batch: Batch, hub: Hub, monkeypatch: pytest.MonkeyPatch, gone: str, line: str
) -> None:
    without(HALVES, monkeypatch)
    if gone == "server":
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    elif gone == "repository":
        hub.repos.clear()
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        make_models_ready(batch, no_token)
    said = str(caught.value)
    assert said.startswith(
        "the model small-whisper is not here: the packages tests-first-half and "
        "tests-second-half are not installed, and "
    )
    assert line in said
    assert "run: uv sync --group weights; or " in said
    assert said.endswith("; or copy it from a machine that has it: spokenby models import FOLDER")
    assert "\n" not in said
    assert installed(batch.settings.models) == []


def test_a_gated_model_says_that_it_needs_a_token(
    batch: Batch, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = SMALL.model_copy(update={"gated": True})
    monkeypatch.setattr("spokenby.models.catalogue.CATALOGUE", (*CATALOGUE, gated))
    hub.repos[SMALL.repo].gated = True
    without(HALVES, monkeypatch)
    with pytest.raises(InputError) as caught:
        make_models_ready(batch, no_token)
    assert (
        "tests/small-whisper needs a hub token, and none is set: run: uv sync --group weights; "
        "or accept its terms at https://127.0.0.1/tests/small-whisper, make a token at "
    ) in str(caught.value)


@pytest.mark.parametrize("gone", ["server", "offline"])
def test_a_gated_model_says_so_before_the_hub_can(
    batch: Batch, hub: Hub, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Who mends the network must not find out then that a token is needed as well."""
    gated = SMALL.model_copy(update={"gated": True})
    monkeypatch.setattr("spokenby.models.catalogue.CATALOGUE", (*CATALOGUE, gated))
    without(HALVES, monkeypatch)
    if gone == "server":
        template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    way = (
        "accept its terms at https://127.0.0.1/tests/small-whisper, make a token at "
        "https://127.0.0.1/settings/tokens, run: hf auth login (or set HF_TOKEN), then run"
    )
    with pytest.raises(InputError) as caught:
        make_models_ready(batch, no_token)
    assert way in str(caught.value)
    with pytest.raises(InputError) as caught:
        make_models_ready(batch, lambda _: "hf_tests")
    assert way not in str(caught.value)


def test_wrong_bytes_in_a_package_end_a_run_before_it_starts(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "lib" / HALVES[0] / "data" / "bin.1"
    path.write_bytes(b"?" * path.stat().st_size)
    with pytest.raises(InputError, match=r"not the model\.bin of small-whisper .* is not loaded"):
        make_models_ready(batch, no_token)
