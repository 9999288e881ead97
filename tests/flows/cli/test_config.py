"""The command `config`, and what the site's file means for a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import ROOT

from flows.cli import doctor
from flows.cli.config import config
from spokenby.connections import shown_address
from spokenby.errors import InputError
from spokenby.plan.profiles import Profile
from spokenby.settings import Settings, read_settings
from spokenby.site.batch import prepare_batch, site_params


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "1000")
    return tmp_path / "spokenby.toml"


def example() -> str:
    """Return the example in the documentation."""
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    return page.partition("```toml\n")[2].partition("```")[0]


def rows(printed: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines()]
    return {row[0]: row[1:3] for row in cells if row}


def test_each_value_is_shown_with_its_origin(
    site_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPOKENBY_ON_DONE", "https://hooks.example/t0ken")
    monkeypatch.setenv("SPOKENBY_WEBHOOK_SECRET", "hunter2")
    secret = 'database = "postgresql+psycopg://ada:hunter2@host/spokenby"\n'
    site_file.write_text(secret + example())
    monkeypatch.setenv("SPOKENBY_VIDEOS_IN_FLIGHT", "4")
    assert config() == 0
    printed = capsys.readouterr().out
    shown = rows(printed)
    file = str(site_file)
    assert shown["profile"] == ["embedded", file]
    assert shown["videos_in_flight"] == ["4", "SPOKENBY_VIDEOS_IN_FLIGHT"]
    assert shown["cache_dir"] == [str(site_file.parent / "cache"), "default"]
    assert shown["merge.max_pause"] == ["2.0", file]
    assert shown["transcribe.faster_whisper.beam_size"] == ["3", file]
    assert shown.keys() >= {name for name in type(read_settings()).model_fields if name != "params"}
    assert "hunter2" not in printed
    assert shown["on_done"] == ["https://hooks.example/…", "SPOKENBY_ON_DONE"]
    assert shown["webhook_secret"] == ["(hidden)", "SPOKENBY_WEBHOOK_SECRET"]
    assert shown["database"] == ["postgresql+psycopg://ada:***@host/spokenby", file]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ada:hunter2@host/x", "postgresql://ada:***@host/x"),
        ("postgresql://host/x?user=ada&password=hunter2", "postgresql://host/x?user=ada"),
        ("hunter2", "(hidden: it is not an address)"),
        ("postgresql://ada:hunter2@host:port/x", "(hidden: it is not an address)"),
    ],
)
def test_no_password_of_a_database_is_shown(address: str, shown: str) -> None:
    assert shown_address(address).startswith(shown)
    assert "hunter2" not in shown_address(address) + repr(Settings(database=address))


@pytest.mark.skipif(os.name != "posix", reason="files have other permissions there")
def test_doctor_warns_of_secrets_that_others_may_read(site_file: Path) -> None:
    site_file.write_text('database = "postgresql+psycopg://ada:hunter2@host/spokenby"')
    site_file.chmod(0o644)
    assert str(site_file) in doctor._privacy(read_settings()).message
    site_file.chmod(0o600)
    assert str(site_file) not in doctor._privacy(read_settings()).message


def test_a_run_uses_the_file_and_its_options_win(
    site_file: Path, whisper_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_file.write_text(example())
    monkeypatch.setenv("SPOKENBY_MODELS_DIR", str(whisper_base.parent))
    batch = prepare_batch(params={"merge": {"max_pause": "4"}})
    assert batch.recipe.profile is Profile.EMBEDDED
    assert batch.recipe.merge.max_pause == 4
    assert batch.recipe.transcribe.faster_whisper.beam_size == 3
    assert batch.output == site_file.parent / ".." / "minutes"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[merge]\nmax_puase = 1", r"toml: merge.max_puase = 1 is .*: write merge.max_pause, or"),
        ("[trascribe]\nlanguage = 'en'", "write transcribe.language, or see all params"),
        ("[transcribe]\nlanguage = 'Germn'", "toml: transcribe.language = 'Germn' is .*German"),
        ("[merge]\nmax_pause = 2030-01-01", "merge.max_pause = .* is invalid"),
        ("[embed]\nengine = 'speechbrain'", "a setting of the site: write voice_encoder = …"),
    ],
)
def test_params_that_do_not_fit_are_said(site_file: Path, text: str, says: str) -> None:
    site_file.write_text(text)
    with pytest.raises(InputError, match=says):
        site_params(read_settings())
