"""segmentation-3.0 as spokenby runs it, against pyannote's own model from the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import TELEPHONE, sound_of

from spokenby.engines.segmentation import CHUNK_SAMPLES, STEP_SAMPLES, Segmentation
from spokenby.errors import InputError, StoppedError
from spokenby.models import find_model
from spokenby.stages.local_speakers import CHUNK_FRAMES, CLASSES
from spokenby.types import SAMPLE_RATE_HZ, Waveform
from tests.lazily import Lazily

audio, powerset = Lazily("pyannote.audio"), Lazily("pyannote.audio.utils.powerset")

PATH = find_model("segmentation", "", Path())


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def network():
    return Segmentation(PATH, "cpu")


@pytest.fixture(scope="module")
def classes(network):
    return network.segment(sound_of(TELEPHONE))


@pytest.fixture(scope="module")
def theirs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # pyannote's own way to load it
        return audio.Model.from_pretrained(PATH).eval()


def test_equals_pyannote(classes, theirs):
    samples = sound_of(TELEPHONE).samples
    assert classes.shape == (9, CHUNK_FRAMES, len(CLASSES))
    for chunk in (0, 3, 8):
        sound = samples[chunk * STEP_SAMPLES :][:CHUNK_SAMPLES]
        padded = np.pad(sound, (0, CHUNK_SAMPLES - len(sound)))
        with torch.inference_mode():
            expected = theirs(torch.from_numpy(padded)[None, None]).exp()[0].numpy()
        np.testing.assert_allclose(classes[chunk], expected, atol=1e-5)


def test_classes_mean_what_pyannote_says(theirs):
    said = theirs.specifications
    mapping = (
        powerset.Powerset(len(said.classes), said.powerset_max_classes).mapping.numpy().astype(int)
    )
    np.testing.assert_array_equal(mapping @ [1, 2, 4], CLASSES)


def test_what_is_heard_are_probabilities(classes):
    np.testing.assert_allclose(classes.sum(axis=2), 1, atol=1e-5)
    silent = classes[..., 0].mean()
    assert 0.1 < silent < 0.5


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_batches_do_not_change_the_result(classes, batch_size):
    found = Segmentation(PATH, "cpu", batch_size).segment(sound_of(TELEPHONE))
    np.testing.assert_allclose(found, classes, atol=1e-5)


@pytest.mark.parametrize(
    ("seconds", "chunks"), [(0, 1), (0.01, 1), (9.99, 1), (10, 1), (10.01, 2), (12.5, 2), (12.6, 3)]
)
def test_chunks_hear_all_of_a_recording(network, seconds, chunks):
    samples = np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)
    found = network.segment(Waveform(samples, ""))
    assert found.shape == (chunks, CHUNK_FRAMES, len(CLASSES))
    assert found[..., 0].min() > 0.5  # silence


def test_level_and_offset_hardly_matter(network, classes):
    samples = sound_of(TELEPHONE).samples
    quiet = network.segment(Waveform(samples * np.float32(0.1), ""))
    moved = network.segment(Waveform(samples + np.float32(0.5), ""))
    for other in (quiet, moved):
        assert (other.argmax(axis=2) == classes.argmax(axis=2)).mean() > 0.99


@pytest.mark.parametrize("kind", ["text", "campplus", "state"])
def test_another_file_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "pytorch_model.bin"
    if kind == "text":
        path.write_text("no network")
    elif kind == "campplus":
        path = find_model("campplus", "", Path())
    else:
        torch.save({"state_dict": {"linear.weight": torch.zeros(2, 2)}}, path)
    with pytest.raises(InputError) as refused:
        Segmentation(path, "cpu")
    assert str(path) in refused.value.problem
    assert "segmentation-3.0" in refused.value.problem
    assert "\n" not in str(refused.value)
    assert "models verify" in refused.value.next_step


def test_code_in_a_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    torch.save({"state_dict": Harmful()}, tmp_path / "model.bin")
    with pytest.raises(InputError):
        Segmentation(tmp_path / "model.bin", "cpu")
    assert not (tmp_path / "harmed").exists()


def test_progress_can_stop_it(network):
    def stop(fraction):
        raise StoppedError(f"stopped at {fraction}")

    with pytest.raises(StoppedError):
        network.segment(sound_of(TELEPHONE), stop)
