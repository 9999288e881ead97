"""The batched encoder against a plain one-by-one computation of the same thing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from whosaid.engines import resemblyzer
from whosaid.engines.resemblyzer import Resemblyzer
from whosaid.models import find_model
from whosaid.types import Span, Waveform

PATH = find_model("resemblyzer", "", Path())


@pytest.fixture(scope="module")
def embedder():
    return Resemblyzer(PATH, device="cpu")


@pytest.fixture(scope="module")
def telephone():
    folder = Path(find_spec("pyannote.audio").submodule_search_locations[0])
    samples = soundfile.read(folder / "sample" / "sample.wav", dtype="float32")[0]
    return Waveform(samples, "telephone")


SPANS = [
    Span(start=start, end=end)
    for start, end in [
        (0, 1.6),
        (28.4, 30),
        (10.57, 14.7),
        (8.32, 10),
        (9.1, 9.6),
        (0, 30),
        (21.8, 25),
    ]
]


def one_by_one(embedder, waveform, span):
    """Do what the batched code does for one span, over the whole file's mel, step by step."""
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney",
        center=True, pad_mode="constant",
    )(torch.from_numpy(waveform.samples)).T  # fmt: skip
    first, last = round(span.start * 100), min(round(span.end * 100), len(waveform.samples) // 160)
    free = max(last - first - 160, 0)
    count = int(np.ceil(free / 80)) + 1
    frames = [
        [first + (i * free // max(count - 1, 1) + f) % (last - first) for f in range(160)]
        for i in range(count)
    ]
    sound = np.pad(waveform.samples, (0, 160))
    powers = [np.mean([np.mean(sound[160 * f : 160 * f + 160] ** 2) for f in p]) for p in frames]
    gain = 1e-3 / max(np.mean(powers), 1e-10)
    with torch.no_grad():
        vectors = [embedder._encode(gain * mel[p][None])[0].numpy() for p in frames]
    mean = np.mean(vectors, axis=0)
    centred = mean / np.linalg.norm(mean) - embedder._mean
    return centred / np.linalg.norm(centred)


def test_batched_equals_one_by_one(embedder, telephone):
    batched = embedder.embed(telephone, SPANS)
    single = np.stack([one_by_one(embedder, telephone, span) for span in SPANS])
    np.testing.assert_allclose(batched, single, atol=1e-4)


def test_each_span_alone_equals_all_together(embedder, telephone):
    together = embedder.embed(telephone, SPANS)
    alone = np.concatenate([embedder.embed(telephone, [span]) for span in SPANS])
    np.testing.assert_allclose(alone, together, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_does_not_change_the_result(embedder, telephone, batch_size):
    one = Resemblyzer(PATH, device="cpu", batch_size=batch_size).embed(telephone, SPANS)
    np.testing.assert_allclose(one, embedder.embed(telephone, SPANS), atol=1e-4)


def test_bfloat16_is_close_and_float32_the_default(embedder, telephone):
    exact = embedder.embed(telephone, SPANS)
    rough = Resemblyzer(PATH, device="cpu", compute_type="bfloat16").embed(telephone, SPANS)
    assert rough.dtype == np.float32
    assert (rough * exact).sum(axis=1).min() > 0.998
    assert not np.array_equal(rough, exact)


@pytest.mark.parametrize("block", [1.0, 7.0])
def test_block_length_does_not_change_the_result(embedder, telephone, block, monkeypatch):
    whole = embedder.embed(telephone, SPANS)
    monkeypatch.setattr(resemblyzer, "BLOCK_S", block)
    np.testing.assert_allclose(embedder.embed(telephone, SPANS), whole, atol=1e-4)


def test_rows_are_unit_and_too_short_is_nan(embedder, telephone):
    spans = [Span(start=1, end=3), Span(start=1, end=1.3), Span(start=40, end=45)]
    vectors = embedder.embed(telephone, spans)
    np.testing.assert_allclose(np.linalg.norm(vectors[0]), 1, atol=1e-5)
    assert np.isnan(vectors[1:]).all()


def test_nothing_to_embed(embedder, telephone):
    assert embedder.embed(telephone, []).shape == (0, 256)


def test_silence_is_finite(embedder):
    vectors = embedder.embed(Waveform(np.zeros(48_000, np.float32), ""), [Span(start=0, end=3)])
    assert np.isfinite(vectors).all()


def test_level_does_not_matter(embedder, telephone):
    quiet = Waveform(telephone.samples * 0.05, "")
    cosine = (embedder.embed(telephone, SPANS) * embedder.embed(quiet, SPANS)).sum(axis=1)
    assert (cosine > 0.999).all()


def test_same_voice_is_nearer_than_another(embedder, telephone):
    a, b, other = embedder.embed(
        telephone,
        [Span(start=10.6, end=12.6), Span(start=12.6, end=14.4), Span(start=24, end=27)],
    )
    assert a @ b > a @ other


def test_progress_reaches_the_end(embedder, telephone):
    seen = []
    embedder.embed(telephone, SPANS, seen.append)
    assert seen[-1] == 1.0


def test_the_mean_is_a_mean_of_unit_vectors(embedder):
    assert embedder._mean.shape == (256,)
    assert 0.3 < np.linalg.norm(embedder._mean) < 1
