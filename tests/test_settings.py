from __future__ import annotations

from pathlib import Path

import pytest

from spokenby.errors import InputError
from spokenby.settings import read_settings


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
        ("SPOKENBY_PROFIL", "open", "SPOKENBY_PROFIL is not a setting of spokenby"),
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
