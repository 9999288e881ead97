"""Download models from a hub. No other module talks to one."""

import hashlib
import io
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported, but lazily
    build_hf_headers,
    disable_progress_bars,
)
from huggingface_hub.utils import logging as hub_logging

from spokenby.digests import digest_file
from spokenby.errors import InputError, SpokenbyError, TransientError
from spokenby.files import check_room, explain
from spokenby.models import (
    ELSEWHERE,
    KINDS,
    MODELSCOPE,
    File,
    Model,
    Record,
    is_inside,
    now,
    only_writer,
    put_in_place,
    read_record,
)

# Errors are reported as our exceptions, progress as numbers of bytes.
disable_progress_bars()
hub_logging.set_verbosity_error()
for _below in ("httpx2", "httpcore2"):  # they log headers, and signed addresses
    logging.getLogger(_below).setLevel(logging.WARNING)

LOOK_UP_S = 30.0
"""Timeout of listing a repository."""

OFFLINE_WAY = "or copy it from a machine that has it: spokenby models import FOLDER"

OnBytes = Callable[[int, int], None]
"""Called with the bytes downloaded so far, and in all."""


class _Remote(NamedTuple):
    """A file in a repository. `git_sha1` is of git's blob, and only set where `sha256` is not."""

    name: str
    size: int
    sha256: str
    git_sha1: str


def find_token() -> str | None:
    """Return the hub token of `HF_TOKEN` or of the hub's own login, `None` if there is none.

    Raises:
        InputError: it cannot be read or is not a token; the message does not contain it.
    """
    problem = ""
    try:
        return check_token(get_token())
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - any message may contain the token
        problem = type(error).__name__
    raise InputError(f"the hub login cannot be read ({problem})", "run: hf auth login")


def check_token(token: str | None) -> str | None:
    """Return the token without surrounding space, `None` if it is empty.

    Raises:
        InputError: a header cannot hold it. Libraries would show it in their error message.
    """
    token = (token or "").strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(
            "the hub token contains invalid characters", "set it again, without quotes"
        )
    return token or None


def address_of(model: Model) -> str:
    """Return the host that `fetch_model` asks, and the repository."""
    return f"{_Hub(model, '', None, None).host}/{model.repo}"


def fetch_model(
    model: Model,
    models_dir: Path,
    *,
    revision: str = "",
    token: str | None = None,
    on_bytes: OnBytes,
    on_wait: Callable[[], None],
    endpoint: str | None = None,
) -> Path:
    """Download a model from its hub and install it; return its folder.

    If its bytes are known, the hub must deliver exactly these, and no other request is made.
    Partial downloads are kept in a hidden folder and resumed.

    Args:
        model: of the catalogue, with a `repo`.
        models_dir: the site's folder of fetched models.
        revision: a branch, tag or commit of the repository; by default the known one, else the
            main branch.
        token: from `find_token`. It goes only to the Hugging Face hub: not to another hub or a host
            that the hub redirects to, nor into a file, a message or a log.
        on_bytes: called now and then. May raise `StoppedError`.
        on_wait: called once if another process is fetching the same model.
        endpoint: the hub's address; by default `HF_ENDPOINT`, huggingface.co or ModelScope.

    Raises:
        InputError: the hub refuses or has no such repository, or the disk is full.
        TransientError: the hub cannot be reached, or the download is damaged.
    """
    hub = _Hub(model, revision, token, endpoint)
    try:
        commit, files = hub.look_up()
        return _install(hub, commit, files, models_dir, on_bytes, on_wait)
    except SpokenbyError:
        raise
    except Exception as error:  # noqa: BLE001 - any message may contain the token
        problem = hub.explain(error, models_dir)
    # Outside of the handler: the hub's exception, and what it contains, is not chained.
    raise problem


