"""Every word finds its speaker or a reason; none is lost; the reader is told what is missing."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from spokenby.stages.merging import (
    Params,
    join_voices,
    join_words,
    keep_sentences,
    merge_transcript,
    name_speakers,
)
from spokenby.types import (
    Diarization,
    EdgeDecision,
    EdgeDecisions,
    Identity,
    LanguagePart,
    Span,
    SpeakerEmbeddings,
    SpeakerTranscript,
    SpeechRegions,
    Track,
    Transcript,
    Turn,
    WindowNote,
    Word,
)

A, B, C = "SPEAKER_00", "SPEAKER_01", "SPEAKER_02"


def spans_of(times):
    return tuple(Span(start=start, end=end) for start, end in times)


def turns_of(rows):
    return tuple(Turn(start=start, end=end, speaker=speaker) for start, end, speaker in rows)


def merge(
    words, turns=(), *, exclusive=None, regions=None, language="en", voiceless=(), **params
) -> SpeakerTranscript:
    """Merge rows of (start, end[, text[, confidence]]) with rows of (start, end, speaker)."""
    full = [
        it
        if isinstance(it, Word)
        else Word(
            **dict(zip(("start", "end", "text", "confidence"), (*it, *defaults), strict=True))
        )
        for it in words
        for defaults in [() if isinstance(it, Word) else ("w", 0.9)[len(it) - 2 :]]
    ]
    languages = {
        key: params.pop(key)
        for key in ("language_probability", "languages", "language_set")
        if key in params
    }
    doubtful = params.pop("doubtful", ())
    speakers = tuple(sorted({speaker for *_, speaker in turns}))
    vectors = np.array([[math.nan] * 2 if s in voiceless else [1, 0] for s in speakers])
    per_speaker = np.zeros(len(speakers))
    alike = dict.fromkeys(("likeness", "parts"), np.empty((0, 2))) | params.pop("alike", {})
    edges, missing = params.pop("edges", None), params.pop("missing", ())
    tracks = params.pop("tracks", ())
    regions = [(s, e) for s, e, _ in turns] if regions is None else regions
    joined = join_voices(
        Diarization(
            digest="d",
            turns=turns_of(turns),
            exclusive=turns_of(turns if exclusive is None else exclusive),
            warnings=missing,
            tracks=tracks,
        ),
        SpeakerEmbeddings(
            digest="e",
            model="m",
            speakers=speakers,
            vectors=vectors.reshape(-1, 2),
            spread=per_speaker,
            speech=per_speaker + 1,
            segments=0,
            **alike,
        ),
        Params(**params),
    )
    return merge_transcript(
        Transcript(
            digest="t",
            language=language,
            words=tuple(full),
            **languages,
            doubtful=doubtful,
        ),
        joined,
        SpeechRegions(digest="s", regions=spans_of(regions), windows=(), duration=100.0),
        Params(**params),
        edges=edges,
        digest="merged",
    )


def words_of(result):
    return [word for segment in result.segments for word in segment.words]


TWO = [(0.0, 2.0, A), (2.0, 4.0, B)]


@pytest.mark.parametrize(
    ("word", "turns", "speaker"),
    [
        pytest.param((0.5, 1.0), TWO, A, id="inside a turn"),
        pytest.param((0.0, 2.0), TWO, A, id="exactly a turn"),
        pytest.param((1.75, 2.125), TWO, A, id="over the edge, more before"),
        pytest.param((1.875, 2.25), TWO, B, id="over the edge, more after"),
        pytest.param((1.75, 2.25), TWO, A, id="half and half: heard first in the video"),
        pytest.param((1.75, 2.25), [(0, 2, B), (2, 4, A)], B, id="first heard, not first label"),
        pytest.param((0.0, 2.0), [(0, 0.7, A), (0.7, 1.5, B), (1.5, 2, A)], A, id="sum of turns"),
        pytest.param((1.0, 1.0), TWO, A, id="no length, inside"),
        pytest.param((2.0, 2.0), TWO, A, id="no length, on the edge of both"),
        pytest.param((4.0, 4.3), TWO, B, id="touches the last turn"),
        pytest.param((4.5, 4.8), TWO, B, id="exactly 0.5 s behind the last turn"),
        pytest.param((4.51, 4.8), TWO, None, id="too far behind"),
        pytest.param((1.2, 1.5), [(2.0, 3.0, A)], A, id="exactly 0.5 s before the first turn"),
        pytest.param((1.2, 1.49), [(2.0, 3.0, A)], None, id="too far before"),
        pytest.param((1.3, 1.5), [(0, 1, A), (1.6, 3, B)], B, id="in a gap, nearer to the next"),
        pytest.param((1.1, 1.4), [(0, 1, A), (1.6, 3, B)], A, id="in a gap, nearer to the last"),
        pytest.param((1.25, 1.5), [(0, 1, B), (1.75, 3, A)], B, id="in the middle of a gap"),
        pytest.param((5.0, 5.2), [(0, 9, A), (1, 2, B)], A, id="in a turn that holds another"),
        pytest.param((1.0, 1.2), [], None, id="no turns"),
    ],
)
def test_a_word_goes_to_the_speaker_with_the_greatest_overlap_or_the_nearest_turn(
    word, turns, speaker
):
    (spoken,) = words_of(merge([word], turns))
    assert (spoken.start, spoken.end) == word
    assert spoken.speaker == speaker
    assert (spoken.reason is None) == (speaker is not None)


def test_the_reason_names_the_distance_or_that_there_are_no_turns():
    (far,) = words_of(merge([(9, 9.5)], TWO, max_edge_distance=0.25))
    assert far.reason == "no turn within 0.25 s"
    (alone,) = words_of(merge([(9, 9.5)]))
    assert alone.reason == "no speaker was found in this video"


@pytest.mark.parametrize("distance", [0.0, 0.1, 0.5])
def test_max_edge_distance_is_inclusive_in_spite_of_rounding(distance):
    for start in np.arange(0, 50, 0.7).tolist():
        turns = [(start, start + 0.1, A)]
        word = (start + 0.1 + distance, start + 0.2 + distance)
        assert words_of(merge([word], turns, max_edge_distance=distance))[0].speaker == A


@pytest.mark.parametrize(
    ("words", "regions", "expected"),
    [
        pytest.param([(1, 3)], [(0, 9)], [(1, 3)], id="exactly the longest"),
        pytest.param([(1, 8)], [(0, 9)], [(1, 3)], id="keeps its start"),
        pytest.param([(1, 8)], [], [(1, 3)], id="no regions: keeps its start"),
        pytest.param([(1, 8)], [(0, 2), (7.5, 9)], [(1, 3)], id="more speech at its start"),
        pytest.param([(1, 8)], [(0, 1.2), (7.0, 9)], [(6, 8)], id="more speech at its end"),
        pytest.param([(1, 8)], [(0, 2), (7, 9)], [(1, 3)], id="as much: keeps its start"),
        pytest.param([(1, 3.5)], [(2.5, 9)], [(1.5, 3.5)], id="a little too long, speech late"),
        pytest.param(
            [(1, 8), (5, 8.5)], [(7, 9)], [(1, 3), (6.5, 8.5)], id="its end would change the order"
        ),
        pytest.param([(1, 8), (6, 8)], [(7, 9)], [(6, 8), (6, 8)], id="its end keeps the order"),
    ],
)
def test_words_longer_than_plausible_are_cut(words, regions, expected):
    result = merge(words, [(0, 9, A)], regions=regions)
    assert [(word.start, word.end) for word in words_of(result)] == expected


def test_a_cut_word_is_given_to_the_speaker_of_what_is_left():
    turns = [(0, 2, A), (2, 9, B)]
    (word,) = words_of(merge([(1, 8)], turns, max_word=1.5))
    assert (word.end, word.speaker) == (2.5, A)


@pytest.mark.parametrize(
    ("word", "overlap"),
    [
        ((0.0, 1.0), False),
        ((1.5, 2.0), False),  # touches
        ((1.5, 2.1), True),
        ((2.2, 2.8), True),
        ((2.9, 3.4), True),
        ((3.0, 3.4), False),
        ((4.9, 5.1), False),  # two turns that only touch
        ((5.5, 5.6), False),  # the same speaker twice
        ((2.5, 2.5), False),  # no length
    ],
)
def test_overlap_is_several_speakers_active_at_once_in_the_regular_turns(word, overlap):
    regular = [(0, 3, A), (2, 5, B), (5, 6, A), (5.4, 7, A)]
    exclusive = [(0, 2.5, A), (2.5, 5, B), (5, 7, A)]
    (spoken,) = words_of(merge([word], regular, exclusive=exclusive))
    assert spoken.overlap is overlap
    assert spoken.speaker is not None


def test_a_word_without_speaker_can_lie_in_overlap():
    (word,) = words_of(merge([(1, 2)], [(0, 3, A), (0, 3, B)], exclusive=[]))
    assert (word.speaker, word.overlap) == (None, True)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        ([], []),
        ([(0, 1, "a")], ["a"]),
        ([(0, 1, "a"), (1.5, 1.9, "b")], ["a b"]),
        ([(0, 0.4, "a"), (1.4, 1.9, "b")], ["a b"]),  # a pause of exactly max_pause
        ([(0, 0.3, "a"), (1.4, 1.9, "b")], ["a", "b"]),
        ([(1, 1.9, "a"), (2.1, 2.5, "b")], ["a", "b"]),  # another speaker
        ([(1, 1.9, "a"), (2.1, 2.5, "b"), (8.1, 8.4, "c")], ["a", "b", "c"]),
        ([(0, 1.9, "a"), (0.1, 0.3, "b"), (1.5, 1.6, "c")], ["a b c"]),  # inside one another
        ([(8, 8.1, "a"), (8.2, 8.4, "b")], ["a b"]),  # nobody's words
        ([(0, 0.5, ""), (0.6, 0.9, " a \n b ")], ["a b"]),
    ],
)
def test_segments_end_where_the_speaker_changes_or_pauses(words, texts):
    result = merge(words, TWO)
    assert [segment.text for segment in result.segments] == texts
    assert len(words_of(result)) == len(words)
    for segment in result.segments:
        assert segment.start == min(word.start for word in segment.words)
        assert segment.end == max(word.end for word in segment.words)
        assert {word.speaker for word in segment.words} == {segment.speaker}


def test_a_pause_of_exactly_max_pause_is_none_in_spite_of_rounding():
    assert 2.14 - 1.14 > 1.0
    assert len(merge([(1, 1.14), (2.14, 3)], [(0, 9, A)]).segments) == 1


@pytest.mark.parametrize(
    ("words", "confidence"),
    [
        ([(0, 0.5, "a", 0.4), (0.5, 1.0, "b", 0.8)], 0.6),
        ([(0, 1.5, "a", 0.4), (1.5, 2.0, "b", 0.8)], 0.5),
        ([(1, 1, "a", 0.4), (1, 1, "b", 0.8)], 0.6),  # no length at all
        ([(0, 1, "a", 0.0)], 0.0),
    ],
)
def test_confidence_is_weighted_by_length(words, confidence):
    (segment,) = merge(words, TWO).segments
    assert segment.confidence == pytest.approx(confidence)


def test_words_are_joined_as_they_are_spaced():
    spaced = {"我们": False, "用": False, "Visual": True, "Studio": True, "写": False}
    words = [
        Word(start=i / 10, end=i / 10, text=text, confidence=1, spaced=before)
        for i, (text, before) in enumerate(spaced.items())
    ]
    assert join_words(words) == "我们用 Visual Studio写"
    assert join_words(words[2:4]) == "Visual Studio"
    merged = merge([(i / 10, i / 10 + 0.1, t) for i, t in enumerate("abc")], TWO)
    assert merged.segments[0].text == "a b c"
    merged = merge(words, TWO)
    assert merged.segments[0].text == "我们用 Visual Studio写"
    assert [word.spaced for word in words_of(merged)] == list(spaced.values())


def parts(*rows):
    return tuple(
        LanguagePart(
            start=start, end=end, language=language, probability=probability, transcribed="en"
        )
        for start, end, language, probability in rows
    )


@pytest.mark.parametrize(
    ("probability", "languages", "warning"),
    [
        (None, (), ""),
        (0.99, parts((0, 9, "en", 0.99)), ""),
        (0.6, parts((0, 9, "en", 0.6)), ""),
        (0.9, parts((0, 9, "en", 0.99), (9, 10, "cy", 0.4)), ""),
        (0.4, parts((0, 9, "en", 0.4)), "the language en is uncertain (0.40 of 1)"),
        (0.3, parts((0, 9, "th", 0.5)), "the language en is uncertain (0.30 of 1)"),
        (0.02, parts((0, 9, "de", 0.97)), "this sounds like de (0.97 of 1) and was transcribed"),
        (
            0.7,
            parts((0, 30, "fr", 0.9), (30, 180, "en", 0.9)),
            "several languages: fr at 0 s-30 s, transcribed as en",
        ),
    ],
)
def test_doubts_about_the_language_are_told(probability, languages, warning):
    merged = merge(
        [(0, 1), (1, 2), (2, 3), (3, 4)], TWO, language_probability=probability, languages=languages
    )
    assert (merged.language_probability, merged.languages) == (probability, languages)
    found = [text for text in merged.warnings if "language" in text or "sounds" in text]
    assert len(found) == bool(warning)
    assert not warning or found[0].startswith(warning)


@pytest.mark.parametrize(("language_set", "guesses"), [(False, 1), (True, 0)])
def test_a_language_that_was_set_is_no_guess(language_set, guesses):
    doubt = {"language_probability": 0.3, "languages": parts((0, 9, "th", 0.5))}
    merged = merge([(0, 1), (2, 3)], TWO, **doubt, language_set=language_set)
    assert sum("is uncertain" in text for text in merged.warnings) == guesses


def test_another_language_than_the_one_that_was_set_is_told():
    doubt = {"language_probability": 0.02, "languages": parts((0, 9, "de", 0.97))}
    merged = merge([(0, 1), (2, 3)], TWO, **doubt, language_set=True)
    assert any(text.startswith("this sounds like de") for text in merged.warnings)


def test_the_share_of_speech_with_words_is_told():
    assert merge([(0, 1)], TWO).coverage == 0.375, "half a second around a word counts"
    assert merge([(0, 4)], TWO, max_word=4).coverage == 1
    assert merge([], TWO).coverage == 0
    assert merge([], []).coverage is None


def test_where_nobody_speaks_nobody_is_a_speaker():
    result = merge([], TWO, regions=[])
    assert (result.speakers, result.turns, result.warnings) == ((), (), ("no speech found",))


def test_speakers_are_numbered_by_their_first_turn_with_talk_time_and_words():
    turns = [(0, 2, B), (1, 4, A), (3.5, 5, A), (6, 7, C)]
    exclusive = [(0, 1.5, B), (1.5, 5, A), (6, 7, C)]
    result = merge([(0, 1), (1.6, 1.8), (2, 3), (20, 21)], turns, exclusive=exclusive)
    assert [(s.name, s.label, s.talk_time, s.words) for s in result.speakers] == [
        ("Speaker 1", B, 2.0, 1),
        ("Speaker 2", A, 4.0, 2),  # 1 to 5: overlapping turns of one speaker count once
        ("Speaker 3", C, 1.0, 0),
    ]
    assert result.turns == turns_of(turns)


def test_what_it_was_told_is_passed_on():
    doubtful = (WindowNote(start=1, end=2, reason="loops"),)
    result = merge([(0, 1)], TWO, language="fr", doubtful=doubtful)
    assert (result.digest, result.language, result.duration) == ("merged", "fr", 100.0)
    assert (result.speech, result.doubtful) == (4.0, doubtful)


DENSE = [(t / 2, t / 2 + 0.4) for t in range(8)]


@pytest.mark.parametrize(
    ("kwargs", "warnings"),
    [
        pytest.param({"words": DENSE, "turns": TWO}, (), id="all is well"),
        pytest.param(
            {"words": DENSE, "turns": TWO, "missing": ("4 speakers were requested",)},
            ("4 speakers were requested",),
            id="fewer voices than requested",
        ),
        pytest.param({"words": []}, ("no speech found",), id="silence"),
        pytest.param(
            {"words": [], "turns": TWO},
            ("4 s of speech, but no words were recognized in it",),
            id="turns but no words",
        ),
        pytest.param(
            {"words": [], "regions": [(0, 240)]},
            ("4 min of speech, but no words were recognized in it", "no speaker was found"),
            id="neither turns nor words",
        ),
        pytest.param(
            {"words": DENSE, "regions": [(0, 4)]},
            ("no speaker was found", "8 of 8 words have no speaker"),
            id="words but no turns",
        ),
        pytest.param(
            {"words": [*DENSE, (6, 7)], "turns": TWO},
            ("1 of 9 words have no speaker",),
            id="a word far from all turns",
        ),
        pytest.param(
            {"words": [(*word, "w", 0.3) for word in DENSE], "turns": TWO},
            ("low confidence overall (0.30 of 1): expect many wrong words",),
            id="low confidence",
        ),
        pytest.param(
            {"words": DENSE, "turns": [(0, 8, A)]},
            ("45% of the speech has no words",),  # from 4.4 s, half a second after the last word
            id="half without words",
        ),
        pytest.param(
            {"words": DENSE, "turns": [(0, 8, A)], "max_wordless_share": 0.5},
            (),
            id="half is allowed",
        ),
        pytest.param(
            {"words": [(0, 8)], "turns": [(0, 8, A)]},
            ("69% of the speech has no words",),  # the word is cut to 2 s
            id="a stretched word does not hide that words are missing",
        ),
        pytest.param(
            {"words": DENSE, "turns": TWO, "voiceless": {B}},
            (f"too little clear speech for a voiceprint: {B}",),
            id="no voiceprint",
        ),
        pytest.param(
            {
                "words": DENSE,
                "turns": TWO,
                "doubtful": tuple(
                    WindowNote(start=s, end=s + 2, reason="loops") for s in (0.0, 1.0)
                ),
            },
            ("3 s of the text is doubtful, in 2 places",),
            id="doubtful windows",
        ),
        pytest.param(
            {"words": [(1, 2)], "turns": TWO, "regions": []}, ("no speech found",), id="odd"
        ),
    ],
)
def test_the_reader_is_warned(kwargs, warnings):
    assert merge(**kwargs).warnings == warnings


def test_a_speaker_whom_the_embeddings_do_not_know_has_no_voiceprint():
    result = merge(DENSE, [(0, 4, A)], exclusive=[(0, 2, A), (2, 4, B)])
    assert [(s.label, s.talk_time, s.words) for s in result.speakers] == [(A, 4.0, 4), (B, 0.0, 4)]
    assert result.warnings == (f"too little clear speech for a voiceprint: {B}",)


@pytest.mark.parametrize("seed", range(40))
def test_no_word_is_lost_moved_or_given_to_somebody_far_away(seed):
    draw = random.Random(seed)
    words, turns, now = [], [], 0.0
    for index in range(draw.randrange(120)):
        now += draw.choice([0.0, 0.0, 0.05, 0.4, 1.5, 6.0])
        length = draw.choice([0.0, 0.1, 0.35, 0.8, 2.5, 9.0])
        words.append((now, now + length, f"w{index}", draw.random()))
    for _ in range(draw.randrange(40)):
        start = draw.uniform(0, now + 5)
        end = start + draw.expovariate(0.4)
        turns.append((start, end, draw.choice([A, B, C])))
    turns.sort()
    exclusive, reach = [], 0.0
    for start, end, speaker in turns:
        if end > max(start, reach):
            exclusive.append((max(start, reach), end, speaker))
            reach = end

    result = merge(words, turns, exclusive=exclusive)
    spoken = words_of(result)

    assert [word.text for word in spoken] == [text for _, _, text, _ in words]
    assert [word.confidence for word in spoken] == [confidence for *_, confidence in words]
    assert all(a.start <= b.start for a, b in pairwise(spoken))
    assert sum(speaker.words for speaker in result.speakers) == sum(
        word.speaker is not None for word in spoken
    )
    for word, (start, end, *_) in zip(spoken, words, strict=True):
        assert start <= word.start <= word.end <= end
        assert word.duration == pytest.approx(min(end - start, 2.0))
        # An independent, slow count of the same rules.
        shares, distances = dict.fromkeys([A, B, C], 0.0), dict.fromkeys([A, B, C], math.inf)
        for turn_start, turn_end, speaker in exclusive:
            shares[speaker] += max(0.0, min(word.end, turn_end) - max(word.start, turn_start))
            distance = max(turn_start - word.end, word.start - turn_end, 0.0)
            distances[speaker] = min(distances[speaker], distance)
        if max(shares.values()) > 1e-6:
            assert shares[word.speaker] == pytest.approx(max(shares.values()))
        elif min(distances.values()) <= 0.5:
            assert distances[word.speaker] == min(distances.values())
        else:
            assert (word.speaker, word.reason is None) == (None, False)
        instants = [word.start, word.end] + [t for turn in turns for t in turn[:2]]
        inside = sorted(t for t in instants if word.start <= t <= word.end)
        active = [
            {speaker for s, e, speaker in turns if s <= (x + y) / 2 <= e}
            for x, y in pairwise(inside)
            if y - x > 1e-6
        ]
        assert word.overlap == any(len(speakers) > 1 for speakers in active)
    assert merge(words, turns, exclusive=exclusive) == result
    assert SpeakerTranscript.model_validate_json(result.model_dump_json()) == result


THREE = [(0.0, 2.0, A), (2.0, 4.0, B), (4.0, 6.0, C)]
ALIKE = {
    "likeness": [[1, 0.1, 0.9], [0.1, 0.25, 0.2], [0.9, 0.2, 1]],
    "parts": [[math.nan] * 2, [62, 754.9], [math.nan] * 2],
}


def test_labels_that_do_not_fit_the_voices_are_told():
    words = [(t / 2, t / 2 + 0.4) for t in range(12)]
    one, two = merge(words, THREE, alike=ALIKE).warnings
    assert one == (
        f"{A} and {C} sound like one voice (similarity 0.90, where 1 is the same and what two have"
        " was not measured): --merge-same-voice puts them under one label"
    )
    assert two == (
        f"{B} sounds like two voices (similarity of its parts 0.25, where 1 is the same): "
        "compare 1:02 with 12:34"
    )
    assert not merge(words, THREE, alike=ALIKE, same_voice=0.95, two_voices=0.2).warnings


def test_one_voice_under_two_labels_is_joined_if_asked_for():
    words = [(0.5, 1), (2.5, 3), (3.875, 4.25), (5, 5.75)]
    regular = [*THREE, (5.5, 7, A)]
    result = merge(
        words, regular, exclusive=THREE, alike=ALIKE, merge_same_voice=True, max_wordless_share=1
    )
    assert [(s.label, s.name, s.talk_time, s.words) for s in result.speakers] == [
        (A, "Speaker 1", 5.0, 3),
        (B, "Speaker 2", 2.0, 1),
    ]
    assert [word.speaker for word in words_of(result)] == [A, B, A, A]
    assert [turn.speaker for turn in result.turns] == [A, B, A, A]
    # Two turns of one voice at once are no overlap.
    assert not any(word.overlap for word in words_of(result))
    one, split = result.warnings
    assert one.startswith(f"{A} and {C} sound like one voice (similarity 0.90")
    assert one.endswith("): they are joined")
    assert split.startswith(f"{B} sounds like two voices")


def test_a_word_whose_voice_is_known_goes_to_that_voice():
    words = [(0.5, 1), (1.8, 2.1), (2.1, 2.5), (50, 51)]
    edges = EdgeDecisions(
        digest="",
        decisions=(
            EdgeDecision(word=2, speaker=A, margin=0.3),
            EdgeDecision(word=3, speaker=C, margin=0.5),
        ),
        doubtful=3,
        heard=3,
    )
    given = {"turns": THREE, "edges": edges, "alike": ALIKE}
    assert [word.speaker for word in words_of(merge(words, **given))] == [A, A, A, C]
    joined = merge(words, **given, merge_same_voice=True)
    assert [word.speaker for word in words_of(joined)] == [A, A, A, A]
    assert all(word.reason is None for word in words_of(joined))


def test_params_refuse_what_makes_no_sense():
    for wrong in ({"max_word": 0}, {"max_edge_distance": -1}, {"low_confidence": 2}, {"typo": 1}):
        with pytest.raises(ValidationError):
            Params(**wrong)


def test_what_the_recogniser_notes_reaches_the_reader():
    noted = Transcript(digest="", language="en", words=(), notes=("batches were halved",))
    speech = SpeechRegions(digest="", regions=(), windows=(), duration=1.0)
    nobody = Diarization(digest="", turns=(), exclusive=())
    voices = SpeakerEmbeddings(
        digest="", model="", speakers=(), vectors=[], spread=[], speech=[], segments=0
    )
    joined = join_voices(nobody, voices, Params())
    merged = merge_transcript(noted, joined, speech, Params(), digest="")
    assert merged.warnings[0] == "batches were halved"


def spoken(times, texts):
    return [
        Word(start=start, end=start + 0.15, text=text, confidence=1.0)
        for start, text in zip(times, texts, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "found", "wanted"),
    [
        ("A guest. Who is going to be?", "0000011", "0011111"),  # an answer's first words
        ("Their radio show. So am I.", "001111", "000111"),  # lower case: a question's last word
        ("The news Right. I agree.", "00111", "00111"),  # a capital: somebody breaks in
        ("Is it? Yes. It is.", "00111", "00111"),  # at the end of a sentence already
        ("One. two three four five six seven", "0000001", "0000001"),  # too many words away
        ("He is? I am. No.", "00011", "00111"),  # one that ends a sentence, to the nearest
        ("Who. knows I do", "00--", "00--"),  # nobody's words stay nobody's
    ],
)
def test_a_change_of_speaker_moves_to_the_end_of_a_sentence(text, found, wanted):
    texts = text.split()
    words = spoken(np.arange(len(texts)) / 5, texts)
    owners = np.array([-1 if mark == "-" else int(mark) for mark in found])
    moved = keep_sentences(owners, words, np.array([w.start for w in words]), 1.0)
    assert "".join("-" if owner < 0 else str(owner) for owner in moved) == wanted


@pytest.mark.parametrize("third", [0, 2])
def test_who_speaks_between_two_changes_keeps_some_words(third):
    texts = "I think we should leave go now today. Yes we did".split()  # noqa: SIM905 - as it is read
    words = spoken(np.arange(len(texts)) * 0.3, texts)
    owners = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, third, third])
    moved = keep_sentences(owners, words, np.array([w.start for w in words]), 1.0)
    assert moved.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, third, third]


def test_a_change_of_speaker_moves_no_farther_than_requested():
    times = np.array([0, 1, 2.5, 3])
    words = spoken(times.tolist(), ["guest.", "Who", "is", "it?"])
    owners = np.array([0, 0, 1, 1])
    assert keep_sentences(owners, words, times, 1.0).tolist() == [0, 0, 1, 1]
    assert keep_sentences(owners, words, times, 2.0).tolist() == [0, 1, 1, 1]


def test_noise_under_two_labels_that_sound_alike_is_nobody():
    alike = {"likeness": np.ones((2, 2)), "parts": np.full((2, 2), np.nan)}
    merged = merge([], TWO, regions=[], merge_same_voice=True, alike=alike)
    assert (merged.speakers, merged.turns) == ((), ())


TRACKS = (Track(start=0, end=20), Track(start=50, end=65, name="Ada"))
"""The second one begins at 50 s of the waveform, and at the start of the video."""


def said(start, text):
    return [
        (start + number, start + number + 0.8, word) for number, word in enumerate(text.split())
    ]


def test_words_of_tracks_are_placed_in_the_video() -> None:
    words = [*said(1, "We begin late. Shall we?"), *said(53.5, "Oh!"), *said(60, "Yes.")]
    turns = [(1, 6.2, A), (53.5, 54.5, B), (60, 61, B)]
    doubtful = [WindowNote(start=59, end=62, reason="unsure")]
    languages = [LanguagePart(start=0, end=64, language="en", probability=1, transcribed="en")]
    result = merge(words, turns, tracks=TRACKS, doubtful=doubtful, languages=languages)
    shown = [(it.start, it.end, it.speaker, it.text, it.overlap) for it in result.segments]
    # A's sentence is whole, and what B says in it comes behind.
    assert shown == [
        (1.0, 3.8, A, "We begin late.", True),
        (3.5, 4.3, B, "Oh!", True),
        (4.0, 5.8, A, "Shall we?", True),
        (10.0, 10.8, B, "Yes.", False),
    ]
    assert [(it.start, it.end, it.speaker) for it in result.turns] == [
        (1.0, 6.2, A),
        (3.5, 4.5, B),
        (10.0, 11.0, B),
    ]
    assert result.duration == 20
    assert result.speech == pytest.approx(6.2)  # both at once count once
    assert [(it.start, it.end) for it in result.doubtful] == [(9, 12)]
    assert [(it.start, it.end) for it in result.languages] == [(0, 14), (0, 20)]


def test_words_of_tracks_are_replaced_before_they_are_placed() -> None:
    """What one speaker says in the middle of another's words does not part them."""
    words = [*said(1, "in half an hour"), *said(52.1, "when")]
    turns = [(1, 5, A), (52, 53, B)]
    result = merge(words, turns, tracks=TRACKS, replacements="half an hour => 30 minutes")
    assert [it.text for it in result.segments] == ["in 30 minutes", "when"]


