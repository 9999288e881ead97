"""Keep tracebacks of expected errors out of a run's log: their one line says what to do."""

import logging

from spokenby.errors import SpokenbyError


def shorten_expected(record: logging.LogRecord) -> bool:
    """Replace an expected error's traceback by its line; bugs keep theirs."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, SpokenbyError):
        record.msg, record.args, record.exc_info = str(error), (), None
    return True


logging.getLogger("prefect.task_runs").addFilter(shorten_expected)
