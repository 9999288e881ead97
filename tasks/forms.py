"""Address the forms of deployments in Prefect's UI, filled in. Needs no Prefect."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from spokenby.types import language_label

DEPLOYMENT = "transcribe-videos/transcribe-videos"
NAMING = "name-voice/name-voice"


def again(parameters: Mapping[str, Any], path: str, force: Collection[str] = ()) -> dict[str, Any]:
    """Return the parameters of a run for one video, like those of another run.

    Args:
        parameters: of that run.
        path: of the video.
        force: stages to compute again.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    if "language" in given:
        given["language"] = language_label(given["language"])
    return given | {"paths": [path], "force": list(force)}


def form(deployment: UUID | str, parameters: Mapping[str, Any]) -> str:
    """Return the address of a deployment's form, from the root of the UI on."""
    query = urlencode({"parameters": json.dumps(parameters, default=str)})
    return f"/deployments/deployment/{deployment}/run?{query}"
