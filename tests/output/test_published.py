"""Transcripts of two hosts with one bucket: each has the newest of the other, whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from buckets import Way

from spokenby.buckets import Bucket, ChangedError
from spokenby.errors import TransientError
from spokenby.output import folders, manifest, published
from spokenby.settings import read_settings

NAME = "talk-12345678"
Host = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def on(bucket: str, tmp_path: Path) -> Host:
    """Return what makes this process one of a host, and yields its folder of the transcript."""

    @contextmanager
    def host(name: str) -> Iterator[Path]:
        site = {"SPOKENBY_DATA_DIR": str(tmp_path / name), "SPOKENBY_STORAGE": bucket}
        with patch.dict(os.environ, site):
            yield read_settings().transcripts / NAME

    return host


def write(folder: Path, text: str, **more: str) -> None:
    files = {"a.txt": text.encode(), "same.ogg": b"sound"}
    files |= {name.replace("_", "."): content.encode() for name, content in more.items()}
    about = {"digest": text, "video": {"digest": "12345678"}}
    with published.one_writer(read_settings().claims, folder):
        published.write_folder(folder, manifest.with_files(about, files))


def test_a_host_has_what_another_has_written(on: Host, bucket: str) -> None:
    with on("first") as folder:
        write(folder, "one", more_txt="more")
    with on("second") as folder:
        assert not published.is_written(folder, "one", read_settings())
        published.look(read_settings())
        assert published.is_written(folder, "one", read_settings())
        assert not folder.exists()
        assert published.list_folders(read_settings()) == [folder]
        published.fetch(folder, read_settings())
        assert manifest.is_written(folder, "one")
        write(folder, "two")
    keys = {each.key: each.modified for each in Bucket(bucket).list()}
    with on("first") as folder:
        assert published.is_written(folder, "one", read_settings())
        published.look(read_settings())
        assert published.is_written(folder, "two", read_settings())
        published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "two"
        assert sorted(path.name for path in folder.iterdir()) == [
            "a.txt",
            "manifest.json",
            "same.ogg",
        ]
        # What nobody needs is gone, what has not changed is not sent again, nothing else is there.
        assert len(keys) == 3
        assert sum("same.ogg" in key for key in keys) == 1
        assert [*folder.parent.iterdir()] == [folder]


def test_a_transcript_from_before_the_bucket_is_brought_there(on: Host) -> None:
    with on("first") as folder:
        files = manifest.with_files({"digest": "old"}, {"a.txt": b"old"})
        folders.write_folder(folder, files)
        assert published.is_written(folder, "old", read_settings())
        published.fetch(folder, read_settings())
    with on("second") as folder:
        published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "old"


def test_one_that_was_removed_is_gone_on_all_hosts(on: Host, bucket: str) -> None:
    with on("first") as folder:
        write(folder, "one")
    Bucket(bucket).delete(*[each.key for each in Bucket(bucket).list()])
    with on("first") as folder:
        published.look(read_settings())
        assert not published.is_written(folder, "one", read_settings())
        published.fetch(folder, read_settings())
        assert not folder.exists()
        assert [*Bucket(bucket).list()] == []


def test_what_was_edited_by_hand_is_kept(on: Host, bucket: str) -> None:
    with on("first") as folder:
        write(folder, "one")
        (folder / "a.txt").write_text("mine")
    with on("second") as folder:
        write(folder, "two")
    with on("first") as folder:
        published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "two"
        edited = folder.with_name(f"{NAME}.edited-1")
        assert (edited / "a.txt").read_text() == "mine"
        published.fetch(edited, read_settings())  # what is kept here stays here
        assert {each.key.split("/")[1] for each in Bucket(bucket).list()} == {NAME}


def test_who_was_cut_off_does_not_write_over_another(on: Host) -> None:
    with on("first") as folder:
        write(folder, "one")
        published.fetch(folder, read_settings())
    with on("second") as folder:
        write(folder, "two")
    with on("first") as folder:  # its lock was lost: another wrote since it read
        late = manifest.with_files({"digest": "late"}, {"a.txt": b"late"})
        with pytest.raises(ChangedError, match="another host has written talk-12345678"):
            published.write_folder(folder, late)
        assert (folder / "a.txt").read_text() == "one"
        published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "two"


def test_where_the_bucket_is_away_nothing_is_written_here_either(on: Host, way: Way) -> None:
    with on("first") as folder:
        write(folder, "one")
        with published.one_writer(read_settings().claims, folder):
            way.down()
            files = manifest.with_files({"digest": "two"}, {"a.txt": b"two"})
            with (
                patch("spokenby.output.published.Bucket", lambda url, _: Bucket(url, 0.0)),
                pytest.raises(TransientError, match="cannot be reached"),
            ):
                published.write_folder(folder, files)
        assert (folder / "a.txt").read_text() == "one"
        assert [*folder.parent.iterdir()] == [folder]


def test_a_reader_meets_the_old_or_the_new_one(on: Host, bucket: str) -> None:
    with on("first") as folder:
        write(folder, "one")
        old = Bucket(bucket).get(f"transcripts/{NAME}/manifest.json")
        write(folder, "two")
        new = Bucket(bucket).get(f"transcripts/{NAME}/manifest.json")
    # One that read the manifest just before it was replaced begins again.
    answers = [old, new]
    with on("second") as folder, patch.object(Bucket, "get", lambda *_, **__: answers.pop(0)):
        published.fetch(folder, read_settings())
        assert answers == []
        assert (folder / "a.txt").read_text() == "two"


def test_names_in_a_bucket_lead_nowhere_else(on: Host, bucket: str) -> None:
    bad = {"files": {"../../../out": {"sha256": "0" * 64, "bytes": 0}}}
    Bucket(bucket).put(f"transcripts/{NAME}/manifest.json", json.dumps(bad).encode())
    with on("first") as folder, pytest.raises(Exception, match=r"lists \.\./\.\./\.\./out, which"):
        published.fetch(folder, read_settings())


def test_other_folders_are_not_shared(on: Host, bucket: str, tmp_path: Path) -> None:
    with on("first"):
        write(tmp_path / "other" / NAME, "one")
        assert published.is_written(tmp_path / "other" / NAME, "one", read_settings())
    assert [*Bucket(bucket).list()] == []
