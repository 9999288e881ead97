"""Vocabularies are read line by line, and words replaced whole, with their times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spokenby.stages import merging, transcription
from spokenby.stages.merging import join_words
from spokenby.stages.vocabulary import parse_vocabulary, replace_words
from spokenby.types import SpokenWord


def said(text: str, speaker: str | None = "A", start: float = 0.0) -> list[SpokenWord]:
    """Return words of half a second each; `_` before a word: no space is written before it."""
    return [
        SpokenWord(
            start=start + place / 2,
            end=start + place / 2 + 0.5,
            text=word.removeprefix("_"),
            confidence=0.5 + place / 100,
            speaker=speaker,
            spaced=not word.startswith("_"),
        )
        for place, word in enumerate(text.split())
    ]


def test_what_is_commented_out_is_no_term() -> None:
    assert parse_vocabulary("Ada; # the first; Bo\n# Cy; Di").terms == ("Ada", "Bo")


def test_lines_are_terms_or_replacements() -> None:
    text = (
        "# names\nAda  Lovelace\n\n  cube cuttle=>kubectl \nAda Lovelace; Valdemoro\nC# => C sharp"
    )
    assert parse_vocabulary(text) == (
        ("Ada Lovelace", "Valdemoro"),
        (("cube cuttle", "kubectl"), ("C#", "C sharp")),
    )
    assert parse_vocabulary("") == ((), ())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\n" * 10_000, "it has 10,000 lines; at most 2,000 are read"),
        ("ada\n=> kubectl", "line 2: '=> kubectl' is not written as: heard => meant"),
        ("uh =>", "line 1: 'uh =>' is not"),
        ("a => b => c", "line 1: 'a => b => c' is not"),
        (", => ;", "line 1"),
        ("a => b\nA => c", "line 2: 'A' is replaced in another way by line 1"),
        ("a => b\n# and\nb => c\nc => A", "line 1: .* circle: a => b => c => A"),
        ("x => a\na => b\nb => a", "line 2: replacements go in a circle: a => b => a"),
        ("a" * 201, "line 1: longer than 200 characters"),
        ("a\x1b[2J", "line 1: it holds control characters"),
    ],
)
def test_lines_at_fault_are_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_vocabulary(text)


def test_only_the_case_may_change() -> None:
    assert parse_vocabulary("postgresql => PostgreSQL").replacements


@pytest.mark.parametrize(
    ("heard", "lines", "meant"),
    [
        ("I run cube cuttle, twice.", "cube cuttle => kubectl", "I run kubectl, twice."),
        ("Cube-cuttle runs", "cube cuttle => kubectl", "Kubectl runs"),  # begins a sentence
        ("So. “Cube cuttle”", "cube cuttle => kubectl", "So. “Kubectl”"),
        ("So cube CUTTLE", "cube cuttle => kubectl", "So kubectl"),
        ("Eye phone.", "eye phone => iPhone", "iPhone."),
        ("post-grass grass", "grass => SQL", "post-grass SQL"),
        ("the mother-in-law of law", "law => order", "the mother-in-law of order"),
        ("o'clock clock's clocks", "clock => watch", "o'clock watch's clocks"),
        ("kubectl it", "kubectl => cube cuttle", "cube cuttle it"),
        ("a b c", "a b => x y z; c => w", "x y z w"),
        ("new york city", "york => York; new york => New York", "New York city"),  # longest first
        ("a b", "a => b; b => c", "b c"),  # once, not again
        ("C# and C", "C# => C sharp", "C sharp and C"),
        ("一 _微 _軟 _好", "微軟 => 微软", "一微软好"),  # no spaces between words
        ("(ada) _-ada", "ada => Ada", "(Ada)-Ada"),
        ("nothing here", "a => b", "nothing here"),
        ("a-b", "b => c", "a-b"),
    ],
)
def test_whole_words_are_replaced(heard: str, lines: str, meant: str) -> None:
    lines = merging.Params(replacements=lines).replacements
    assert join_words(replace_words(said(heard), lines, 1.0)[0]) == meant


def test_new_words_keep_or_share_the_time_of_the_old() -> None:
    words = said("so cube cuttle runs ada lovelace")
    lines = "cube cuttle => kubectl\nruns => does run\nada lovelace => Ada Lovelace"
    found, counts = replace_words(words, lines, 1.0)
    assert [(word.text, word.start, word.end) for word in found] == [
        ("so", 0, 0.5),
        ("kubectl", 0.5, 1.5),
        ("does", 1.5, pytest.approx(1.5 + 0.5 * 4 / 7)),
        ("run", pytest.approx(1.5 + 0.5 * 4 / 7), 2.0),
        ("Ada", 2.0, 2.5),
        ("Lovelace", 2.5, 3.0),
    ]
    assert found[1].confidence == pytest.approx(0.515)
    assert found[5].confidence == words[5].confidence
    assert counts == dict.fromkeys(lines.split("\n"), 1)


def test_nothing_is_replaced_across_speakers_or_a_pause() -> None:
    lines = "cube cuttle => kubectl"
    for words in (
        [*said("cube"), *said("cuttle", "B", start=0.5)],
        [*said("cube"), *said("cuttle", start=2.0)],
    ):
        assert replace_words(words, lines, 1.0) == (words, {})


WORDS = st.lists(st.sampled_from(["a", "b", "B.", "c", "_a", "d-a"]), max_size=12).map(" ".join)


@given(WORDS)
def test_what_is_not_heard_stays_and_times_stay_in_order(text: str) -> None:
    words = said(text)
    found, counts = replace_words(words, "a b => x\nc => y z", 1.0)
    assert join_words(found).lower().count("y z") == counts.get("c => y z", 0)
    starts = [word.start for word in found]
    assert starts == sorted(starts)
    if words:
        assert (found[0].start, found[-1].end) == (words[0].start, words[-1].end)
    if not counts:
        assert found == words


def test_params_hold_them_tidily_and_refuse_the_other_kind() -> None:
    assert transcription.Params(vocabulary=" a ;b\n# c\n\nb").vocabulary == "a\nb"
    assert merging.Params(replacements="a=>b").replacements == "a => b"
    with pytest.raises(ValidationError, match=r"=> belongs to merge\.replacements"):
        transcription.Params(vocabulary="a => b")
    with pytest.raises(ValidationError, match="'a' is not written as: heard => meant"):
        merging.Params(replacements="a")
