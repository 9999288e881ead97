"""Every command explains itself, with examples."""

from __future__ import annotations

import io

import pytest
from cyclopts import App
from rich.console import Console

from flows.cli.app import app


def commands(parent: App, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the words of every command below one."""
    found = []
    for name in parent:
        if not name.startswith("-"):
            below = commands(parent[name], (*words, name))
            found += below or [(*words, name)]
    return found


def test_commands_are_found() -> None:
    assert {("transcribe",), ("sweep",), ("voices", "enroll"), ("find",)} <= set(commands(app))


@pytest.mark.parametrize("words", commands(app), ids=" ".join)
def test_help_has_examples(words: tuple[str, ...]) -> None:
    told = io.StringIO()
    app.help_print(words, console=Console(file=told, width=200))
    assert f"spokenby {' '.join(words)}" in told.getvalue().partition("For example:")[2]
