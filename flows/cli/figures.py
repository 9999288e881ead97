"""Show how right transcripts are: tables for a terminal, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from flows.cli.terminal import cell, print_table, say

if TYPE_CHECKING:
    from spokenby.evaluation.figures import Score, Settings
    from spokenby.evaluation.summary import Together

_ALL = "all"
_LEAST_NEEDED = ("uncovered", "far off", "word edges", "names missed", "names wrong", "raw WER")
"""Columns that a narrow terminal may go without: the tables below show them, too."""


class Row(NamedTuple):
    """One system on one recording."""

    name: str
    group: str
    system: str
    score: Score
    sources: tuple[str, ...]


def written(value: float, key: str) -> str:
    """Return the value of a figure with its unit; a dash for NaN."""
    from spokenby.evaluation.figures import FIGURES

    if math.isnan(value):
        return "–"
    return f"{value:.3f} s" if FIGURES[key].unit == "s" else f"{100 * value:.1f} %"


def show(console: Console, rows: Sequence[Row], settings: Settings) -> None:
    """Print the figures of each recording, of each folder of references, and of all."""
    for name, sources in dict.fromkeys((row.name, row.sources) for row in rows):
        say(console, f"{name} by {', '.join(sources)}")
    _show_recordings(console, rows)
    for group in _groups(rows):
        _show_together(console, group, [row for row in rows if group in {row.group, _ALL}])
    for line in _explain(rows, settings):
        say(console, line)


def _show_recordings(console: Console, rows: Sequence[Row]) -> None:
    from spokenby.evaluation.figures import FIGURES

    several = len({row.system for row in rows}) > 1
    keys = [
        key for key in FIGURES if key != "count" and any(key in row.score.figures for row in rows)
    ]
    table = Table("recording", *(["system"] if several else []))
    for key in keys:
        table.add_column(FIGURES[key].title, justify="right")
        if key == "jer":
            table.add_column("speakers", justify="right")
    for row in rows:
        cells = [cell(row.name), *([cell(row.system)] if several else [])]
        for key in keys:
            rate = row.score.figures.get(key)
            value = written(rate.value, key).removesuffix(" %") if rate else ""
            cells.append(cell(value))
            if key == "jer":
                number = row.score.speakers
                cells.append(cell("{} of {}".format(*number) if number else ""))
        table.add_row(*cells)
    print_table(console, table, *_LEAST_NEEDED)


def _show_together(console: Console, group: str, rows: Sequence[Row]) -> None:
    from spokenby.evaluation.figures import FIGURES
    from spokenby.evaluation.summary import take_together
    from spokenby.wording import one_line

    systems = list(dict.fromkeys(row.system for row in rows))
    figures = {
        system: take_together([row.score.figures for row in rows if row.system == system])
        for system in systems
    }
    table = Table(one_line(group), *map(one_line, systems))
    for key, figure in FIGURES.items():
        if any(key in found for found in figures.values()):
            taken = [figures[system].get(key) for system in systems]
            most = max(each.recordings for each in taken if each)
            table.add_row(figure.title, *(_interval(each, key, most) for each in taken))
    print_table(console, table)


def _interval(together: Together | None, key: str, most: int) -> str:
    """Return a figure with its interval; where others are of more recordings, of how many."""
    if together is None:
        return ""
    value = written(together.rate.value, key)
    if not math.isnan(together.low):
        low, high = (written(each, key).split()[0] for each in (together.low, together.high))
        value = f"{value} ({low} to {high})"
    return f"{value} in {together.recordings} of {most}" if together.recordings < most else value


def _groups(rows: Sequence[Row]) -> list[str]:
    """Return the folders of references, and all of them together where there are several."""
    groups = list(dict.fromkeys(row.group for row in rows))
    if len({row.name for row in rows}) < 2 and len({row.system for row in rows}) < 2:
        return []
    return groups if len(groups) == 1 else [*groups, _ALL]


def _explain(rows: Sequence[Row], settings: Settings) -> Iterator[str]:
    """Yield what the figures are and how they were measured."""
    from spokenby.evaluation.figures import FIGURES

    for key, figure in FIGURES.items():
        if any(key in row.score.figures for row in rows):
            yield f"{figure.title}: {figure.means}"
    yield from (f"{name}: {value}" for name, value in _settings(rows, settings).items())


def _settings(rows: Sequence[Row], settings: Settings) -> dict[str, str]:
    from spokenby.evaluation.figures import TCP_COLLAR_S
    from spokenby.evaluation.summary import RESAMPLES
    from spokenby.evaluation.words import normalizer_name

    languages = sorted({row.score.language for row in rows})
    normalizers = ", ".join(f"{normalizer_name(language)} ({language})" for language in languages)
    return {
        "turns": f"{settings}; pyannote.metrics {version('pyannote.metrics')}",
        "words": f"normalized by Whisper's rules: {normalizers}; "
        f"whisper-normalizer {version('whisper-normalizer')}, MeetEval {version('meeteval')}, "
        f"tcpWER's collar {TCP_COLLAR_S:g} s",
        "intervals": f"95 %, {RESAMPLES} bootstrap samples of the recordings, seed 0",
    }


def as_json(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """Return the figures for JSON, with errors and totals; NaN is `None`."""
    from spokenby.evaluation.summary import take_together

    def number(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 6)

    return {
        "settings": _settings(rows, settings),
        "recordings": [
            {
                "name": row.name,
                "group": row.group,
                "system": row.system,
                "references": row.sources,
                "language": row.score.language,
                "speakers": dict(zip(("found", "right"), row.score.speakers or (), strict=False)),
                "figures": {
                    key: {
                        "value": number(rate.value),
                        "errors": round(rate.errors, 6),
                        "total": round(rate.total, 6),
                    }
                    for key, rate in row.score.figures.items()
                },
            }
            for row in rows
        ],
        "together": [
            {
                "group": group,
                "system": system,
                "figures": {
                    key: {
                        "value": number(each.rate.value),
                        "low": number(each.low),
                        "high": number(each.high),
                        "recordings": each.recordings,
                    }
                    for key, each in take_together(
                        [
                            row.score.figures
                            for row in rows
                            if group in {row.group, _ALL} and row.system == system
                        ]
                    ).items()
                },
            }
            for group in _groups(rows)
            for system in dict.fromkeys(row.system for row in rows)
        ],
    }
