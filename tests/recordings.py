"""Speech that the packages and the repository carry, and what the default engines hear in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile
from scoring import SAMPLE_RTTM, reference

from spokenby.engines.clustering import Clustering
from spokenby.engines.loading import load_embedder, load_segmenter, load_voice_activity
from spokenby.stages import diarization, embeddings, speech
from spokenby.stages.embeddings import Embedder
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Diarization,
    Progress,
    Span,
    SpeechRegions,
    Waveform,
    no_progress,
)

if TYPE_CHECKING:
    from pyannote.core import Timeline

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


@cache
def speech_of(rttm: Path) -> SpeechRegions:
    """Return where the default engines hear speech in a recording, heard once."""
    return find_speech(sound_of(rttm))


class Remembering:
    """An embedder that embeds the same spans of the same recording once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.model = embedder.model
        self.computes_in = embedder.computes_in

    def embed(
        self, waveform: Waveform, spans: Sequence[Span], progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        if not waveform.digest:  # of no recording
            return self._embedder.embed(waveform, spans, progress)
        key = (waveform.digest, tuple((span.start, span.end) for span in spans))
        if key not in _embedded:
            _embedded[key] = self._embedder.embed(waveform, spans, progress)
        return _embedded[key]


_embedded: dict[tuple[str, tuple[tuple[float, float], ...]], npt.NDArray[np.float32]] = {}


def diarize(
    waveform: Waveform, regions: SpeechRegions | None = None, **wishes: int | None
) -> Diarization:
    """Return who speaks when, by the default engines in float32: the same on every CPU."""
    params = diarization.Params.model_validate(wishes)
    regions = regions or find_speech(waveform)
    options = embeddings.Params(device="cpu", compute_type="float32")
    with load_embedder(options, Path()) as embedder:
        diarizer = Clustering(Remembering(embedder))
        return diarization.diarize_speakers(waveform, regions, diarizer, params, digest="")
