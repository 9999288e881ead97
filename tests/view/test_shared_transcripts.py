"""Pages of transcripts in a bucket: as new as there, and shown while it is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import Way

from spokenby.buckets import Bucket
from spokenby.errors import TransientError
from spokenby.output import manifest, published
from spokenby.settings import read_settings
from spokenby.view import videos
from spokenby.view.address import folder_id

NAME = "talk-12345678"


@pytest.fixture
def folder_of(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Return what makes this process one of a host and returns its folder of the transcript."""

    def become(host: str) -> Path:
        monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / host))
        monkeypatch.setenv("SPOKENBY_STORAGE", bucket)
        return read_settings().transcripts / NAME

    return become


def write(folder: Path, text: str) -> None:
    about = {"digest": text, "video": {"name": "talk.mp4", "digest": "12345678"}}
    with published.one_writer(read_settings().claims, folder):
        published.write_folder(folder, manifest.with_files(about, {"a.txt": text.encode()}))


def test_a_page_shows_the_newest_and_what_is_here_while_the_bucket_is_away(
    folder_of: Callable[[str], Path],
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(videos, "FRESH_S", 0)
    write(folder_of("first"), "one")
    folder = folder_of("second")
    published.look(read_settings())
    pages = videos.Videos((), read_settings())
    assert pages.folder(folder_id(folder)) == folder
    assert (folder / "a.txt").read_text() == "one"
    write(folder_of("first"), "two")
    folder_of("second")
    asked = []
    monkeypatch.setattr(videos, "FRESH_S", 60)
    get = Bucket.get
    monkeypatch.setattr(
        Bucket, "get", lambda *words, **more: asked.append(1) or get(*words, **more)
    )
    pages.folder(folder_id(folder))  # as for each part of its sound
    assert not asked
    monkeypatch.setattr(videos, "FRESH_S", 0)
    pages.folder(folder_id(folder))
    assert (folder / "a.txt").read_text() == "two"
    monkeypatch.setattr(videos, "PATIENCE_S", 0)
    way.down()
    assert pages.folder(folder_id(folder)) == folder
    assert f"{NAME} is shown as this host has it: s3://" in caplog.text
    (folder / "a.txt").unlink()
    with pytest.raises(TransientError, match="cannot be reached"):
        pages.folder(folder_id(folder))