def test_a_long_sentence_is_cut_where_somebody_else_speaks_for_long() -> None:
    words = [*said(1, "and " * 18), *said(52, "right")]
    result = merge(words, [(1, 19, A), (52, 53, B)], tracks=TRACKS)
    assert [it.speaker for it in result.segments] == [A, B, A]
    assert [it.start for it in result.segments] == sorted(it.start for it in result.segments)


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ((), ["Speaker 1", "Ada"]),
        ((Identity(speaker=B, voice=7, name="Speaker 7"),), ["Speaker 1", "Ada"]),
        ((Identity(speaker=B, voice=7, name="Ada L.", known=True),), ["Speaker 1", "Ada L."]),
        ((Identity(speaker=A, voice=3, name="Speaker 3"),), ["Speaker 3", "Ada"]),
    ],
)
def test_a_track_names_its_speaker_unless_somebody_named_the_voice(known, shown) -> None:
    result = merge([(1, 2), (52, 53)], [(1, 2, A), (52, 53, B)], tracks=TRACKS)
    named = name_speakers(result, known)
    assert [it.name for it in named.speakers] == shown
    assert [it.track for it in named.speakers] == ["", "Ada"]


def test_who_stands_on_several_tracks_has_the_name_of_none() -> None:
    result = merge([(1, 2), (52, 53)], [(1, 2, A), (52, 53, A)], tracks=TRACKS)
    assert [it.track for it in result.speakers] == [""]


def test_a_track_of_several_people_names_nobody() -> None:
    turns = [(1, 2, A), (52, 53, B), (54, 55, C)]
    result = merge([(1, 2), (52, 53), (54, 55)], turns, tracks=TRACKS)
    assert [it.name for it in result.speakers] == ["Speaker 1", "Speaker 2", "Speaker 3"]
