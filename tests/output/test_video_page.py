from pathlib import Path

from spokenby.output.video_page import write_video_page
from spokenby.types import Speaker, SpeakerTranscript


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
        "made_by": "words by W, speakers by S",
        "words": 7,
        "seconds": 12.34,
        "times_real_time": 301.7,
        "stages": {
            "speech": {"seconds": 2.0, "from_cache": True, "computed_in": ""},
            "diarize": {"seconds": 10.34, "from_cache": False, "computed_in": "cuda, bfloat16"},
        },
    }
    page = write_video_page(transcript, manifest, Path("out"))
    for line in (
        "# a\\|b.mp4",
        (
            "1:02:03 long, 1:40 of it speech, language en, 7 words. "
            "Words by W, speakers by S. Took: 12.3 s, 301.7 × real time."
        ),
        "| A \\| &lt;b> | 1:05 | 7 |",
        "| speech | 2.0 |  | from the cache |",
        "| diarize | 10.3 | cuda, bfloat16 |  |",
        "- warning: mind this",
        "Outputs: `out`",
    ):
        assert line in page.splitlines(), line
