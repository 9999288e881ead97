"""Read the stage results that this site has stored.

Prefect writes them, but could be made to run code by what a file names as its serializer or class.
A file is read here first, as plain JSON; what is not a whole result of its stage, as it was stored,
counts as absent.
"""

import hashlib
import json
import logging
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from spokenby.buckets import Bucket
from spokenby.files import explaining, replacing
from spokenby.plan.stages import Stage
from spokenby.settings import Settings
from spokenby.types import Digest, HexDigest, Seconds, StageResult

_CHECKED: TypeAdapter[Digest] = TypeAdapter(HexDigest)

_RESULTS = "results/"
"""What their names in the bucket begin with."""

_STRAY = re.compile("[0-9a-f]{32}")
"""The names that Prefect gives to results that have no key."""

SERIALIZER_TYPE = "checked-json"
SERIALIZER = {
    "type": SERIALIZER_TYPE,
    "jsonlib": "json",
    "object_encoder": "prefect.serializers.prefect_json_object_encoder",
    "object_decoder": "prefect.serializers.prefect_json_object_decoder",
    "dumps_kwargs": {},
    "loads_kwargs": {},
}
"""The serializer of tasks/checked_json.py as it describes itself in a file."""


def seal(content: bytes) -> bytes:
    """Put the SHA-256 of some bytes before them, in a line of its own."""
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def unseal(sealed: bytes) -> bytes:
    """Return the bytes that were sealed.

    Raises:
        ValueError: these are others.
    """
    content = sealed.partition(b"\n")[2]
    if seal(content) != sealed:
        raise ValueError("what is stored is not what was stored")
    return content


def storage_key(stage: Stage, digest: Digest) -> str:
    """Return the name under which a stage's result is stored, relative to `Settings.results`.

    Raises:
        ValueError: the digest is none, so that the name could lead anywhere.
    """
    return f"{stage}/{_CHECKED.validate_python(digest)}.json"


def remove_strays(settings: Settings, older_than: Seconds = 86_400.0) -> None:
    """Remove what Prefect stored beside the stages' folders: the exceptions of failed tasks.

    Only the run in which they failed reads them.
    """
    with suppress(OSError):
        for path in settings.results.iterdir():
            with suppress(OSError):
                if _STRAY.fullmatch(path.name) and time.time() - path.stat().st_mtime > older_than:
                    path.unlink()


def read_stored(
    stage: Stage, digest: Digest, settings: Settings, *, fetch: bool = False
) -> StageResult | None:
    """Return a stage's stored result, or `None` if there is none that can be read.

    One that is there and cannot be used is said.

    Args:
        stage: whose it is.
        digest: its name.
        settings: the site.
        fetch: also one that another host has stored in the site's bucket.

    Raises:
        TransientError: the bucket cannot be reached.
    """
    try:
        path = settings.results / storage_key(stage, digest)
    except ValueError:
        return None
    if fetch and settings.bucket and not path.exists():
        _fetch(storage_key(stage, digest), path, settings)
    try:
        return _read(stage, digest, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        logging.getLogger("spokenby").warning(
            "%s is damaged, or of an earlier version: %s is computed again", path, stage
        )
        return None


def _fetch(key: str, path: Path, settings: Settings) -> None:
    if got := Bucket(settings.bucket).get(_RESULTS + key):
        with explaining(path.parent, "set SPOKENBY_CACHE_DIR"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(got.content or b"")


def share_result(stage: Stage, digest: Digest, settings: Settings, *, new: bool) -> None:
    """Bring a stored result to the site's bucket, if it has one.

    It does not wait for a bucket that is away: the next run brings what is missing there.

    Args:
        stage: whose it is.
        digest: its name.
        settings: the site.
        new: it was computed just now, so that what is there is outdated or damaged.

    Raises:
        SpokenbyError: the bucket cannot be used.
    """
    key = storage_key(stage, digest)
    path = settings.results / key
    if not settings.bucket or not path.exists():
        return
    bucket = Bucket(settings.bucket, patience=0)
    if new or not bucket.find(_RESULTS + key):
        bucket.put(_RESULTS + key, path)


def delete_shared(stage: Stage, digest: Digest, settings: Settings) -> None:
    """Remove a result from the site's bucket, if it has one."""
    if settings.bucket:
        Bucket(settings.bucket).delete(_RESULTS + storage_key(stage, digest))


def _read(stage: Stage, digest: Digest, content: bytes) -> StageResult:
    record = json.loads(content)
    kind = stage.spec.result
    if kind is None or record["metadata"]["serializer"] != SERIALIZER:
        raise ValueError("it was stored in another way")
    stored: dict[str, Any] = json.loads(unseal(record["result"].encode()))
    if stored["__class__"] != f"{kind.__module__}.{kind.__qualname__}":
        raise ValueError("it is of another stage")
    result = kind.model_validate(stored["data"])
    if result.digest != digest:
        raise ValueError("it is of another digest")
    return result
