"""Transcribing with a profile apart from the site, as far as it goes without a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.comparing import transcribe_apart
from spokenby.digests import digest_of
from spokenby.errors import InputError
from spokenby.output.folders import folder_name
from spokenby.settings import Settings


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    site = Settings(data_dir=tmp_path)
    (site.cache / "evaluation").mkdir(parents=True)
    name = folder_name("embedded", digest_of("embedded"))
    (site.cache / "evaluation" / name).write_text("in the way")
    with pytest.raises(InputError, match=r"embedded.*set SPOKENBY_CACHE_DIR") as caught:
        transcribe_apart("embedded", ["talk.mp4"], site, Console())
    assert "\n" not in str(caught.value)
