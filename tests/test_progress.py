from __future__ import annotations

import pytest

from spokenby.errors import StoppedError
from spokenby.progress import Step, listening, reset_stop, showing, stop_all, timed
from spokenby.types import SpeechRegions


def test_listeners_hear_of_progress() -> None:
    heard: list[Step] = []
    with listening(heard.append), showing("talk.mp4", "diarize", every_s=0) as progress:
        progress(0.5)
    with showing("talk.mp4", "embed") as progress:
        progress(0.5)
    assert heard == [
        Step("talk.mp4", "diarize", "running", 0.0),
        Step("talk.mp4", "diarize", "running", 0.5),
    ]


def test_progress_ends_the_work_once_asked_to_stop() -> None:
    with showing("talk.mp4", "diarize") as progress:
        stop_all()
        try:
            with pytest.raises(StoppedError):
                progress(0.1)
        finally:
            reset_stop()
        progress(0.2)


def test_time_is_noted_in_the_result() -> None:
    def compute(digest: str) -> SpeechRegions:
        return SpeechRegions(digest=digest, regions=(), windows=(), duration=1.0, seconds=99.0)

    assert 0 <= timed(compute, "abc").seconds < 5
