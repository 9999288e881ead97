"""What may stand for a voice, and why the rest may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media import Sound, make_video

from spokenby.engines.av import read_audio
from spokenby.errors import InputError
from spokenby.stages.merging import Params, join_voices
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Diarization,
    Span,
    SpeakerEmbeddings,
    SpeechRegions,
    Turn,
    Waveform,
)
from spokenby.voices.enrollment import MIN_PEAKS_DB, measure_clarity, take_voiceprint

CONVERSATION = Path(__file__).parents[2] / "data" / "samples" / "conversation.flac"
A, B = "SPEAKER_00", "SPEAKER_01"


def recording(turns, *, noise_db=-60.0, gain=1.0):
    """Return something like speech during the turns, over noise so far below it."""
    rng = np.random.default_rng(1)
    length = round(max(end for *_, end in turns) + 1) * SAMPLE_RATE_HZ
    samples = np.zeros(length, np.float32)
    for _, start, end in turns:
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        samples[first:last] = rng.laplace(scale=0.05, size=last - first)
    samples += 0.05 * 2**0.5 * 10 ** (noise_db / 20) * rng.standard_normal(length)
    limit = np.abs(samples).max()
    return Waveform(np.clip(gain * samples, -limit, limit).astype(np.float32), "d")


def heard(turns, alike=0.0):
    spoken = tuple(Span(start=start, end=end) for _, start, end in turns)
    who = tuple(Turn(speaker=speaker, start=start, end=end) for speaker, start, end in turns)
    labels = sorted({speaker for speaker, *_ in turns})
    likeness = np.full((len(labels), len(labels)), alike)
    np.fill_diagonal(likeness, 1)
    voices = join_voices(
        Diarization(digest="t", turns=who, exclusive=who),
        SpeakerEmbeddings(
            digest="e",
            model="test:1",
            speakers=labels,
            vectors=np.eye(4)[: len(labels)],
            spread=[0.1] * len(labels),
            speech=[sum(e - s for name, s, e in turns if name == label) for label in labels],
            likeness=likeness,
            parts=np.full((len(labels), 2), np.nan),
            segments=9,
        ),
        Params(merge_same_voice=True),
    )
    return SpeechRegions(digest="s", regions=spoken, windows=spoken, duration=100), voices


ALONE = [(A, 1, 5), (A, 6, 9)]
ASIDE = [*ALONE, (B, 10, 11.5)]


@pytest.mark.parametrize("turns", [ALONE, ASIDE], ids=["alone", "a word by somebody else"])
def test_voiceprint_is_of_who_speaks(turns):
    found = take_voiceprint("a/clip.wav", recording(turns), *heard(turns), begin=60)
    assert found.vector.tolist() == [1, 0, 0, 0]
    assert (found.seconds, found.spread) == (7, pytest.approx(0.1))
    assert (found.source, found.start, found.end) == ("clip.wav", 61, 60 + turns[-1][2])


def test_one_voice_under_two_labels_is_one_person():
    turns = [(A, 1, 4), (B, 5, 8)]
    found = take_voiceprint("clip.wav", recording(turns), *heard(turns, 0.9))
    assert found.seconds == 6
    assert found.vector.tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])


@pytest.mark.parametrize(
    ("turns", "sound", "says"),
    [
        ([(A, 1, 5)], {}, "only 4.0 s of speech by one person"),
        ([(A, 1, 5), (B, 5.5, 7)], {}, "only 4.0 s of speech by one person"),
        ([*ALONE, (B, 10, 13)], {}, "2 people seem to speak in it, for 7.0 s and 3.0 s"),
        (ALONE, {"noise_db": -10}, "too noisy: speech is only 10 dB above the noise"),
        (ALONE, {"gain": 8}, "too loud when it was recorded"),
    ],
    ids=["short", "short besides another", "two people", "noise", "clipped"],
)
def test_refusals_give_the_reason_in_numbers(turns, sound, says):
    with pytest.raises(InputError, match=says) as refused:
        take_voiceprint("clip.wav", recording(turns, **sound), *heard(turns))
    assert str(refused.value).startswith("clip.wav: ")
    assert refused.value.next_step


def test_nobody_speaks():
    with pytest.raises(InputError, match=r"only 0.0 s of speech"):
        take_voiceprint("clip.wav", recording(ALONE), *heard([]))


@pytest.mark.parametrize("noise_db", [-40, -20, -10, 0])
def test_noise_is_measured_to_the_decibel(noise_db):
    speech, _ = heard(ALONE)
    measured = measure_clarity(recording(ALONE, noise_db=noise_db).samples, speech)
    assert measured.snr_db == pytest.approx(-noise_db, abs=1.5)


@pytest.mark.parametrize(("gain", "cut_off"), [(1, False), (8, True)])
@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
def test_cut_off_peaks_are_found_behind_a_codec(tmp_path, gain, cut_off, codec):
    samples, rate_hz = read_audio(CONVERSATION)
    ada = samples[round(29.9 * rate_hz) : round(37.6 * rate_hz)]
    loud = np.clip(gain * ada, -np.abs(ada).max(), np.abs(ada).max())
    sound = Sound(loud[None], rate_hz, codec=codec)
    heard_again, _ = read_audio(make_video(tmp_path / "ada.mov", sound, picture=False))
    whole = SpeechRegions(digest="s", regions=(Span(start=0, end=7.7),), windows=(), duration=7.7)
    assert (measure_clarity(heard_again, whole).peaks_db < MIN_PEAKS_DB) == cut_off
