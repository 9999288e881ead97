"""The command `config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from flows.cli.terminal import cell, open_console, print_table, say

if TYPE_CHECKING:
    from spokenby.settings import Settings


def config() -> int:
    """Show every setting of this site, and where it comes from. Secrets are hidden.

    A setting is an environment variable, or a line in the file spokenby.toml in the data folder,
    which may hold the params of every run, too. The environment wins over the file, and a command's
    options win over both.

    For example:

        spokenby config
        SPOKENBY_PROFILE=open spokenby config
    """
    from spokenby.plan.profiles import Profile, all_params, fields_of, make_recipe
    from spokenby.settings import origins, read_settings
    from spokenby.site.batch import site_params

    console = open_console()
    settings = read_settings()
    of_site = site_params(settings)
    found = "" if settings.file.exists() else " (there is none)"
    say(console, f"file {settings.file}{found}")
    table = Table("setting", "value", "from", "what it is")
    fields = {name: info for name, info in type(settings).model_fields.items() if name != "params"}
    for name, origin in origins().items():
        if name in fields:
            what = fields[name].description or ""
            table.add_row(name, cell(_shown(name, settings)), cell(origin), what)
    table.add_section()
    in_file, what_is = _names(settings.params), all_params()
    recipe = make_recipe(Profile.EMBEDDED, **of_site)
    for stage in settings.params:
        for name, value, _ in fields_of(stage, recipe[stage]):
            if name in in_file:
                table.add_row(name, cell(str(value)), cell(str(settings.file)), what_is[name][1])
    print_table(console, table)
    say(console, "params that are not listed are the profile's: spokenby params --profile auto")
    return 0


def _shown(name: str, settings: Settings) -> str:
    """Return a setting's value for people, and the place that stands for an empty one."""
    from spokenby.connections import shown_address
    from spokenby.site.on_done import described

    if name == "database":
        return shown_address(settings.voices)
    value = getattr(settings, name)
    if name == "on_done":
        return described(value)
    if value is None and name.endswith("_dir"):
        value = getattr(settings, name.removesuffix("_dir"))
    if type(settings).model_fields[name].repr is False:
        return "(hidden)" if value else ""
    return "" if value is None else str(value)


def _names(params: object, prefix: str = "") -> set[str]:
    """Return the full names of nested params."""
    if not isinstance(params, dict):
        return {prefix}
    return {
        name
        for key, value in params.items()
        for name in _names(value, f"{prefix}.{key}" if prefix else key)
    }
