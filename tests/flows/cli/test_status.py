"""`spokenby status` and `spokenby retry` after real runs that failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from commands import Here
from conftest import ROOT, Site
from media import Sound, make_video, silence, tone

from spokenby.digests import digest_file
from spokenby.engines.av import read_audio
from spokenby.output.folders import folder_name
from spokenby.plan.stages import Stage
from spokenby.site.attempts import Ledger


@pytest.fixture
def cli(site: Site) -> Iterator[Here]:
    with Here(site) as commands:
        yield commands


def test_a_failed_video_is_shown_and_retried_with_the_params_it_failed_with(
    site: Site, cli: Here
) -> None:
    make_video(site.videos / "good.mp4", Sound(silence(1)))
    bad = make_video(site.videos / "bad.mp4", Sound(tone(1)))
    output = site.folder / "output"
    output.mkdir()
    blocked = output / folder_name("bad", digest_file(bad))
    blocked.write_text("a file where the video's folder should be")
    assert "2 waiting" in cli.run("status").out
    assert cli.run("retry").out.strip() == "nothing to retry: no video has failed"

    assert cli.run("transcribe", site.videos / "good.mp4").code == 0
    options = ("--output", output, "--num-speakers", 1)
    assert cli.run("transcribe", bad, *options).code == 1
    shown = cli.run("status")
    assert shown.code == 1
    assert "1 failed, 1 done" in shown.out
    assert "failed once: write: " in shown.out

    again = cli.run("retry", bad)
    assert again.code == 1
    assert "failed once: write: " in again.out  # counted again
    blocked.unlink()
    retried = cli.run("retry")
    assert retried.code == 0, retried.out
    assert "1 done" in retried.out
    site.transcripts = output
    assert site.manifest("bad")["params"]["diarize"]["num_speakers"] == 1
    assert site.computed("bad") == set()
    assert not Ledger(site.data / "cache" / "ledger.sqlite").read()


def test_a_failed_stage_leaves_the_others_stored(site: Site, cli: Here) -> None:
    """Speech in a language that the model does not know."""
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    talk = make_video(site.videos / "talk.mp4", Sound(samples[None, : 6 * rate_hz], rate_hz))
    assert cli.run("transcribe", talk, "--language", "yue").code == 1
    shown = cli.run("status", "--language", "yue")
    assert "failed once: transcribe: " in shown.out
    assert f"{Stage.EXTRACT} {Stage.SPEECH} {Stage.DIARIZE} {Stage.EMBED}" in shown.out


def test_a_file_that_is_gone_or_changed_is_forgotten(site: Site, cli: Here) -> None:
    for name in ("gone", "changed"):
        (site.videos / f"{name}.mp4").write_text(f"{name}: no video")
    assert cli.run("transcribe").code == 1
    assert "2 failed" in cli.run("status").out
    (site.videos / "gone.mp4").unlink()
    (site.videos / "changed.mp4").write_text("still no video, but another")
    shown = cli.run("status").out
    assert "1 failed, 1 waiting" in shown
    retried = cli.run("retry")
    assert (retried.code, "2 skipped" in retried.out) == (0, True)
    assert "1 waiting" in cli.run("status").out
