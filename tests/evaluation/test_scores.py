"""Figures of hand-made cases are exact, and agree with other implementations."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokenby.evaluation import words
from spokenby.evaluation.annotations import Annotation, Line, Region, TimedWord
from spokenby.evaluation.figures import Score, Settings
from spokenby.evaluation.scores import score
from spokenby.types import Turn

meeteval = pytest.importorskip("meeteval", reason="the group `evaluation` is not installed")


def turns(text: str) -> Annotation:
    """Return turns written as `A 0 4, B 4 6`."""
    rows = [row.split() for row in text.split(",") if row.strip()]
    return Annotation(turns=tuple(Turn(speaker=a, start=b, end=c) for a, b, c in rows))


def said(text: str, *, timed: bool = False) -> Annotation:
    """Return lines written as `A: good morning / B: hello`; timed, a word takes a second."""
    lines, at = [], 0
    for row in text.split(" / ") if text else ():
        speaker, _, spoken = row.rpartition(":")
        end = at + len(spoken.split())
        times = (at, end) if timed else (None, None)
        lines.append(Line(spoken.strip(), speaker or None, *times))
        at = end
    return Annotation(lines=tuple(lines), language="en")


def values(found: Score) -> dict[str, float]:
    return {key: round(rate.value, 9) for key, rate in found.figures.items()}


TALK = "A 0 4, B 4 6, A 6 8"


@pytest.mark.parametrize(
    ("found", "missed", "false_alarm", "confusion", "speakers"),
    [
        pytest.param("x 0 4, y 4 6, x 6 8", 0, 0, 0, (2, 2), id="other labels"),
        pytest.param("B 0 4, A 4 6, B 6 8", 0, 0, 0, (2, 2), id="labels the other way round"),
        pytest.param("x 0 4, y 4 6, y 6 8", 0, 0, 2, (2, 2), id="a turn of another speaker"),
        pytest.param("x 0 2, y 2 4, x 4 6, x 6 8", 0, 0, 4, (2, 2), id="a swapped pair"),
        pytest.param("x 0 4, x 6 8", 2, 0, 0, (1, 2), id="a missed turn"),
        pytest.param("x 0 4, y 4 6, x 6 8, z 8 9", 0, 1, 0, (3, 2), id="a turn too many"),
        pytest.param("x 0 8", 0, 0, 2, (1, 2), id="one speaker"),
        pytest.param("", 8, 0, 0, (0, 2), id="nothing"),
    ],
)
def test_turns(found, missed, false_alarm, confusion, speakers):
    result = score(turns(TALK), turns(found))
    got = result.figures
    assert got["missed"] == (missed, 8)
    assert got["false_alarm"] == (false_alarm, 8)
    assert got["confusion"] == (confusion, 8)
    assert got["der"] == (missed + false_alarm + confusion, 8)
    assert got["count"] == (speakers[0] != speakers[1], 1)
    assert result.speakers == speakers


def test_jaccard_error_weighs_speakers_alike():
    # A: 6 of 6 s, B: 0 of 2 s.
    assert score(turns(TALK), turns("x 0 4, x 6 8")).figures["jer"] == (1, 2)
    # x is A: 6 of 8 s in common; B is nobody.
    assert score(turns(TALK), turns("x 0 8")).figures["jer"].value == pytest.approx((0.25 + 1) / 2)


def test_overlap_is_scored_unless_left_out():
    reference, found = turns("A 0 4, B 3 5"), turns("x 0 4, y 4 5")
    assert score(reference, found).figures["der"] == (1, 6)
    assert score(reference, found, Settings(skip_overlap=True)).figures["der"] == (0, 4)


def test_collar_is_on_each_side():
    reference, found = turns("A 1 5"), turns("x 1.2 5")
    assert score(reference, found).figures["der"].errors == pytest.approx(0.2)
    rate = score(reference, found, Settings(collar_s=0.25)).figures["der"]
    assert (rate.errors, rate.total) == (0, pytest.approx(3.5))


def test_reference_of_one_speaker():
    found = score(turns("A 0 8"), turns("x 0 6, y 6 8"))
    assert found.figures["confusion"] == (2, 8)
    assert (found.speakers, found.mapping) == ((2, 1), {"x": "A"})


def test_only_scored_regions_count():
    reference = turns("A 0 4, B 4 6")
    regions = Annotation(turns=reference.turns, scored=(Region(0, 4),), ignored=(Region(0, 1),))
    assert score(regions, turns("x 1 3, y 7 9")).figures["der"] == (1, 3)


MORNING = "A: good morning everybody / B: hello / A: are you ready"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            "x: Good morning, everybody. / y: Hello! / x: Are you ready?",
            {"wer": 0, "wer_raw": 6 / 7, "wder": 0, "cpwer": 0},
            id="the same",
        ),
        pytest.param(
            "x: good morning everybody hello / y: are you ready",
            # At best y is A and x is B, whose "hello" is right, but not the three words before it.
            {"wer": 0, "wer_raw": 0, "wder": 3 / 7, "cpwer": 6 / 7},
            id="wrong speakers",
        ),
        pytest.param(
            "x: good evening everybody / x: are you ready",
            {"wer": 2 / 7, "wer_raw": 2 / 7, "wder": 0, "cpwer": 2 / 7},
            id="a missed turn and a wrong word",
        ),
        pytest.param("", {"wer": 1, "wer_raw": 1, "cpwer": 1}, id="nothing"),
        pytest.param(
            "good morning everybody hello are you ready", {"wer": 0, "wer_raw": 0}, id="by nobody"
        ),
    ],
)
def test_words(found, expected):
    assert values(score(said(MORNING), said(found))) == pytest.approx(expected, abs=1e-6)


def test_word_of_nobody_has_the_wrong_speaker():
    found = score(said("A: one day / B: later"), said("x: one / :day / y: later"))
    assert found.figures["wder"] == (1, 3)


def test_reference_of_one_speaker_in_words():
    found = score(said("A: what a day it is"), said("x: what a / y: day it / x: is"))
    assert found.figures["wder"] == (2, 5)
    assert found.figures["cpwer"] == (4, 5)


def test_same_word_at_another_time_is_not_the_same():
    reference = Annotation(lines=(Line("yes", "A", 0, 1), Line("fine", "A", 1, 2)))
    late = Annotation(lines=(Line("fine", "x", 1, 2), Line("yes", "x", 60, 61)), language="en")
    found = score(reference, late).figures
    # One missed and one too many, however words are timed; in time, "yes" has no partner.
    assert (found["cpwer"], found["tcpwer"]) == ((2, 2), (2, 2))
    near = Annotation(lines=(Line("yes", "x", 3, 4), Line("fine", "x", 4, 5)), language="en")
    far = Annotation(lines=(Line("yes", "x", 33, 34), Line("fine", "x", 34, 35)), language="en")
    assert score(reference, near).figures["tcpwer"] == (0, 2)
    assert score(reference, far).figures["cpwer"] == (0, 2)
    assert score(reference, far).figures["tcpwer"] == (4, 2)


def test_words_outside_of_scored_regions_do_not_count():
    reference = said("A: good morning / A: not scored", timed=True)
    reference = Annotation(lines=reference.lines, ignored=(Region(2, 4),))
    heard = (TimedWord("Good", 0, 1), TimedWord("morning", 1, 2), TimedWord("rubbish", 2, 3))
    found = Annotation(lines=(Line("Good morning rubbish", "x", 0, 3, heard),), language="en")
    assert score(reference, found).figures["wer"] == (0, 2)


def test_edges_of_words():
    right = (TimedWord("good", 0, 0.5), TimedWord("morning", 0.5, 1), TimedWord("all", 1, 2))
    found = (TimedWord("Good", 0, 0.5), TimedWord("mourning", 0, 9), TimedWord("all.", 1.2, 2.04))
    got = score(Annotation(words=right), Annotation(words=found)).figures
    assert got["edges"].errors == pytest.approx(0.24)
    assert got["edges"].total == 4
    assert got["edges_off"] == (1, 4)


def test_speech_without_lines_is_uncovered():
    found = Annotation(lines=(Line("good", "x", 0, 3),))
    assert score(turns("A 0 4, B 3 5"), found).figures["uncovered"] == (2, 5)


def test_names_are_right_missed_or_wrong():
    reference = turns("Ada_Lovelace 0 4, Grace 4 6, Alan 6 8")
    found = Annotation(
        turns=turns("x 0 4, y 4 6, z 6 8").turns, names={"x": "Ada Lovelace", "y": "Alan"}
    )
    got = score(reference, found, known_people={"Ada Lovelace", "Alan"}).figures
    assert got["name_wrong"] == (1, 2)  # Grace is called Alan …
    assert got["name_missed"] == (1, 2)  # … and Alan is not; nobody knows Grace
    assert "name_wrong" not in score(turns(TALK), found).figures  # A and B are no names


def test_two_labels_of_one_person_are_both_named_rightly():
    reference = turns("Ada 0 20, Bob 20 30")
    found = Annotation(
        turns=turns("x 0 12, y 12 20, z 20 30").turns, names={"x": "Ada", "y": "Ada"}
    )
    got = score(reference, found, known_people={"Ada"}).figures
    assert (got["name_wrong"], got["name_missed"]) == ((0, 2), (0, 1))


def test_who_speaks_outside_of_the_scored_regions_is_not_missed():
    talk = turns("Ada 0 20, Bob 100 110").turns
    reference = Annotation(turns=talk, scored=(Region(0, 50),))
    found = Annotation(turns=turns("x 0 20").turns, names={"x": "Ada"})
    got = score(reference, found, known_people={"Ada", "Bob"}).figures
    assert got["name_missed"] == (0, 1)


def test_overlapping_turns_of_one_speaker_are_one():
    twice = turns("A 0 10, A 5 15")
    assert score(twice, turns("x 0 15")).figures["der"] == (0, 15)
    assert score(turns("A 0 15"), twice).figures["der"] == (0, 15)


def test_a_system_that_finds_nobody_has_all_words_wrong():
    reference = replace(turns(TALK), lines=said(MORNING).lines)
    nobody = replace(said("good morning everybody / hello / are you ready"), turns=())
    got = score(reference, nobody).figures
    assert (got["der"].value, got["wer"].value, got["wder"]) == (1, 0, (7, 7))
    assert got["cpwer"].value > 0.2
    # One that tells no speakers is not measured by them.
    assert "wder" not in score(reference, replace(nobody, turns=None)).figures


def test_many_speakers_have_no_cpwer_and_the_rest():
    talk = said(" / ".join(f"S{n}: good morning" for n in range(21)))
    found = score(talk, talk)
    assert (found.figures["wder"], found.figures["wer"]) == ((0, 42), (0, 42))
    assert "cpwer" not in found.figures
    assert found.notes == ("21 speakers, and MeetEval takes 20: no cpWER",)


def test_words_without_times_are_in_no_region_and_that_is_said():
    reference = replace(said(MORNING), scored=(Region(0, 5),))
    found = score(reference, said(MORNING))
    assert found.figures == {}
    assert found.notes == (
        "without times, nobody knows which words are in the scored regions: no WER",
    )


def test_all_systems_are_normalized_for_one_language():
    reference = said("A: I don't know, it's 20 dollars")
    found = replace(said("x: I do not know it is twenty dollars"), language="german")
    assert score(reference, found, language="English").figures["wer"] == (0, 7)
    assert score(reference, replace(found, language="english")).language == "en"


def test_marks_of_words_without_spaces_are_of_their_characters():
    lines = (Line("你好世界", "x", 0, 2, (TimedWord("你好", 0, 1), TimedWord("世界", 1, 2))),)
    reference = Annotation(lines=(Line("你好世间", "A"),))
    found = score(reference, Annotation(lines=lines, language="zh"))
    assert found.figures["wer"] == (1, 4)
    assert [(mark.word.text, mark.said) for mark in found.marks] == [("世界", "世间")]


def test_wrong_words_are_marked_by_the_names_of_the_text():
    """Turns may call the same people differently."""
    reference = Annotation(
        turns=turns("speaker90 0 2, speaker91 2 4").turns,
        lines=said("Diane: good morning / Sheila: hello there").lines,
    )
    heard = [
        TimedWord(text, at, at + 1)
        for at, text in enumerate(["Good", "mourning", "hello", "there"])
    ]
    lines = (
        Line("Good mourning hello", "x", 0, 3, tuple(heard[:3])),
        Line("there", "y", 3, 4, tuple(heard[3:])),
    )
    found = score(reference, Annotation(turns("x 0 2, y 2 4").turns, lines, language="en"))
    assert found.mapping == {"x": "speaker90", "y": "speaker91"}
    assert [(mark.word.text, mark.said, mark.other_speaker) for mark in found.marks] == [
        ("mourning", "morning", False),
        ("hello", "hello", True),
    ]
    assert found.figures["wder"] == (1, 4)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Um, I won't pay twenty-one dollars.", "en", "i will not pay $21"),
        ("The colour is grey [laughs]", "en", "the color is gray"),
        ("Ça, c'est l'été !", "fr", "ça c est l été"),
        ("今日は。", "ja", "今 日 は"),
    ],
)
def test_normalizer(text, language, expected):
    assert words.normalize(text, language) == expected.split()


letters = st.lists(st.sampled_from("abcd"), max_size=8)


@given(letters, letters)
def test_word_errors_are_those_of_kaldi(right, found):
    import kaldialign

    assert words.count_errors(right, found) == kaldialign.edit_distance(right, found)["total"]
    steps = words.align(right, found)
    assert [s.reference for s in steps if s.reference is not None] == [*range(len(right))]
    assert [s.hypothesis for s in steps if s.hypothesis is not None] == [*range(len(found))]
    errors = sum(None in s or right[s[0]] != found[s[1]] for s in steps)  # type: ignore[index]
    assert errors == words.count_errors(right, found)


spoken = st.lists(st.tuples(st.sampled_from("AB"), st.lists(st.sampled_from("abcd"), min_size=1)))


@given(spoken.filter(bool), spoken)
def test_words_of_speakers_are_those_of_all_permutations(right, found):
    def by_speaker(lines):
        names = dict.fromkeys(name for name, _ in lines)
        return [[w for name, some in lines if name == each for w in some] for each in names]

    def written(lines):
        return Annotation(
            lines=tuple(Line(" ".join(some), name) for name, some in lines), language="xx"
        )

    rows = by_speaker(right)
    least = min(
        sum(words.count_errors(a, b) for a, b in zip_longest(rows, order, fillvalue=[]))
        for order in permutations([*by_speaker(found), *[[]] * len(rows)])
    )
    assert score(written(right), written(found)).figures["cpwer"].errors == least
