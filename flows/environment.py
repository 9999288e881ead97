"""Prefect's own settings that whosaid needs, each with its reason, live here.

Imported before prefect is: prefect reads the environment at import. What a user has set stays.
"""

import os

SETTINGS = {
    # The first start of the temporary server migrates its database: 24 s on a busy machine, and
    # the default gives up after 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Nothing leaves the machine unasked.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The terminal belongs to the progress display; the run's log in the UI keeps everything.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def apply(*, verbose: bool = False) -> None:
    """Put the settings into this process's environment, where they are not set already.

    Args:
        verbose: let Prefect's log through to the terminal.
    """
    for name, value in SETTINGS.items():
        if not (verbose and name.endswith("CONSOLE_LEVEL")):
            os.environ.setdefault(name, value)
