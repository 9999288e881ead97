"""Tidy turns on numbers small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from spokenby.stages import local_speakers
from spokenby.stages.diarization import (
    MOST_SPEAKERS,
    Params,
    diarize_speakers,
    is_by_track,
    take_tracks,
)
from spokenby.types import Span, SpeechRegions, Track, Turn, Waveform


def turns(*rows):
    return [Turn(start=start, end=end, speaker=speaker) for start, end, speaker in rows]


def rows(found):
    return [(turn.start, turn.end, turn.speaker) for turn in found]


class Fixed:
    """A diarizer that answers as told."""

    computes_in = "cpu"

    def __init__(self, regular, exclusive):
        self.answer = (turns(*regular), turns(*exclusive))

    def diarize(self, waveform, speech, params, progress, release):
        return self.answer


def speech_of(*regions):
    spans = tuple(Span(start=start, end=end) for start, end in regions)
    return SpeechRegions(digest="", regions=spans, windows=spans, duration=10.0)


WAVEFORM = Waveform(np.zeros(160_000, np.float32), "")


@pytest.mark.parametrize(
    ("regular", "exclusive", "expected", "expected_exclusive"),
    [
        ([], [], [], []),
        (
            [(5, 6, "b"), (1, 2, "z")],  # numbered by first turn, not by name
            [(1, 2, "z"), (5, 6, "b")],
            [(1, 2, "SPEAKER_00"), (5, 6, "SPEAKER_01")],
            [(1, 2, "SPEAKER_00"), (5, 6, "SPEAKER_01")],
        ),
        (
            [(-1, 4, "a"), (3, 99, "b"), (2, 2, "c")],  # clipped; empty turns vanish
            [(0, 4, "a"), (3, 10, "b")],
            [(0, 4, "SPEAKER_00"), (3, 10, "SPEAKER_01")],  # overlap stays
            [(0, 4, "SPEAKER_00"), (4, 10, "SPEAKER_01")],  # and is resolved here
        ),
        (
            [(0, 9, "a"), (2, 3, "b")],
            [(0, 9, "a"), (2, 3, "b")],
            [(0, 9, "SPEAKER_00"), (2, 3, "SPEAKER_01")],
            [(0, 9, "SPEAKER_00")],
        ),
        ([(0.12345, 1, "a")], [], [(0.123, 1, "SPEAKER_00")], []),
    ],
)
def test_turns_are_tidied(regular, exclusive, expected, expected_exclusive):
    found = diarize_speakers(
        WAVEFORM, speech_of((0, 10)), Fixed(regular, exclusive), Params(), digest="key"
    )
    assert rows(found.turns) == expected
    assert rows(found.exclusive) == expected_exclusive
    assert found.digest == "key"


def test_without_speech_the_diarizer_is_not_asked():
    found = diarize_speakers(
        WAVEFORM, speech_of(), Fixed([(0, 1, "a")], []), Params(), digest="key"
    )
    assert (found.turns, found.exclusive, found.speakers) == ((), (), ())
    alone = diarize_speakers(WAVEFORM, None, Fixed([(0, 1, "a")], []), Params(), digest="key")
    assert rows(alone.turns) == [(0, 1, "SPEAKER_00")]


@pytest.mark.parametrize(
    ("wish", "warnings"),
    [
        ({}, []),
        ({"num_speakers": 2}, []),
        ({"max_speakers": 4}, []),
        ({"num_speakers": 4}, ["4 speakers were requested, but only 2 voices can be told apart"]),
        ({"min_speakers": 3}, ["at least 3 speakers were requested, but only 2 voices"]),
    ],
)
def test_fewer_speakers_than_requested_are_told(wish, warnings):
    fixed = Fixed([(0, 1, "a"), (1, 2, "b")], [])
    found = diarize_speakers(WAVEFORM, speech_of((0, 2)), fixed, Params(**wish), digest="")
    assert all(told.startswith(start) for told, start in zip(found.warnings, warnings, strict=True))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (1, MOST_SPEAKERS)),
        ({"num_speakers": 3}, (3, 3)),
        ({"min_speakers": 2}, (2, MOST_SPEAKERS)),
        ({"min_speakers": 2, "max_speakers": 4}, (2, 4)),
        ({"min_speakers": 30}, (30, 30)),
    ],
)
def test_speaker_range(given, expected):
    assert Params(**given).speaker_range() == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_speakers": 0},
        {"min_speakers": 3, "max_speakers": 2},
        {"num_speakers": 3, "max_speakers": 2},
        {"num_speakers": 1, "min_speakers": 2},
    ],
)
def test_impossible_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        Params(**wrong)


TRACKS = (Track(start=0, end=20), Track(start=50, end=65))
SPLIT = Waveform(np.zeros(65 * 16_000, np.float32), "", TRACKS)


def test_each_track_is_one_speaker() -> None:
    found = take_tracks(SPLIT, speech_of((5, 7), (9, 12), (51, 53)), Params(), digest="d")
    # Numbered by when they are first heard in the video: the second track at 1 s.
    assert rows(found.turns) == [
        (5, 7, "SPEAKER_01"),
        (9, 12, "SPEAKER_01"),
        (51, 53, "SPEAKER_00"),
    ]
    assert found.exclusive == found.turns
    assert found.tracks == TRACKS
    assert found.warnings == ()


def test_turns_of_tracks_begin_where_somebody_is_heard() -> None:
    """Speech is widened for recognizers; more than a little is left as it is."""
    masks = np.zeros((5, local_speakers.CHUNK_FRAMES), np.int64)
    masks[0, 60:120] = 1  # of a chunk of 589 frames in 10 s: from 1.04 to 2.04 s
    speech = speech_of((0.9, 2.15), (2.5, 4.0), (4.25, 9.0)).model_copy(
        update={"local_speakers": local_speakers.pack(masks), "duration": 20.0}
    )
    found = rows(take_tracks(SPLIT, speech, Params(), digest="d").turns)
    assert found == [
        (pytest.approx(1.04, abs=0.02), 2.15, "SPEAKER_00"),
        (2.5, 9.0, "SPEAKER_00"),
    ]


@pytest.mark.parametrize(
    ("params", "by_track"),
    [
        ({}, True),
        ({"num_speakers": 1}, True),
        ({"num_speakers": 3}, False),
        ({"min_speakers": 3}, False),
        ({"max_speakers": 9}, True),
    ],
)
def test_tracks_are_diarized_where_more_speakers_than_tracks_are_requested(params, by_track):
    assert is_by_track(SPLIT, Params(**params)) is by_track
    assert not is_by_track(WAVEFORM, Params(**params))


def test_fewer_speakers_than_tracks_is_no_request_to_join_them() -> None:
    found = take_tracks(SPLIT, speech_of((5, 7), (51, 53)), Params(max_speakers=1), digest="d")
    assert len(found.speakers) == 2
    assert found.warnings == ("each of 2 tracks is one speaker, although 1 at most was requested",)


def test_nobody_speaks_on_two_tracks() -> None:
    one_voice = [(1, 2, "a"), (6, 7, "b"), (52, 53, "a")]
    found = diarize_speakers(
        SPLIT, None, Fixed(one_voice, one_voice), Params(num_speakers=3), digest="d"
    )
    assert rows(found.turns) == [
        (1, 2, "SPEAKER_00"),
        (6, 7, "SPEAKER_02"),
        (52, 53, "SPEAKER_01"),
    ]
    assert found.tracks == TRACKS
