"""The command `params`."""

from __future__ import annotations

from rich.table import Table

from flows.cli.terminal import cell, open_console, print_table, say


def params(*, profile: str | None = None) -> int:
    """List every parameter of every stage, for `--set stage.field=value`.

    An engine's own parameters belong to its stage: `stage.engine.field`. With a profile: the values
    that a run on this machine would use, and where each comes from.

    For example:

        spokenby params
        spokenby params --profile open

    Args:
        profile: Profile whose values are shown: auto, embedded, open or studio.
    """
    from spokenby.plan.profiles import PARAMS, choose_profile, fields_of, make_recipe
    from spokenby.settings import read_settings
    from spokenby.site.batch import site_params

    console = open_console()
    if profile is None:
        table = Table("param", "default", "what it is")
        for stage, kind in PARAMS.items():
            for name, value, what in fields_of(stage, kind()):
                table.add_row(name, _shown(value), what)
            table.add_section()
        print_table(console, table)
        return 0
    settings = read_settings()
    of_site = site_params(settings)
    chosen, reason = choose_profile(profile, settings.models, **of_site)
    say(console, f"profile {chosen}: {reason}")
    by_profile, of_this_site = make_recipe(chosen), make_recipe(chosen, **of_site)
    table = Table("param", "value", "from", "what it is")
    for stage, kind in PARAMS.items():
        rows = zip(
            fields_of(stage, of_this_site[stage]),
            fields_of(stage, by_profile[stage]),
            fields_of(stage, kind()),
            strict=True,
        )
        for (name, value, what), (_, of_profile, _), (_, default, _) in rows:
            if value != of_profile:
                origin = "this site"
            else:
                origin = "default" if value == default else f"profile {chosen}"
            table.add_row(name, cell(_shown(value)), origin, what)
        table.add_section()
    print_table(console, table)
    return 0


def _shown(value: object) -> str:
    return "" if value is None else str(value)
