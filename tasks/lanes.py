"""Taking turns at the GPU lives here: who may compute on this host right now.

The tag that bounds GPU tasks over the whole site does not; see tasks/policies.py. It admits one
task more than there are lanes, on purpose: that one waits here and starts within milliseconds of
the one before it, where Prefect's server would leave the GPU idle for a second or more.
"""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from tasks.progress import is_stopping
from whosaid.errors import StoppedError
from whosaid.gpu import list_gpus
from whosaid.settings import Settings, read_settings

ASK_EVERY_S = 0.02


@contextmanager
def gpu_lane() -> Iterator[None]:
    """Wait for one of this host's lanes and hold it.

    The lanes are files that the operating system locks: it frees those of a killed process, and it
    keeps tasks of several runs, each a process of its own, apart like those of one run.

    Raises:
        StoppedError: this process was asked to stop.
    """
    lanes = _lanes(read_settings())
    if not lanes:
        yield
        return
    while True:
        for lane in lanes:
            try:
                lane.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield
            finally:
                lane.release()
            return
        if is_stopping():
            raise StoppedError("stopped on request", "run again to continue where it stopped")
        time.sleep(ASK_EVERY_S)


def _lanes(settings: Settings) -> list[FileLock]:
    """Return this host's lanes, each free or held; none where nothing has to be shared."""
    count = settings.gpu_lanes or min(len(list_gpus()), 1)
    folder = settings.cache / "lanes"
    if count:
        folder.mkdir(parents=True, exist_ok=True)
    host = platform.node()  # hosts may share the folder, not the GPU
    return [FileLock(folder / f"{host}-{number}.lock") for number in range(count)]


def missing_limit(tag: str) -> str:
    """Say in one line that the server has no limit on the GPU tag; empty if it has, or is our own.

    Prefect takes a limit that does not exist for no limit. One process with a temporary server
    needs none: its lanes do.
    """
    if not get_current_settings().api.url:
        return ""
    try:
        with get_client(sync_client=True) as client:
            client.read_concurrency_limit_by_tag(tag)
    except ObjectNotFound:
        return f"no limit on the tag {tag}: GPU tasks are not queued; run: whosaid setup"
    return ""
