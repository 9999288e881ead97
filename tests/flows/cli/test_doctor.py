from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
from postgres import new_schema

from flows.cli import doctor
from flows.cli.doctor import Light, examine
from spokenby.settings import Settings


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


def test_a_database_that_hosts_share(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = new_schema(postgres)
    there = doctor._database(Settings(database=address))
    assert (there.light, there.next_step) == (Light.GREEN, "")
    assert there.message.startswith("postgres on 127.0.0.1:")

    now = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() - 7)
        apart = doctor._database(Settings(database=address))
    assert apart.light is Light.YELLOW
    assert "the clock of this machine is 7 s behind its own" in apart.message
    assert "NTP" in apart.next_step

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("UPDATE voice_library_version SET version_num = '0099'")
    newer = doctor._database(Settings(database=address))
    assert newer.light is Light.RED
    assert "written by a newer spokenby" in newer.message
    assert newer.next_step == "update spokenby"

    away = doctor._database(Settings(database="postgresql://ada:hunter2@127.0.0.1:1/x"))
    assert away.light is Light.RED
    assert "the database x on 127.0.0.1:1 cannot be reached" in away.message
    assert "SPOKENBY_DATABASE" in away.next_step
    assert "hunter2" not in str([there, apart, newer, away])


def test_misspelt_setting_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_FFMPG", "x")
    findings = list(examine())
    assert findings[-1].light is Light.RED
    assert "SPOKENBY_FFMPG" in findings[-1].message
