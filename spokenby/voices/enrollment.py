"""Take a person's voiceprint from a recording, if it holds enough clear speech of one person."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spokenby.errors import InputError
from spokenby.stages import intervals
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Diarization,
    JoinedVoices,
    Seconds,
    SpeechRegions,
    Waveform,
)
from spokenby.voices.library import Voiceprint

MIN_SPEECH_S = 5.0
"""Of one person. Voiceprints from less are unreliable."""

MAX_OTHERS_S = 2.0
MAX_OTHERS_SHARE = 0.1
"""Others may speak up to the larger of the two."""

MIN_PEAKS_DB = 8.0
"""Natural speech has 10 to 13. Clipped recordings have less, even if a codec smoothed them later:
amplified four- and eightfold (5 to 12, and 3 to 8), the mean similarity of 12 readers to themselves
fell from 0.80 to 0.68 and 0.57 with CAM++."""

MIN_SNR_DB = 15.0
"""Ordinary rooms have 20 and more. With white noise at 15, 10 and 5 dB, the mean similarity of 12
readers to themselves fell from 0.80 to 0.72, 0.68 and 0.63 with CAM++."""

_FRAME = SAMPLE_RATE_HZ // 50
_SILENCE = 1e-10
"""Mean square of a frame without sound, -100 dB."""


class Clarity(NamedTuple):
    """How clean a recording is."""

    snr_db: float
    """Level of the speech above that of the quietest twentieth of the recording."""
    peaks_db: float
    """Level that a hundredth of the samples in speech exceed, above the mean level of speech."""


def take_voiceprint(
    path: str,
    waveform: Waveform,
    speech: SpeechRegions,
    voices: JoinedVoices,
    *,
    begin: Seconds = 0.0,
) -> Voiceprint:
    """Return the voiceprint of the one person who speaks in a recording.

    Args:
        path: of the recording, for people.
        waveform: the recording, or a part of it.
        speech: its regions of speech.
        voices: its diarization and voiceprints; labels that are one voice are joined.
        begin: where in the recording the waveform begins.

    Raises:
        InputError: it is not fit for a voiceprint, with the reason.
    """
    diarization, embeddings = voices.diarization, voices.embeddings
    if not diarization.turns or speech.speech < MIN_SPEECH_S:
        raise _too_short(path, speech.speech)
    talk = _talk_times(diarization)
    longest, *others = sorted(talk.values(), reverse=True)
    if sum(others) > max(MAX_OTHERS_S, MAX_OTHERS_SHARE * (longest + sum(others))):
        lengths = " and ".join(f"{length:.1f} s" for length in (longest, *others))
        raise InputError(
            f"{path}: {1 + len(others)} people seem to speak in it, for {lengths}",
            "name a part with one of them: --from and --to, or the seconds in the form",
        )
    if longest < MIN_SPEECH_S:
        raise _too_short(path, longest)
    clarity = measure_clarity(waveform.samples, speech)
    if clarity.snr_db < MIN_SNR_DB:
        raise InputError(
            f"{path}: too noisy: speech is only {clarity.snr_db:.0f} dB above the noise"
            f" (at least {MIN_SNR_DB:.0f})",
            "give a clearer recording",
        )
    if clarity.peaks_db < MIN_PEAKS_DB:
        raise InputError(
            f"{path}: too loud when it was recorded: its peaks are cut off, they are"
            f" {clarity.peaks_db:.1f} dB above the mean level (at least {MIN_PEAKS_DB:.0f})",
            "give a recording at a lower level",
        )
    row = embeddings.speakers.index(max(talk, key=lambda label: talk[label]))
    if not np.isfinite(embeddings.vectors[row]).all():
        raise _too_short(path, longest)
    heard = intervals.array(speech.regions)
    return Voiceprint(
        vector=embeddings.vectors[row],
        seconds=float(embeddings.speech[row]),
        spread=float(embeddings.spread[row]),
        source=Path(path).name,
        start=begin + float(heard[0, 0]),
        end=begin + float(heard[-1, 1]),
    )


def measure_clarity(samples: npt.NDArray[np.float32], speech: SpeechRegions) -> Clarity:
    """Measure how clean a recording is. `samples` has shape (samples,); some of it is speech."""
    edges = np.round(intervals.array(speech.regions) * SAMPLE_RATE_HZ).astype(int)
    spoken = np.concatenate([samples[start:end] for start, end in edges.tolist()])
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    noise = max(float(np.percentile(np.mean(frames**2, axis=1), 5)), _SILENCE)
    power = float(np.mean(spoken**2))
    peak = float(np.percentile(np.abs(spoken), 99)) ** 2
    return Clarity(
        snr_db=_decibel(max(power - noise, _SILENCE) / noise),
        peaks_db=_decibel(max(peak, _SILENCE) / max(power, _SILENCE)),
    )


def _decibel(ratio: float) -> float:
    return 10 * math.log10(ratio)


def _talk_times(diarization: Diarization) -> dict[str, Seconds]:
    spoken = intervals.by_speaker(diarization.turns, diarization.speakers)
    return dict(zip(diarization.speakers, map(intervals.length, spoken), strict=True))


def _too_short(path: str, speech: Seconds) -> InputError:
    return InputError(
        f"{path}: only {speech:.1f} s of speech by one person",
        f"give at least {MIN_SPEECH_S:.0f} s",
    )
