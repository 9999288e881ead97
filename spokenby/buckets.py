"""Read and write the objects of an S3 bucket, and say in one line why that failed."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.errors import InputError, SpokenbyError, StoppedError, TransientError
from spokenby.progress import is_stopping
from spokenby.settings import SCHEME
from spokenby.types import Progress, Seconds, no_progress

AWAY_S: Seconds = 120.0
"""How long to wait for a server that was there before, as while it is restarted."""

AT_ONCE = 16
"""So many small objects are read at a time."""

_IN_HASTE_S: Seconds = 10.0
"""Who waits less than this, as a page does, does not wait for a server that hangs either."""

_BLOCK_BYTES = 4 * 2**20

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})

_making = threading.Lock()
_reached: set[str] = set()
"""Buckets that have answered this process."""


class Stored(NamedTuple):
    """An object as the bucket lists it."""

    key: str
    etag: str
    """Another one for other bytes."""
    size: int
    modified: float
    """Seconds since the epoch, by the server's clock."""


class Got(NamedTuple):
    """The content of an object; `None` if it is the one that was known."""

    content: bytes | None
    etag: str


class ChangedError(TransientError):
    """Another process has written the object, or has removed it."""


def is_remote(path: str | Path) -> bool:
    """Return whether a path is the address of an object or bucket."""
    return str(path).startswith(SCHEME)


