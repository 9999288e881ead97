"""Link to forms of deployments, filled in: to run a video again, and to name a voice."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound

from spokenby.types import Identity
from tasks.forms import DEPLOYMENT, NAMING, again, form

TEMPORARY = "PREFECT__SERVER_EPHEMERAL"
"""In the environment of a process whose server is temporary: it has no worker, and no UI."""


class Again(NamedTuple):
    """How the present run was asked for, and the deployment whose form asks again.

    There is none where the server does not have it, or is temporary.
    """

    deployment: UUID | None
    parameters: Mapping[str, Any]

    def link(self, text: str, path: str, force: Collection[str] = ()) -> str:
        """Return a Markdown link for one video; empty without a deployment.

        Args:
            text: of the link, with nothing from outside in it.
            path: of the video.
            force: stages to compute again.
        """
        if not self.deployment:
            return ""
        return _link(text, self.deployment, again(self.parameters, path, force))


def again_of_run() -> Again:
    """Return how the flow run of this context can be asked for again."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return Again(None, {})
    deployment = context.flow_run.deployment_id or _find(DEPLOYMENT)
    return Again(deployment, context.parameters or {})


def naming_links(identities: Iterable[Identity]) -> dict[str, str]:
    """Return Markdown links to the form that names a voice, for speakers without a name."""
    nameless = [each.name for each in identities if each.voice is not None and not each.known]
    naming = _find(NAMING) if nameless else None
    return {name: _link("name", naming, {"voice": name}) for name in nameless} if naming else {}


def _link(text: str, deployment: UUID, parameters: Mapping[str, Any]) -> str:
    return f"[{text}]({form(deployment, parameters)})"


def _find(deployment: str) -> UUID | None:
    """Return a deployment if the server has it, and stays."""
    if TEMPORARY in os.environ:  # its UI is gone with it
        return None
    try:
        with get_client(sync_client=True) as client:
            return client.read_deployment_by_name(deployment).id
    except (ObjectNotFound, httpx.HTTPError):
        return None
