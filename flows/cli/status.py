"""The commands for many videos: `sweep`, `status`, `retry`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.stopping import stop_on_ctrl_c
from flows.cli.terminal import FAILED, STOPPED, open_console
from flows.server import prefect_settings

if TYPE_CHECKING:
    from spokenby.site.inventory import Row

_STYLES = {"done": "green", "running": "yellow", "ready": "yellow", "waiting": "cyan"}
_STYLES |= {"failed": "red", "given up": "red"}


def sweep(
    *folders: str,
    profile: str | None = None,
    language: str | None = None,
    output: str | None = None,
    stable_s: Annotated[float, Parameter(validator=Number(gte=0))] = 60.0,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    newest_first: bool = False,
    max_attempts: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    dry_run: bool = False,
    verbose: bool = False,
) -> int:
    """Transcribe what is new in some folders, once.

    Left out is what has its transcript, what is still being written, what another run works on,
    and what failed too often. Where a Prefect worker serves spokenby, it does the work; else this
    command does. For a sweep now and then, give the deployment sweep-folder a schedule.

    For example:

        spokenby sweep recordings/
        spokenby sweep recordings/ --dry-run
        spokenby sweep recordings/ --limit 10 --newest-first

    Args:
        folders: Folders that are searched for videos; data/videos if left out.
        profile: Which engines to use.
        language: Spoken language as a code such as en; detected if left out.
        output: Where transcripts go: data/transcripts if left out.
        stable_s: A file that changed in the last so many seconds is still being written.
        limit: At most so many videos.
        newest_first: Begin with the newest file, not with the oldest.
        max_attempts: A video that failed so often is left out, until its file changes or
            `spokenby retry`.
        dry_run: Only list what would be done; needs no Prefect server.
        verbose: Show Prefect's log.
    """
    prefect_settings.apply(verbose=verbose)
    from flows.cli.display import progress_shown
    from flows.final_states import told_by
    from flows.sweep_folder import sweep_folder
    from spokenby.progress import is_stopping
    from spokenby.site.batch import prepare_batch
    from spokenby.site.new_videos import Choice, survey

    console = open_console()
    # A deployment's folders are read where its worker runs: none but absolute names fit.
    where = tuple(str(Path(folder).absolute()) for folder in folders)
    stop_on_ctrl_c(console)
    batch = prepare_batch(profile, language=language, output=output)
    rows: list[Row]
    with progress_shown(console):
        if dry_run:
            rows = survey(where, batch, Choice(stable_s, limit, newest_first, max_attempts))
        else:
            state: Any = sweep_folder(
                where,
                batch.recipe.profile,
                language,
                output,
                stable_s,
                limit,
                newest_first,
                max_attempts,
                return_state=True,
            )
            rows = told_by(state)
    told = [row for row in rows if row.note != "unchanged"]
    if told:
        _print(console, ((row.path, row.state, "", row.note) for row in told))
    _sum_up(console, rows)
    if is_stopping():
        return STOPPED
    return FAILED if any(row.state == "failed" for row in rows) else 0


def status(
    *paths: str,
    profile: str | None = None,
    language: str | None = None,
    output: str | None = None,
) -> int:
    """Show which videos are done, running, waiting or failed, and why. Needs no Prefect server.

    Without a path it shows what lies in data/videos, and whatever failed elsewhere. Ends with exit
    code 1 if a video has failed.

    For example:

        spokenby status
        spokenby status recordings/ --profile open

    Args:
        paths: Videos, or folders that are searched for videos.
        profile: Transcripts of which engines count.
        language: Transcripts for which spoken language count: as in `spokenby transcribe`.
        output: Where transcripts go: data/transcripts if left out.
    """
    prefect_settings.apply()
    from flows.cli.display import progress_shown
    from spokenby.site.batch import prepare_batch
    from spokenby.site.inventory import count_states, inspect_all

    console = open_console()
    batch = prepare_batch(profile, language=language, output=output)
    with progress_shown(console):
        rows = inspect_all(paths, batch)
    _print(console, ((row.path, row.state, row.stored, row.note) for row in rows))
    console.print(count_states(rows), highlight=False)
    return FAILED if any(row.state == "failed" for row in rows) else 0


def retry(*videos: str, verbose: bool = False) -> int:
    """Try failed videos again, with the params they failed with. Computes only what is missing.

    Their attempts are counted anew. Where a Prefect worker serves spokenby, it does the work; else
    this command does.

    For example:

        spokenby retry
        spokenby retry recordings/talk.mp4

    Args:
        videos: Failed videos, or folders that hold some; all that failed if left out.
        verbose: Show Prefect's log.
    """
    prefect_settings.apply(verbose=verbose)
    from flows.cli.display import progress_shown
    from flows.deployment_runs import run_videos
    from spokenby.progress import is_stopping
    from spokenby.settings import read_settings
    from spokenby.site.attempts import Ledger
    from spokenby.site.batch import prepare_batch
    from spokenby.site.inventory import Row, failed_attempts, follow_up, is_still

    console = open_console()
    settings = read_settings()
    stop_on_ctrl_c(console)
    rows: list[Row] = []
    with progress_shown(console):
        for asked, attempts in failed_attempts(videos, settings).items():
            there = [
                Row(path, "ready", video=attempt.video)
                for path, attempt in attempts.items()
                if is_still(path, attempt.video, settings)
            ]
            rows += [
                Row(path, "skipped", "its file is gone or has changed: forgotten")
                for path in attempts.keys() - {row.path for row in there}
            ]
            Ledger(settings.ledger).forget(*(attempt.key for attempt in attempts.values()))
            if there and not is_stopping():
                chosen = json.loads(asked)
                started = [attempts[row.path].started for row in there]
                ended, says = run_videos([row.path for row in there], chosen, started)
                rows += follow_up(there, prepare_batch(**chosen), ended=ended, says=says)
    if not rows:
        console.print("nothing has failed: there is nothing to retry")
        return 0
    _print(console, ((row.path, row.state, "", row.note) for row in rows))
    _sum_up(console, rows)
    if is_stopping():
        return STOPPED
    return FAILED if any(row.state == "failed" for row in rows) else 0


def _sum_up(console: Console, rows: Sequence[Row]) -> None:
    """Say how many videos are in which state, and what was seen of the runs that did them here."""
    from spokenby.site.inventory import count_states
    from tasks.run_report import told

    console.print(count_states(rows), highlight=False)
    for line in told():
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print(console: Console, rows: Iterable[tuple[str, str, str, str]]) -> None:
    from spokenby.wording import one_line

    table = Table("video", "state", "stored", "note")
    for path, state, stored, note in rows:
        name = Text(one_line(path), overflow="fold") if path else Text("-")
        table.add_row(
            name, Text(state, _STYLES.get(state, "dim")), Text(stored), Text(" ".join(note.split()))
        )
    console.print(table)