class Bucket:
    """The objects of a bucket below a prefix. Keys are relative to it.

    A server that has answered before is waited for. Methods raise InputError or TransientError in
    one line.

    Args:
        address: `s3://bucket/prefix`. Endpoint and credentials are found as AWS's tools find them.
        patience: how long to wait for a server that is away.

    Raises:
        InputError: it is not the address of a bucket, or boto3 is not installed.
    """

    def __init__(self, address: str, patience: Seconds = AWAY_S) -> None:
        name, _, prefix = address.removeprefix(SCHEME).partition("/")
        if not is_remote(address) or not name or "@" in name or ":" in name:
            raise InputError(
                "the address of a bucket is s3://bucket/prefix",
                "correct it, and give endpoint and credentials in AWS_ENDPOINT_URL,"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        if importlib.util.find_spec("boto3") is None:
            raise InputError(
                f"{SCHEME}{name} needs the package boto3",
                "install with: uv sync --inexact --group s3",
            )
        self.name = name
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._patience = patience

    def address(self, key: str = "") -> str:
        """Return the address of an object, for people."""
        return f"{SCHEME}{self.name}/{self._prefix}{key}"

    def get(self, key: str, known: str = "") -> Got | None:
        """Return an object, `None` if there is none.

        Args:
            key: of the object.
            known: the etag of content that need not be sent again.
        """
        words = {"IfNoneMatch": known} if known else {}

        def read(client: Any) -> Got:
            answer = client.get_object(Bucket=self.name, Key=self._prefix + key, **words)
            with closing(answer["Body"]) as body:
                return Got(body.read(), answer["ETag"])

        answer = self._ask(read, key)
        return Got(None, known) if answer is _UNCHANGED else answer

    def find(self, key: str) -> Stored | None:
        """Return what the bucket says of an object, `None` if there is none."""
        answer = self._ask(
            lambda client: client.head_object(Bucket=self.name, Key=self._prefix + key), key
        )
        if answer is None:
            return None
        modified = answer["LastModified"].timestamp()
        return Stored(key, answer["ETag"], answer["ContentLength"], modified)

    def put(self, key: str, content: bytes | Path, replaces: str | None = None) -> str:
        """Write an object, whole or not at all; return its etag.

        Args:
            key: of the object.
            content: bytes, or a file that holds them.
            replaces: the etag of the object that it may replace, empty for none; `None`: any.

        Raises:
            ChangedError: another one is there.
        """
        words = {"IfMatch": replaces} if replaces else {}
        if replaces == "":
            words = {"IfNoneMatch": "*"}

        def write(client: Any) -> Any:
            where = {"Bucket": self.name, "Key": self._prefix + key}
            if isinstance(content, bytes):
                return client.put_object(**where, Body=content, **words)
            with content.open("rb") as body:
                return client.put_object(**where, Body=body, **words)

        return str(self._ask(write, key)["ETag"])

    def list(self, below: str = "") -> Iterator[Stored]:
        """Yield the objects whose keys begin with something, by key."""
        words: dict[str, str] = {}
        while True:

            def read(client: Any, words: dict[str, str] = words) -> Any:
                return client.list_objects_v2(
                    Bucket=self.name, Prefix=self._prefix + below, **words
                )

            page = self._ask(read, below)
            if page is None:
                raise InputError(f"there is no bucket {self.name}", "check its name, or make it")
            for each in page.get("Contents", ()):
                yield Stored(
                    each["Key"][len(self._prefix) :],
                    each["ETag"],
                    each["Size"],
                    each["LastModified"].timestamp(),
                )
            if not page.get("IsTruncated"):
                return
            words = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, *keys: str) -> None:
        """Remove objects; those that are not there are gone."""
        for key in keys:
            self._ask(
                lambda client, key=key: client.delete_object(  # type: ignore[misc]
                    Bucket=self.name, Key=self._prefix + key
                ),
                key,
            )

    def download(self, found: Stored, to: Path, progress: Progress = no_progress) -> None:
        """Write an object to a file, which goes on where it stopped when the server was away.

        Raises:
            ChangedError: it is not the one that was found any more.
        """
        with to.open("wb") as file:

            def read(client: Any) -> bool:
                if not found.size:
                    return True
                answer = client.get_object(
                    Bucket=self.name,
                    Key=self._prefix + found.key,
                    Range=f"bytes={file.tell()}-",
                    **({"IfMatch": found.etag} if found.etag else {}),
                )
                with closing(answer["Body"]) as body:
                    for block in body.iter_chunks(_BLOCK_BYTES):
                        file.write(block)
                        progress(file.tell() / found.size)
                return True

            if not self._ask(read, found.key):
                raise ChangedError(f"{self.address(found.key)} is gone", "run again")
        if to.stat().st_size != found.size:
            raise ChangedError(f"{self.address(found.key)} was read in part", "run again")

    def _ask(self, question: Callable[[Any], Any], key: str) -> Any:
        """Return the server's answer, `None` for an object that is not there.

        Raises:
            SpokenbyError: it does not answer, or refuses.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client()
        away_since = 0.0
        while True:
            try:
                answer = question(client)
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                code = error.response.get("Error", {}).get("Code", "")
                if status == HTTPStatus.NOT_MODIFIED:
                    return _UNCHANGED
                if status == HTTPStatus.NOT_FOUND and code in _ABSENT:
                    return None
                problem = self._refused(status, code, key)
            except BotoCoreError as error:
                problem = self._unreachable(error)
            else:
                _reached.add(self.name)
                return answer
            now = time.monotonic()
            away_since = away_since or now
            late = now - away_since > self._patience or self.name not in _reached
            if isinstance(problem, InputError | ChangedError) or late:
                if now - away_since > AWAY_S:  # the next question need not wait as long again
                    _reached.discard(self.name)
                raise problem
            if is_stopping():
                raise StoppedError("stopped on request") from problem
            time.sleep(1)

    def _client(self) -> Any:
        from botocore.exceptions import BotoCoreError

        try:
            with _making:  # making one is not safe in threads, using it is
                return _make_client(os.getpid(), in_haste=self._patience < _IN_HASTE_S)
        except BotoCoreError as error:  # of a profile or a file of AWS's tools
            raise self._unreachable(error) from error
        except ValueError:
            raise InputError(
                "AWS_ENDPOINT_URL is not an address", "write it as https://host:port"
            ) from None

    def _refused(self, status: int, code: str, key: str) -> SpokenbyError:
        if status == HTTPStatus.PRECONDITION_FAILED:
            return ChangedError(f"{self.address(key)} was written by another process", "run again")
        if code == "NoSuchBucket":
            return InputError(f"there is no bucket {self.name}", "check its name, or make it")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
            HTTPStatus.CONFLICT,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.REQUEST_TIMEOUT,
        }:
            return TransientError(
                f"{SCHEME}{self.name} cannot be used now ({code or status})", "try again"
            )
        return InputError(
            f"{self.address(key)} cannot be used ({code or status})",
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they permit",
        )

    def _unreachable(self, error: Exception) -> SpokenbyError:
        from botocore.exceptions import ConnectionError as NoConnection
        from botocore.exceptions import (
            HTTPClientError,
            IncompleteReadError,
            ParamValidationError,
        )

        kind = type(error).__name__
        if isinstance(error, NoConnection | HTTPClientError | IncompleteReadError):
            where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            at = " at the endpoint that is set" if where else ""
            return TransientError(
                f"{SCHEME}{self.name} cannot be reached{at} ({kind})",
                "check that the server runs, and AWS_ENDPOINT_URL",
            )
        if isinstance(error, ParamValidationError):
            return InputError(f"{self.address()} is not a bucket's address", "check its name")
        return InputError(
            f"{SCHEME}{self.name} cannot be used ({kind})",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of ~/.aws",
        )


_UNCHANGED: Any = object()


@cache
def _make_client(_process: int, *, in_haste: bool = False) -> Any:
    import boto3
    from botocore.config import Config

    # Without a region nothing is signed; servers other than AWS's take any.
    region = None if boto3.session.Session().region_name else "us-east-1"
    attempts = {"total_max_attempts": 1 if in_haste else 2}
    waits = Config(connect_timeout=5, read_timeout=5 if in_haste else 60, retries=attempts)
    return boto3.session.Session().client("s3", region_name=region, config=waits)
