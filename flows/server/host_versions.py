"""Record each worker's versions and models, so that differences between hosts can be shown.

They are variables of the Prefect server, one for each host while it has a worker.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound

from flows.server.resources import POOL
from spokenby.digests import DigestIndex
from spokenby.errors import SpokenbyError
from spokenby.output.manifest import versions
from spokenby.plan.profiles import choose_profile, identify_models, make_recipe
from spokenby.settings import Settings, host_name
from spokenby.site.batch import site_params

_PREFIX = "spokenby_host_"


def describe(settings: Settings) -> dict[str, Any]:
    """Return what decides whether another host computes the same: versions and models."""
    models: dict[str, list[str]] = {}
    profile = settings.profile
    with suppress(SpokenbyError):  # some are not here: `doctor` says which
        of_site = site_params(settings)
        chosen, _ = choose_profile(settings.profile, settings.models, **of_site)
        profile = chosen.value
        recipe = make_recipe(chosen, **of_site)
        found = identify_models(recipe, settings.models, DigestIndex(settings.digest_index))
        # Of the digests of their files, so many characters that two are not taken for one.
        models = {
            stage: sorted(identity.rpartition(":")[2][:16] for identity in identities)
            for stage, identities in found.items()
        }
    return {"host": host_name(), "profile": profile, "versions": versions(), "models": models}


def note_host(client: SyncPrefectClient, settings: Settings) -> None:
    """Note with what this host computes."""
    name, value = _name(host_name()), describe(settings)
    if found := client.read_variable_by_name(name):
        if found.value != value:
            client.update_variable(VariableUpdate(name=name, value=value))
    else:
        client.create_variable(VariableCreate(name=name, value=value))


def forget_host(client: SyncPrefectClient, host: str) -> None:
    """Remove the note of a host that has no worker any more."""
    with suppress(ObjectNotFound):
        client.delete_variable_by_name(_name(host))


def forget_dead_hosts(client: SyncPrefectClient) -> None:
    """Remove the notes of other hosts whose workers are gone without a word."""
    with suppress(ObjectNotFound):
        for worker in client.read_workers_for_work_pool(POOL):
            if worker.status == WorkerStatus.OFFLINE and worker.name != host_name():
                forget_host(client, worker.name)


def other_hosts(client: SyncPrefectClient) -> list[dict[str, Any]]:
    """Return what the workers of other hosts have noted."""
    notes = [
        each.value for each in client.read_variables(limit=200) if each.name.startswith(_PREFIX)
    ]
    return [note for note in notes if isinstance(note, dict) and note.get("host") != host_name()]


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what another host differs, in words."""
    if here["profile"] != there.get("profile"):
        yield f"profile {there.get('profile')}, here {here['profile']}"
    theirs = there.get("versions") or {}
    for name, version in here["versions"].items():
        if theirs.get(name) != version:
            yield f"{name} {theirs.get(name, 'missing')}, here {version}"
    if here["profile"] == there.get("profile"):
        models = there.get("models") or {}
        other = [stage for stage in here["models"] if models.get(stage) != here["models"][stage]]
        if other:
            yield f"other models for {', '.join(other)}"


def _name(host: str) -> str:
    return _PREFIX + re.sub("[^a-z0-9_]", "_", host.lower())
