"""The command line lives here: it reads words, calls flows and prints. What flows do does not."""

import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console
from rich.table import Table

from flows import environment
from flows.cli.find import find
from flows.cli.serve import serve, setup, up
from flows.cli.status import retry, status, sweep
from flows.cli.stopping import STOPPED, stop_on_ctrl_c
from flows.cli.terminal import open_console
from whosaid.errors import InputError, WhosaidError

app = App(
    name="whosaid",
    help="Folders of long videos in, transcripts that say who said what, when, out.",
    help_format="markdown",
    default_parameter=Parameter(negative=""),
)
# Named by their place, so that they are imported when asked for.
app.command("flows.cli.models:app", name="models", help="Fetch, check and list models.")
app.command("flows.cli.voices:app", name="voices", help="Know speakers by their voice: name them.")
for command in (find, sweep, status, retry, serve, up, setup):
    app.command(command)

FAILED = 1
"""Exit code: some video has no transcript."""
WRONG = 2
"""Exit code: nothing was tried; the words on the command line or a setting don't fit."""

_speakers = Group("How many speakers")
Speakers = Annotated[int | None, Parameter(group=_speakers)]


@app.command
def transcribe(
    *paths: str,
    profile: str | None = None,
    num_speakers: Speakers = None,
    min_speakers: Speakers = None,
    max_speakers: Speakers = None,
    language: str | None = None,
    audio_stream: int | None = None,
    output: str | None = None,
    force: tuple[str, ...] = (),
    merge_same_voice: bool = False,
    no_identify: bool = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    verbose: bool = False,
) -> int:
    """Transcribe videos: who said what, when.

    What was computed before is not computed again, also after a crash: run the same command again
    to continue. Without a path it takes what lies in data/videos.

    For example:

        whosaid transcribe talk.mp4
        whosaid transcribe recordings/ --num-speakers 3 --output minutes/
        whosaid transcribe talk.mp4 --force diarize
        whosaid transcribe talk.mp4 --set merging.max_pause=2

    Args:
        paths: Videos, or folders that are searched for videos.
        profile: Which engines to use: auto, embedded, open or studio.
        num_speakers: How many people speak, if known.
        min_speakers: At least this many people speak.
        max_speakers: At most this many people speak.
        language: Spoken language as a code such as en; detected if left out.
        audio_stream: Which of a video's audio streams, from 0.
        output: Where transcripts go: data/transcripts if left out.
        force: A stage to compute again, with all that builds on it; can be given several times:
            extract, speech, diarize, embed, transcribe, edges, merge.
        merge_same_voice: Make two speakers of a video one that sound like one voice.
        no_identify: Do not look for the speakers among the voices of other videos.
        set_: Any other param of a stage as stage.field=value; can be given several times.
        verbose: Show Prefect's log.
    """
    environment.apply(verbose=verbose)
    console = open_console()
    started = perf_counter()

    from flows.cli.display import print_outcomes, progress_shown
    from tasks.inspection import plan_all
    from tasks.library import note_unchanged
    from tasks.planning import prepare_batch
    from tasks.standing import note_unread

    chosen: dict[str, Any] = {
        "profile": profile,
        "language": language,
        "num_speakers": num_speakers,
        "min_speakers": min_speakers,
        "max_speakers": max_speakers,
        "audio_stream": audio_stream,
        "output": output,
        "params": _params(set_, merge_same_voice=merge_same_voice, no_identify=no_identify),
    }
    batch = prepare_batch(**chosen)
    stages = _stages(force)
    where = list(paths) or [_own_videos(console)]
    console.print(f"profile {batch.recipe.label}: {batch.profile_reason}", highlight=False)
    stop_on_ctrl_c(console)
    told: list[str] = []
    with progress_shown(console):
        planned, outcomes = plan_all(where, batch, stages)
        if any(not plan.done for _, plan in planned):
            outcomes, told = _run(where, chosen, stages)
        else:
            for outcome in outcomes:
                note_unread(outcome, batch)
            outcomes = note_unchanged(outcomes, batch.settings)
    print_outcomes(console, outcomes, batch.recipe, perf_counter() - started)
    for line in told:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if any(outcome.status == "stopped" for outcome in outcomes):
        return STOPPED
    return FAILED if any(outcome.status == "failed" for outcome in outcomes) else 0


def _stages(names: tuple[str, ...]) -> tuple[Any, ...]:
    from whosaid.planning import Stage

    try:
        return tuple(Stage(name) for name in names)
    except ValueError:
        wrong = next(name for name in names if name not in set(Stage))
        raise InputError(
            f"--force {wrong}: no such stage", f"choose from {', '.join(Stage)}"
        ) from None


