"""The command `spokenby vocabulary`: what people correct again and again, as a vocabulary."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.terminal import open_console, say


def vocabulary(
    *,
    add: bool = False,
    times: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
) -> int:
    """Show which words people corrected in the same way several times, as lines of a vocabulary.

    Looks at the corrections of all transcripts of this site. With such a line in
    `data/vocabulary.txt`, runs write what is meant. Words that meant different things, or that
    many lines still have, are listed and not offered: they may be right there.

    For example:

        spokenby vocabulary
        spokenby vocabulary --times 2
        spokenby vocabulary --add

    Args:
        add: Append the lines to `data/vocabulary.txt`; what is in it stays.
        times: How often a correction must have been made.
    """
    from spokenby.settings import read_settings
    from spokenby.site.frequent_corrections import add_lines, find_frequent
    from spokenby.site.vocabularies import FILE
    from spokenby.wording import count_of

    settings = read_settings()
    console = open_console()
    found = find_frequent(settings, times)
    offered = [each for each in found if not each.unfit]
    for each in offered:
        say(console, f"{each.line}    # {count_of(each.times, 'time')}")
    for each in found:
        if each.unfit:
            say(console, f"not offered: {each.line}: {each.unfit}")
    if not offered:
        say(console, f"no correction was made {count_of(times, 'time')} that is not there already")
    elif add:
        file = add_lines([each.line for each in offered], settings)
        say(console, f"added to {file}: the next runs use it, also for transcripts that are done")
    else:
        say(console, f"to add them to {settings.data_dir / FILE}: spokenby vocabulary --add")
    return 0
