"""Run the command line in this process, without the cost of a new interpreter.

In a process of its own it is `conftest.Site.run`, for what is killed or runs beside others.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from unittest.mock import patch

from conftest import Site


class Ran(NamedTuple):
    """`code` as the process would have ended with, `out` what it would have printed."""

    code: int
    out: str


class Here:
    """The command line on a site, and Prefect with the site's server, while it is entered."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_HOME,
            PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
            temporary_settings,
        )

        environment = self._site.environment
        self._stack.enter_context(patch.dict(os.environ, environment, clear=True))
        self._stack.enter_context(
            temporary_settings(
                {
                    PREFECT_API_URL: environment["PREFECT_API_URL"],
                    PREFECT_HOME: environment["PREFECT_HOME"],
                    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
                }
            )
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            self._stack.callback(signal.signal, number, signal.getsignal(number))
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, *words: str | Path | int) -> Ran:
        """Run `spokenby` with some words."""
        from flows.cli.app import app

        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = app(
                [str(word) for word in words],
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        return Ran(code, out.getvalue())

    def main(self, *words: str | Path | int) -> Ran:
        """Run `spokenby` with some words as a process does: an expected problem is a line."""
        from flows.cli.app import main

        out = io.StringIO()
        mask = os.umask(0o077)
        try:
            with (
                patch.object(sys, "argv", ["spokenby", *map(str, words)]),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(out),
            ):
                main()
        except SystemExit as left:
            return Ran(int(left.code or 0), out.getvalue())
        finally:
            os.umask(mask)
