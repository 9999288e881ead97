"""Patch a Prefect server as it starts, the temporary one of a single run included.

Prefect's servers import this module: it is an entry point of the group "prefect.collections". So do
workers and blocks, in which no database module is loaded. It is not tasks/prefect_patches.py
itself, which logging imports before the database module exists. It is in `tasks`, because that is
imported by then: after its migrations, the server has the current directory on its path, where the
user may have a folder of this name.
"""

import sys

from spokenby.errors import InputError
from tasks.prefect_patches import lock_at_start

DATABASE = "prefect.server.database.configurations"

if DATABASE in sys.modules:
    try:
        lock_at_start(sys.modules[DATABASE])
    except InputError as error:
        # Prefect turns exceptions into a warning and would serve without the patch.
        sys.exit(f"spokenby: {error}")
