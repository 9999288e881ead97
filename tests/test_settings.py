from __future__ import annotations

from pathlib import Path

import pytest

from whosaid.errors import InputError
from whosaid.settings import read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("WHOSAID_")]:
        monkeypatch.delenv(name)


def test_folders_follow_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHOSAID_DATA_DIR", "elsewhere")
    monkeypatch.setenv("WHOSAID_TRANSCRIPTS_DIR", "minutes")
    settings = read_settings()
    assert settings.videos == Path("elsewhere/videos")
    assert settings.results == Path("elsewhere/cache/results")
    assert settings.transcripts == Path("minutes")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WHOSAID_PROFIL", "open", "WHOSAID_PROFIL is not a setting of whosaid"),
        ("WHOSAID_VIDEOS_IN_FLIGHT", "many", "WHOSAID_VIDEOS_IN_FLIGHT='many' does not fit"),
        ("WHOSAID_VIDEOS_IN_FLIGHT", "0", "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=says):
        read_settings()
