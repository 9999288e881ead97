"""Tracks of one speaker each are told from stereo, heard by themselves, placed in the video."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from recordings import CONVERSATION, sound_of
from scipy.signal import fftconvolve
from scoring import reference

from spokenby.stages import tracks
from spokenby.types import SAMPLE_RATE_HZ, Diarization, Track, Turn

Stereo = npt.NDArray[np.float32]

FIRST, SECOND = Track(start=0, end=60), Track(start=90, end=140, name="Ada")


def db(value: float) -> float:
    return float(10 ** (value / 20))


@cache
def microphones() -> npt.NDArray[np.float32]:
    """Return a minute of the sample conversation, a row a person, each with a little noise."""
    samples = sound_of(CONVERSATION).samples[: 60 * SAMPLE_RATE_HZ]
    spoken = reference(CONVERSATION)
    noise = np.random.default_rng(0).normal(0, db(-66), (len(spoken.labels()), len(samples)))
    rows = noise.astype(np.float32)
    for row, label in zip(rows, sorted(spoken.labels()), strict=True):
        for turn in spoken.label_timeline(label):
            first, last = round(turn.start * SAMPLE_RATE_HZ), round(turn.end * SAMPLE_RATE_HZ)
            row[first:last] += samples[first:last]
    return rows


def stereo(crosstalk: float = -99.0, second: float = 0.0) -> Stereo:
    """Return two of the people on a channel each, in dB: crosstalk, level of the second one."""
    left, right = microphones()[:2]
    right = right * db(second)
    return np.stack([left + db(crosstalk) * right, right + db(crosstalk) * left])


def measured(rows: npt.NDArray[np.float32]) -> list[tracks.Energies]:
    return [tracks.measure(row) for row in rows]


def noise(seed: int, *, hz: float = 0.0) -> npt.NDArray[np.float32]:
    """Return a minute of noise, swelling so many times a second."""
    time = np.arange(60 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * hz * time) if hz else 1.0
    return (np.random.default_rng(seed).normal(0, 0.1, len(time)) * swell).astype(np.float32)


SPLIT: dict[str, Callable[[], Stereo]] = {
    "two microphones": stereo,
    "crosstalk of -20 dB": lambda: stereo(-20),
    "the second one 28 dB quieter": lambda: stereo(second=-28),
    "both": lambda: stereo(-30, -10),
}
MIXED: dict[str, Callable[[], Stereo]] = {
    "dual mono": lambda: np.stack([microphones().sum(0)] * 2),
    "dual mono, one 20 dB quieter": lambda: microphones().sum(0) * np.array([[1], [0.1]], "f4"),
    "one silent": lambda: np.stack([microphones().sum(0), np.zeros(60 * 16_000, np.float32)]),
    "one of hiss": lambda: np.stack([microphones().sum(0), 0.01 * noise(1)]),
    "one hears the other": lambda: np.stack(
        [microphones()[0], db(-20) * microphones()[0] + 0.001 * noise(1)]
    ),
    "two people in a room, a little left and right": lambda: stereo(-6),
    "music": lambda: np.stack([noise(1, hz=2) + noise(2), noise(1, hz=2) + noise(3)]),
    "singer left, band right": lambda: np.stack([microphones().sum(0), noise(1, hz=2)]),
    "an instrument that goes from side to side": lambda: np.stack(
        [noise(1) * (noise(0, hz=4) > 0), noise(1, hz=4)]
    ),
    "voice left, click track right": lambda: np.stack(
        [microphones().sum(0), noise(1) * (np.arange(60 * 16_000) % 8_000 < 400)]
    ),
}


@pytest.mark.parametrize("name", SPLIT)
def test_two_speakers_are_told_from_their_levels(name: str) -> None:
    assert tracks.are_speakers(measured(SPLIT[name]()))


@pytest.mark.parametrize("name", MIXED)
def test_ordinary_stereo_is_no_two_speakers(name: str) -> None:
    assert not tracks.are_speakers(measured(MIXED[name]()))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Speaker 2", ""),
        ("Speaker", ""),
        ("Unknown speaker A", ""),
        ("Mic B - Stereo", ""),
        ("SoundHandler", ""),
        ("  Ada   Lovelace ", "Ada Lovelace"),
        ("Ada's mic", "Ada's mic"),
        ("B", "B"),
        ("mic " * 5000 + "Ada", "mic " * 5000 + "Ada"),  # in no time
    ],
)
def test_a_title_that_programs_give_names_nobody(title: str, name: str) -> None:
    assert tracks.person_in(title) == name


def test_too_little_speech_says_nothing() -> None:
    assert not tracks.are_speakers(measured(stereo()[:, : 2 * SAMPLE_RATE_HZ]))


def spoken(label: int) -> npt.NDArray[np.bool_]:
    """Return in which frames one of the people of `microphones` is loud."""
    energy = tracks.measure(microphones()[label])
    return energy > 0.05 * tracks.measure_level(energy)


@pytest.mark.parametrize(("crosstalk", "second"), [(-20, 0), (-14, 0), (-20, -28), (-99, 0)])
def test_crosstalk_is_silenced_and_own_speech_stays(crosstalk: float, second: float) -> None:
    rows = stereo(crosstalk)
    rows[1] *= db(second)
    own = tracks.find_own(measured(rows))
    for number in (0, 1):
        assert own[number][spoken(number)].mean() > 0.99
        if crosstalk > -99:  # what is not there need not be silenced
            assert own[number][spoken(1 - number) & ~spoken(number)].mean() < 0.05


def test_crosstalk_that_echoes_in_a_room_is_silenced() -> None:
    time = np.arange(4800)
    echoes = np.random.default_rng(1).normal(0, 1, len(time)) * np.exp(-time / 1200) * (time > 80)
    echoes = (db(-15) * echoes / np.linalg.norm(echoes)).astype(np.float32)
    left, right = microphones()[:2]
    leaks = [fftconvolve(row, echoes)[: len(row)] for row in (right, left)]
    own = tracks.find_own(measured(np.stack([left + leaks[0], right + leaks[1]])))
    for number in (0, 1):
        assert own[number][spoken(number)].mean() > 0.99
        assert own[number][spoken(1 - number) & ~spoken(number)].mean() < 0.1


def test_who_speaks_only_over_others_silences_nobody() -> None:
    """Hardly anything of the second one is heard without the first, who goes on."""
    left, right = microphones()[:2]
    talk = left[spoken(0).repeat(tracks.FRAME_SAMPLES)[: len(left)]][: 8 * SAMPLE_RATE_HZ]
    over = np.zeros_like(talk)
    heard = right[spoken(1).repeat(tracks.FRAME_SAMPLES)[: len(right)]][: 2 * SAMPLE_RATE_HZ]
    over[5 * SAMPLE_RATE_HZ : 7 * SAMPLE_RATE_HZ] = heard
    own = tracks.find_own(measured(np.stack([talk + 0.1 * over, over + 0.1 * talk])))
    assert own[0].mean() > 0.8


def test_who_agrees_softly_while_another_speaks_is_heard() -> None:
    left, right = microphones()[:2]
    (begin, *_) = np.flatnonzero(spoken(0)) * tracks.FRAME_SAMPLES
    agreeing = right[spoken(1).repeat(tracks.FRAME_SAMPLES)[: len(right)]][:8000]
    right = np.zeros_like(left)
    right[begin + 16_000 : begin + 24_000] = db(-6) * agreeing
    own = tracks.find_own(measured(np.stack([left + db(-20) * right, right + db(-20) * left])))
    first = (begin + 16_000) // tracks.FRAME_SAMPLES
    assert own[1][first + 3 : first + 22].mean() > 0.8
    assert own[1][first - 40 : first - 10].mean() < 0.3


def test_one_voice_on_every_track_is_heard_once() -> None:
    own = tracks.find_own(measured(MIXED["dual mono"]()))
    loud = spoken(0)
    assert own[:, loud].any(axis=0).all()
    assert own[:, loud].all(axis=0).mean() < 0.05


def test_the_mix_of_the_others_is_found() -> None:
    rows = microphones()
    mixed = np.concatenate([rows[:1] + rows[1:2] + rows[2:], rows])
    assert tracks.find_mixes(measured(mixed)) == [0]
    assert tracks.find_mixes(measured(rows)) == []
    assert tracks.find_mixes(measured(stereo(-20))) == []


def test_frames_are_measured_to_the_last_sample() -> None:
    samples = np.full(tracks.FRAME_SAMPLES + 7, 0.5, np.float32)
    assert tracks.measure(samples).tolist() == [0.25, 0.25]
    assert not len(tracks.measure(samples[:0]))


def test_times_of_tracks_become_times_of_the_video() -> None:
    # A window may begin a little before its track, and a word end behind it.
    times = np.array([[0.0, 59.5], [59.9, 60.3], [89.8, 90.5], [139.0, 140.2]])
    placed = tracks.place_on_timeline([FIRST, SECOND], times)
    assert placed.tolist() == [[0.0, 59.5], [59.9, 60.0], [0.0, 0.5], [49.0, 50.0]]
    assert tracks.place_on_timeline([], times) is times


def test_turns_of_tracks_are_sorted_by_their_times_in_the_video() -> None:
    rows = [(10.0, 20.0, "SPEAKER_01"), (95.0, 105.0, "SPEAKER_00")]
    turns = tuple(Turn(start=start, end=end, speaker=who) for start, end, who in rows)
    found = Diarization(digest="d", turns=turns, exclusive=turns, tracks=(FIRST, SECOND))
    placed = tracks.on_timeline(found)
    assert [(turn.start, turn.end, turn.speaker) for turn in placed.turns] == [
        (5.0, 15.0, "SPEAKER_00"),
        (10.0, 20.0, "SPEAKER_01"),
    ]
    assert placed.exclusive == placed.turns
    assert not placed.tracks


def test_tracks_sound_together_on_one_timeline() -> None:
    samples = np.concatenate([np.full(60, 0.25), np.zeros(30), np.full(50, 0.5)]).astype("f4")
    rate = SAMPLE_RATE_HZ
    parts = [Track(start=0, end=60 / rate), Track(start=90 / rate, end=140 / rate)]
    together = tracks.Together(samples, parts)
    assert len(together) == 60
    assert together[:].tolist() == [0.75] * 50 + [0.25] * 10
    assert together[45:55].tolist() == [0.75] * 5 + [0.25] * 5
    assert together[50:60].tolist() == [0.25] * 10
    assert tracks.Together(samples, [])[100:].tolist() == samples[100:].tolist()
