"""The command line: commands, exit codes, and one line for every expected problem."""

import os
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from flows.cli.config import config
from flows.cli.correcting import correct
from flows.cli.evaluating import evaluate
from flows.cli.exporting import export
from flows.cli.find import find
from flows.cli.mcp import mcp
from flows.cli.params import params
from flows.cli.redacting import redact
from flows.cli.serve import serve, setup, up
from flows.cli.status import retry, status, sweep
from flows.cli.stopping import MESSAGE, exit_code, interrupt_on_signals
from flows.cli.terminal import STOPPED, open_console, say
from flows.cli.transcribing import plan, transcribe
from flows.cli.viewing import view
from flows.cli.vocabulary import vocabulary
from flows.server import prefect_settings
from spokenby.errors import SpokenbyError, StoppedError
from spokenby.wording import one_line

app = App(
    name="spokenby",
    help="Turn folders of long videos into transcripts that say who said what, when.",
    help_format="markdown",
    version=lambda: version("spokenby"),
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
# Named by their place, so that they are imported when asked for.
app.command("flows.cli.models:app", name="models", help="Fetch, check and list models.")
app.command(
    "flows.cli.voices:app", name="voices", help="Recognize speakers by voice, and name them."
)
for command in (
    *(transcribe, plan, view, find, mcp, correct, vocabulary, export, redact, evaluate),
    *(sweep, status, retry, params, config, serve, up, setup),
):
    app.command(command)
app.register_install_completion_command()

MISSING = 1
"""Exit code: something does not work on this machine."""
WRONG = 2
"""Exit code: nothing was tried; the words on the command line or a setting don't fit."""

PRIVATE = 0o077
"""The umask, also of child processes: voices and transcripts are for their owner alone."""


@app.command
def doctor() -> int:
    """Check this machine: what works, what does not, and what to do next.

    The exit code is 1 if anything is red.

    For example:

        spokenby doctor
    """
    prefect_settings.apply()
    from flows.cli.doctor import Light, examine

    console = open_console()
    styles = {Light.GREEN: "green", Light.YELLOW: "yellow", Light.RED: "red"}
    worst = Light.GREEN
    for finding in examine():
        worst = max(worst, finding.light)
        console.print(
            f"[{styles[finding.light]}]{finding.light.name.lower():<6}[/] {finding.what}: ", end=""
        )
        say(console, finding.message)
        if finding.next_step:
            say(console, f"       -> {finding.next_step}")
    return MISSING if worst is Light.RED else 0


def main() -> None:
    """Run the command line; every expected problem is one line on standard error."""
    os.umask(PRIVATE)
    interrupt_on_signals()
    errors = Console(stderr=True)
    try:
        code = app(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        say(errors, f"spokenby: {one_line(str(error))}")
        code = WRONG
    except (KeyboardInterrupt, StoppedError):
        code = STOPPED
    except SpokenbyError as error:
        say(errors, f"spokenby: {error}")
        code = WRONG
    if code == STOPPED:
        say(errors, MESSAGE)
        code = exit_code()
    sys.exit(code if isinstance(code, int) else 0)
