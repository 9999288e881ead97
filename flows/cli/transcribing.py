"""The commands `transcribe` and `plan`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from rich.console import Console
from rich.table import Table

from flows.cli.stopping import stop_on_signals
from flows.cli.terminal import FAILED, STOPPED, cell, open_console, print_table, say
from flows.server import prefect_settings
from spokenby.errors import InputError
from spokenby.plan.stages import Stage

if TYPE_CHECKING:
    from spokenby.site.inventory import Inventory, VideoStatus

Speakers = Annotated[int | None, Parameter(group=Group("How many speakers"))]


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is to be done with the videos.

    Args:
        profile: Profile: auto, embedded, open or studio.
        num_speakers: Number of speakers, if known.
        min_speakers: Minimum number of speakers.
        max_speakers: Maximum number of speakers.
        language: Spoken language as a code such as en; detected by
            default; auto-per-part decodes each passage in its own language.
        audio_stream: Which audio stream of a video, counted from 0.
        channels: mix: all channels together; split: each channel, or each of several audio streams,
            is one speaker; auto: split where they sound like different speakers.
        output: Folder for transcripts; default data/transcripts.
        formats: Files that a transcript's folder gets, such as srt,docx; transcript.json is always
            one. See spokenby export --help.
        vocabulary: File with a name or term to expect in each line, or `heard => meant`; default
            vocabulary.txt beside the video, else in the data folder.
        merge_same_voice: Join speakers of a video that sound like the same voice.
        no_identify: Do not compare speakers with the voices of other videos.
        no_listening_copy: Do not add a small copy of the sound for the transcript's page.
        set_: Any parameter as stage.field=value; may be given several times. See spokenby params.
    """

    profile: str | None = None
    num_speakers: Speakers = None
    min_speakers: Speakers = None
    max_speakers: Speakers = None
    language: str | None = None
    audio_stream: int | None = None
    channels: str | None = None
    output: str | None = None
    formats: str | None = None
    vocabulary: str | None = None
    force: Annotated[
        tuple[str, ...],
        Parameter(
            show_default=False,
            help="A stage to compute again, with everything downstream; may be given several times:"
            f" {', '.join(Stage)}.",
        ),
    ] = ()
    merge_same_voice: bool = False
    no_identify: bool = False
    no_listening_copy: bool = False
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = ()

    def request(self) -> dict[str, Any]:
        """Return the parameters of `prepare_batch`, which are those of the flow, too.

        Raises:
            InputError: a param is not written as it should be.
        """
        return {
            "profile": self.profile,
            "language": self.language,
            "num_speakers": self.num_speakers,
            "min_speakers": self.min_speakers,
            "max_speakers": self.max_speakers,
            "audio_stream": self.audio_stream,
            "channels": self.channels,
            "output": self.output,
            "formats": self.formats,
            "vocabulary": self.vocabulary,
            "params": self._params(),
        }

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages to compute again.

        Raises:
            InputError: a name is not a stage.
        """
        try:
            return tuple(Stage(name) for name in self.force)
        except ValueError:
            wrong = next(name for name in self.force if name not in set(Stage))
            raise InputError(
                f"--force {wrong}: no such stage", f"choose from {', '.join(Stage)}"
            ) from None

    def _params(self) -> dict[str, dict[str, Any]]:
        """Read `stage.field=value` words, and the switches that stand for some."""
        from spokenby.plan.profiles import read_params

        switches = []
        if self.merge_same_voice:
            switches.append("merge.merge_same_voice=true")
        if self.no_identify:
            switches.append("identify.enabled=false")
        if self.no_listening_copy:
            switches.append("write.listening_copy=false")
        return read_params([*switches, *self.set_])


NO_OPTIONS = Options()


def transcribe(
    *paths: str,
    options: Options = NO_OPTIONS,
    on_done: str | None = None,
    verbose: bool = False,
) -> int:
    """Transcribe videos: who said what, when.

    Completed stages are not computed again. After a crash, run the same command again to continue.
    Without a path, transcribes everything in data/videos.

    For example:

        spokenby transcribe talk.mp4
        spokenby transcribe recordings/ --num-speakers 3 --output minutes/
        spokenby transcribe talk.mp4 --force diarize
        spokenby transcribe talk.mp4 --vocabulary names.txt
        spokenby transcribe interview.m4a --channels split
        spokenby transcribe talk.mp4 --set merge.max_pause=2
        spokenby transcribe talks/ --on-done "python examples/obsidian.py notes/"

    Args:
        paths: Videos, or folders to search for videos.
        options: What is to be done with them.
        on_done: A command to run for each transcript that is written, with its folder as the last
            word and the manifest as input; or the address of a webhook. docs/configuration.md.
        verbose: Show Prefect's log.
    """
    prefect_settings.apply(verbose=verbose)
    console = open_console()
    started = perf_counter()

    from flows.cli.display import print_statuses, progress_shown
    from spokenby.site.batch import prepare_batch
    from spokenby.site.find_videos import sum_up_left_out
    from spokenby.site.inventory import Inventory, State
    from spokenby.site.on_done import check

    request, force = options.request(), options.stages()
    batch = prepare_batch(**request, on_done=on_done)
    check(batch.on_done, batch.settings)
    where = list(paths) or [_site_videos(console)]
    say(console, f"profile {batch.recipe.profile}: {batch.profile_reason}")
    stop_on_signals(console)
    inventory = Inventory(batch)
    with progress_shown(console):
        statuses, lines = _transcribe(console, inventory, where, request, force)
    print_statuses(console, statuses, batch.recipe, perf_counter() - started)
    for line in filter(None, [sum_up_left_out(inventory.left_out), *lines]):
        say(console, line)
    states = {status.state for status in statuses}
    if State.STOPPED in states:
        return STOPPED
    return FAILED if State.FAILED in states else 0


def plan(*paths: str, options: Options = NO_OPTIONS) -> int:
    """Show which stages would run for each video, and why. Computes nothing.

    For example:

        spokenby plan recordings/
        spokenby plan talk.mp4 --num-speakers 2

    Args:
        paths: Videos, or folders to search for videos.
        options: What is to be done with them.
    """
    prefect_settings.apply()
    console = open_console()
    from flows.cli.display import progress_shown
    from spokenby.site.batch import plan_for, prepare_batch
    from spokenby.site.find_videos import sum_up_left_out
    from spokenby.site.inventory import Inventory
    from spokenby.wording import one_line

    force = options.stages()
    batch = prepare_batch(**options.request())
    where = list(paths) or [_site_videos(console)]
    say(console, f"profile {batch.recipe.profile}: {batch.profile_reason}")
    failed, planned, inventory = [], [], Inventory(batch)
    with progress_shown(console):
        for status in inventory.look_below(where):
            if status.video:
                planned.append((status.video, plan_for(status.video, batch, force)))
            else:
                failed.append(status)
    table = Table("video", "stage", "plan")
    for video, video_plan in planned:
        name = cell(video.name)
        if video_plan.done:
            table.add_row(name, "all", "nothing: the transcript exists")
            continue
        for stage in video_plan.digests:
            if stage in video_plan.run:
                happens = f"run: {video_plan.run[stage]}"
            elif stage in video_plan.stored:
                happens = "from the cache"
            else:
                happens = "nothing: not needed"
            table.add_row(name, stage, happens)
            name = cell("")
        table.add_section()
    print_table(console, table)
    for status in failed:
        say(console, f"failed: {one_line(status.path)}: {status.problem}")
    if left_out := sum_up_left_out(inventory.left_out):
        say(console, left_out)
    return FAILED if failed else 0


def _site_videos(console: Console) -> str:
    """Return the site's folder of videos; put the samples there if it has none."""
    from spokenby.settings import read_settings
    from spokenby.site.sample_videos import install_samples

    folder = read_settings().videos
    for sample in install_samples(folder, Path(__file__).parents[2]):
        say(console, f"sample video: {sample}")
    return str(folder)


