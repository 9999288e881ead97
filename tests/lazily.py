"""Import a module when a test first uses it.

Each process of a test run imports every file of tests, also those whose tests another one runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazily:
    """A module that takes seconds to import."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for marks of its own
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
