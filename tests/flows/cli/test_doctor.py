from __future__ import annotations

import sys
import time
from pathlib import Path

import psycopg
import pytest
from postgres import new_schema
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import doctor
from flows.cli.doctor import Light, examine
from flows.server import host_versions
from spokenby.buckets import Bucket
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


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
@pytest.mark.parametrize(
    ("version", "light"),
    [("5.1.9-0+deb12u1", Light.YELLOW), ("n9.0.2-17-g2a", Light.GREEN), ("7.1", Light.GREEN)],
)
def test_an_ffmpeg_that_misplaces_sound_is_warned_of(
    tmp_path: Path, version: str, light: Light
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho ffmpeg version {version} Copyright and so on\n")
    program.chmod(0o755)
    found = doctor._ffmpeg(Settings(ffmpeg=str(program)))
    assert (found.light, version in found.message) == (light, True)


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


def test_a_bucket_that_hosts_share(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = doctor._storage(Settings(storage=bucket))
    assert (there.light, there.next_step) == (Light.GREEN, "")
    assert [*Bucket(bucket).list()] == []

    put = Bucket.put
    monkeypatch.setattr(Bucket, "put", lambda self, key, content, **_: put(self, key, content))
    ignores = doctor._storage(Settings(storage=bucket))
    assert ignores.light is Light.RED
    assert "ignores If-None-Match and If-Match" in ignores.message

    away = doctor._storage(Settings(storage="s3://no-such-bucket/x"))
    monkeypatch.undo()
    assert away.light is Light.RED


def test_hosts_with_other_versions(
    prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, storage="s3://none", profile="embedded")
    with (
        temporary_settings({PREFECT_API_URL: prefect_server}),
        get_client(sync_client=True) as client,
    ):
        for name, changed in {"same": {}, "b.other": {"versions": {"spokenby": "0.0.1"}}}.items():
            with monkeypatch.context() as patch:
                patch.setattr(host_versions, "host_name", lambda name=name: name)
                note = {**host_versions.describe(settings), **changed}
                patch.setattr(host_versions, "describe", lambda _, note=note: note)
                host_versions.note_host(client, settings)
                host_versions.note_host(client, settings)
        other, same = doctor._hosts(settings)
        for name in ("same", "b.other"):
            host_versions.forget_host(client, name)
        assert [*doctor._hosts(settings)] == []
    assert (other.light, same.light) == (Light.YELLOW, Light.GREEN)
    assert other.message.startswith("b.other has python missing, here 3.")
    assert "; spokenby 0.0.1, here " in other.message
    assert same.message == "same versions and models here and on same"


def test_misspelt_setting_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_FFMPG", "x")
    findings = list(examine())
    assert findings[-1].light is Light.RED
    assert "SPOKENBY_FFMPG" in findings[-1].message
