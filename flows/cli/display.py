"""What a person sees of a run on the terminal lives here: progress, then a table of outcomes.

What is going on does not; see spokenby/progress.py.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spokenby.plan.profiles import Recipe
from spokenby.plan.stages import Stage, stages_of
from spokenby.progress import Step, listening
from spokenby.types import Outcome
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
            says = step.note or f"{step.stage} {state}"
            self._console.print(f"{name}: {says}", markup=False, highlight=False, soft_wrap=True)


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
            self._console.print(f"{step.video}: {step.note}", markup=False, highlight=False)

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
                    part = step.note or part
                    row.append(part + "  ", style=_STYLES.get(step.state, "dim"))
                table.add_row(Text(one_line(Path(video).name), overflow="ellipsis"), row)
        legend = Text("running ", style="yellow")
        legend.append("done ", style="green").append("stored ", style="cyan")
        legend.append("failed", style="red")
        if done:
            legend.append(f"   {done} finished", style="dim")
        return Group(table, legend)


def print_outcomes(
    console: Console, outcomes: Sequence[Outcome], recipe: Recipe, wall_s: float
) -> None:
    """Print the table of a batch, where each transcript is, and what went wrong."""
    console.print(_table(outcomes, recipe))
    for outcome in outcomes:
        if outcome.folder:
            console.print(Text(outcome.folder), soft_wrap=True)
    for warning, concerned in _warnings(outcomes).items():
        names = [Path(outcome.path).name for outcome in concerned]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        _line(console, "warning", ", ".join(names[:_NAMED]) + more, warning, "yellow")
    for outcome in outcomes:
        if outcome.problem:
            _line(console, outcome.status, Path(outcome.path).name, outcome.problem, "red")
    done = sum(outcome.status in ("done", "unchanged") for outcome in outcomes)
    nothing = all(outcome.status == "unchanged" for outcome in outcomes)
    console.print(
        f"{done} of {len(outcomes)} videos have their transcript; "
        + ("nothing was to be computed" if nothing else f"{wall_s:.1f} s in all"),
        highlight=False,
    )


def _table(outcomes: Sequence[Outcome], recipe: Recipe) -> Table:
    table = Table(title=f"spokenby: {recipe.profile}: {recipe.made_by}", title_justify="left")
    table.add_column("video", overflow="fold")
    for heading in ("length", "speakers", "words", "covered", "seconds", "x real time"):
        table.add_column(heading, justify="right")
    table.add_column("from cache", justify="right")
    for outcome in outcomes:
        name = Text(one_line(Path(outcome.path).name))
        if outcome.status in ("failed", "stopped"):
            length = clock(outcome.duration) if outcome.duration else ""
            table.add_row(name, length, "", "", "", "", "", Text(outcome.status, style="red"))
            continue
        table.add_row(
            name,
            clock(outcome.duration),
            str(outcome.speakers),
            str(outcome.words),
            "" if outcome.coverage is None else f"{outcome.coverage:.0%}",
            f"{outcome.seconds:.1f}",
            f"{outcome.duration / outcome.seconds:.1f}" if outcome.seconds else "",
            _share(outcome, len(stages_of(recipe)) - 1),  # merging is never stored
        )
    return table


def _warnings(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return what each warning is about, in the order in which they are heard."""
    concerned: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        for warning in dict.fromkeys(outcome.warnings):
            concerned.setdefault(warning, []).append(outcome)
    return concerned


def _share(outcome: Outcome, of: int) -> str:
    if outcome.status == "unchanged":
        return "everything"
    return f"{len(outcome.stored)} of {of} stages" if outcome.stored else "nothing"


def _line(console: Console, kind: str, about: str, text: str, style: str) -> None:
    about, text = one_line(about), one_line(text)
    console.print(Text.assemble((kind, style), f": {about}: {text}"), soft_wrap=True)
