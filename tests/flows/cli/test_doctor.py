from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli.doctor import Light, examine


def test_this_machine_has_nothing_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    findings = {finding.what: finding for finding in examine()}
    assert {"python", "packages", "ffmpeg", "torchcodec", "GPU", "disk", "Prefect"} <= set(findings)
    assert [finding for finding in findings.values() if finding.light is Light.RED] == []
    assert findings["profile embedded"].light is Light.GREEN
    studio = findings["profile studio"]
    assert studio.light is Light.YELLOW
    assert "spokenby models fetch" in studio.next_step


def test_what_is_red_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SPOKENBY_FFMPEG", str(tmp_path / "nowhere"))
    red = [finding for finding in examine() if finding.light is Light.RED]
    assert [finding.what for finding in red] == ["ffmpeg"]
    assert red[0].next_step


def test_misspelt_setting_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_FFMPG", "x")
    findings = list(examine())
    assert findings[-1].light is Light.RED
    assert "SPOKENBY_FFMPG" in findings[-1].message