def _install(
    hub: "_Hub",
    commit: str,
    files: list[_Remote],
    models_dir: Path,
    on_bytes: OnBytes,
    on_wait: Callable[[], None],
) -> Path:
    folder = models_dir / hub.model.name
    with only_writer(folder, on_wait):
        if read_record(folder / commit):
            return folder / commit
        staging = folder / f".fetching-{commit}"
        record = Record(
            name=hub.model.name,
            engine=hub.model.engine,
            repo=hub.model.repo,
            revision=commit,
            fetched=now(),
            files=_download(hub, commit, files, staging, on_bytes),
        )
        path = put_in_place(staging, record, models_dir)
        for old in folder.glob(".fetching-*"):
            shutil.rmtree(old, ignore_errors=True)
        return path


def _download(
    hub: "_Hub", commit: str, files: list[_Remote], staging: Path, on_bytes: OnBytes
) -> dict[str, File]:
    """Download every file into `staging`, resuming where an earlier run ended."""
    staging.mkdir(exist_ok=True)
    total = sum(file.size for file in files)
    kept = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    check_room(staging, total - kept, ELSEWHERE)
    got: dict[str, File] = {}
    before = 0
    for file in files:
        target = staging / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.stat().st_size > file.size:
            target.unlink()
        with _Counting(target, before, total, on_bytes) as out:
            hub.get(commit, file, out)
        digest = digest_file(target)
        if not _is_whole(target, digest, file):
            target.unlink()
            raise TransientError(
                f"{file.name} of {hub.model.repo} arrived damaged: its checksum is wrong",
                f"run the same command again: {hub.command}",
            )
        got[file.name] = File(size=file.size, sha256=digest)
        before += file.size
        on_bytes(before, total)
    return got


def _is_whole(path: Path, sha256: str, file: _Remote) -> bool:
    if path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256 == file.sha256
    content = path.read_bytes()  # not in LFS: small
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return file.git_sha1 in {"", blob}


class _Counting(io.BufferedWriter):
    """A file opened for appending that reports its length."""

    def __init__(self, path: Path, before: int, total: int, on_bytes: OnBytes) -> None:
        super().__init__(io.FileIO(path, "a"))
        self._before, self._total, self._on_bytes = before, total, on_bytes

    def write(self, data: Any) -> int:
        count = super().write(data)
        self._on_bytes(self._before + self.tell(), self._total)
        return count


