"""Constants that stages compute with, frozen per VERSION.

A stage's params enter its digest, its constants do not: VERSION stands for them. Whoever changes
one without raising VERSION lets a site mix results of two kinds.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import grimp
import pytest

from spokenby.digests import digest_of
from spokenby.plan.stages import Stage
from spokenby.types import StageParams

ROOT = Path(__file__).parents[2]

FROZEN = {
    "extract 2": "1dab15968318eccc",
    "speech 4": "0194aa07528fb46b",
    "diarize 8": "d77958fb7683b7df",
    "embed 5": "334ecb0a459d694a",
    "transcribe 3": "38701bea3d315a23",
    "edges 2": "ebaa075e2ab26d2d",
    "merge 3": "dca59e6f38ceda04",
}
"""By stage and VERSION."""

FOR_SPEED = {f"spokenby.engines.{name}" for name in ("batching", "gpus", "loading", "torch")}
"""Modules that decide how fast a result comes, not which."""

GRAPH = grimp.build_graph("spokenby")


def engines_of(params: type[StageParams]) -> set[str]:
    """Return the engines that a stage can choose from, and those that it has."""
    found = {engine for engine, _ in params().models()}
    for name, field in params.model_fields.items():
        if name in {"engine", "embedder"}:
            found |= set(get_args(field.annotation))
        if isinstance(field.default, StageParams):
            found |= engines_of(type(field.default))
    return found


def modules_of(stage: Stage) -> set[str]:
    """Return the stage's module, its engines, and what these import; without other stages."""
    others = {other.spec.params.__module__ for other in Stage if other is not stage}
    engines = {f"spokenby.engines.{engine}" for engine in engines_of(stage.spec.params)}
    found, due = set(), [stage.spec.params.__module__, *engines]
    while due:
        module = due.pop()
        inside = module.startswith(("spokenby.stages.", "spokenby.engines."))
        if inside and module not in found | others | FOR_SPEED:
            found.add(module)
            due += GRAPH.find_modules_directly_imported_by(module)
    return found


def constants_of(module: str) -> dict[str, str]:
    """Return what a module names in capitals, as it is written there: numbers, words, tuples.

    Without dicts, which are batch sizes by device, and what is made of text: messages, patterns.
    """
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        text = any(isinstance(part, ast.JoinedStr | ast.IfExp) for part in ast.walk(value))
        text |= isinstance(value, ast.Constant) and " " in str(value.value)
        if name.isupper() and name != "VERSION" and not text and not isinstance(value, ast.Dict):
            constants[f"{module}.{name}"] = ast.unparse(value)
    return constants


@pytest.mark.parametrize("stage", Stage)
def test_a_changed_constant_has_a_new_version(stage: Stage) -> None:
    constants: dict[str, str] = {}
    for module in sorted(modules_of(stage)):
        constants |= constants_of(module)
    key, found = f"{stage} {stage.spec.version}", digest_of(constants)[:16]
    where = Path(stage.spec.params.__module__.replace(".", "/")).with_suffix(".py")
    assert FROZEN.get(key) == found, (
        f"the constants of {stage} are not those of its VERSION {stage.spec.version}. If that"
        f" changes its results, raise VERSION in {where} and say so in CHANGELOG.md. Either way,"
        f' replace the line for {stage} in FROZEN by "{key}": "{found}"'
    )
