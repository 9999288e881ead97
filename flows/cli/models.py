"""The `spokenby models` commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from flows.cli.terminal import FAILED, open_console, print_table, say
from flows.server import prefect_settings
from spokenby.errors import InputError
from spokenby.models import (
    CATALOGUE,
    Model,
    Record,
    Source,
    default_model,
    find_model,
    import_models,
    installed,
    join,
    known_model,
    locate,
    pieces_of,
    place_of,
    reinstall,
    verify,
    verify_packaged,
)
from spokenby.plan.profiles import Profile, choose_profile, make_recipe, models_used
from spokenby.settings import read_settings
from spokenby.site.batch import site_params
from spokenby.types import no_progress

app = App(name="models", help="Fetch, check and list the models that engines load.")


@app.command
def fetch(*names: str, profile: str | None = None, revision: str = "") -> int:
    """Download models.

    A run downloads nothing but what the environment's packages should carry and do not.
    What is here is not downloaded again, also not the part of a model that came before a cut.

    A model with terms of its own needs a hub token, from `hf auth login`, from the variable
    HF_TOKEN or from the Prefect Secret block hf-token.

    For example:

        spokenby models fetch --profile open
        spokenby models fetch faster-whisper-small --revision main

    Args:
        names: Which models; see `spokenby models list`.
        profile: All models that a profile uses on this machine.
        revision: A branch, tag or commit on the hub. Left out, any that is here will do, else it
            is the newest.
    """
    prefect_settings.apply()
    prefect_settings.check_address()
    console = open_console()
    models_dir = read_settings().models
    wanted = [_known(name) for name in names]
    if profile is not None:
        site = site_params(read_settings())
        wanted += _models_of(choose_profile(profile, models_dir, **site)[0])
    if not wanted:
        raise InputError(
            "no model was named",
            f"name some ({', '.join(model.name for model in CATALOGUE if model.repo)})"
            " or give --profile",
        )
    if revision and len(wanted) > 1:
        raise InputError("--revision applies to one model", "name only that model")
    for model in {model.name: model for model in wanted}.values():
        _fetch(model, revision, models_dir, console)
    return 0


def _known(name: str) -> Model:
    if model := known_model(name):
        return model
    raise InputError(f"there is no model {name!r}", "see which there are: spokenby models list")


def _models_of(profile: Profile) -> list[Model]:
    """Return the models that a profile uses on this machine."""
    used = models_used(make_recipe(profile, **site_params(read_settings()))).values()
    return [
        _known(name) if name else default_model(engine)
        for models in used
        for engine, name in models
    ]


def _fetch(model: Model, revision: str, models_dir: Path, console: Console) -> None:
    present = installed(models_dir, model.name)
    fitting = [path for path, record in present if revision in {"", record.revision}]
    carried = _source(model, models_dir) in {Source.PACKAGE, Source.PARTS}
    if fitting or carried:
        where = fitting[-1] if fitting else f"in {model.carriers}"
        say(console, f"{model.name}: already here, {where}")
        return

    from flows.hub_token import find_hub_token
    from spokenby.models.download import fetch_model

    with _bar(console) as bar:
        task = bar.add_task(model.name, total=None)
        path = fetch_model(
            model,
            models_dir,
            revision=revision,
            token=find_hub_token(model),
            on_bytes=lambda done, total: bar.update(task, completed=done, total=total),
            on_wait=lambda: say(console, f"{model.name}: another process is fetching it, waiting"),
        )
    already = path in [path for path, _ in present]
    say(console, f"{model.name}: {'already here' if already else 'installed'}, {path}")


@app.command(name="list")
def list_models() -> int:
    """List known models: license, size, source, and whether each is installed.

    For example:

        spokenby models list
    """
    console = open_console()
    models_dir = read_settings().models
    users: dict[str, list[str]] = {}
    for profile in Profile:
        if profile is not Profile.AUTO:
            for model in _models_of(profile):
                users.setdefault(model.name, []).append(profile)
    table = Table("model", "engine", "profiles", "license", "size", "here", "source", box=None)
    table.columns[0].no_wrap = True  # to be typed as it stands
    present: dict[str, list[Record]] = {}
    for _, record in installed(models_dir):
        present.setdefault(record.name, []).append(record)
    for name in dict.fromkeys([*(model.name for model in CATALOGUE), *present]):
        records, profiles = present.get(name, []), dict.fromkeys(users.get(name, []))
        model = known_model(name) or Model(name=name, engine=records[-1].engine, license="")
        table.add_row(
            name,
            model.engine,
            "all" if len(profiles) == len(Profile) - 1 else ", ".join(profiles),
            model.license,
            _size(records[-1].size if records else model.size),
            *_state(model, records, models_dir),
        )
    print_table(console, table, "license", "engine", "source", "profiles")
    return 0


def _state(model: Model, records: list[Record], models_dir: Path) -> tuple[str, str]:
    """Return whether a model is here, and its source."""
    packages, hub = " ".join(model.packages), place_of(model).partition("/")[0]
    if records:
        revisions = ", ".join(record.revision[:10] for record in records)
        return revisions, packages or (hub if records[-1].repo else "imported")
    match _source(model, models_dir):
        case Source.PACKAGE:
            return "yes", packages
        case Source.PARTS:
            return "yes, in parts", packages
        case Source.HUB:
            return "first run" + (", needs token" if model.gated else ""), hub
        case _:
            return "no, needs token" if model.gated else "no", hub if model.repo else packages


def _source(model: Model, models_dir: Path) -> Source | None:
    try:
        return locate(model.engine, model.name, models_dir).source
    except InputError:
        return None


@app.command
def show(name: str) -> int:
    """Show a model's license, sources, and files with their SHA-256.

    For example:

        spokenby models show campplus-zh-en

    Args:
        name: Which model; see `spokenby models list`.
    """
    console = open_console()
    models_dir = read_settings().models
    model = _known(name)
    say(console, f"{name}, for the engine {model.engine}, {model.license}")
    if model.packages:
        say(console, f"  carried by {model.carriers}")
    if model.repo:
        revision = f" at {model.revision}" if model.revision else ""
        terms = ", after accepting its terms there" if model.gated else ""
        say(console, f"  published at {place_of(model)}{revision}{terms}")
    present = installed(models_dir, name)
    for path, _ in present:
        say(console, f"  installed in {path}")
    files = model.files or (present[-1][1].files if present else {})
    for file, about in files.items():
        say(console, f"  {about.sha256}  {about.size:>11,}  {file}")
    return 0


@app.command(name="verify")
def verify_models(*names: str) -> int:
    """Check the files of installed models against their hashes.

    That is what the catalogue knows of a model, else what was once fetched or imported.

    Ends with exit code 1 if a model is not as it was.

    For example:

        spokenby models verify
        spokenby models verify faster-whisper-small

    Args:
        names: Which models; all that are here if left out.
    """
    console = open_console()
    models_dir = read_settings().models
    code = 0
    present = [record.name for _, record in installed(models_dir)]
    for name in names or dict.fromkeys([*(model.name for model in CATALOGUE), *present]):
        found = list(_verified(name, models_dir, console))
        if not found and names:
            model = _known(name)
            find_model(model.engine, name, models_dir)
            say(console, f"{name}: part of {model.carriers}, nothing to compare")
        for what, wrong, mend in found:
            say(console, f"{what}: {wrong or 'whole'}")
            if wrong:
                code = FAILED
                say(console, f"  -> {mend}")
    return code


def _verified(name: str, models_dir: Path, console: Console) -> Iterator[tuple[str, str, str]]:
    """Yield each copy of a model, what is wrong with it, and what to do about that."""
    for path, record in installed(models_dir, name):
        with console.status(name):
            wrong = verify(path, record)
        yield f"{name} {record.revision}", wrong, f"delete {path}, then fetch or import it again"
    model = known_model(name)
    if model and pieces_of(model):
        with console.status(name):
            wrong = verify_packaged(model)
        yield f"{name} in {model.carriers}", wrong, f"run: {reinstall(model)}"


@app.command
def export(folder: Path, *names: str) -> int:
    """Copy installed models to a folder, for a machine without internet.

    There, `spokenby models import` takes them from the folder.

    For example:

        spokenby models export /media/usb/models
        spokenby models export /media/usb/models campplus-zh-en faster-whisper-base

    Args:
        folder: Where to; what is there already is left alone.
        names: Which models; all that are here if left out.
    """
    console = open_console()
    models_dir = read_settings().models
    carried = [model for model in CATALOGUE if model.comes_by_itself and pieces_of(model)]
    present = dict.fromkeys([model.name for model in carried])
    present |= dict.fromkeys(record.name for _, record in installed(models_dir))
    if lacking := [name for name in names if name not in present]:
        raise InputError(f"the model {lacking[0]} is not here", "see what is: spokenby models list")
    for name in names or present:
        with console.status(f"copying {name}"):
            if copies := installed(models_dir, name):
                for path, _ in copies:
                    list(import_models(path, "", folder))
            else:
                join(_known(name), folder, no_progress, lambda: None)
        say(console, f"{name}: in {folder}")
    return 0


@app.command(name="import")
def import_folder(folder: Path, *, name: str = "") -> int:
    """Install models from a folder, on a machine without internet.

    The folder holds the files of one model, or is the data/models of another site or what
    `spokenby models export` filled: then every model in it is copied, and compared with what was
    installed there. A model whose bytes are known is recognized by them.

    For example:

        spokenby models import /media/usb/models
        spokenby models import ~/my-whisper --name my-whisper

    Args:
        folder: Where the files are.
        name: What to call the model; the folder's name if left out.
    """
    console = open_console()
    models_dir = read_settings().models
    with console.status(f"copying {folder}"):
        for path, record, new in import_models(folder, name, models_dir):
            done = "installed" if new else "already here"
            say(console, f"{record.name} ({record.engine}): {done}, {path}")
    return 0


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