class _Hub:
    """One repository of the hub, accessed with a token."""

    def __init__(
        self, model: Model, revision: str, token: str | None, endpoint: str | None
    ) -> None:
        elsewhere = MODELSCOPE if model.hub == "modelscope" else ""
        self.model = model
        self.revision = revision or model.revision or constants.DEFAULT_REVISION
        self.token = None if elsewhere else token
        self.endpoint = endpoint or elsewhere or constants.ENDPOINT
        self.host = urlsplit(self.endpoint).hostname or "the hub"
        self.command = f"spokenby models fetch {model.name}"

    def look_up(self) -> tuple[str, list[_Remote]]:
        """Return the revision's commit, and those of its files that the engine reads."""
        if known := self.model.files:
            if self.revision != self.model.revision:
                raise InputError(
                    f"{self.model.name} is available only at the revision {self.model.revision}",
                    "leave --revision out",
                )
            return self.revision, [
                _Remote(name, file.size, file.sha256, "") for name, file in known.items()
            ]
        info = HfApi(self.endpoint, token=self.token or False).model_info(
            self.model.repo, revision=self.revision, timeout=LOOK_UP_S, files_metadata=True
        )
        kind = KINDS[self.model.engine]
        files = [
            _Remote(
                name=file.rfilename,
                size=file.size if file.size is not None else -1,
                sha256=file.lfs.sha256 if file.lfs else "",
                git_sha1="" if file.lfs else file.blob_id or "",
            )
            for file in info.siblings or []
            if kind.takes(file.rfilename)
        ]
        lacking = kind.lacks([file.name for file in files])
        if lacking or not info.sha or any(file.size < 0 for file in files):
            reason = f"no {lacking or 'commit or sizes of files'}"
        elif not all(is_inside(file.name) for file in files):
            reason = "one of its files would be outside of the model's folder"
        else:
            return info.sha, files
        raise InputError(
            f"{self.model.repo} at {self.revision} is not a model for {self.model.engine}"
            f" ({reason})",
            "try another --revision",
        )

    def get(self, commit: str, file: _Remote, out: _Counting) -> None:
        """Download what `out` does not hold yet. Interruptions are retried a few times."""
        # `hf_hub_download` discards a partial download when its retries fail; this does not.
        headers = build_hf_headers(token=self.token or False)
        http_get(
            hf_hub_url(self.model.repo, file.name, revision=commit, endpoint=self.endpoint),
            out,
            resume_size=out.tell(),
            # A range of a compressed body would be useless.
            headers={**headers, "Accept-Encoding": "identity"},
            expected_size=file.size,
        )

    def explain(self, error: Exception, models_dir: Path) -> SpokenbyError:
        """Return our error for what the hub's library raised, without the token."""
        again = f"run again: {self.command} (what was downloaded is kept)"
        token_too = f"{self._to_get_a_token()}, " if self.model.gated and not self.token else ""
        match error:
            case HfHubHTTPError():
                return self._answered(error)
            case OfflineModeIsEnabled():
                return InputError(
                    "HF_HUB_OFFLINE is set: nothing can be fetched",
                    f"unset it, {token_too}then run: {self.command}, {OFFLINE_WAY}",
                )
            case httpx2.HTTPError():
                return TransientError(
                    f"{self.host} cannot be reached ({self._redacted(error)})",
                    f"check the network and HTTPS_PROXY, {token_too}then {again}, {OFFLINE_WAY}",
                )
            case OSError(errno=int()):
                return explain(error, models_dir, ELSEWHERE)
        return TransientError(
            f"fetching {self.model.repo} from {self.host} failed"
            f" ({type(error).__name__}: {self._redacted(error)})",
            again,
        )

    def _answered(self, error: HfHubHTTPError) -> SpokenbyError:
        repo, status = self.model.repo, error.response.status_code
        if status in {401, 403}:
            return self._refused(error)
        if isinstance(error, RevisionNotFoundError):
            return InputError(
                f"{repo} has no revision {self.revision!r}",
                f"see https://{self.host}/{repo}/commits/main",
            )
        if isinstance(error, RepositoryNotFoundError):
            return InputError(f"{self.host} has no repository {repo}", "check HF_ENDPOINT")
        return TransientError(
            f"{self.host} answered {status} for {repo}",
            f"run again later: {self.command} (what was downloaded is kept)",
        )

    def _refused(self, error: HfHubHTTPError) -> InputError:
        """Return how to solve a missing, wrong or unauthorized token."""
        repo = self.model.repo
        page = f"https://{self.host}/{repo}"
        tokens = f"https://{self.host}/settings/tokens"
        gated = self.model.gated or isinstance(error, GatedRepoError)
        if not self.token:
            return InputError(
                f"{repo} needs a hub token, and none is set",
                f"{self._to_get_a_token(gated=gated)}, then: {self.command}",
            )
        if error.response.status_code == 401 and not isinstance(error, GatedRepoError):
            return InputError(
                f"{self.host} rejected the hub token",
                f"make a new one at {tokens}, run: hf auth login (or set HF_TOKEN), "
                f"then: {self.command}",
            )
        return InputError(
            f"the owner of the hub token has no access to {repo}",
            f"accept its terms at {page} (and let the token read gated repositories at {tokens}), "
            f"then run: {self.command}",
        )

    def _to_get_a_token(self, *, gated: bool = True) -> str:
        accept = f"accept its terms at https://{self.host}/{self.model.repo}, " if gated else ""
        return (
            f"{accept}make a token at https://{self.host}/settings/tokens, "
            "run: hf auth login (or set HF_TOKEN)"
        )

    def _redacted(self, error: Exception) -> str:
        text = str(error)
        if self.token:
            text = text.replace(self.token, "***")
        # Also other secrets, such as those in a proxy's address.
        text = re.sub(r"hf_\w+|(?<=Bearer )\S+|(?<=//)[^/@\s]+(?=@)", "***", text)
        return " ".join(text.split())[:200] or type(error).__name__
