"""Load a pipeline from its folder, and nothing from elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
import yaml
from pyannote.audio import Model
from pyannote.audio.core.plda import PLDA
from pyannote.audio.core.task import Resolution
from pyannote.audio.models.embedding.wespeaker import BaseWeSpeakerResNet
from pyannote.audio.utils.dependencies import check_dependencies
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spokenby.engines.pyannote.clustering import METHODS
from spokenby.engines.pyannote.pipeline import OnePassDiarization
from spokenby.errors import InputError, SpokenbyError

FETCH = "run: spokenby models fetch --profile studio"


def load_pipeline(folder: Path) -> OnePassDiarization:
    """Load the pipeline that a folder's `config.yaml` describes."""
    config_path = folder / "config.yaml"
    if not config_path.is_file():
        raise InputError(f"{folder} is not a pyannote pipeline: it has no config.yaml", FETCH)
    with _blaming(config_path):
        config = yaml.safe_load(config_path.read_text(encoding="utf-8"))
        name, params = config["pipeline"]["name"], config["pipeline"]["params"]
        method = params["clustering"]
        check_dependencies(config.get("dependencies", {}), "the pipeline")
    if not name.endswith("SpeakerDiarization") or method not in METHODS:
        raise InputError(
            f"{config_path} describes a {name} with {method}",
            f"use a SpeakerDiarization with {' or '.join(METHODS)}",
        )
    segmentation = _load_model(folder, params, "segmentation")
    embedding = _load_model(folder, params, "embedding")
    # Without one, pyannote would ask the hub, even for a method that does not use it.
    plda = _load_plda(folder, params) if method == "VBxClustering" else _Unused()
    models = {"segmentation": segmentation, "embedding": embedding, "plda": plda, "legacy": False}
    with _blaming(config_path):
        pipeline = OnePassDiarization(**params | models)
        pipeline.instantiate(config["params"])
    _speed_up(embedding.resnet)
    return pipeline


class _Unused(PLDA):
    def __init__(self) -> None:
        pass


def _load_model(folder: Path, params: dict[str, Any], part: str) -> Any:
    path = _find(folder, params, part, "pytorch_model.bin")
    with _blaming(path):
        model: Any = Model.from_pretrained(path)
    resolution = getattr(model.specifications, "resolution", None)
    fits = {
        "segmentation": resolution is Resolution.FRAME,
        "embedding": isinstance(model, BaseWeSpeakerResNet),
    }
    if not fits[part]:
        raise InputError(f"{path} holds a {type(model).__name__}, not a model for {part}", FETCH)
    return model


def _load_plda(folder: Path, params: dict[str, Any]) -> PLDA:
    transform = _find(folder, params, "plda", "xvec_transform.npz")
    with _blaming(transform.parent):
        return PLDA(transform, _find(folder, params, "plda", "plda.npz"))


def _find(folder: Path, params: dict[str, Any], part: str, file: str) -> Path:
    named = str(params.get(part, part))
    place = folder / named.removeprefix("$model/")
    path = place if place.is_file() else place / file
    if not path.is_file():
        raise InputError(f"{folder / 'config.yaml'} names {named}, but there is no {path}", FETCH)
    return path


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turn any error into an `InputError` that names the file."""
    try:
        yield
    except SpokenbyError:
        raise
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 200, placeholder=" …")
        raise InputError(f"cannot use {path} ({reason})", FETCH) from error


def _speed_up(resnet: Any) -> None:
    """Optimize a network: a third less time, results equal to float rounding.

    Batch norms are folded into the convolutions before them; channels become the last dimension.
    """
    for block in list(resnet.modules()):
        for name, norm in list(block.named_children()):
            if isinstance(norm, torch.nn.BatchNorm2d):
                before = {"1": "0"}.get(name, name.replace("bn", "conv"))  # "0", "1": in a shortcut
                setattr(block, before, fuse_conv_bn_eval(getattr(block, before), norm))
                setattr(block, name, torch.nn.Identity())
    resnet.to(memory_format=torch.channels_last)
