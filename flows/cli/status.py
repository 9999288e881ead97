"""The commands for many videos: `sweep`, `status`, `retry`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.stopping import stop_on_signals
from flows.cli.terminal import FAILED, STOPPED, cell, open_console, print_table, say
from flows.server import prefect_settings

if TYPE_CHECKING:
    from spokenby.site.attempts import Attempt
    from spokenby.site.inventory import VideoStatus

_STYLES = {"done": "green", "running": "yellow", "ready": "yellow", "waiting": "cyan"}
_STYLES |= {"failed": "red", "given up": "red"}


def sweep(
    *folders: str,
    profile: str | None = None,
    language: str | None = None,
    output: str | None = None,
    vocabulary: str | None = None,
    stable_s: Annotated[float, Parameter(validator=Number(gte=0))] = 60.0,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    newest_first: bool = False,
    max_attempts: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    dry_run: bool = False,
    verbose: bool = False,
) -> int:
    """Transcribe what is new in some folders, once.

    Skips videos that have a transcript, are still being written, are being transcribed by another
    run, or failed too often. If a Prefect worker serves spokenby, it does the work; otherwise this
    command does. To sweep regularly, enable the schedule of the deployment sweep-folder.

    For example:

        spokenby sweep recordings/
        spokenby sweep recordings/ --dry-run
        spokenby sweep recordings/ --limit 10 --newest-first

    Args:
        folders: Folders to search for videos; default data/videos.
        profile: Profile of engines.
        language: Spoken language as a code such as en; detected if left out.
        output: Folder for transcripts; default data/transcripts.
        vocabulary: File of terms and replacements, as in `spokenby transcribe`.
        stable_s: A file that changed within this many seconds counts as still being written.
        limit: Maximum number of videos.
        newest_first: Start with the newest file instead of the oldest.
        max_attempts: Skip a video that failed this often, until its file changes or you run
            `spokenby retry`.
        dry_run: List what would be done; needs no Prefect server.
        verbose: Show Prefect's log.
    """
    prefect_settings.apply(verbose=verbose)
    if not dry_run:
        prefect_settings.check_before_import()
    from flows.cli.display import progress_shown
    from flows.final_states import results_of
    from flows.server.connection import using_server
    from flows.sweep_folder import sweep_folder
    from spokenby.site.batch import prepare_batch
    from spokenby.site.find_videos import sum_up_left_out
    from spokenby.site.inventory import Inventory, State, sharing
    from spokenby.site.new_videos import Choice, survey
    from spokenby.site.remote_videos import absolute, address_of
    from tasks.run_report import take_lines

    console = open_console()
    # A deployment's folders are read where its worker runs: none but absolute names fit.
    where = tuple(address_of(absolute(folder)) for folder in folders)
    vocabulary = str(Path(vocabulary).absolute()) if vocabulary else None
    stop_on_signals(console)
    inventory = Inventory(
        prepare_batch(profile, language=language, output=output, vocabulary=vocabulary)
    )
    statuses: list[VideoStatus]
    with progress_shown(console):
        if dry_run:
            choice = Choice(stable_s, limit, newest_first, max_attempts)
            statuses = survey(where, inventory, choice)
        else:
            with using_server(), sharing(inventory):
                run: Any = sweep_folder(
                    where,
                    inventory.batch.recipe.profile,
                    language,
                    output,
                    vocabulary,
                    stable_s,
                    limit,
                    newest_first,
                    max_attempts,
                    return_state=True,
                )
            statuses = results_of(run)
    news = [each for each in statuses if not (each.state is State.SKIPPED and each.folder)]
    _print(console, news)
    return _sum_up(console, statuses, [sum_up_left_out(inventory.left_out), *take_lines()])


def status(
    *paths: str,
    profile: str | None = None,
    language: str | None = None,
    output: str | None = None,
    vocabulary: str | None = None,
) -> int:
    """Show which videos are done, running, waiting or failed, and why. Needs no Prefect server.

    Without a path, shows everything in data/videos, and failures elsewhere. The exit code is 1 if
    a video has failed.

    For example:

        spokenby status
        spokenby status recordings/ --profile open
        spokenby status recordings/ --vocabulary names.txt

    Args:
        paths: Videos, or folders to search for videos.
        profile: Profile whose transcripts count.
        language: Transcripts for which spoken language count: as in `spokenby transcribe`.
        output: Folder for transcripts; default data/transcripts.
        vocabulary: Transcripts made with this file count: as in `spokenby transcribe`.
    """
    prefect_settings.apply()
    from flows.cli.display import progress_shown
    from spokenby.site.batch import prepare_batch
    from spokenby.site.find_videos import sum_up_left_out
    from spokenby.site.inventory import Inventory, list_site

    console = open_console()
    inventory = Inventory(
        prepare_batch(profile, language=language, output=output, vocabulary=vocabulary)
    )
    with progress_shown(console):
        statuses = list(list_site(paths, inventory))
    _print(console, statuses)
    return _sum_up(console, statuses, [sum_up_left_out(inventory.left_out)])


def retry(*videos: str, verbose: bool = False) -> int:
    """Run failed videos again with the same parameters. Computes only what is missing.

    Their attempts are counted from zero. If a Prefect worker serves spokenby, it does the work;
    otherwise this command does.

    For example:

        spokenby retry
        spokenby retry recordings/talk.mp4

    Args:
        videos: Failed videos, or folders that contain some; default all that failed.
        verbose: Show Prefect's log.
    """
    prefect_settings.apply(verbose=verbose)
    prefect_settings.check_before_import()
    from flows.cli.display import progress_shown
    from flows.deployment_runs import run_videos
    from flows.server.connection import using_server
    from spokenby.progress import is_stopping
    from spokenby.settings import read_settings
    from spokenby.site.attempts import Ledger
    from spokenby.site.batch import prepare_batch
    from spokenby.site.inventory import Inventory, State, follow_up, list_failed
    from tasks.run_report import take_lines

    console = open_console()
    settings = read_settings()
    stop_on_signals(console)
    statuses: list[VideoStatus] = []
    requests: dict[str, list[tuple[Attempt, VideoStatus]]] = {}
    ledger = Ledger(settings.ledger)
    with progress_shown(console):
        for attempt, status in list_failed(videos, settings):
            if status.state is State.SKIPPED:
                ledger.forget(attempt.key)
                statuses.append(status)
            else:
                again = status._replace(state=State.READY)
                requests.setdefault(attempt.request, []).append((attempt, again))
        for text, failed in requests.items():
            if is_stopping():
                break
            request = json.loads(text)
            inventory = Inventory(prepare_batch(**request))
            started = [attempt.started for attempt, _ in failed]
            ready = {status.path: status for _, status in failed}
            with using_server():
                ledger.forget(*(attempt.key for attempt, _ in failed))
                ended, message = run_videos(list(ready), request, inventory, started)
            statuses += follow_up([*ready.values()], inventory, ended=ended, message=message)
    if not statuses:
        console.print("nothing to retry: no video has failed")
        return 0
    _print(console, statuses)
    return _sum_up(console, statuses, take_lines())


def _sum_up(console: Console, statuses: Sequence[VideoStatus], lines: Sequence[str] = ()) -> int:
    """Print how many videos are in which state, and lines about runs; return the exit code."""
    from spokenby.progress import is_stopping
    from spokenby.site.inventory import State, count_states

    console.print(count_states(statuses), highlight=False)
    for line in filter(None, lines):
        say(console, line)
    if is_stopping():
        return STOPPED
    return FAILED if any(status.state is State.FAILED for status in statuses) else 0


def _print(console: Console, statuses: Sequence[VideoStatus]) -> None:
    if not statuses:
        return
    table = Table("video", "state", "stored", "note")
    for status in statuses:
        table.add_row(
            cell(status.path),
            Text(status.state, _STYLES.get(status.state, "dim")),
            Text(" ".join(status.stored)),
            cell(status.note),
        )
    print_table(console, table, "stored")
