import os
import shutil
import sys
from pathlib import Path

import pytest

from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.errors import InputError


def test_the_configured_ffmpeg_comes_before_the_bundled_and_the_systems_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ffmpeg.exe" if os.name == "nt" else "ffmpeg"
    systems = tmp_path / "bin" / name
    systems.parent.mkdir()
    shutil.copy(sys.executable, systems)
    assert find_ffmpeg(str(systems)) == systems
    monkeypatch.setenv("PATH", str(systems.parent))
    assert find_ffmpeg("ffmpeg") == systems
    assert "imageio_ffmpeg" in str(find_ffmpeg())
    with pytest.raises(InputError, match="no ffmpeg at gone: leave the setting empty"):
        find_ffmpeg("gone")
