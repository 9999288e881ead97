"""CAM++ from its published weights, on the voices of the sample conversation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import CONVERSATION, TELEPHONE, sound_of, voices_of
from scipy.signal import butter, sosfiltfilt

from spokenby.engines import campplus
from spokenby.engines.campplus import CamPlus
from spokenby.errors import InputError, StoppedError
from spokenby.models import find_model
from spokenby.types import SAMPLE_RATE_HZ, Span, Waveform

PATH = find_model("campplus", "", Path())


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def encoder():
    return CamPlus(PATH, "cpu")


def spans(*edges):
    return [Span(start=start, end=end) for start, end in edges]


SPREAD = spans((0, 1.6), (3.11, 4.7), (3.9, 5.5), (6, 6.45), (10.003, 14), (20, 21.6), (28.5, 30))
"""Of different lengths, some overlapping, one to the end of the sound."""


def test_a_voice_is_nearer_to_itself_than_to_others(encoder):
    voices = list(voices_of(CONVERSATION).values())
    rows = []
    for voice in voices:
        some = spans(*((start, start + 3.0) for start in (0, 4, 8, 12)))
        rows.append(encoder.embed(voice, some))
    vectors, owner = np.concatenate(rows), np.repeat(range(3), 4)
    assert vectors.shape == (12, 192)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alike = vectors @ vectors.T
    same = owner[:, None] == owner
    np.fill_diagonal(alike, np.nan)
    assert np.nanmin(alike[same]) > alike[~same].max() + 0.1


def test_people_on_one_line_are_told_apart(encoder):
    first, second = voices_of(TELEPHONE).values()
    rows = [encoder.embed(voice, spans((0, 3), (3, 6))) for voice in (first, second)]
    alike = np.concatenate(rows) @ np.concatenate(rows).T
    assert min(alike[0, 1], alike[2, 3]) > alike[:2, 2:].max() + 0.1


def test_its_features_are_kaldis(encoder):
    """Kaldi's are those that torchaudio computes of the whole sound: frames do not depend on it."""
    samples = sound_of(TELEPHONE).samples
    whole = encoder._features(sound_of(TELEPHONE), 0, (len(samples) - 400) // 160 + 1)
    part = encoder._features(sound_of(TELEPHONE), 700, 900)
    assert whole.shape[1] == 80
    torch.testing.assert_close(part, whole[700:900], atol=1e-4, rtol=0)


@pytest.mark.parametrize("block_s", [0.05, 3.0, 1000.0])
def test_blocks_do_not_change_the_result(encoder, block_s, monkeypatch):
    expected = encoder.embed(sound_of(TELEPHONE), SPREAD)
    monkeypatch.setattr(campplus, "BLOCK_S", block_s)
    np.testing.assert_allclose(encoder.embed(sound_of(TELEPHONE), SPREAD), expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_do_not_change_the_result(encoder, batch_size):
    found = CamPlus(PATH, "cpu", batch_size).embed(sound_of(TELEPHONE), SPREAD)
    np.testing.assert_allclose(found, encoder.embed(sound_of(TELEPHONE), SPREAD), atol=1e-4)


def test_neither_order_nor_neighbors_matter(encoder):
    together = encoder.embed(sound_of(TELEPHONE), SPREAD)
    turned = encoder.embed(sound_of(TELEPHONE), SPREAD[::-1])[::-1]
    np.testing.assert_allclose(turned, together, atol=1e-4)
    alone = encoder.embed(sound_of(TELEPHONE), SPREAD[4:5])
    np.testing.assert_allclose(alone, together[4:5], atol=1e-4)


def test_a_span_sounds_the_same_wherever_it_is(encoder):
    """Cut out on a frame, a span's vector is that of the span inside the recording."""
    samples = sound_of(TELEPHONE).samples[10 * SAMPLE_RATE_HZ : 13 * SAMPLE_RATE_HZ]
    inside = encoder.embed(sound_of(TELEPHONE), spans((10, 13)))
    cut = encoder.embed(Waveform(samples, ""), spans((0, 3)))
    assert (inside @ cut.T).item() > 0.9999


def test_too_short_a_span_is_nan(encoder):
    some = spans((1, 1.39), (2, 2.4), (5, 5), (7, 8), (29.9, 30.6), (29.5, 30))
    found = encoder.embed(sound_of(TELEPHONE), some)
    assert np.isnan(found).any(axis=1).tolist() == [True, False, True, False, True, False]
    assert np.isfinite(found[[1, 3, 5]]).all()


@pytest.mark.parametrize("samples", [0, 1, 6000])
def test_too_short_a_sound_has_no_voice(encoder, samples):
    found = encoder.embed(Waveform(np.zeros(samples, np.float32), ""), spans((0, 1.6)))
    assert found.shape == (1, 192)
    assert np.isnan(found).all()


def test_no_spans(encoder):
    assert encoder.embed(sound_of(TELEPHONE), []).shape == (0, 192)


def test_bfloat16_is_close_to_float32(encoder):
    """The bound is the same where the CPU only emulates bfloat16."""
    exact = encoder.embed(sound_of(TELEPHONE), SPREAD)
    half = CamPlus(PATH, "cpu", compute_type="bfloat16")
    assert (encoder.computes_in, half.computes_in) == ("cpu, float32", "cpu, bfloat16")
    found = half.embed(sound_of(TELEPHONE), SPREAD)
    assert found.dtype == np.float32
    cosine = (exact * found).sum(axis=1)
    assert cosine.min() > 0.99  # windows of 0.4 s among them
    assert cosine.min() < 1 - 1e-9, "something is computed in bfloat16"


SPOKEN = spans((10.8, 14.4), (14.8, 17.8), (22, 23.6), (25, 26.6))


def test_an_offset_does_not_matter(encoder):
    moved = Waveform(sound_of(TELEPHONE).samples + np.float32(0.5), "")
    cosine = (encoder.embed(sound_of(TELEPHONE), SPOKEN) * encoder.embed(moved, SPOKEN)).sum(axis=1)
    assert cosine.min() > 0.999


def test_level_matters_little(encoder):
    """A telephone's empty upper bands fall to the floor of the features when it is 12 dB down."""
    quiet = Waveform(sound_of(TELEPHONE).samples * np.float32(0.25), "")
    cosine = (encoder.embed(sound_of(TELEPHONE), SPOKEN) * encoder.embed(quiet, SPOKEN)).sum(axis=1)
    assert cosine.min() > 0.9


@pytest.mark.parametrize("kind", ["text", "segmentation", "state"])
def test_another_file_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "encoder.pt"
    if kind == "text":
        path.write_text("no network")
    elif kind == "segmentation":
        path = find_model("segmentation", "", Path())
    else:
        torch.save({"head.conv1.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(InputError) as refused:
        CamPlus(path, "cpu")
    assert str(path) in refused.value.problem
    assert "CAM++" in refused.value.problem
    assert "\n" not in str(refused.value)
    assert "models verify" in refused.value.next_step


def test_progress_can_stop_it(encoder):
    def stop(fraction):
        raise StoppedError(f"stopped at {fraction}")

    with pytest.raises(StoppedError):
        encoder.embed(sound_of(TELEPHONE), SPREAD, stop)


def test_a_voice_by_telephone_stays_the_same_voice(encoder):
    band = butter(4, [300, 3400], "band", fs=SAMPLE_RATE_HZ, output="sos")
    pieces = spans((0, 4), (4, 8))
    left_in = CamPlus(PATH, "cpu")
    left_in.channels = np.zeros((0, 192), np.float32)
    gained = []
    for voice in voices_of(CONVERSATION).values():
        narrow = Waveform(sosfiltfilt(band, voice.samples).astype(np.float32), "narrow")
        own, before = (
            (each.embed(voice, pieces) * each.embed(narrow, pieces)).sum(axis=1).mean()
            for each in (encoder, left_in)
        )
        gained.append(own - before)
        assert own > 0.6
    assert min(gained) > 0.01
    assert np.mean(gained) > 0.03
    assert np.abs(encoder.embed(voice, pieces) @ encoder.channels.T).max() < 1e-5
