"""Keep a limit on a host's GPU tag while the host has a worker: the cap that Prefect's UI shows.

It keeps nobody from the GPU but by waiting in sight: stages on a host take turns at its slots; see
spokenby/site/gpu_slots.py.
"""

from contextlib import suppress

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound

from flows.server.resources import POOL
from spokenby.settings import Settings, tag_of
from spokenby.site.gpu_slots import shares_gpu, tag_limit

_MOST = 200
"""As many limits as Prefect lists at once; a host has one."""


def keep_limit(client: SyncPrefectClient, settings: Settings) -> str:
    """Have the limit of this host; return a line if it was not there, or another.

    Without a GPU there is none: no task has the tag.
    """
    tag, limit = settings.gpu_tag, tag_limit(settings)
    if not shares_gpu(settings):
        return ""
    found = limit_of(client, tag)
    if found == limit:
        return ""
    client.create_concurrency_limit(tag, limit)
    return f"{'created' if found is None else 'updated'}: limit {limit} on the tag {tag}"


def limit_of(client: SyncPrefectClient, tag: str) -> int | None:
    """Return the limit on a tag; `None` if there is none."""
    try:
        return client.read_concurrency_limit_by_tag(tag).concurrency_limit
    except ObjectNotFound:
        return None


def drop_limit(client: SyncPrefectClient, tag: str) -> None:
    """Remove the limit of a host whose worker ends. Another one on it soon has it again."""
    with suppress(ObjectNotFound):
        client.delete_concurrency_limit_by_tag(tag)


def drop_limits_of_dead(client: SyncPrefectClient, settings: Settings) -> list[str]:
    """Remove the limits of other hosts whose workers are gone without a word; return their tags.

    A worker has the name of its host; see flows/cli/serve.py.
    """
    try:
        workers = client.read_workers_for_work_pool(POOL)
    except ObjectNotFound:
        return []
    gone = {tag_of(worker.name) for worker in workers if worker.status == WorkerStatus.OFFLINE}
    gone.discard(settings.gpu_tag)  # of a worker that is starting
    limits = {limit.tag for limit in client.read_concurrency_limits(_MOST, 0)} if gone else set()
    for tag in gone & limits:
        drop_limit(client, tag)
    return sorted(gone & limits)
