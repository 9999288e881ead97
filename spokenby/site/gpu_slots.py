"""Take turns at this host's GPU: a stage computes only while it holds one of the host's slots.

Slots are the mutex: locked files, which keep stages of all runs on one host apart, with or without
a Prefect server. The limit on the host's GPU tag (flows/server/gpu_limits.py) is the cap that
Prefect's UI shows. It admits more tasks than there are slots, on purpose: the others wait here and
start within milliseconds of the one before. A released tag wakes nobody, so the tag alone would
leave the GPU idle for a second or more between tasks (PrefectHQ/prefect #23183).
"""

import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from spokenby.engines.gpus import list_gpus
from spokenby.errors import StoppedError
from spokenby.files import explain, explaining
from spokenby.progress import Step, announce, holding_slot, is_stopping
from spokenby.settings import Settings, read_settings

Engine = TypeVar("Engine")

ASK_EVERY_S = 0.02

ROOMY_BYTES = 22 * 2**30
"""GPUs of this memory, sold as 24 GB, can run a recognizer and a diarizer at the same time."""


@contextmanager
def on_gpu(video: str, stage: str, load: AbstractContextManager[Engine]) -> Iterator[Engine]:
    """Wait for an engine, then for a lane to run it on, and hold both for a stage of a video.

    Always in this order: a stage that held a lane while another video uses its engine would keep
    the GPU from a third that waits for neither, and could deadlock.

    Raises:
        StoppedError: this process was asked to stop.
    """
    queued = time.perf_counter()
    announce(Step(video, stage, "waiting", note=f"{stage} waits for its model"))
    with load as engine:
        if shares_gpu(read_settings()):
            announce(Step(video, stage, "waiting", note=f"{stage} waits for the GPU"))
        with gpu_slot(queued):
            yield engine


@contextmanager
def gpu_slot(queued: float | None = None) -> Iterator[None]:
    """Wait for one of this host's lanes and hold it.

    Lanes are files locked through the operating system, which frees those of a killed process and
    separates the processes of several runs like the threads of one.

    Args:
        queued: when the stage queued for the GPU, by `perf_counter`; None is now.

    Raises:
        StoppedError: this process was asked to stop.
        SpokenbyError: the folder of the lanes does not allow it.
    """
    queued = time.perf_counter() if queued is None else queued
    lanes = _lanes(read_settings())
    if not lanes:
        with holding_slot(queued):
            yield
        return
    while True:
        for lane in lanes:
            try:
                lane.acquire(blocking=False)
            except Timeout:
                continue
            except OSError as error:
                raise explain(error, Path(lane.lock_file), "set SPOKENBY_CACHE_DIR") from error
            try:
                with holding_slot(queued):
                    yield
            finally:
                lane.release()
            return
        if is_stopping():
            raise StoppedError("stopped on request", "run again to continue where it stopped")
        time.sleep(ASK_EVERY_S)


def shares_gpu(settings: Settings) -> bool:
    """Return whether stages take turns here: there is a GPU, or lanes are set."""
    return bool(settings.gpu_lanes or list_gpus())


def _lanes(settings: Settings) -> list[FileLock]:
    """Return this host's lanes, held or free; empty without a GPU, where nothing is shared."""
    count = settings.gpu_lanes or sum(1 + (gpu.memory >= ROOMY_BYTES) for gpu in list_gpus()[:1])
    folder = settings.cache / "lanes"
    if count:
        with explaining(folder, "set SPOKENBY_CACHE_DIR"):
            folder.mkdir(parents=True, exist_ok=True)
    host = platform.node()  # hosts may share the folder, not the GPU
    return [
        FileLock(folder / f"{host}-{number}.lock", fallback_to_soft=False)
        for number in range(count)
    ]


def tag_limit(settings: Settings) -> int:
    """Return how many tasks the GPU tag is to admit.

    With one lane, one task computes and one waits. With more, tasks of one kind, one per video in
    flight, must not keep out those of another kind while they wait for the same engine.
    """
    if settings.gpu_lanes == 1:
        return 2
    return (settings.gpu_lanes or 2) + settings.videos_in_flight
