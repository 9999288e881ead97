"""Real speech that the packages and the repository carry, and what the default engines hear in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from pyannote.core import Timeline
from scoring import SAMPLE_RTTM, reference

from whosaid import diarization, speech
from whosaid.engines.loading import load_diarizer, load_segmenter, load_voice_activity
from whosaid.types import SAMPLE_RATE_HZ, Diarization, SpeechRegions, Waveform

TELEPHONE = SAMPLE_RTTM
"""30 s of two people on a telephone, one of them far from it."""
CONVERSATION = Path(__file__).parents[1] / "data" / "samples" / "conversation.rttm"
"""Two minutes of three synthetic voices."""


@cache
def sound_of(rttm: Path) -> Waveform:
    """Return the sound that a reference belongs to."""
    (path,) = (it for it in map(rttm.with_suffix, (".flac", ".wav")) if it.exists())
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE_HZ
    return Waveform(samples, path.stem)


def cut(waveform: Waveform, stretches: Timeline) -> Waveform:
    """Return some stretches of a sound, joined."""
    edges = [[round(time * SAMPLE_RATE_HZ) for time in (it.start, it.end)] for it in stretches]
    return Waveform(np.concatenate([waveform.samples[a:b] for a, b in edges]), "")


def voices_of(rttm: Path) -> dict[str, Waveform]:
    """Return what each speaker says while nobody else speaks, joined."""
    spoken = reference(rttm)
    overlaps = spoken.get_overlap()
    return {
        str(label): cut(sound_of(rttm), spoken.label_timeline(label).extrude(overlaps))
        for label in sorted(spoken.labels())
    }


def find_speech(waveform: Waveform) -> SpeechRegions:
    params = speech.Params(device="cpu")
    with load_voice_activity(Path()) as vad:
        return speech.detect_speech(
            waveform, vad, load_segmenter(params, Path()), params, digest=""
        )


def diarize(waveform: Waveform, **wishes: int | None) -> Diarization:
    params = diarization.Params(device="cpu", **wishes)
    with load_diarizer(params, Path()) as diarizer:
        return diarization.diarize_speakers(
            waveform, find_speech(waveform), diarizer, params, digest=""
        )