def _params(
    settings: tuple[str, ...], *, merge_same_voice: bool, no_identify: bool
) -> dict[str, dict[str, Any]]:
    """Read `stage.field=value` words, and the switches that stand for some."""
    params: dict[str, dict[str, Any]] = {}
    if merge_same_voice:
        params["merging"] = {"merge_same_voice": True}
    if no_identify:
        params["voices"] = {"identify": False}
    for word in settings:
        name, equals, value = word.partition("=")
        stage, dot, field = name.partition(".")
        if not (equals and dot and stage and field):
            raise InputError(f"--set {word} does not fit", "write stage.field=value")
        params.setdefault(stage, {})[field] = value
    return params


def _own_videos(console: Console) -> str:
    """Return the site's folder of videos; put the samples there if it has none."""
    from whosaid.samples import install_samples
    from whosaid.settings import read_settings

    folder = read_settings().videos
    for sample in install_samples(folder, Path(__file__).parents[2]):
        console.print(f"sample video: {sample}", highlight=False)
    return str(folder)


def _run(
    paths: list[str], chosen: dict[str, Any], force: tuple[Any, ...]
) -> tuple[list[Any], list[str]]:
    """Run the flow; return its outcomes, however it ended, and the lines about the run."""
    from flows.endings import told_by
    from flows.transcribe_videos import transcribe_videos
    from tasks.telemetry import told

    state = transcribe_videos(paths=paths, force=force, return_state=True, **chosen)
    return told_by(state), told()


@app.command
def plan(
    *paths: str,
    profile: str | None = None,
    num_speakers: Speakers = None,
    min_speakers: Speakers = None,
    max_speakers: Speakers = None,
    language: str | None = None,
    audio_stream: int | None = None,
    output: str | None = None,
    force: tuple[str, ...] = (),
    merge_same_voice: bool = False,
    no_identify: bool = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
) -> int:
    """Show which stages would run for which video, and why. Computes nothing.

    Takes the same options as `whosaid transcribe`.

    For example:

        whosaid plan recordings/
        whosaid plan talk.mp4 --num-speakers 2
    """
    environment.apply()
    console = open_console()
    from flows.cli.display import one_line, progress_shown
    from tasks.inspection import plan_all
    from tasks.planning import prepare_batch

    batch = prepare_batch(
        profile,
        language=language,
        num_speakers=num_speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        audio_stream=audio_stream,
        output=output,
        params=_params(set_, merge_same_voice=merge_same_voice, no_identify=no_identify),
    )
    where = list(paths) or [_own_videos(console)]
    console.print(f"profile {batch.recipe.label}: {batch.profile_reason}", highlight=False)
    with progress_shown(console):
        planned, outcomes = plan_all(where, batch, _stages(force))
    table = Table("video", "stage", "what would happen")
    for video, video_plan in planned:
        name = one_line(video.name)
        if video_plan.done:
            table.add_row(name, "all", "nothing: the transcript is there")
            continue
        for stage in video_plan.digests:
            if stage in video_plan.run:
                happens = f"run: {video_plan.run[stage]}"
            elif stage in video_plan.stored:
                happens = "from the cache"
            else:
                happens = "nothing: not needed"
            table.add_row(name, stage, happens)
            name = ""
        table.add_section()
    console.print(table)
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        console.print(f"failed: {one_line(outcome.name)}: {outcome.problem}", markup=False)
    return FAILED if failed else 0


@app.command(name="params")
def list_params() -> int:
    """List every param of every stage, for `--set stage.field=value`.

    For example:

        whosaid params
    """
    from whosaid.profiles import Recipe
    from whosaid.types import StageParams

    table = Table("param", "default", "what it is")
    for stage, entry in Recipe.model_fields.items():
        kind = entry.annotation
        if not (isinstance(kind, type) and issubclass(kind, StageParams)):
            continue
        for field, info in kind.model_fields.items():
            default = "" if info.default is None else str(info.default)
            table.add_row(f"{stage}.{field}", default, info.description)
        table.add_section()
    open_console().print(table)
    return 0


@app.command
def doctor() -> int:
    """Check this machine: what works, what does not, and what to do next.

    Ends with exit code 1 if anything is red.

    For example:

        whosaid doctor
    """
    environment.apply()
    from flows.cli.doctor import Light, examine

    console = open_console()
    styles = {Light.GREEN: "green", Light.YELLOW: "yellow", Light.RED: "red"}
    worst = Light.GREEN
    for finding in examine():
        worst = max(worst, finding.light)
        console.print(
            f"[{styles[finding.light]}]{finding.light.name.lower():<6}[/] {finding.what}: ", end=""
        )
        console.print(finding.says, markup=False, highlight=False, soft_wrap=True)
        if finding.next_step:
            console.print(f"       -> {finding.next_step}", markup=False, soft_wrap=True)
    return FAILED if worst is Light.RED else 0


def main() -> None:
    """Run the command line; every expected problem is one line on standard error."""
    errors = Console(stderr=True)
    try:
        code = app(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        errors.print(f"whosaid: {' '.join(str(error).split())}", markup=False, soft_wrap=True)
        code = WRONG
    except WhosaidError as error:
        errors.print(f"whosaid: {error}", markup=False, highlight=False, soft_wrap=True)
        code = WRONG
    sys.exit(code if isinstance(code, int) else 0)
