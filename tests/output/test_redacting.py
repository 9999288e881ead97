"""Names, numbers and speakers are found as people say and recognizers write them."""

from __future__ import annotations

import pytest

from spokenby.output.redacting import MARGIN, Redacted, Request, redact
from spokenby.types import SpeakerTranscript
from tests.review.conversation import Line, transcript_of


def said(*texts: str, language: str = "en", spaced: bool = True) -> SpeakerTranscript:
    """Return what two people say in turns, a line in ten seconds."""
    lines = [
        Line(10.0 * n, 10.0 * n + 8, ("Ada Lovelace", "Speaker 7")[n % 2], text)
        for n, text in enumerate(texts)
    ]
    transcript = transcript_of(lines).model_copy(update={"language": language})
    if spaced:
        return transcript
    segments = tuple(
        each.model_copy(
            update={
                "words": tuple(word.model_copy(update={"spaced": False}) for word in each.words)
            }
        )
        for each in transcript.segments
    )
    return transcript.model_copy(update={"segments": segments})


def without(*texts: str, language: str = "en", spaced: bool = True, **request: object) -> Redacted:
    transcript = said(*texts, language=language, spaced=spaced)
    return redact(transcript, "talk", Request(**request))  # type: ignore[arg-type]


def text_of(redacted: Redacted) -> str:
    return " | ".join(segment.text for segment in redacted.transcript.segments)


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("Ada", "so ADA, who came", "so […] who came"),
        ("Ada", "that is Ada's. And Ada’s.", "that is […]. And […]."),
        ("Ada", "Adam from Canada", "Adam from Canada"),
        ("Ada Lovelace", "I met ada lovelace there.", "I met […] there."),
        ("Ada Lovelace", "only Ada and only Lovelace", "only Ada and only Lovelace"),
        ("Lovelace", "Mrs. Love lace and Love-lace", "Mrs. […] and […]"),
        ("Love Lace", "Mrs. Lovelace", "Mrs. […]"),
        ("Lovelace", "the Lovelaces and Lovelace-King", "the […] and […]"),
        ("Lovelace", "glovelace Lovelaced", "glovelace Lovelaced"),
        ("Ana", "an a-flat for Ana", "an a-flat for […]"),
        ("Müller", "MUELLER Muller MÜLLERS", "MUELLER […]"),
        ("Søren", "with Soren", "with […]"),
        ("O'Brien", "O’Brien and OBrien", "[…] and […]"),
        ("Анна Каренина", "это анна каренина", "это […]"),
    ],
)
def test_names(name: str, text: str, left: str) -> None:
    assert text_of(without(text, names=(name,))) == left


def test_a_name_that_somebody_interrupts() -> None:
    redacted = without("it was Ada", "mhm.", "Lovelace again", names=("Ada Lovelace",))
    assert text_of(redacted) == "it was […] | mhm. | […] again"


def test_names_in_a_script_without_spaces() -> None:
    redacted = without("我 叫李 明说 三 十二", language="zh", spaced=False, names=("李明",))
    assert text_of(redacted) == "我[…]三十二"
    redacted = without("我 有 三 十二 本 一 起", language="zh", spaced=False, numbers=True)
    assert text_of(redacted) == "我有[…]本一起"
    redacted = without(
        "等 一 点 儿 幺 三 八 和 三 点 五", language="zh", spaced=False, numbers=True
    )
    assert text_of(redacted) == "等一点儿[…]和[…]"


@pytest.mark.parametrize(
    ("language", "text", "left"),
    [
        ("en", "Call 555-1234 at 3rd, B2B, ٣", "Call […] at […]"),
        ("en", "twenty-one or three hundred and five.", "[…] or […]."),
        ("en", "one of them, one second, first of all", "one of them, one second, first of all"),
        ("en", "oh nine one one and so on", "[…] and so on"),
        ("en", "on the twenty first, often weight", "on the […] often weight"),
        ("de", "im Jahr neunzehnhundertvierundachtzig", "im Jahr […]"),
        ("de", "zweitausendeinundzwanzig neunzehnhunderteinundachtzig hunderteins", "[…]"),
        ("de", "ein Haus, zwei und dreißigste, achtsam, Hundertschaft", None),
        ("fr", "quatre-vingt-dix et un ami", "[…] ami"),
        ("es", "veintidós y mil novecientos", "[…]"),
        ("sv", "tjugo och 20", "tjugo och […]"),
    ],
)
def test_numbers(language: str, text: str, left: str | None) -> None:
    left = left or "ein Haus, […] achtsam, Hundertschaft"
    assert text_of(without(text, language=language, numbers=True)) == left


