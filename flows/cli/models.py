"""The `whosaid models` commands live here: they read words, ask, and print.

What they do does not; see whosaid/models.py and whosaid/engines/huggingface_hub.py.
"""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from flows import environment
from flows.cli.terminal import open_console
from whosaid.errors import InputError, WhosaidError
from whosaid.models import (
    CATALOGUE,
    Model,
    Record,
    default_model,
    find_model,
    import_models,
    installed,
    verify,
)
from whosaid.profiles import Profile, choose_profile, make_recipe, models_used
from whosaid.settings import read_settings

app = App(name="models", help="Fetch, check and list the models that engines load.")

FAILED = 1
"""Exit code: some model is not as it was installed."""

BLOCK = "hf-token"
"""The Prefect Secret block that may hold the hub token."""


@app.command
def fetch(*names: str, profile: str | None = None, revision: str = "") -> int:
    """Download models. Nothing else of whosaid ever downloads anything.

    What is here is not downloaded again, also not the part of a model that came before a cut.

    A model with terms of its own needs a hub token, from `hf auth login`, from the variable
    HF_TOKEN or from the Prefect Secret block hf-token.

    For example:

        whosaid models fetch --profile open
        whosaid models fetch faster-whisper-small --revision main

    Args:
        names: Which models; see `whosaid models list`.
        profile: All models that a profile uses on this machine.
        revision: A branch, tag or commit on the hub. Left out, any that is here will do, else it
            is the newest.
    """
    environment.apply()
    console = open_console()
    models_dir = read_settings().models
    wanted = [_known(name) for name in names]
    if profile is not None:
        wanted += _models_of(choose_profile(profile, models_dir)[0])
    if not wanted:
        raise InputError(
            "nothing to fetch was named",
            f"name models ({', '.join(model.name for model in CATALOGUE if model.repo)})"
            " or give --profile",
        )
    if revision and len(wanted) > 1:
        raise InputError("--revision is for one model", "name that model alone")
    for model in dict.fromkeys(wanted):
        _fetch(model, revision, models_dir, console)
    return 0


def _known(name: str) -> Model:
    for model in CATALOGUE:
        if model.name == name:
            return model
    raise InputError(f"there is no model {name!r}", "see which there are: whosaid models list")


def _models_of(profile: Profile) -> list[Model]:
    """Return the models that a profile uses on this machine."""
    used = models_used(make_recipe(profile)).values()
    return [_known(name) if name else default_model(engine) for engine, name in used]


def _fetch(model: Model, revision: str, models_dir: Path, console: Console) -> None:
    here = installed(models_dir, model.name)
    fitting = [path for path, its in here if its.revision == revision or not revision]
    if model.package or fitting:
        where = fitting[-1] if fitting else f"part of the package {model.package}"
        _say(console, f"{model.name}: already here, {where}")
        return

    from whosaid.engines.huggingface_hub import fetch_model

    with _bar(console) as bar:
        task = bar.add_task(model.name, total=None)
        path = fetch_model(
            model,
            models_dir,
            revision=revision,
            token=_token(model),
            on_bytes=lambda done, total: bar.update(task, completed=done, total=total),
            on_wait=lambda: _say(console, f"{model.name}: another process is fetching it, waiting"),
        )
    already = path in [path for path, _ in here]
    _say(console, f"{model.name}: {'already here' if already else 'installed'}, {path}")


def _token(model: Model) -> str | None:
    """Return the hub token, wherever it is kept; never shown.

    Prefect is only asked for a model that cannot do without, and only where it has a server.
    """
    from whosaid.engines.huggingface_hub import check_token, find_token

    token = find_token()
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


@app.command(name="list")
def list_models() -> int:
    """List the models that whosaid knows, and which of them are installed.

    For example:

        whosaid models list
    """
    console = open_console()
    models_dir = read_settings().models
    users: dict[str, list[str]] = {}
    for profile in Profile:
        if profile is not Profile.AUTO:
            for model in _models_of(profile):
                users.setdefault(model.name, []).append(profile)
    table = Table("model", "engine", "profiles", "size", "installed", "needs", box=None)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True  # to be typed as they stand
    here: dict[str, list[Record]] = {}
    for _, record in installed(models_dir):
        here.setdefault(record.name, []).append(record)
    known = {model.name: model for model in CATALOGUE}
    for name in dict.fromkeys([*known, *here]):
        records, profiles = here.get(name, []), dict.fromkeys(users.get(name, []))
        model = known.get(name) or Model(name=name, engine=records[-1].engine)
        table.add_row(
            name,
            model.engine,
            ", ".join(profiles),
            _size(records[-1].size if records else model.megabytes * 1_000_000),
            _where(model, records, models_dir),
            "token" if model.gated else "",
        )
    console.print(table)
    return 0


def _where(model: Model, records: list[Record], models_dir: Path) -> str:
    if records:
        return ", ".join(record.revision[:10] for record in records)
    if not model.package:
        return "no"
    try:
        find_model(model.engine, model.name, models_dir)
    except InputError as missing:
        return f"no: {missing.problem}"
    return "built in"


@app.command(name="verify")
def verify_models(*names: str) -> int:
    """Read every byte of installed models and compare it with what was installed.

    Ends with exit code 1 if a model is not as it was.

    For example:

        whosaid models verify
        whosaid models verify faster-whisper-small

    Args:
        names: Which models; all that are installed if left out.
    """
    console = open_console()
    models_dir = read_settings().models
    code = 0
    for name in names or ("*",):
        here = installed(models_dir, name)
        if not here and name != "*":
            model = _known(name)
            find_model(model.engine, name, models_dir)
            _say(console, f"{name}: part of the package {model.package}, nothing to compare")
        for path, record in here:
            with console.status(record.name):
                wrong = verify(path, record)
            _say(console, f"{record.name} {record.revision}: {wrong or 'whole'}")
            if wrong:
                code = FAILED
                _say(console, f"  -> delete {path}, then fetch or import it again")
    return code


@app.command(name="import")
def import_folder(folder: Path, *, name: str = "") -> int:
    """Copy models from a folder: for a machine that cannot reach the hub.

    The folder holds the files of one model, or is the data/models of another site: then every
    model in it is copied, and compared with what was installed there.

    For example:

        whosaid models import /media/usb/models
        whosaid models import ~/my-whisper --name my-whisper

    Args:
        folder: Where the files are.
        name: What to call the model; the folder's name if left out.
    """
    console = open_console()
    models_dir = read_settings().models
    with console.status(f"copying {folder}"):
        for path, record, new in import_models(folder, name, models_dir):
            done = "installed" if new else "already here"
            _say(console, f"{record.name} ({record.engine}): {done}, {path}")
    return 0


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count else ""


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
