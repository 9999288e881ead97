"""Disturbs a run in the middle of one stage, once. Python imports this by itself.

A worker lets no run bring an environment. So a test writes it to a file in the folder
RUN_ENVIRONMENTS, and the worker has this folder in its PYTHONPATH. In a run's environment:
CUT_STAGE, CUT_SIGNAL (a number; SIGKILL, or SIGSTOP for who wants to kill it from outside) or
CUT_BY (a function of `DISTURB`), CUT_MARK (a file that tells, once it has happened, which process
it was and which stages were stored then, since when).
"""

import errno
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from importlib import util
from pathlib import Path


def made(path):
    return path.stat().st_mtime_ns


def cut():
    stored = (Path(os.environ["SPOKENBY_DATA_DIR"]) / "cache" / "results").glob("*/*.json")
    told = {"process": os.getpid(), "stored": {path.parent.name: made(path) for path in stored}}
    mark = Path(os.environ["CUT_MARK"])
    mark.with_suffix(".new").write_text(json.dumps(told))
    mark.with_suffix(".new").rename(mark)
    if by := os.environ.get("CUT_BY"):
        DISTURB[by]()
    else:
        os.kill(os.getpid(), int(os.environ["CUT_SIGNAL"]))


def fill_disk():
    """Let every write end that makes a file longer than 2 kB: in its midst, as on a full disk.

    The kernel does it, with EFBIG instead of ENOSPC. What can be opened is not changed.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))


def forbid_writing():
    """Refuse to open, make, rename or delete anything in the site's folder.

    Python asks its audit hooks first. Root may write everywhere, so that modes are no fault.
    """
    folder = os.environ["SPOKENBY_DATA_DIR"]
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def refuse(event, args):
        if event == "open" and not (isinstance(args[2], int) and args[2] & writes):
            return
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}:
            path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes) else ""
            if path.startswith(folder):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    sys.addaudithook(refuse)


def end_server():
    """Kill what leads to the server."""
    os.kill(int(os.environ["CUT_SERVER"]), signal.SIGKILL)


def lock_databases():
    """Hold all databases of the site for 3 s."""
    held = []
    for path in Path(os.environ["SPOKENBY_DATA_DIR"]).rglob("*.sqlite"):
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        database.execute("BEGIN EXCLUSIVE")
        held.append(database)
    assert held
    threading.Timer(3, lambda: [database.close() for database in held]).start()


DISTURB = {
    "kill -9": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "disk full": fill_disk,
    "read-only": forbid_writing,
    "server gone": end_server,
    "database locked": lock_databases,
}


def cut_progress(module):
    """Cut at the first sign of progress; where none is told, when all is computed but not kept."""
    showing = module.showing

    @contextmanager
    def showing_cut(video, stage, *args):
        with showing(video, stage, *args) as progress:
            if stage != os.environ["CUT_STAGE"] or Path(os.environ["CUT_MARK"]).exists():
                yield progress
                return

            def progress_cut(fraction):
                progress(fraction)
                if fraction > 0 and not Path(os.environ["CUT_MARK"]).exists():
                    cut()

            yield progress_cut
            if not Path(os.environ["CUT_MARK"]).exists():
                cut()

    module.showing = showing_cut


def cut_rename(module):
    """Cut when the outputs are written, but not renamed into place."""
    swap_in = module._swap_in

    def swap_in_cut(fresh, folder):
        if os.environ["CUT_STAGE"] == "rename" and not Path(os.environ["CUT_MARK"]).exists():
            cut()
        return swap_in(fresh, folder)

    module._swap_in = swap_in_cut


class Cutter:
    """Changes the modules when they are imported."""

    def __init__(self):
        self.changes = {"spokenby.progress": cut_progress, "spokenby.output.folders": cut_rename}

    def find_spec(self, name, _path=None, _target=None):
        if name not in self.changes:
            return None
        change = self.changes.pop(name)
        spec = util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change
        return spec


def take_environment():
    """Take over what a test wants in the environment of this run."""
    file = Path(os.environ["RUN_ENVIRONMENTS"]) / f"{os.environ['PREFECT__FLOW_RUN_ID']}.json"
    for _ in range(20):  # it is written just after the run was created
        if file.exists():
            os.environ.update(json.loads(file.read_text()))
            return
        time.sleep(0.05)


if os.environ.keys() >= {"RUN_ENVIRONMENTS", "PREFECT__FLOW_RUN_ID"}:
    take_environment()
if "CUT_STAGE" in os.environ:
    sys.meta_path.insert(0, Cutter())
