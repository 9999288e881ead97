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
from spokenby.errors import InputError, TransientError
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


@pytest.mark.parametrize(
    "bad",
    [
        '{"files": {',
        '{"files": {"a.txt": {}}}',
        '{"files": {"a.txt": 1}}',
        json.dumps({"files": {"..": {"sha256": "0" * 64, "bytes": 0}}}),
        json.dumps({"files": {"../../../out": {"sha256": "0" * 64, "bytes": 0}}}),
    ],
)
def test_a_damaged_manifest_in_the_bucket_replaces_nothing(on: Host, bucket: str, bad: str) -> None:
    with on("first") as folder:
        write(folder, "good")
        Bucket(bucket).put(f"transcripts/{NAME}/manifest.json", bad.encode())
        with pytest.raises(InputError, match=r"manifest\.json is damaged"):
            published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "good"


def test_what_people_corrected_outlives_its_transcript_in_the_bucket(
    on: Host, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    with on("first") as folder:
        write(folder, "one", corrections_json="people's")
        Bucket(bucket).delete(*[each.key for each in Bucket(bucket).list()])
        published.fetch(folder, read_settings())
        assert not folder.exists()
        kept = folder.with_name(f"{NAME}.edited-1")
        assert (kept / "corrections.json").read_text() == "people's"
        assert kept.name in caplog.text
        published.fetch(folder, read_settings())
        assert [*Bucket(bucket).list()] == []


def test_corrections_of_a_site_that_joins_another_are_kept(on: Host) -> None:
    with on("first") as folder:
        write(folder, "one")
    with on("second") as folder:
        about = {"digest": "two", "video": {"digest": "12345678"}}
        files = {"a.txt": b"two", "corrections.json": b"people's", "recognized.json": b"r"}
        folders.write_folder(folder, manifest.with_files(about, files))
        published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "one"
        kept = folder.with_name(f"{NAME}.edited-1")
        assert (kept / "a.txt").read_text() == "two"
        assert (kept / "corrections.json").read_text() == "people's"


@pytest.mark.parametrize("edited", ["a.txt", "corrections.json"])
def test_a_transcript_that_was_edited_before_the_bucket(
    on: Host, bucket: str, edited: str, caplog: pytest.LogCaptureFixture
) -> None:
    with on("first") as folder:
        files = {"a.txt": b"old", "corrections.json": b"old"}
        folders.write_folder(folder, manifest.with_files({"digest": "old"}, files))
        (folder / edited).write_text("mine")
        published.fetch(folder, read_settings())
        assert (folder / edited).read_text() == "mine"
    with on("second") as folder:
        published.fetch(folder, read_settings())
        if edited == "a.txt":  # it stays where it was edited, until the video is transcribed again
            assert not folder.exists()
            assert "a.txt was changed by hand" in caplog.text
        else:  # people's work
            assert (folder / edited).read_text() == "mine"
    with on("first") as folder:
        write(folder, "new")
        assert {each.key.split("/")[1] for each in Bucket(bucket).list()} == {NAME}


def test_what_could_not_be_brought_to_the_bucket_is_not_taken_for_the_newest(
    on: Host, bucket: str
) -> None:
    with on("first") as folder:
        write(folder, "one")
        with published.one_writer(read_settings().claims, folder):
            folders.write_folder(folder, manifest.with_files({"digest": "2"}, {"a.txt": b"two"}))
            with (
                patch.object(Bucket, "put", side_effect=TransientError("away", "wait")),
                pytest.raises(TransientError, match="away"),
            ):
                published.publish(folder)
        published.fetch(folder, read_settings())
        assert (folder / "a.txt").read_text() == "one"


def test_a_link_on_the_way_to_the_folder_changes_nothing(on: Host, tmp_path: Path) -> None:
    with on("first") as folder:
        write(folder, "one")
        link = tmp_path / "link"
        link.symlink_to(folder.parents[2], target_is_directory=True)
        there = link / "first" / "transcripts" / NAME
        assert published.shared_name(there, read_settings()) == NAME
    with on("link/first"):
        assert published.shared_name(folder, read_settings()) == NAME


def test_other_folders_are_not_shared(on: Host, bucket: str, tmp_path: Path) -> None:
    with on("first"):
        write(tmp_path / "other" / NAME, "one")
        assert published.is_written(tmp_path / "other" / NAME, "one", read_settings())
    assert [*Bucket(bucket).list()] == []
