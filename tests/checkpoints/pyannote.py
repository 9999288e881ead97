"""Small pyannote pipelines in the real format are made here, with the real segmentation.

The speaker network is random, as no package carries the real one: it cannot tell voices apart, but
goes through every step. The segmentation is random, too, where the package that carries
segmentation-3.0 is not installed. Nothing is tested here; see `tests/engines/test_pyannote.py`.

A full-size speaker network for `tests/benchmarks/pyannote_parity.py`:
`python -m tests.checkpoints.pyannote FOLDER --full-size`.
"""

import argparse
import os
import shutil
from pathlib import Path
from typing import Literal

os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"

import lightning
import numpy as np
import pyannote.audio
import torch
import yaml
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import WeSpeakerResNet34
from pyannote.audio.models.segmentation import PyanNet

from spokenby.models.catalogue import default_model
from spokenby.models.packaged import in_package

LDA_DIMENSION = 128

# What the real pipelines hold, less the batch sizes.
CONFIGS = {
    "VBxClustering": {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"min_duration_off": 0.0},
        },
    },
    "AgglomerativeClustering": {
        "version": "3.1.0",
        "params": {
            "clustering": {
                "method": "centroid",
                "min_cluster_size": 12,
                "threshold": 0.7045654963945799,
            },
            "segmentation": {"min_duration_off": 0.0},
        },
    },
}


def build_pipeline(
    folder: Path,
    clustering: Literal["VBxClustering", "AgglomerativeClustering"] = "VBxClustering",
    *,
    full_size: bool = False,
    segmentation: Path | None = None,
    plda: Path | None = None,
) -> Path:
    """Write a pipeline like community-1 (VBx, with a PLDA) or like 3.1 (agglomerative, without).

    Args:
        folder: is made.
        clustering: decides which of the two.
        full_size: take a speaker network as large as the real one, not one a hundred times cheaper.
        segmentation: a `pytorch_model.bin` to take instead of the installed one.
        plda: a folder of real `xvec_transform.npz` and `plda.npz` to take likewise.
    """
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    _save(_embedding(full_size), folder / "embedding")
    segmentation = segmentation or in_package(default_model("segmentation"))
    if segmentation is None:
        _save(_segmentation(full_size), folder / "segmentation")
    else:
        (folder / "segmentation").mkdir(exist_ok=True)
        shutil.copy(segmentation, folder / "segmentation" / "pytorch_model.bin")
    params = {
        "clustering": clustering,
        "segmentation": "$model/segmentation",
        "segmentation_batch_size": 32,
        "embedding": "$model/embedding",
        "embedding_batch_size": 32,
        "embedding_exclude_overlap": True,
    }
    if clustering == "VBxClustering":
        params["plda"] = "$model/plda"
        _save_plda(folder / "plda", plda)
    config = CONFIGS[clustering] | {
        "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": params}
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def _segmentation(full_size: bool) -> PyanNet:
    size = (
        {}
        if full_size
        else {
            "sincnet": {"stride": 40},
            "lstm": {"hidden_size": 16, "num_layers": 1},
            "linear": {"hidden_size": 16, "num_layers": 1},
        }
    )
    model = PyanNet(**size)
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()  # makes the classifier: its weights can be set only now
    with torch.no_grad():
        # Silence, three voices and overlaps of two come and go with the sound.
        model.classifier.weight *= 40
        model.classifier.bias += torch.tensor([3.5, 3.5, 3.6, 4.1, 2.2, 1.9, 1.0])
    return model


def _embedding(full_size: bool) -> WeSpeakerResNet34:
    model = WeSpeakerResNet34() if full_size else WeSpeakerResNet34(num_mel_bins=8, frame_shift=100)
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=10.0, classes=[]
    )
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):  # as after training: not the identity
            norm.running_mean.uniform_(-0.1, 0.1)
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.uniform_(norm.bias, -0.1, 0.1)
    return model


def _save(model: pyannote.audio.Model, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "pyannote.audio": {
            "versions": {
                "pyannote.audio": pyannote.audio.__version__,
                "torch": torch.__version__,
            },
            "architecture": {"module": type(model).__module__, "class": type(model).__name__},
            "specifications": model.specifications,
        },
    }
    torch.save(checkpoint, folder / "pytorch_model.bin")


def _save_plda(folder: Path, real: Path | None) -> None:
    if real is not None:
        shutil.copytree(real, folder, dirs_exist_ok=True)
        return
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    square = (LDA_DIMENSION, LDA_DIMENSION)
    np.savez(
        folder / "xvec_transform.npz",
        mean1=rng.normal(0, 0.1, 256),
        mean2=rng.normal(0, 0.1, LDA_DIMENSION),
        lda=np.linalg.qr(rng.normal(size=(256, LDA_DIMENSION)))[0],
    )
    np.savez(
        folder / "plda.npz",
        mu=rng.normal(0, 0.1, LDA_DIMENSION),
        tr=np.linalg.qr(rng.normal(size=square))[0],
        psi=np.sort(rng.uniform(0.5, 8, LDA_DIMENSION))[::-1],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=build_pipeline.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clustering", default="VBxClustering", choices=list(CONFIGS))
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--segmentation", type=Path)
    parser.add_argument("--plda", type=Path)
    build_pipeline(**vars(parser.parse_args()))
