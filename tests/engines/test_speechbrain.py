"""Batches of the ECAPA engine give what one sound at a time gives, from a local folder alone.

The encoder is in the real format with small random networks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from spokenby.engines.speechbrain import Speechbrain
from spokenby.errors import InputError, StoppedError
from spokenby.types import Span, Waveform
from tests.checkpoints.speechbrain import DIMENSION, build_encoder

RATE_HZ = 16_000


pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_encoder(tmp_path_factory.mktemp("ecapa") / "encoder")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Speechbrain:
    return Speechbrain(folder, device="cpu")


@pytest.fixture(scope="module")
def waveform() -> Waveform:
    """Return 30 s of noise whose colour changes every second, read-only as a memory map is."""
    rng = np.random.default_rng(0)
    sound = np.concatenate(
        [
            np.convolve(rng.normal(0, 0.1, RATE_HZ), rng.normal(0, 1, 8), mode="same")
            for _ in range(30)
        ]
    ).astype(np.float32)
    sound.setflags(write=False)
    return Waveform(sound, "digest")


def spans(*times: tuple[float, float]) -> list[Span]:
    return [Span(start=start, end=end) for start, end in times]


def random_spans(count: int, shortest: float, longest: float) -> list[Span]:
    rng = np.random.default_rng(1)
    length = rng.uniform(shortest, longest, count)
    start = rng.uniform(0, 30 - length)
    return spans(*zip(start.tolist(), (start + length).tolist(), strict=True))


def cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (a * b).sum(axis=1)


# --- vectors


def test_one_at_a_time_is_what_speechbrain_gives(
    folder: Path, engine: Speechbrain, waveform: Waveform
) -> None:
    from speechbrain.inference.classifiers import EncoderClassifier  # not before the engine is

    encoder = EncoderClassifier.from_hparams(
        source=str(folder), overrides={"pretrained_path": str(folder)}
    )
    for span in random_spans(5, 0.4, 8):
        first, last = round(span.start * RATE_HZ), round(span.end * RATE_HZ)
        sound = torch.from_numpy(waveform.samples[first:last].copy())
        expected = encoder.encode_batch(sound)[0].numpy()
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(engine.embed(waveform, [span]), expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_batches_are_what_one_at_a_time_is(
    batch_size: int | None, folder: Path, engine: Speechbrain, waveform: Waveform
) -> None:
    many = random_spans(40, 0.4, 8)
    batched = Speechbrain(folder, "cpu", batch_size).embed(waveform, many)
    alone = np.concatenate([engine.embed(waveform, [span]) for span in many])
    assert batched.dtype == np.float32
    assert batched.shape == (40, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(batched, axis=1), 1, atol=1e-5)
    assert cosines(batched, alone).min() >= 0.999
    assert cosines(batched, np.roll(alone, 1, axis=0)).min() < 0.99  # voices do differ


def test_bfloat16_is_close(folder: Path, engine: Speechbrain, waveform: Waveform) -> None:
    many = random_spans(10, 0.4, 8)
    rough = Speechbrain(folder, "cpu", compute_type="bfloat16").embed(waveform, many)
    exact = engine.embed(waveform, many)
    assert rough.dtype == np.float32
    assert cosines(rough, exact).min() > 0.999
    assert not np.array_equal(rough, exact)


def test_rows_are_in_the_order_of_the_spans(engine: Speechbrain, waveform: Waveform) -> None:
    many = random_spans(20, 0.5, 5)
    there, back = engine.embed(waveform, many), engine.embed(waveform, many[::-1])
    np.testing.assert_allclose(there, back[::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("span", "usable"),
    [
        ((1.0, 1.39), False),
        ((1.0, 1.4), True),
        ((2.0, 2.0), False),
        ((29.7, 35.0), False),  # 0.3 s of it are there
        ((29.0, 35.0), True),
        ((40.0, 45.0), False),
        ((0.0, 30.0), True),
    ],
)
def test_short_spans_are_nan(
    span: tuple[float, float], usable: bool, engine: Speechbrain, waveform: Waveform
) -> None:
    vectors = engine.embed(waveform, spans(span, (3.0, 5.0)))
    assert np.isfinite(vectors).all(axis=1).tolist() == [usable, True]
    assert usable or np.isnan(vectors[0]).all()


def test_nothing_to_embed(engine: Speechbrain, waveform: Waveform) -> None:
    told: list[float] = []
    assert engine.embed(waveform, [], told.append).shape == (0, DIMENSION)
    assert engine.embed(waveform, spans((0, 0.1)), told.append).shape == (1, DIMENSION)
    assert told == []


# --- batches


@pytest.mark.parametrize("batch_size", [None, 16])
def test_batches_hold_sounds_of_alike_length(
    batch_size: int | None, folder: Path, waveform: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Speechbrain(folder, "cpu", batch_size)
    batches: list[list[int]] = []
    encode = engine._encode
    monkeypatch.setattr(
        engine, "_encode", lambda sounds: batches.append([len(s) for s in sounds]) or encode(sounds)
    )
    told: list[float] = []
    engine.embed(waveform, random_spans(60, 0.4, 8), told.append)
    assert sum(map(len, batches)) == 60
    assert all(min(batch) >= 0.8 * max(batch) for batch in batches)
    assert all(max(batch) * len(batch) <= 16 * RATE_HZ for batch in batches) or batch_size
    assert all(len(batch) <= (batch_size or 60) for batch in batches)
    assert len(batches) < 30
    assert len(told) == len(batches)
    assert told == sorted(told)
    assert told[-1] == 1


def test_windows_of_one_length_fill_batches(
    engine: Speechbrain, waveform: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(
        engine, "_encode", lambda sounds: np.ones((sizes.append(len(sounds)) or len(sounds), 192))
    )
    engine.embed(waveform, random_spans(10_000, 1.6, 1.6))
    assert sizes == [10] * 1000


def test_a_full_gpu_halves_the_batches(
    engine: Speechbrain, waveform: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, sizes = random_spans(20, 2, 2), []
    expected, encode = engine.embed(waveform, many), engine._encode

    def fill_up(sounds: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        sizes.append(len(sounds))
        if len(sounds) > 6:
            raise torch.OutOfMemoryError
        return encode(sounds)

    monkeypatch.setattr("spokenby.engines.batching._fitting", {})
    monkeypatch.setattr(engine, "_encode", fill_up)
    np.testing.assert_allclose(engine.embed(waveform, many), expected, atol=1e-5)
    assert sizes == [8, 4, 4, 4, 4, 4]


def test_stopping(engine: Speechbrain, waveform: Waveform) -> None:
    def progress(_: float) -> None:
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        engine.embed(waveform, spans((0, 2), (2, 8)), progress)
    assert np.isfinite(engine.embed(waveform, spans((0, 2)))).all()


# --- the folder


def test_a_moved_folder_loads_and_nothing_is_written(
    folder: Path,
    engine: Speechbrain,
    waveform: Waveform,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = tmp_path / "moved ü"
    shutil.copytree(folder, moved)
    hyperparams = moved / "hyperparams.yaml"
    text = hyperparams.read_text().replace("speechbrain/spkrec-ecapa-voxceleb", "/no/such/place")
    hyperparams.write_text(text)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    other = Speechbrain(Path("../moved ü"), device="cpu")
    assert sorted(tmp_path.rglob("*")) == before
    assert other.model == engine.model
    span = spans((0, 3))
    np.testing.assert_array_equal(other.embed(waveform, span), engine.embed(waveform, span))


def test_other_weights_are_another_model(engine: Speechbrain, tmp_path: Path) -> None:
    other = Speechbrain(build_encoder(tmp_path / "other", seed=1), device="cpu")
    assert other.model != engine.model
    assert engine.model.startswith("ecapa:")


def test_torch_is_left_as_it_was() -> None:
    """Unless told not to, speechbrain switches TF32 on everywhere; see also `test_torchcodec`."""
    check = (
        "import spokenby.engines.speechbrain, torch\n"
        "assert not torch.backends.cuda.matmul.allow_tf32"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "is not a speechbrain encoder: it has no hyperparams.yaml"),
        (lambda f: (f / "hyperparams.yaml").write_text("a: [b"), "cannot use the encoder in"),
        (lambda f: (f / "hyperparams.yaml").write_text("a: b"), r"cannot use .*KeyError"),
        (lambda f: cut(f / "embedding_model.ckpt"), "cannot use the encoder in"),
        (lambda f: (f / "embedding_model.ckpt").write_bytes(b""), "cannot use the encoder in"),
        (lambda f: (f / "embedding_model.ckpt").unlink(), r"cannot use .*embedding_model.ckpt"),
        (lambda f: (f / "classifier.ckpt").unlink(), r"cannot use .*classifier.ckpt"),
        (
            lambda f: shutil.copy(f / "classifier.ckpt", f / "embedding_model.ckpt"),
            r"cannot use the encoder in .*Missing key",
        ),
    ],
)
def test_broken_folders(damage: Any, message: str, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    damage(broken)
    with pytest.raises(InputError, match=message) as error:
        Speechbrain(broken, device="cpu")
    line = str(error.value)
    assert "\n" not in line
    assert line.endswith("run: spokenby models fetch --profile studio")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no NVIDIA GPU that it can use: .*device cpu or auto"):
        Speechbrain(folder, device="cuda")
