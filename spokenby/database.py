"""Open SQLite files that processes and threads share."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_LOG = logging.getLogger("spokenby")
_WAIT_S = 5
"""How long to wait for another process's transaction."""


class Database:
    """Notes that save time or tell people more: nothing may fail because of them.

    What is locked or cannot be written is done without, what is corrupt is started over.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema

    def use(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do some work in one transaction; return `otherwise` where that is not possible."""
        try:
            return self._try(work)
        except (sqlite3.OperationalError, OSError):  # locked, read-only, no such folder
            return otherwise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # corrupt, or its message is
            _LOG.warning("%s is damaged (%s): it is started over", self._path, error)
            try:
                self._path.unlink(missing_ok=True)
                return self._try(work)
            except (sqlite3.DatabaseError, OSError):
                return otherwise

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A connection for each transaction: threads and processes need no further care.
        with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database, database:
            # Of a damaged text, what is left: an error would hide all other rows.
            database.text_factory = partial(str, encoding="utf-8", errors="replace")
            database.execute(self._schema)
            return work(database)
