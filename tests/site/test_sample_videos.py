from pathlib import Path

import numpy as np
import pytest

from spokenby.engines.av import probe, read_audio
from spokenby.site.find_videos import find_videos
from spokenby.site.sample_videos import install_samples

ROOT = Path(__file__).parents[2]


def test_both_samples_are_installed_into_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "videos"
    made = install_samples(folder, ROOT)
    assert [path.name for path in made] == ["telephone talk.mp4", "conversation.mp4"]
    assert sorted(made) == find_videos([folder])
    for path in made:
        samples, rate_hz = read_audio(path)
        assert rate_hz == 16_000
        assert 0.05 < np.abs(samples).max() <= 1.1
        assert probe(path).duration == pytest.approx(len(samples) / rate_hz, abs=0.3)
    assert probe(made[0]).duration == pytest.approx(30, abs=0.1)


def test_without_the_project_only_the_talk_is_made(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    made = install_samples(tmp_path, tmp_path / "elsewhere")
    assert made == [tmp_path / "telephone talk.mp4"]
    assert {path.name for path in tmp_path.iterdir()} == {".gitkeep", "telephone talk.mp4"}


def test_nothing_is_put_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    assert install_samples(tmp_path, ROOT) == []
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
