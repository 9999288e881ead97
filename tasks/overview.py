"""Show how far a run is in Prefect's UI: one artifact, which moves along."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from spokenby.progress import listening
from spokenby.telemetry.overview import Overview
from spokenby.telemetry.overview_page import write_overview
from spokenby.types import Seconds
from tasks.again import Again
from tasks.artifacts import link_to_page, link_to_video, tell_prefect

KEY = "overview"
EVERY_S: Seconds = 2.0
"""Between updates; one costs about 20 ms."""


@contextmanager
def overview_shown(again: Again) -> Iterator[None]:
    """Show the videos of the flow run of this context while they are worked on."""
    overview = Overview()
    write = partial(
        write_overview,
        overview,
        link_to_video,
        lambda path: again.link("run again", path),
        link_to_page(),
    )
    with listening(overview.note):
        artifact = tell_prefect(
            create_markdown_artifact,
            write(),
            key=KEY,
            description=overview.summary(),
        )
        if artifact is None:
            yield
            return
        ended = threading.Event()
        keep_moving = partial(_move, artifact, overview, write, ended)
        # In a copy of this context: it knows the server.
        mover = threading.Thread(target=copy_context().run, args=(keep_moving,), daemon=True)
        mover.start()
        try:
            yield
        finally:
            ended.set()
            mover.join()


def _move(
    artifact: UUID, overview: Overview, write: Callable[[], str], ended: threading.Event
) -> None:
    """Update the artifact now and then, and once more at the end."""
    shown = ("", "")
    with get_client(sync_client=True) as client:
        while True:
            last = ended.wait(EVERY_S)
            now = overview.summary(), write()
            if now != shown:
                update = ArtifactUpdate(description=now[0], data=now[1])
                tell_prefect(client.update_artifact, artifact, update)
                shown = now
            if last:
                return
