"""Make packages that carry models: small ones, missing ones, or with other bytes in them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from spokenby.models import File, Model

HALVES = (bytes(range(256)) * 300, bytes(reversed(range(256))) * 200)
CONTENT: Mapping[str, bytes] = {
    "config.json": b'{"small": 1}',
    "model.bin": HALVES[0] + HALVES[1],
    "tokenizer.json": b'{"version": "1.0"}',
    "vocabulary.txt": b"a\nb\n",
}


def files_of(content: Mapping[str, bytes]) -> dict[str, File]:
    return {
        name: File(size=len(its), sha256=hashlib.sha256(its).hexdigest())
        for name, its in content.items()
    }


SMALL = Model(
    name="small-whisper",
    engine="faster_whisper",
    license="MIT",
    files=files_of(CONTENT),
    parts={
        "config.json": ("tests_first_half/data/config.json",),
        "model.bin": ("tests_first_half/data/bin.1", "tests_second_half/data/bin.2"),
        "tokenizer.json": ("tests_first_half/data/tokenizer.json",),
        "vocabulary.txt": ("tests_first_half/data/vocabulary.txt",),
    },
    repo="tests/small-whisper",
    revision="abc123",
)
"""A model in two packages, in the manner of `faster-whisper-base`."""


def write_package(folder: Path, name: str, content: Mapping[str, bytes]) -> Path:
    """Write a package that must never be imported, and return its folder."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    for file, its in content.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_bytes(its)
    return package


def write_halves(folder: Path) -> tuple[Path, Path]:
    """Write the two packages of `SMALL`."""
    rest = {f"data/{name}": its for name, its in CONTENT.items() if name != "model.bin"}
    first = write_package(folder, "tests_first_half", {"data/bin.1": HALVES[0], **rest})
    return first, write_package(folder, "tests_second_half", {"data/bin.2": HALVES[1]})


def without(packages: Collection[str], patch: pytest.MonkeyPatch) -> None:
    """Make this process find none of some packages."""
    find: Callable[[str], object] = importlib.util.find_spec
    patch.setattr(
        "spokenby.models.packaged.find_spec",
        lambda name: None if name in packages else find(name),
    )
