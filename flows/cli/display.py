"""Show a run on the terminal: progress, then a table of how each video ended."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.cli.terminal import LiveTable, cell, print_table, say
from spokenby.plan.planning import stages_of
from spokenby.plan.profiles import Recipe
from spokenby.plan.stages import Stage
from spokenby.progress import Event, Step, VideoEnded, calling_on_exit, listening
from spokenby.site.inventory import State, VideoStatus
from spokenby.telemetry.overview import Overview, about, names, speed_in_words
from spokenby.wording import clock, count_of, one_line

_LINE_EVERY_S = 10.0
_ROWS = 12
"""Videos that the live table shows."""
_BAR = 20
"""Columns."""
_ECHO = 4
"""Columns that stay free: the ^C that a terminal shows would wrap a full line."""
_NAMED = 3
"""So many of the videos that a warning is about."""


@contextmanager
def progress_shown(console: Console) -> Iterator[None]:
    """Show the progress of every video: live on a terminal, as plain lines elsewhere."""
    overview = Overview()
    with listening(overview.note):
        if not console.is_terminal:
            with listening(_Lines(console, overview)):
                yield
            return
        board = _Board(console, overview)
        live = LiveTable(board, console=console, refresh_per_second=5, transient=True)
        # Else it would stay on the screen, below the last line, when a stop ends the process.
        with live, listening(board.note), calling_on_exit(live.stop):
            yield


class _Lines:
    """Print a line a finished stage and a finished video, and one now and then for a long stage."""

    def __init__(self, console: Console, overview: Overview) -> None:
        self._console = console
        self._overview = overview
        self._printed: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, VideoEnded):
                say(self._console, self._overview.summary())
            elif isinstance(event, Step):
                self._print_step(event)

    def _print_step(self, step: Step) -> None:
        what = (step.video, step.stage)
        if step.state == "running":
            last = self._printed.setdefault(what, monotonic())
            if monotonic() - last < _LINE_EVERY_S:
                return
            self._printed[what] = monotonic()
            state = f"{step.fraction:.0%}"
            if left := self._overview.seconds_left():
                state += f" ({about(left)} left for all)"
        elif step.state == "waiting" and step.stage in set(Stage):
            return  # for its model or the GPU: mostly milliseconds
        else:
            state = step.state
        name = one_line(Path(step.video).name)
        say(self._console, f"{name}: {step.note or f'{step.stage} {state}'}")


class _Board:
    """The whole run in a line, then a line a video at work. What concerns no video stays above."""

    def __init__(self, console: Console, overview: Overview) -> None:
        self._console = console
        self._overview = overview

    def note(self, event: Event) -> None:
        if isinstance(event, Step) and event.stage in {"model", "run"} and event.note:
            say(self._console, f"{event.video}: {event.note}")

    def __rich__(self) -> Group:
        overview = self._overview
        table = Table.grid(padding=(0, 2))
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column(width=_BAR)
        table.add_column(justify="right", width=4)
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=4)
        table.add_column(justify="right", no_wrap=True)
        table.width = self._console.width - _ECHO
        for step in overview.models:
            table.add_row(
                Text(one_line(step.video)),
                ProgressBar(1.0, step.fraction, width=_BAR),
                f"{step.fraction:.0%}",
                Text("model"),
            )
        videos = overview.videos()
        open_videos = [video for video in videos if video.state in {"running", "waiting"}]
        shown = names(video.video for video in open_videos[:_ROWS])
        for video in open_videos[:_ROWS]:
            times = [speed_in_words(video.speed)]
            times += [] if video.left is None else [f"{about(video.left)} left"]
            waits = video.state == "waiting"
            table.add_row(
                Text(shown[video.video]),
                ProgressBar(1.0, video.fraction, width=_BAR),
                f"{video.fraction:.0%}",
                Text(one_line(video.detail or video.state), style="dim" if waits else "yellow"),
                Text("  ".join(filter(None, times)), style="dim"),
            )
        rest = len(open_videos) - _ROWS
        if rest > 0:
            table.add_row(Text(f"and {rest} more", style="dim"))
        head = f"{overview.summary()}, {clock(overview.elapsed)} so far" if videos else ""
        return Group(Text(head, no_wrap=True, overflow="ellipsis"), table)


def print_statuses(
    console: Console, statuses: Sequence[VideoStatus], recipe: Recipe, wall_s: float
) -> None:
    """Print the table of a run, where each transcript is, and what went wrong."""
    optional = ("from cache", "x real time", "seconds", "covered")
    if any(status.summary for status in statuses):  # else each has a line below
        print_table(console, _table(statuses, recipe), *optional)
    for status in statuses:
        if status.folder:
            say(console, status.folder)
    for warning, concerned in _warnings(statuses).items():
        names = [Path(status.path).name for status in concerned]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        _line(console, "warning", ", ".join(names[:_NAMED]) + more, warning, "yellow")
    for status in statuses:
        if status.problem:
            console.print(
                Text.assemble((status.state, "red"), f": {one_line(status.headline)}"),
                soft_wrap=True,
            )
    done = sum(status.summary is not None for status in statuses)
    idle = all(status.state is State.UNCHANGED for status in statuses)
    console.print(
        f"{done} of {count_of(len(statuses), 'video')} transcribed; "
        + ("already up to date" if idle else f"{wall_s:.1f} s in all"),
        highlight=False,
    )


def _table(statuses: Sequence[VideoStatus], recipe: Recipe) -> Table:
    title = cell(f"spokenby: {recipe.profile}: {recipe.made_by}")
    table = Table(title=title, title_justify="left")
    table.add_column("video")
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
