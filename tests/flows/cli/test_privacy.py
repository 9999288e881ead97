"""What spokenby writes is for its user alone, whatever the shell's umask is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Site
from media import Sound, make_video, tone

from flows.cli.doctor import Finding, Light, examine

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")


def open_to_others(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o077
    ]


def test_a_run_and_its_temporary_server_write_for_their_user_alone(tmp_path: Path) -> None:
    site = Site(tmp_path, {})
    site.environment.pop("PREFECT_API_URL", None)
    make_video(site.videos / "a.mp4", Sound(tone(2)))
    before = os.umask(0o022)
    try:
        ran = site.run("transcribe")
    finally:
        os.umask(before)
    assert ran.returncode == 0, ran.stderr
    ours = [site.transcripts, site.data / "cache", site.data / "voices", site.data / "runs"]
    for folder in (*ours, tmp_path / "prefect"):
        assert not folder.stat().st_mode & 0o077
        assert list(folder.iterdir())
        assert open_to_others(folder) == []
    assert (tmp_path / "prefect" / "prefect.db").exists()
    assert any((site.data / "cache" / "audio").iterdir())


def privacy() -> Finding:
    (finding,) = [finding for finding in examine() if finding.what == "privacy"]
    return finding


def test_doctor_says_what_others_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    (tmp_path / "voices").mkdir()
    voices, transcripts = tmp_path / "voices" / "voices.sqlite", tmp_path / "transcripts"
    voices.touch(0o600)
    transcripts.mkdir(0o700)
    assert str(tmp_path) not in privacy().says
    voices.chmod(0o644)
    transcripts.chmod(0o755)
    finding = privacy()
    assert finding.light is Light.YELLOW
    assert f"{transcripts}, {voices}" in finding.says
    assert finding.next_step.startswith("unless that is intended, run: chmod -R go= ")
