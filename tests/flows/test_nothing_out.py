"""A server, its worker and a run of it connect to nothing outside of this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from media import Sound, make_video, silence
from served import Served
from tracing import can_trace, hosts_in, tracer

QUIETED = re.compile(
    "ORT_DISABLE|HF_HUB_DISABLE|DO_NOT_TRACK|XDG_CACHE_HOME|CI$|CI_|GITHUB|GITLAB|BUILD|TF_BUILD"
    "|TRAVIS|CIRCLECI|JENKINS|TEAMCITY"
)
"""Variables of this process by which libraries would be quiet: those that spokenby sets, and those
by which they know a build machine."""


class Traced(Served):
    """A site whose parts note which addresses they use."""

    def start(self, *words, **environment):  # type: ignore[no-untyped-def]
        return super().start(*words, before=tracer(self.folder / "connections"), **environment)


def test_serving_reports_to_nobody(tmp_path: Path) -> None:
    if not can_trace():
        pytest.skip("needs strace, and permission to trace")
    served = Traced(tmp_path)
    for name in filter(QUIETED.match, os.environ):
        served.environment.pop(name, None)
    served.environment["HOME"] = str(tmp_path)
    quiet = make_video(served.videos / "quiet.mp4", Sound(silence(2)), picture=False)
    served.up("both")
    try:
        run = served.trigger(paths=[str(quiet)])  # its search for speech loads onnxruntime
        served.wait_for(run, "Completed")
    finally:
        served.down("both")
    assert hosts_in(tmp_path / "connections") == set()
    assert not (tmp_path / ".cache").exists()
