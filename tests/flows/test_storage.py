"""Two hosts with one bucket and no shared disk: what one has computed, the other has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from buckets import BucketServer
from commands import Here
from conftest import Site
from postgres import new_schema

from spokenby.buckets import Bucket
from spokenby.site.attempts import Ledger

TALK = "telephone talk"


@pytest.fixture
def hosts(
    site_copy: Site,
    prefect_server: str,
    tmp_path: Path,
    postgres: str,
    bucket: str,
    bucket_server: BucketServer,
) -> tuple[Site, Site]:
    """Return a finished site that has just got a bucket, and one that has only the videos."""
    shared = {
        **bucket_server.environment,
        "SPOKENBY_STORAGE": bucket,
        "SPOKENBY_DATABASE": new_schema(postgres),
    }
    site_copy.environment |= shared
    other = Site(tmp_path / "other", {"PREFECT_API_URL": prefect_server, **shared})
    shutil.copytree(site_copy.videos, other.videos, dirs_exist_ok=True)
    return site_copy, other


def test_what_one_host_has_computed_the_other_has(hosts: tuple[Site, Site]) -> None:
    first, second = hosts
    video = first.videos / f"{TALK}.mp4"
    with Here(first) as here:
        # Stored and written before there was a bucket: both are brought there.
        ran = here.run("transcribe", video, "--force", "merge")
        assert ran.code == 0, ran.out
    text = (first.output(TALK) / "transcript.json").read_bytes()
    with Here(second) as here:
        assert "1 done" in here.run("status", second.videos / video.name).out
        assert not second.transcripts.exists()
        ran = here.run("transcribe", second.videos / video.name)
        assert ran.code == 0, ran.out
        assert (second.output(TALK) / "transcript.json").read_bytes() == text
        ran = here.run("transcribe", second.videos / video.name, "--force", "merge")
        assert ran.code == 0, ran.out
        assert second.computed(TALK) <= {"merge"}
        assert (second.output(TALK) / "transcript.json").read_bytes() == text
        voice = second.transcript(TALK).speakers[0].name
        ran = here.run("voices", "name", voice, "Ada")
        assert ran.code == 0, ran.out
    with Here(first) as here:
        found = here.run("export", first.output(TALK), "--as", "md")
        assert found.code == 0, found.out
    assert "Ada" in (first.output(TALK) / "transcript.txt").read_text("utf-8")
    with Here(second) as here:
        here.run("status", second.videos / video.name)
        here.run("export", second.videos / video.name, "--as", "md")
    assert (second.output(TALK) / "transcript.md").exists()


def test_videos_in_a_bucket(hosts: tuple[Site, Site], bucket: str) -> None:
    first, second = hosts
    for name in (TALK, "copy of it"):
        Bucket(bucket).put(f"talks/{name}.mp4", first.videos / f"{TALK}.mp4")
    Bucket(bucket).put("talks/broken.mp4", b"not a video")
    with Here(first) as here:
        ran = here.run("transcribe", f"{bucket}/talks", "--force", "extract")
        shown = " ".join(ran.out.split())
        assert ran.code == 1, ran.out
        assert "broken.mp4" in shown
        assert not [*(first.data / "cache" / "videos").glob("*/*")]
        (attempt,) = Ledger(first.environment["SPOKENBY_DATABASE"]).read().values()
        assert attempt.path == f"{bucket}/talks/broken.mp4"
        for named in (f"{bucket}/talks/{TALK}.mp4", first.output(TALK)):
            shutil.rmtree(first.videos, ignore_errors=True)
            ran = here.run("export", named, "--as", "video", "--to", first.folder, "--overwrite")
            assert ran.code == 0, ran.out
            captioned = first.folder / f"{TALK}.captions.mp4"
            assert captioned.stat().st_size > 100_000
            captioned.unlink()
    shutil.rmtree(second.videos)
    with Here(second) as here:
        swept = here.run("sweep", f"{bucket}/talks", "--dry-run", "--stable-s", 0)
        assert "broken.mp4" in swept.out
        assert "2 skipped" in swept.out
        assert not (second.data / "cache" / "videos").exists()  # nothing had to be read
        status = here.run("status")
        assert status.code == 1
        assert "1 failed" in status.out
        assert "2 done" in status.out  # one folder for each name of the video
        # What the bucket has of one video cannot be read: the others go on.
        damaged = f"transcripts/{first.output('copy of it').name}/manifest.json"
        Bucket(bucket).put(damaged, b"{")
        ran = here.run("transcribe", f"{bucket}/talks/copy of it.mp4", f"{bucket}/talks")
        assert ran.code == 1, ran.out
        assert " ".join(ran.out.split()).count("manifest.json is damaged") == 1, ran.out
        assert (second.output(TALK) / "transcript.json").exists()
        assert "cut off" not in here.run("status").out
