"""Find the token for a model's hub, in the environment or in a Prefect Secret block."""

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from spokenby.errors import InputError, SpokenbyError
from spokenby.models import Model

BLOCK = "hf-token"
"""The Prefect Secret block that may hold the token."""


def find_hub_token(model: Model) -> str | None:
    """Return the token for a model's hub, wherever it is kept; never shown.

    Only the Hugging Face hub has one. Prefect is only asked for a model that cannot do without,
    and only where it has a server.
    """
    from spokenby.models.download import check_token, find_token  # slow, and few runs fetch one

    token = find_token() if model.hub == "huggingface" else None
    if token or not model.gated:
        return token
    if not get_current_settings().api.url:
        return None
    try:
        # Not by `Secret.load`: it starts a worker that reports the loading and outlives it.
        with get_client(sync_client=True) as client:
            block = client.read_block_document_by_name(BLOCK, "secret", include_secrets=True)
        return check_token(str(block.data["value"]))
    except ObjectNotFound:
        return None
    except SpokenbyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold the token
        problem = type(error).__name__
    raise InputError(
        f"the Prefect Secret block {BLOCK} cannot be read ({problem})",
        "check PREFECT_API_URL, or set HF_TOKEN",
    )
