from __future__ import annotations

from pathlib import Path

import pytest

from spokenby.errors import InputError
from spokenby.settings import origins, read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith(("SPOKENBY_", "WHOSAID_"))]:
        monkeypatch.delenv(name)


def test_folders_follow_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", "elsewhere")
    monkeypatch.setenv("SPOKENBY_TRANSCRIPTS_DIR", "minutes")
    settings = read_settings()
    assert settings.videos == Path("elsewhere/videos")
    assert settings.results == Path("elsewhere/cache/results")
    assert settings.transcripts == Path("minutes")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "WHOSAID_DATA_DIR",
            "x",
            "WHOSAID_DATA_DIR is now called SPOKENBY_DATA_DIR: set SPOKENBY_",
        ),
        ("SPOKENBY_PROFIL", "open", "SPOKENBY_PROFIL is not a setting of spokenby: did you mean"),
        ("SPOKENBY_PROFIL", "open", r"mean SPOKENBY_PROFILE\?"),
        (
            "SPOKENBY_SINGING",
            "loud",
            "SPOKENBY_SINGING is not a .*: see all settings",
        ),
        ("SPOKENBY_PARAMS", "{}", "SPOKENBY_PARAMS is not a setting"),
        ("SPOKENBY_VIDEOS_IN_FLIGHT", "many", "SPOKENBY_VIDEOS_IN_FLIGHT='many' does not fit"),
        ("SPOKENBY_VIDEOS_IN_FLIGHT", "0", "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=says):
        read_settings()


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    return tmp_path / "spokenby.toml"


def test_the_environment_wins_over_the_file(
    site_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_file.write_text(
        'profile = "open"\nvideos_in_flight = 5\ntranscripts_dir = "minutes"\n'
        "[merge]\nmax_pause = 2.5\n"
    )
    monkeypatch.setenv("SPOKENBY_PROFILE", "embedded")
    settings, origin = read_settings(), origins()
    assert (settings.profile, origin["profile"]) == ("embedded", "SPOKENBY_PROFILE")
    assert (settings.videos_in_flight, origin["videos_in_flight"]) == (5, str(site_file))
    assert settings.transcripts == site_file.parent / "minutes"  # wherever the command runs
    assert (settings.max_hours, origin["max_hours"]) == (24, "default")
    assert settings.params == {"merge": {"max_pause": 2.5}}


def test_a_run_goes_on_with_the_file_as_it_was_at_its_start(site_file: Path) -> None:
    site_file.write_text("max_hours = 5")
    assert read_settings().max_hours == 5
    site_file.write_text("max_hours = ")
    assert read_settings().max_hours == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "videos_in_fligth = 2",
            r"toml: videos_in_fligth .* did you mean videos_in_flight\?",
        ),
        ("params = 2", "params is not a setting"),
        (
            "videos_in_flight = 0",
            "toml: videos_in_flight = 0 does not fit: input",
        ),
        ("profile = ['open']", r"profile = \['open'\] does not fit: .* string: correct or remove"),
        ("[profile]\nname = 'open'", "profile = .* does not fit"),
        ("database = 5", "database = … does not fit"),  # a secret
        ("voices_url = 'x'", "toml: voices_url is now called database: set database and remove"),
        ("data_dir = 'x'", "cannot move it: set SPOKENBY_DATA_DIR instead"),
        (
            "profile = open",
            r"cannot be read \(Invalid value \(at line 1, .*: correct it",
        ),
        ("profile = 'open'\nprofile = 'studio'", "Cannot overwrite a value"),
    ],
)
def test_what_does_not_fit_in_the_file_is_said(site_file: Path, text: str, says: str) -> None:
    site_file.write_text(text)
    with pytest.raises(InputError, match=says):
        read_settings()


def test_a_file_that_is_no_text_is_said(site_file: Path) -> None:
    site_file.write_bytes(b"profile = '\xff'")
    with pytest.raises(InputError, match=r"cannot be read .*utf-8.*: correct it"):
        read_settings()
