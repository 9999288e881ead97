"""Corrections change what they name and nothing else; what does not fit is listed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import jsonschema
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from spokenby.errors import InputError
from spokenby.output.correcting import apply
from spokenby.output.corrections import (
    MOST_BYTES,
    Correction,
    Corrections,
    Who,
    as_json,
    json_schema,
    read_corrections,
)
from spokenby.output.paragraphs import cut_paragraphs
from spokenby.stages.merging import segment_of
from spokenby.types import Segment, Speaker, SpeakerTranscript, SpokenWord, Turn, WindowNote

A, B = "SPEAKER_00", "SPEAKER_01"
WHEN = datetime(2026, 3, 5, 12, tzinfo=UTC)
VIDEO = "a" * 64


def talk(*segments: tuple[str | None, str], step: float = 1.0) -> SpeakerTranscript:
    """Return a talk of segments, a word a `step`, each 0.8 of it long."""
    words, made = 0, []
    for speaker, text in segments:
        spoken = []
        for each in text.split():
            start = words * step
            spoken.append(
                SpokenWord(
                    start=start, end=start + 0.8 * step, text=each, confidence=0.4, speaker=speaker
                )
            )
            words += 1
        made.append(segment_of(spoken))
    return transcript_of(made)


def transcript_of(segments: list[Segment]) -> SpeakerTranscript:
    spoken = [segment for segment in segments if segment.speaker]
    turns = [Turn(start=s.start, end=s.end, speaker=s.speaker or "") for s in spoken]
    length = max((segment.end for segment in segments), default=0.0)
    return SpeakerTranscript(
        digest="d" * 64,
        language="en",
        duration=length,
        speech=length,
        speakers=tuple(
            Speaker(
                label=label,
                name=f"Speaker {number}",
                voice=number,
                talk_time=sum(turn.duration for turn in turns if turn.speaker == label),
                words=sum(len(s.words) for s in spoken if s.speaker == label),
            )
            for number, label in enumerate((A, B), 7)
        ),
        segments=tuple(segments),
        turns=tuple(turns),
    )


def words_of(transcript: SpeakerTranscript) -> list[SpokenWord]:
    return [word for segment in transcript.segments for word in segment.words]


def said(transcript: SpeakerTranscript) -> list[tuple[str | None, str]]:
    return [(segment.speaker, segment.text) for segment in transcript.segments]


def at(transcript: SpeakerTranscript, first: int, last: int, **wish) -> Correction:
    """Return a correction of the words from one place to another."""
    run = words_of(transcript)[first : last + 1]
    old = "".join((" " if word.spaced else "") + word.text for word in run).strip()
    end = max(word.end for word in run)
    return Correction(start=run[0].start, end=end, old=old, when=WHEN, **wish)


def who(transcript: SpeakerTranscript, label: str) -> Who:
    (each,) = [speaker for speaker in transcript.speakers if speaker.label == label]
    return Who(name=each.name, label=label, voice=each.voice, talk_time=each.talk_time)


TALK = talk((A, "We meat at free o'clock."), (B, "Yes fine."), (A, "Good bye."))


def test_a_word_gets_another_text_and_keeps_its_time():
    result = apply(TALK, [at(TALK, 1, 1, new="meet")])
    assert (result.unfit, said(result.transcript)[0]) == ((), (A, "We meet at free o'clock."))
    before, after = words_of(TALK), words_of(result.transcript)
    assert after[1] == before[1].model_copy(update={"text": "meet", "confidence": 1.0})
    assert [*after[:1], *after[2:]] == [*before[:1], *before[2:]]
    assert result.transcript.segments[1:] == TALK.segments[1:]
    assert result.transcript.speakers == TALK.speakers


def test_new_words_share_the_time_by_their_length_and_the_outer_ones_keep_theirs():
    result = apply(TALK, [at(TALK, 0, 4, new="We meet each other at three o'clock.")])
    words = words_of(result.transcript)[:7]
    texts = [word.text for word in words]
    assert texts == ["We", "meet", "each", "other", "at", "three", "o'clock."]
    sure = [word.model_copy(update={"confidence": 1.0}) for word in words_of(TALK)]
    assert (words[0], words[6]) == (sure[0], sure[4])
    # From 1 to 3.8 s, 4 + 4 + 5 + 2 + 5 letters.
    assert [round(word.start, 2) for word in words[1:6]] == [1, 1.56, 2.12, 2.82, 3.1]
    assert words[5].end == 3.8
    assert all(word.end == after.start for word, after in pairwise(words[1:6]))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("We meat at free o'clock then.", ["o'clock", "then."]),
        ("So we meat at free o'clock.", ["So", "we"]),
    ],
)
def test_what_is_only_added_takes_time_of_its_neighbor(new, expected):
    words = words_of(apply(TALK, [at(TALK, 0, 4, new=new)]).transcript)[:6]
    own = [(word.start, word.end) for word in words_of(TALK)]
    assert [word.text for word in words if (word.start, word.end) not in own] == expected
    assert [words[0].start, words[5].end] == [0.0, 4.8]


def test_words_are_deleted_and_their_segment_with_the_last_of_them():
    result = apply(TALK, [at(TALK, 5, 6, new=""), at(TALK, 0, 0, new=" ")])
    assert said(result.transcript) == [(A, "meat at free o'clock."), (A, "Good bye.")]
    assert [speaker.words for speaker in result.transcript.speakers] == [6, 0]
    everything = apply(TALK, [at(TALK, 0, 8, new="")])
    assert everything.transcript.segments == ()


def test_words_go_to_another_speaker_with_their_turns():
    result = apply(TALK, [at(TALK, 4, 4, speaker=who(TALK, B))])
    assert said(result.transcript) == [
        (A, "We meat at free"),
        (B, "o'clock. Yes fine."),
        (A, "Good bye."),
    ]
    assert [(turn.speaker, turn.start, turn.end) for turn in result.transcript.turns] == [
        (A, 0.0, 4.0),
        (B, 4.0, 4.8),
        (B, 5.0, 6.8),
        (A, 7.0, 8.8),
    ]
    talk_times = [round(speaker.talk_time, 3) for speaker in result.transcript.speakers]
    assert talk_times == [5.8, 2.6]
    assert [speaker.words for speaker in result.transcript.speakers] == [6, 3]
    between = apply(TALK, [at(TALK, 5, 6, speaker=who(TALK, A))])
    assert said(between.transcript) == [(A, "We meat at free o'clock. Yes fine. Good bye.")]


def test_a_person_whom_the_transcript_lacks_becomes_a_speaker_of_it():
    grace = Who(name="Grace")
    wishes = [at(TALK, 5, 5, speaker=grace), at(TALK, 8, 8, speaker=grace)]
    result = apply(TALK, wishes)
    assert said(result.transcript) == [
        (A, "We meat at free o'clock."),
        ("SPEAKER_02", "Yes"),
        (B, "fine."),
        (A, "Good"),
        ("SPEAKER_02", "bye."),
    ]
    last = result.transcript.speakers[-1]
    assert (last.label, last.name, last.voice, last.words) == ("SPEAKER_02", "Grace", None, 2)
    nobody = talk((None, "who is this"))
    assert said(apply(nobody, [at(nobody, 0, 2, speaker=grace)]).transcript) == [
        ("SPEAKER_02", "who is this")
    ]


def test_paragraphs_are_split_and_joined():
    result = apply(TALK, [at(TALK, 2, 2, paragraph="split")])
    assert said(result.transcript)[:2] == [(A, "We meat"), (A, "at free o'clock.")]
    assert [len(part) for part in cut_paragraphs(result.transcript)] == [2, 3, 2, 2]
    pause = talk((A, "one two"), (A, "three"))
    joined = apply(pause, [at(pause, 2, 2, paragraph="join")])
    assert said(joined.transcript) == [(A, "one two three")]
    far = talk((A, "one"), (A, "two"), step=12.0)
    assert [len(part) for part in cut_paragraphs(far)] == [1, 1]
    joined = apply(far, [at(far, 1, 1, paragraph="join")])
    assert [len(part) for part in cut_paragraphs(joined.transcript)] == [2]
    (other,) = apply(TALK, [at(TALK, 5, 5, paragraph="join")]).unfit
    assert other.reason == "somebody else speaks before"
    # Deleted words pass on what began with them.
    gone = [at(TALK, 2, 2, paragraph="split"), at(TALK, 2, 2, new="")]
    assert said(apply(TALK, gone).transcript)[:2] == [(A, "We meat"), (A, "free o'clock.")]


def test_a_place_that_was_checked_is_not_doubtful_any_more():
    notes = (WindowNote(start=1, end=3, reason="noise"), WindowNote(start=50, end=60, reason="?"))
    doubtful = TALK.model_copy(update={"doubtful": notes})
    one = apply(doubtful, [at(TALK, 1, 1, checked=True)])
    assert one.transcript.doubtful == notes
    assert words_of(one.transcript)[1].confidence == 1
    both = apply(doubtful, [at(TALK, 1, 1, checked=True), at(TALK, 2, 2, new="by")])
    assert both.transcript.doubtful == notes[1:]
    assert both.checked == pytest.approx(2 / 9, abs=0.001)


def test_what_is_corrected_twice_ends_as_it_was_corrected_last():
    chain = [at(TALK, 1, 1, new="met")]
    chain.append(chain[0].model_copy(update={"old": "met", "new": "meet"}))
    assert said(apply(TALK, chain).transcript)[0] == (A, "We meet at free o'clock.")
    again = apply(apply(TALK, chain).transcript, chain)
    assert (said(again.transcript)[0], again.unfit) == ((A, "We meet at free o'clock."), ())


def shifted(transcript: SpeakerTranscript, by: float, **texts: str) -> SpeakerTranscript:
    """Return what another recognizer would have heard: a bit later, and with other words."""
    segments = [
        segment_of(
            [
                word.model_copy(
                    update={
                        "start": word.start + by,
                        "end": word.end + by,
                        "text": texts.get(word.text, word.text),
                    }
                )
                for word in segment.words
            ]
        )
        for segment in transcript.segments
    ]
    return transcript.model_copy(update={"segments": tuple(segments)})


def test_another_recognizers_words_are_corrected_where_they_are_the_same():
    wishes = [at(TALK, 1, 1, new="meet"), at(TALK, 3, 3, new="three")]
    result = apply(shifted(TALK, 0.3), wishes)
    assert (said(result.transcript)[0][1], result.unfit) == ("We meet at three o'clock.", ())
    right = apply(shifted(TALK, 0.3, free="three"), wishes)
    assert (said(right.transcript)[0][1], right.unfit) == ("We meet at three o'clock.", ())
    wrong = apply(shifted(TALK, 0.3, free="tree"), wishes)
    assert said(wrong.transcript)[0][1] == "We meet at tree o'clock."
    assert [str(each) for each in wrong.unfit] == ["0:03 “free” to “three”: now “tree”"]
    late = apply(shifted(TALK, 0.6), wishes)
    assert (said(late.transcript), len(late.unfit)) == (said(TALK), 2)


def test_the_nearest_of_equal_words_is_meant():
    echo = talk((A, "no no no no"), step=0.25)
    assert said(apply(echo, [at(echo, 2, 2, new="yes")]).transcript) == [(A, "no no yes no")]
    assert said(apply(echo, [at(echo, 1, 2, new="yes")]).transcript) == [(A, "no yes no")]
    # What was added already is not added again.
    twice = at(echo, 1, 1, new="no no")
    result = apply(echo, [twice]).transcript
    assert said(result) == said(apply(result, [twice]).transcript) == [(A, "no no no no no")]


def test_who_spoke_is_found_by_label_voice_or_name_and_never_guessed():
    wish = at(TALK, 4, 4, speaker=who(TALK, B))
    swapped = TALK.model_copy(
        update={
            "speakers": (
                TALK.speakers[0].model_copy(update={"voice": 8, "name": "Bo"}),
                TALK.speakers[1].model_copy(update={"voice": 7, "talk_time": 99.0}),
            )
        }
    )
    assert said(apply(swapped, [wish]).transcript) == said(TALK)  # A has the voice: it is theirs
    strangers = tuple(
        speaker.model_copy(update={"voice": None, "talk_time": 99.0}) for speaker in TALK.speakers
    )
    unknown = TALK.model_copy(update={"speakers": strangers})
    (unfit,) = apply(unknown, [wish]).unfit
    assert unfit.reason == "who “Speaker 8” was is not known here"
    named = wish.model_copy(update={"speaker": Who(name="Bo", label=B, voice=8, talk_time=1.8)})
    called = (strangers[0], strangers[1].model_copy(update={"name": "Bo"}))
    result = apply(unknown.model_copy(update={"speakers": called}), [named])
    assert said(result.transcript)[1] == (B, "o'clock. Yes fine.")
    assert apply(unknown, [named]).transcript.speakers[-1].name == "Bo"


def test_a_voice_that_went_into_another_is_that_one():
    ada = TALK.speakers[0].model_copy(update={"voice": 3, "merged": (7,), "talk_time": 99.0})
    joined = TALK.model_copy(update={"speakers": (ada, TALK.speakers[1])})
    named = Who(name="Ada L.", label=A, voice=7, talk_time=1.8)
    result = apply(joined, [at(TALK, 5, 5, speaker=named)])
    assert said(result.transcript)[0] == (A, "We meat at free o'clock. Yes")
    assert len(result.transcript.speakers) == 2


def test_a_passage_stays_with_its_speaker_where_a_few_of_its_words_are_heard_otherwise():
    long = talk((A, "one two three four five six seven eight nine ten"), (B, "yes"))
    wish = at(long, 0, 9, speaker=who(long, B))
    heard = shifted(long, 0.1, three="tree", nine="mine")
    assert said(apply(heard, [wish]).transcript) == [
        (B, "one two tree four five six seven eight mine ten yes")
    ]
    other = shifted(long, 0.1, one="a", three="b", five="c", seven="d")
    assert len(apply(other, [wish]).unfit) == 1


def test_chinese_is_typed_without_spaces():
    words = [
        SpokenWord(start=n, end=n + 1, text=text, confidence=1, spaced=False, speaker=A)
        for n, text in enumerate(["你", "号", "吗？"])
    ]
    chinese = transcript_of([segment_of(words)])
    result = words_of(apply(chinese, [at(chinese, 1, 1, new="好，朋友")]).transcript)
    assert [word.text for word in result] == ["你", "好，", "朋", "友", "吗？"]
    assert not any(word.spaced for word in result)


VOCABULARY = ("a", "no", "no,", "yes.", "<b>", "שלום", "👩‍👩‍👧", "it's")


@st.composite
def corrected(draw: st.DrawFn) -> tuple[SpeakerTranscript, list[tuple[int, int, Correction]]]:
    """Return a transcript, and corrections of some of its words at different places."""
    segments: list[Segment] = []
    now = 0.0
    for _ in range(draw(st.integers(1, 4))):
        speaker, spoken = draw(st.sampled_from((A, B, None))), []
        for _ in range(draw(st.integers(1, 6))):
            now += draw(st.sampled_from((0.05, 0.2, 0.4, 1.5, 4.0)))
            length = draw(st.sampled_from((0.03, 0.3, 2.0)))  # may run into the next word
            spoken.append(
                SpokenWord(
                    start=now,
                    end=now + length,
                    text=draw(st.sampled_from(VOCABULARY)),
                    confidence=0.4,
                    spaced=draw(st.booleans()),
                    speaker=speaker,
                )
            )
        segments.append(segment_of(spoken))
    transcript = transcript_of(segments)
    total, place, made = len(words_of(transcript)), 0, []
    while True:
        first = place + draw(st.integers(0, 3))
        last = first + draw(st.integers(0, 3))
        if last >= total:
            return transcript, made
        texts = st.lists(st.sampled_from((*VOCABULARY, "new")), max_size=4).map(" ".join)
        wish = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "new": texts,
                    "speaker": st.sampled_from([who(transcript, A), Who(name="Grace")]),
                    "paragraph": st.just("split"),
                    "checked": st.just(True),
                },
            ).filter(bool)
        )
        made.append((first, last, at(transcript, first, last, **wish)))
        place = last + 1


@given(corrected())
def test_corrections_lose_and_double_no_word_and_keep_the_order(drawn):
    transcript, made = drawn
    before = words_of(transcript)
    result = apply(transcript, [each for _, _, each in made])
    assert result.unfit == ()
    after = words_of(result.transcript)
    expected: list[str] = []
    rest = 0
    for first, last, each in made:
        expected += [word.text for word in before[rest:first]]
        old = [word.text for word in before[first : last + 1]]
        expected += old if each.new is None else each.new.split()
        rest = last + 1
    expected += [word.text for word in before[rest:]]
    assert [word.text for word in after] == expected
    assert all(word.start <= following.start for word, following in pairwise(after))
    assert all(word.start <= word.end for word in after)
    # Words that nobody named are the same, to the last field but where their paragraph begins.
    named = {n for first, last, _ in made for n in range(first, last + 1)}
    kept = [word.model_copy(update={"paragraph": None}) for word in after]
    assert all(word in kept for n, word in enumerate(before) if n not in named)
    for _, _, each in made:
        if each.new:
            inside = [w for w in after if each.start <= w.start and w.end <= each.end]
            assert len(inside) >= len(each.new.split())
    # Segments hold one speaker's words; figures are those of what is there.
    for segment in result.transcript.segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
        assert segment == segment_of(segment.words)
    for speaker in result.transcript.speakers:
        own = [word for word in after if word.speaker == speaker.label]
        turns = [turn for turn in result.transcript.turns if turn.speaker == speaker.label]
        assert speaker.words == len(own)
        assert speaker.talk_time == pytest.approx(sum(turn.duration for turn in turns))
    starts = [(turn.start, turn.end) for turn in result.transcript.turns]
    assert starts == sorted(starts)


@given(corrected())
def test_applying_again_changes_nothing(drawn):
    """What was written and checked, given and split, stands there: it fits and stays.

    Not so where fewer words were left: what they stand for has another length now.
    """
    transcript, made = drawn
    wishes = [
        each
        for first, last, each in made
        if each.new is None or len(each.new.split()) > last - first
    ]
    once = apply(transcript, wishes)
    again = apply(once.transcript, wishes)
    assert again.unfit == ()
    assert again.transcript.segments == once.transcript.segments


@given(corrected(), st.data())
def test_undoing_one_leaves_the_others(drawn, data):
    transcript, made = drawn
    wishes = [each for _, _, each in made if each.speaker is None]
    assert apply(transcript, []).transcript == transcript
    if wishes:
        left = data.draw(st.permutations(wishes))
        assert words_of(apply(transcript, left).transcript) == words_of(
            apply(transcript, wishes).transcript
        )


def test_steps_undo_word_by_word():
    wishes = [at(TALK, 1, 1, new="do meet"), at(TALK, 5, 6, speaker=who(TALK, A))]
    result = apply(TALK, wishes)
    words = words_of(result.transcript)
    for step in reversed(result.steps):
        words[step.place : step.place + step.size] = step.before
    assert words == words_of(TALK)


CONTENT = as_json(Corrections(video=VIDEO, name="talk", corrections=(at(TALK, 1, 1, new="meet"),)))


def test_the_file_is_read_back_and_fits_its_schema():
    schema = json_schema()
    assert (ROOT / "docs" / "corrections.schema.json").read_text("utf-8") == (
        json.dumps(schema, indent=2) + "\n"
    ), "write it again: `python -m spokenby.output.corrections > docs/corrections.schema.json`"
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(CONTENT), schema)
    assert as_json(read_corrections(CONTENT)) == CONTENT
    assert json.loads(as_json(Corrections(video=VIDEO)))["corrections"] == []


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda text: text[:-20], "Invalid JSON"),
        (lambda _: "[1]", "corrections.json"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        (lambda text: text.replace(VIDEO, "../../x"), "video"),
        (lambda text: text.replace('"new"', '"newer"'), "corrections.0.newer"),
        (lambda text: text.replace('"new": "meet"', '"checked": false'), "corrects nothing"),
        (lambda text: text.replace('"old": "meat"', '"old": " "'), "old text is empty"),
        (lambda text: text.replace('"start": 1.0', '"start": NaN'), "corrections.0.start"),
        (lambda text: text.replace('"start": 1.0', '"start": 5.0'), "ends before it starts"),
        (lambda text: text.replace("12:00:00Z", "12:00:00"), "corrections.0.when"),
        (lambda text: text.replace('"meet"', f'"{"x" * 20_001}"'), "corrections.0.new"),
        (lambda text: text.replace('"name": "talk"', '"name": "\\ud800"'), "corrections.json"),
        (lambda _: " " * (MOST_BYTES + 1), "larger than 32 MB"),
        (lambda _: "[" * 100_000, "corrections.json"),
    ],
)
def test_a_spoilt_file_is_refused_in_one_line(spoil, named):
    with pytest.raises(InputError, match=named) as caught:
        read_corrections(spoil(CONTENT.decode()).encode())
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Speaker 2", "SPEAKER_01", "Unknown speaker", "Unknown speaker B"]
)
def test_a_name_that_says_nothing_makes_nobody(name):
    before = talk((A, "good morning"), (B, "hello"))
    gone = Who(name=name, label=B, talk_time=99.0)  # of what was recognized before
    found = apply(before, [at(before, 0, 0, speaker=gone)])
    assert found.transcript == before
    assert [each.reason for each in found.unfit] == [f"who “{name}” was is not known here"]
