"""How Prefect's server waits its turn to write to SQLite lives here.

Its transactions read first and ask for SQLite's one write lock when they write; SQLite refuses
that at once if anybody wrote in between (SQLITE_BUSY_SNAPSHOT). So 29 of 401 requests to start a
run were answered "Service Unavailable" while videos were worked on, which the browser takes for
final and a task that asks for the GPU takes for 2 s. Transactions that take the lock as they begin
wait for it, up to a minute: 0 of 384. Those that only read wait, too. PostgreSQL has no such lock.
(Prefect 3.8.8; https://www.sqlite.org/isolation.html)

Prefect's servers import this module as they start, also the temporary one, unless they are told not
to look for new block types: it is an entry point of the group "prefect.collections".
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

SERVER_DATABASE = "prefect.server.database.configurations"


def lock_at_start(database: Any) -> None:
    """Let the transactions of a server on SQLite take the write lock when they begin.

    Args:
        database: Prefect's module `SERVER_DATABASE`.
    """
    begin = database.AioSqliteConfiguration.begin_transaction
    mode = database.SQLITE_BEGIN_MODE

    @asynccontextmanager
    async def begin_transaction(
        self: Any, session: Any, with_for_update: bool = False
    ) -> AsyncIterator[Any]:
        outermost = mode.get() is None
        async with begin(self, session, with_for_update=with_for_update or outermost) as begun:
            if outermost:
                await session.connection()  # what begins here takes the lock now
                # Sessions inside, and tasks started here, would wait for the lock that this holds.
                mode.set("DEFERRED")
            yield begun

    database.AioSqliteConfiguration.begin_transaction = begin_transaction


if SERVER_DATABASE in sys.modules:  # workers and blocks import it, too
    lock_at_start(sys.modules[SERVER_DATABASE])
