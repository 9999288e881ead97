"""Chapters begin where the topic changes, or the speaker where there are few words."""

from __future__ import annotations

import io
import random

import pytest
import webvtt

from spokenby.output.formats import render
from spokenby.output.formats.chapters import Chapter, as_metadata, chapters_of
from spokenby.output.topics import LEAST_WORDS, find_topic_changes
from spokenby.types import SpeakerTranscript
from tests.review.conversation import Line, transcript_of

COMMON = [f"the{n}" for n in range(40)]
WORD_S = 0.4


def talk_about(topics: int, words: int = 600) -> list[str]:
    """Return words, of which every third belongs to its topic."""
    draw = random.Random(0)
    return [
        draw.choice([f"topic{topic}x{n}" for n in range(60)] if n % 3 == 0 else COMMON)
        for topic in range(topics)
        for n in range(words)
    ]


def spoken(words: list[str], each: int = 50) -> SpeakerTranscript:
    """Return a transcript of words, so many in a turn."""
    lines = [
        Line(first * WORD_S, (first + each) * WORD_S, f"Person {first // each % 3}", " ".join(part))
        for first in range(0, len(words), each)
        if (part := words[first : first + each])
    ]
    return transcript_of(lines)


def test_changes_of_topic_are_found() -> None:
    changes = find_topic_changes(talk_about(4))
    assert sorted(changes[:3]) == pytest.approx([600, 1200, 1800], abs=40)
    assert find_topic_changes(talk_about(2, LEAST_WORDS // 2 - 1)) == []
    assert find_topic_changes(["word"] * 2000) == []
    assert find_topic_changes(["—"] * 2000) == []


def test_chapters_begin_with_a_paragraph_near_it() -> None:
    transcript = spoken(talk_about(3))
    chapters = chapters_of(transcript)
    starts = {round(segment.start * 1000) for segment in transcript.segments}
    assert {chapter.start_ms for chapter in chapters} <= starts
    assert {240_000, 480_000} <= {chapter.start_ms for chapter in chapters}
    assert [a.end_ms for a in chapters[:-1]] == [b.start_ms for b in chapters[1:]]
    assert all(chapter.end_ms - chapter.start_ms >= 60_000 for chapter in chapters)
    assert (chapters[0].start_ms, chapters[-1].end_ms) == (0, round(transcript.duration * 1000))
    assert all(chapter.title.startswith("Person ") for chapter in chapters)
    assert max(len(chapter.title) for chapter in chapters) == 60


def test_few_words_or_none_between_spaces_begin_with_another_speaker() -> None:
    few = spoken(talk_about(1, 400))
    by_speaker = [0, 60_000, 120_000]
    assert [chapter.start_ms for chapter in chapters_of(few)] == by_speaker
    many = spoken(talk_about(2, LEAST_WORDS // 2))
    unspaced = many.model_copy(
        update={
            "segments": tuple(
                segment.model_copy(
                    update={
                        "words": tuple(
                            word.model_copy(update={"spaced": False}) for word in segment.words
                        )
                    }
                )
                for segment in many.segments
            )
        }
    )
    assert [chapter.start_ms for chapter in chapters_of(unspaced)][:3] == by_speaker
    assert chapters_of(few.model_copy(update={"segments": ()})) == []


def test_files() -> None:
    transcript = spoken(["<b>", "&", "-->", *talk_about(1, 297)])
    files = render(transcript, "talk", {}, ["chapters.vtt", "chapters.txt"])
    captions = webvtt.from_buffer(io.StringIO(files["transcript.chapters.vtt"].decode()))
    assert [(each.start, each.end) for each in captions] == [
        ("00:00:00.000", "00:01:00.000"),
        ("00:01:00.000", "00:02:00.500"),
    ]
    assert "Person 0: &lt;b&gt; &amp; --&gt; " in files["transcript.chapters.vtt"].decode()
    lines = files["transcript.chapters.txt"].decode().splitlines()
    assert [line.split()[0] for line in lines] == ["0:00", "1:00"]
    assert lines[0].startswith("0:00 Person 0: <b> & --> ")
    metadata = as_metadata([Chapter(0, 5, "a=b;c#\\")])
    assert metadata.endswith("START=0\nEND=5\ntitle=a\\=b\\;c\\#\\\\\n")
