"""Show a run on the terminal: progress, then a table of how each video ended."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flows.cli.terminal import cell, say
from spokenby.plan.planning import stages_of
from spokenby.plan.profiles import Recipe
from spokenby.plan.stages import Stage
from spokenby.progress import Step, listening
from spokenby.site.inventory import State, VideoStatus
from spokenby.wording import clock, one_line

_ORDER = ("model", "wait", "inspect", *Stage, "identify", "write")
_STYLES = {"done": "green", "stored": "cyan", "failed": "red", "running": "yellow"}
_LINE_EVERY_S = 10.0
_NAMED = 3
"""So many of the videos that a warning is about."""


@contextmanager
def progress_shown(console: Console) -> Iterator[None]:
    """Show the progress of every video: live on a terminal, as plain lines elsewhere."""
    if not console.is_terminal:
        with listening(_Lines(console)):
            yield
        return
    board = _Board(console)
    with Live(board, console=console, refresh_per_second=5, transient=True), listening(board.note):
        yield


class _Lines:
    """Print a line a finished stage, and one now and then for a long one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def __call__(self, step: Step) -> None:
        with self._lock:
            what = (step.video, step.stage)
            if step.state == "running":
                last = self._printed.setdefault(what, monotonic())
                if monotonic() - last < _LINE_EVERY_S:
                    return
                self._printed[what] = monotonic()
                state = f"{step.fraction:.0%}"
            else:
                state = step.state
            name = one_line(Path(step.video).name)
            message = step.note or f"{step.stage} {state}"
            say(self._console, f"{name}: {message}")


class _Board:
    """A live table: a row a video, each stage with its state. What concerns models stays above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: dict[str, dict[str, Step]] = {}
        self._lock = threading.Lock()

    def note(self, step: Step) -> None:
        with self._lock:
            steps = self._steps.setdefault(step.video, {})
            steps.pop("wait", None)
            steps[step.stage] = step
        if step.stage == "model" and step.note:
            say(self._console, f"{step.video}: {step.note}")

    def __rich__(self) -> Group:
        table = Table.grid(padding=(0, 2))
        done = 0
        with self._lock:
            for video, steps in self._steps.items():
                if "write" in steps and steps["write"].state == "done":
                    done += 1
                    continue
                if "model" in steps and steps["model"].state == "done":
                    continue
                row = Text()
                for stage in _ORDER:
                    if stage not in steps:
                        continue
                    step = steps[stage]
                    part = f"{stage} {step.fraction:.0%}" if step.state == "running" else stage
                    part = one_line(step.note) if step.note else part
                    row.append(part + "  ", style=_STYLES.get(step.state, "dim"))
                table.add_row(Text(one_line(Path(video).name), overflow="ellipsis"), row)
        legend = Text("running ", style="yellow")
        legend.append("done ", style="green").append("stored ", style="cyan")
        legend.append("failed", style="red")
        if done:
            legend.append(f"   {done} finished", style="dim")
        return Group(table, legend)


def print_statuses(
    console: Console, statuses: Sequence[VideoStatus], recipe: Recipe, wall_s: float
) -> None:
    """Print the table of a run, where each transcript is, and what went wrong."""
    console.print(_table(statuses, recipe))
    for status in statuses:
        if status.folder:
            say(console, status.folder)
    for warning, concerned in _warnings(statuses).items():
        names = [Path(status.path).name for status in concerned]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        _line(console, "warning", ", ".join(names[:_NAMED]) + more, warning, "yellow")
    for status in statuses:
        if status.problem:
            _line(console, status.state, Path(status.path).name, status.problem, "red")
    done = sum(status.summary is not None for status in statuses)
    idle = all(status.state is State.UNCHANGED for status in statuses)
    console.print(
        f"{done} of {len(statuses)} videos have their transcript; "
        + ("already up to date" if idle else f"{wall_s:.1f} s in all"),
        highlight=False,
    )


def _table(statuses: Sequence[VideoStatus], recipe: Recipe) -> Table:
    title = cell(f"spokenby: {recipe.profile}: {recipe.made_by}")
    table = Table(title=title, title_justify="left")
    table.add_column("video", overflow="fold")
    for heading in ("length", "speakers", "words", "covered", "seconds", "x real time"):
        table.add_column(heading, justify="right")
    table.add_column("from cache", justify="right")
    for status in statuses:
        name = cell(Path(status.path).name)
        duration = status.video.duration if status.video else 0.0
        length, figures = clock(duration) if duration else "", status.summary
        if figures is None:
            table.add_row(name, length, "", "", "", "", "", Text(status.state, style="red"))
            continue
        table.add_row(
            name,
            length,
            str(figures.speakers),
            str(figures.words),
            "" if figures.coverage is None else f"{figures.coverage:.0%}",
            f"{figures.seconds:.1f}",
            f"{duration / figures.seconds:.1f}" if figures.seconds else "",
            "everything"
            if status.state is State.UNCHANGED
            else _share(
                figures.stored, sum(bool(stage.spec.result) for stage in stages_of(recipe))
            ),
        )
    return table


def _warnings(statuses: Sequence[VideoStatus]) -> dict[str, list[VideoStatus]]:
    """Return what each warning is about, in the order in which they came."""
    concerned: dict[str, list[VideoStatus]] = {}
    for status in statuses:
        for warning in dict.fromkeys(status.summary.warnings if status.summary else ()):
            concerned.setdefault(warning, []).append(status)
    return concerned


def _share(stored: Sequence[str], of: int) -> str:
    return f"{len(stored)} of {of} stages" if stored else "nothing"


def _line(console: Console, kind: str, about: str, text: str, style: str) -> None:
    about, text = one_line(about), one_line(text)
    console.print(Text.assemble((kind, style), f": {about}: {text}"), soft_wrap=True)
