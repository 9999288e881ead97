"""Models of full size, or small ones, with random weights, in the real formats, are made here.

    python tests/benchmarks/random_models.py FOLDER [--small]

What they compute is noise; how long it takes is not. They need no network. What they are measured
with is in the scripts beside this one.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from measuring import say

TOKENS = 100
"""A window of 30 s at 150 words a minute, 1.3 tokens a word."""


class Models(NamedTuple):
    """Folders of a pyannote pipeline, a speechbrain encoder and a Whisper model."""

    pyannote: Path
    speechbrain: Path
    whisper: Path


def make_whisper(folder: Path, name: str, tokens: int = TOKENS) -> Path:
    """Return a Whisper model; make it if it is not there yet.

    Args:
        folder: is made.
        name: one of `tests.checkpoints.whisper.SHAPES`.
        tokens: what it says in every window, whatever it hears.
    """

    def make(place: Path) -> None:
        from tests.checkpoints import whisper as checkpoints

        shape = checkpoints.SHAPES[name]
        weights = checkpoints.reciting_weights(shape, tokens)
        quantization = "float16" if shape.vocabulary else "float32"
        checkpoints.make_whisper(place, weights, shape=shape, quantization=quantization)

    return _once(folder.absolute() / f"whisper-{name}-{tokens}-tokens", make)


def make_models(
    folder: Path,
    *,
    whisper: str = "large-v3-turbo",
    tokens: int = TOKENS,
    full_size: bool = True,
    segmentation: Path | None = None,
    plda: Path | None = None,
) -> Models:
    """Return the models in a folder; make those that are not there yet.

    Args:
        folder: is made.
        whisper: see `make_whisper`, as for the tokens.
        tokens: see there.
        full_size: pyannote's and speechbrain's networks as large as the real ones.
        segmentation: a real `pytorch_model.bin` to take instead of random weights.
        plda: a folder of real `xvec_transform.npz` and `plda.npz` to take likewise.
    """
    folder = folder.absolute()
    size = "full" if full_size else "small"
    real = "-real" * bool(segmentation) + "-plda" * bool(plda)

    def make_pyannote(place: Path) -> None:
        from tests.checkpoints.pyannote import build_pipeline

        build_pipeline(place, full_size=full_size, segmentation=segmentation, plda=plda)

    def make_speechbrain(place: Path) -> None:
        from tests.checkpoints.speechbrain import build_encoder

        build_encoder(place, full_size=full_size)

    return Models(
        _once(folder / f"pyannote-{size}{real}", make_pyannote),
        _once(folder / f"ecapa-{size}", make_speechbrain),
        make_whisper(folder, whisper, tokens),
    )


def _once(place: Path, make: Callable[[Path], None]) -> Path:
    """Make what is not there yet: a folder of the right name is whole."""
    if not place.is_dir():
        say(f"making {place.name}")
        part = place.with_name(f"{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        make(part)
        part.rename(place)
    return place


def words_for(models: Models, *, retries: int = 0) -> list[str]:
    """Return words for `spokenby transcribe` that name these models.

    Random weights align no word with its sound, so that nearly every window is doubted; `retries`
    says how many are heard again.
    """
    return [
        *("--profile", "studio", "--language", "en"),
        *("--set", f"diarize.model={models.pyannote}"),
        *("--set", f"embed.model={models.speechbrain}"),
        *("--set", f"transcribe.model={models.whisper}"),
        *("--set", f"transcribe.retries={retries}"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    make_models(
        options.folder,
        whisper="smallest" if options.small else "large-v3-turbo",
        full_size=not options.small,
    )
