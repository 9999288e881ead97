from __future__ import annotations

import os
import time
from pathlib import Path

from spokenby.settings import Settings
from spokenby.site.stage_results import remove_strays


def test_only_old_exceptions_of_failed_tasks_are_removed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    remove_strays(settings)  # there is nothing yet
    stage = settings.results / "diarize"
    stage.mkdir(parents=True)
    old, new, result = settings.results / "a1", settings.results / "b2", stage / "c3.json"
    for path in (old, new, result):
        path.write_text("{}")
    yesterday = time.time() - 90_000
    for path in (old, result):
        os.utime(path, (yesterday, yesterday))
    remove_strays(settings)
    assert (old.exists(), new.exists(), result.exists()) == (False, True, True)