def _transcribe(
    console: Console,
    inventory: Inventory,
    paths: list[str],
    request: dict[str, Any],
    force: tuple[Stage, ...],
) -> tuple[list[VideoStatus], list[str]]:
    """Return how each video ended, and the lines about the run; there is none if all is done.

    The first video that is not done starts the run, which looks at the rest.
    """
    from spokenby.output.folders import check_writable
    from spokenby.site.exports import add_formats
    from spokenby.site.inventory import needs_run, note_unread, request_of, sharing, unchanged
    from spokenby.site.voice_library import note_unchanged

    statuses: list[VideoStatus] = []
    for status in inventory.look_below(paths):
        if needs_run(status, force):
            break
        statuses.append(unchanged(status, inventory.batch.settings) if status.video else status)
    else:
        for status in statuses:
            note_unread(status, inventory, request_of(inventory.batch, request))
        statuses = add_formats(statuses, inventory.batch)
        return note_unchanged(statuses, inventory.batch.settings), []

    prefect_settings.check_before_import()
    check_writable(inventory.batch.output)
    say(console, prefect_settings.starting())
    from flows.final_states import results_of
    from flows.server.connection import using_server
    from flows.transcribe_videos import transcribe_videos
    from tasks.run_report import take_lines

    with using_server(), sharing(inventory):
        state = transcribe_videos(tuple(paths), force=force, return_state=True, **request)
    return results_of(state), take_lines()
