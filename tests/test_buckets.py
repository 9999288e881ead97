"""Objects of a real S3 server: conditional writes, an outage, and what is said of each failure."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from buckets import SECRET, Way

from spokenby import buckets
from spokenby.buckets import Bucket, ChangedError
from spokenby.errors import InputError, StoppedError, TransientError


def test_objects_are_written_read_listed_and_removed(bucket: str, tmp_path: Path) -> None:
    here, file = Bucket(bucket), tmp_path / "file"
    file.write_bytes(b"x" * 5_000_000)
    etag = here.put("a/one # %20?.txt", b"one")
    here.put("a/two", file)
    here.put("b", b"")
    assert [(each.key, each.size) for each in here.list("a/")] == [
        ("a/one # %20?.txt", 3),
        ("a/two", 5_000_000),
    ]
    assert here.get("a/one # %20?.txt") == (b"one", etag)
    assert here.get("a/one # %20?.txt", known=etag) == (None, etag)
    assert next(here.list("a/")).etag == etag
    assert here.find("a/one # %20?.txt") == next(here.list("a/"))
    here.download(next(iter(here.list("a/two"))), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()
    here.download(next(iter(here.list("b"))), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""
    here.delete("a/two", "a/none")
    assert here.get("a/two") is None
    assert here.find("a/two") is None


def test_what_is_no_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    buckets._make_client.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(InputError, match=r"AWS_ENDPOINT_URL is not an address: write it as"):
        Bucket("s3://b").get("k")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:9")
    monkeypatch.setenv("AWS_PROFILE", "nope")
    with pytest.raises(InputError, match=r"s3://b cannot be used \(ProfileNotFound\): set AWS"):
        Bucket("s3://b").get("k")
    monkeypatch.delenv("AWS_PROFILE")
    with pytest.raises(InputError, match=r"s3://b ad/ is not a bucket's address: check its name"):
        Bucket("s3://b ad").get("k")
    buckets._make_client.cache_clear()


def test_who_writes_second_is_refused(bucket: str) -> None:
    here = Bucket(bucket)
    first = here.put("k", b"1", replaces="")
    with pytest.raises(ChangedError, match="was written by another process"):
        here.put("k", b"2", replaces="")
    second = here.put("k", b"2", replaces=first)
    with pytest.raises(ChangedError):
        here.put("k", b"3", replaces=first)
    assert here.get("k") == (b"2", second)


def test_a_server_that_is_away_is_waited_for(
    bucket: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Bucket(bucket)
    here.put("k", b"1")
    way.down()
    with pytest.raises(TransientError, match="cannot be reached"):
        Bucket(bucket, patience=0).get("k")
    threading.Timer(1, way.up).start()
    begun = time.monotonic()
    assert here.get("k")[0] == b"1"  # type: ignore[index]
    assert time.monotonic() - begun > 1
    way.down()
    monkeypatch.setattr("spokenby.buckets.is_stopping", lambda: True)
    with pytest.raises(StoppedError):
        here.get("k")


def test_what_cannot_be_used_is_one_line_without_secrets(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="there is no bucket no-such: check its name"):
        next(Bucket("s3://no-such/x").list())
    with pytest.raises(InputError, match="there is no bucket no-such"):
        Bucket("s3://no-such/x").get("k")
    for bad in ("s3://", "s3://user:pass@b/x", "https://b"):
        with pytest.raises(InputError, match="s3://bucket/prefix") as refused:
            Bucket(bad)
        assert "pass@" not in str(refused.value)

    def fails(name: str, value: str) -> str:
        with monkeypatch.context() as other:
            other.setenv(name, value)
            buckets._make_client.cache_clear()
            with pytest.raises((InputError, TransientError)) as failed:
                Bucket(f"{bucket}-other", patience=0).get("k")
        buckets._make_client.cache_clear()
        assert SECRET not in str(failed.value)
        return str(failed.value)

    assert "SignatureDoesNotMatch" in fails("AWS_SECRET_ACCESS_KEY", f"{SECRET}-not")
    buckets._reached.clear()
    begun = time.monotonic()
    assert "cannot be reached" in fails("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert time.monotonic() - begun < 5