def test_numbers_of_other_languages_are_doubted() -> None:
    (doubt,) = without("tjugo 20", language="sv", numbers=True).doubts
    assert doubt == "numbers spelled out in sv are not known: only digits were sought"


def test_a_speaker_and_the_name() -> None:
    redacted = without(
        "I am Ada Lovelace, hello.", "Ada Lovelace is here.", speakers=("SPEAKER_00",)
    )
    transcript = redacted.transcript
    assert text_of(redacted) == "[…]. | […] is here."
    first, second = transcript.speakers
    assert (first.label, first.name, first.voice, first.words) == (
        *("REDACTED_01", "Redacted speaker", None),
        1,
    )
    assert (second.label, second.name, second.words) == ("SPEAKER_01", "Speaker 7", 3)
    assert {turn.speaker for turn in transcript.turns} == {"REDACTED_01", "SPEAKER_01"}
    assert transcript.named_warnings == ("Redacted speaker and Speaker 7 sound alike",)
    # The whole turn is silent, also where no word was recognized.
    assert redacted.sound[0] == (0.0, 8 + MARGIN)
    assert [each.why for each in redacted.taken] == ["speaker", "name"]


def test_times_stay_and_sound_is_wider() -> None:
    before = said("one two Ada four")
    redacted = redact(before, "talk", Request(("ada",)))
    words, now = before.segments[0].words, redacted.transcript.segments[0].words
    assert [(word.start, word.end) for word in now] == [(word.start, word.end) for word in words]
    assert redacted.sound == ((words[2].start - MARGIN, words[2].end + MARGIN),)
    (taken,) = redacted.taken
    assert (taken.text, taken.why, taken.speaker) == ("Ada", "name", "Ada Lovelace")


def test_who_is_named_is_called_otherwise() -> None:
    redacted = redact(said("hello"), "Ada_Lovelace talks, part 2", Request(("Ada Lovelace",), True))
    assert redacted.name == "[…] talks, part […]"
    (speaker,) = redacted.transcript.speakers
    assert (speaker.name, speaker.label, speaker.voice) == ("Redacted speaker", "SPEAKER_00", None)


def test_a_track_is_called_otherwise_with_its_speaker() -> None:
    before = said("hello", "so Ada Lovelace it is")
    ada, other = before.speakers
    tracks = (
        ada.model_copy(update={"name": "Countess", "track": "Ada Lovelace"}),
        other.model_copy(update={"track": "Bob"}),
    )
    warnings = ("track 1 (Ada Lovelace) is silent",)
    transcript = before.model_copy(update={"speakers": tracks, "warnings": warnings})
    for request in (Request(speakers=(ada.label,)), Request(names=("Ada Lovelace",))):
        copy = redact(transcript, "talk", request).transcript
        assert [speaker.track for speaker in copy.speakers] == ["", "Bob"]
        assert "Ada" not in copy.model_dump_json()


def test_names_in_a_title_that_is_written_together() -> None:
    copy = redact(said("hello"), "InterviewAdaLovelace", Request(("Ada Lovelace",)))
    assert copy.name == "Interview […]"
    copy = redact(said("hello"), "interviewlovelace", Request(("Lovelace",)))
    assert copy.name == "interviewlovelace"
    assert "the title, “interviewlovelace”, may still have “Lovelace” in it" in copy.doubts


def test_what_may_be_left_is_said() -> None:
    doubts = without(
        *("so Ada, Lovelase and Lovelacey", "Ada, yes, Ada, Ada: Ada."),
        names=("Ada Lovelace", "Babbage"),
    ).doubts
    assert doubts == (
        "“Ada Lovelace” is not said as the transcript has it: check how it is written",
        "“Babbage” is not said as the transcript has it: check how it is written",
        "“Ada” is still there, and like a name: 0:01, 0:10, 0:13, …",
        "“Lovelase” is still there, and like a name: 0:03",
        "“Lovelacey” is still there, and like a name: 0:06",
    )
