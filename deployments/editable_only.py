"""Refuse to build a wheel: spokenby is run from its checkout."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableOnly(BuildHookInterface[Any]):
    """Let only the editable installation pass, the one that `uv sync` makes."""

    def initialize(self, version: str, _build_data: dict[str, Any]) -> None:
        """Refuse what would put top-level `flows` and `tasks` among other packages.

        Args:
            version: hatchling's name of the build, "editable" or "standard".
        """
        if version != "editable":
            raise SystemExit(
                "spokenby runs from its checkout and is not installed from a wheel, which would put"
                " `flows` and `tasks` among your packages: clone it and run `uv sync`"
            )
