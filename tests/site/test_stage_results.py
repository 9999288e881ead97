from __future__ import annotations

import os
import time
from pathlib import Path

from spokenby.settings import Settings
from spokenby.site.stage_results import remove_strays


def test_only_old_exceptions_of_failed_tasks_are_removed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    remove_strays(settings)  # there is nothing yet
    results = settings.results
    old, new, note = results / ("a" * 32), results / ("b" * 32), results / "README"
    result = results / "diarize" / "c3.json"
    result.parent.mkdir(parents=True)
    yesterday = time.time() - 90_000
    for path in (old, new, note, result):
        path.write_text("{}")
        if path is not new:
            os.utime(path, (yesterday, yesterday))
    remove_strays(settings)
    assert [path.exists() for path in (old, new, note, result)] == [False, True, True, True]
