"""A run without a Prefect server, which starts one for as long as it lasts."""

from __future__ import annotations

from pathlib import Path

from conftest import Site
from media import Sound, make_video, silence


def test_flows_and_tasks_of_the_users_own_are_not_imported(tmp_path: Path) -> None:
    """The server would find them: Python puts the current directory first where `-m` is used."""
    site = Site(tmp_path, {"PREFECT_API_URL": ""})
    make_video(site.videos / "quiet.mp4", Sound(silence(1)))
    ran = site.run("transcribe")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert site.strangers_imported == ""
