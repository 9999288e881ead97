"""Silero on real sound, and against faster-whisper's own use of the same file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from faster_whisper.vad import get_vad_model

from spokenby.engines import silero
from spokenby.engines.silero import Silero
from spokenby.errors import StoppedError
from spokenby.models import find_model
from spokenby.types import Waveform


@pytest.fixture(scope="module")
def vad():
    return Silero(find_model("silero", "", Path()))


@pytest.fixture(scope="module")
def telephone():
    folder = Path(find_spec("pyannote.audio").submodule_search_locations[0])
    return soundfile.read(folder / "sample" / "sample.wav", dtype="float32")[0]


def test_equals_faster_whisper(vad, telephone):
    centered = telephone - telephone.mean()
    theirs = get_vad_model()(np.pad(centered, (0, -len(telephone) % 512)))
    ours = vad.probabilities(Waveform(telephone, ""))
    np.testing.assert_allclose(ours[:-1], theirs.ravel()[:-1], atol=1e-5)
    assert 0.5 < (ours > 0.5).mean() < 0.95


@pytest.mark.parametrize("offset", [-0.6, 0.3, 0.6])
def test_a_dc_offset_changes_nothing(vad, telephone, offset):
    plain = vad.probabilities(Waveform(telephone, ""))
    moved = vad.probabilities(Waveform(telephone + np.float32(offset), ""))
    np.testing.assert_allclose(moved, plain, atol=1e-3)


@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_blocks_do_not_change_the_result(vad, telephone, block, monkeypatch):
    sound = Waveform(telephone[:80_000], "")
    whole = vad.probabilities(sound)
    monkeypatch.setattr(silero, "BLOCK_FRAMES", block)
    np.testing.assert_allclose(vad.probabilities(sound), whole, atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (512, 1), (513, 2), (16_000, 32)])
def test_one_value_per_begun_frame(vad, samples, frames):
    values = vad.probabilities(Waveform(np.zeros(samples, np.float32), ""))
    assert values.shape == (frames,)
    assert (values < 0.2).all()


def test_progress_can_stop_it(vad):
    def stop(fraction):
        raise StoppedError(f"stopped at {fraction}")

    with pytest.raises(StoppedError):
        vad.probabilities(Waveform(np.zeros(16_000, np.float32), ""), stop)
