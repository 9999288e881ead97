from pathlib import Path

import pytest

from whosaid.report import clock, summarise
from whosaid.types import Speaker, SpeakerTranscript


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (29.6, "0:30"), (59.6, "1:00"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_summary_names_speakers_stages_and_warnings() -> None:
    transcript = SpeakerTranscript(
        digest="d",
        language="en",
        duration=3723,
        speech=100,
        speakers=(Speaker(label="SPEAKER_00", name="A | <b>", talk_time=65, words=7),),
        segments=(),
        turns=(),
        warnings=("mind\nthis",),
    )
    manifest = {
        "video": {"name": "a|b.mp4"},
        "quality": "embedded (draft)",
        "words": 7,
        "seconds": 12.34,
        "times_real_time": 301.7,
        "stages": {
            "speech": {"seconds": 2.0, "from_cache": True},
            "diarize": {"seconds": 10.34, "from_cache": False},
        },
    }
    page = summarise(transcript, manifest, Path("out"))
    for line in (
        "# a\\|b.mp4",
        (
            "1:02:03 long, 1:40 of it speech, language en, 7 words. Quality: embedded (draft). "
            "Took: 12.3 s, 301.7 × real time."
        ),
        "| A \\| &lt;b> | 1:05 | 7 |",
        "| speech | 2.0 | from the cache |",
        "| diarize | 10.3 |  |",
        "- warning: mind this",
        "Outputs: `out`",
    ):
        assert line in page.splitlines(), line
