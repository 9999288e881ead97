"""Whoever starts a run shares with it what it has seen: nothing is looked at twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Here
from conftest import Site
from media import Sound, make_video, silence, tone

from spokenby import digests
from spokenby.site import batch, inventory, track_folders

OLD = 1_700_000_000


@pytest.fixture
def cli(site: Site) -> Iterator[Here]:
    with Here(site) as commands:
        yield commands


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of what looks at videos; each does what it always does."""
    counts: Counter[str] = Counter()

    def count(module: Any, name: str, what: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            is_model = isinstance(args[0], Path) and args[0].suffix != ".mp4"
            counts[what] += not is_model
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    count(inventory, "look_for_videos", "find")
    count(inventory, "probe_recording", "probe")
    count(track_folders, "digest_file", "digest")
    count(digests, "_hash", "read whole")
    count(batch, "plan_video", "plan")
    count(batch, "make_recipe", "batch")
    return counts


def add(site: Site, name: str, hz: float = 0.0, age: float = 0.0) -> None:
    path = make_video(site.videos / name, Sound(tone(1, hz) if hz else silence(1)))
    os.utime(path, (OLD - age, OLD - age))


def test_a_run_looks_at_each_video_once(site: Site, cli: Here, calls: Counter[str]) -> None:
    add(site, "a.mp4")
    add(site, "b.mp4", hz=300)
    (site.videos / "c.mp4").write_bytes(b"no video")
    ran = cli.run("transcribe")
    assert ran.code == 1, ran.out
    # Of the broken file, one digest notes that it was tried.
    assert calls == {"find": 1, "probe": 3, "digest": 3, "read whole": 3, "plan": 2, "batch": 1}

    calls.clear()
    add(site, "d.mp4", hz=500)
    (site.videos / "c.mp4").unlink()
    ran = cli.run("transcribe")
    assert ran.code == 0, ran.out
    assert "3 of 3 videos" in ran.out
    assert calls == {"find": 1, "probe": 3, "digest": 3, "read whole": 1, "plan": 3, "batch": 1}

    calls.clear()
    assert "already up to date" in cli.run("transcribe").out  # needs no plan
    assert calls == {"find": 1, "probe": 3, "digest": 3, "batch": 1}


def test_a_sweep_here_prepares_one_batch(site: Site, cli: Here, calls: Counter[str]) -> None:
    add(site, "a.mp4")
    add(site, "b.mp4", hz=300, age=5)
    swept = cli.run("sweep")
    assert (swept.code, "2 done" in swept.out) == (0, True), swept.out
    assert calls["batch"] == 1
    assert calls["plan"] == calls["probe"] == calls["read whole"] == 2

    calls.clear()
    assert "2 skipped" in cli.run("sweep").out
    assert calls == {"batch": 1}


def test_a_retry_here_prepares_one_batch(site: Site, cli: Here, calls: Counter[str]) -> None:
    (site.videos / "a.mp4").write_bytes(b"no video")
    os.utime(site.videos / "a.mp4", (OLD, OLD))
    assert cli.run("transcribe").code == 1
    calls.clear()
    assert "failed once: inspect: " in cli.run("retry").out
    assert (calls["batch"], calls["probe"], calls["read whole"]) == (1, 1, 0)
