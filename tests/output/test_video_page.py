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
    naming, read = {"A | <b>": "[name](/x)"}, "[read and listen](http://127.0.0.1:4201/t/1)"
    page = write_video_page(transcript, manifest, Path("out"), naming=naming, page=read)
    for line in (
        read,
        "# a\\|b.mp4",
        (
            "1:02:03 long, 1:40 of it speech, language en, 7 words. "
            "Words by W, speakers by S. Took: 12.3 s, 301.7 × real time."
        ),
        "| A \\| &lt;b> | 1:05 | 7 | [name](/x) |",
        "| speech | 2.0 |  | from the cache |",
        "| diarize | 10.3 | cuda, bfloat16 |  |",
        "- warning: mind this",
        "Outputs: `out`",
    ):
        assert line in page.splitlines(), line


def test_markdown_in_names_is_shown_not_obeyed() -> None:
    image, link = "![x](//evil.example/x.png)", "[x](javascript:alert(1))"
    transcript = SpeakerTranscript(
        digest="d",
        language="en",
        duration=1,
        speech=1,
        speakers=(Speaker(label="SPEAKER_00", name=link, talk_time=1, words=1),),
        segments=(),
        turns=(),
        warnings=(image,),
    )
    manifest = {
        "video": {"name": f"{image}.mp4"},
        "made_by": f"words by {link}",
        "words": 1,
        "seconds": 1.0,
        "times_real_time": 1.0,
        "stages": {"speech": {"seconds": 1.0, "from_cache": True, "computed_in": link}},
    }
    page = write_video_page(transcript, manifest, Path("out` ![x]"))
    text, _, folder = page.rpartition("Outputs: ")
    assert text.count("x\\](") == text.count("](") == 5
    assert folder == "`` out` ![x] ``"
