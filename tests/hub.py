"""Serve a model hub on this machine: what the hub's library requests, over real HTTP.

Large files come by a redirect from a second server, as from the real hub's network of mirrors.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".bin", ".ckpt", ".npz")
"""Names of what is kept in LFS: the hub knows its SHA-256."""

WHISPER: Mapping[str, bytes] = {
    "README.md": b"not needed",
    "config.json": b"{}",
    "model.bin": bytes(range(256)) * 400,
    "tokenizer.json": b'{"version": "1.0"}',
    "vocabulary.txt": b"a\nb\n",
}
COMMUNITY: Mapping[str, bytes] = {
    ".gitattributes": b"*.bin filter=lfs",
    "config.yaml": b"pipeline: {}",
    "segmentation/pytorch_model.bin": b"s" * 5000,
    "embedding/pytorch_model.bin": b"e" * 6000,
    "plda/plda.npz": b"p" * 70,
    "plda/xvec_transform.npz": b"x" * 80,
    "images/diagram.png": b"not needed",
}
ECAPA: Mapping[str, bytes] = {
    "hyperparams.yaml": b"sample_rate: 16000",
    "embedding_model.ckpt": b"m" * 4000,
    "mean_var_norm_emb.ckpt": b"n" * 40,
    "classifier.ckpt": b"c" * 50,
    "label_encoder.txt": b"'id1' => 0",
    "example1.wav": b"not needed",
}


@dataclass
class Repo:
    """A repository with one commit, which `main` stands for; `revision` is the commit's name."""

    files: Mapping[str, bytes]
    gated: bool = False
    revision: str = ""

    @cached_property
    def commit(self) -> str:
        if self.revision:
            return self.revision
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


@dataclass
class Asked:
    """A request that came."""

    server: str
    path: str
    range: str
    authorization: str


@dataclass
class Hub:
    """What the hub holds, how it behaves, and what it was asked.

    `cut` holds how many bytes of a file are sent before the connection ends, the first time only;
    `answers` a status that is given instead of a file, once and after its cut; `holds` the file
    that is not sent before `released`.
    """

    repos: dict[str, Repo]
    accepted: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    damaged: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    message: str = ""
    ignores_ranges: bool = False
    holds: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    mirror: str = ""

    def downloads(self, name: str) -> list[Asked]:
        """Return the requests for the content of a file."""
        return [
            asked
            for asked in self.asked
            if asked.path.endswith(f"/{name}")
            and asked.server == ("mirror" if name.endswith(LARGE) else "hub")
        ]


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on two free ports of this machine."""
    servers = []
    for server in ("hub", "mirror"):
        handler = type("Handler", (_Handler,), {"hub": hub, "server_name": server})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
    hub.url, hub.mirror = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    server_name: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.asked.append(Asked(self.server_name, path, self.headers.get("Range", ""), token))
        match path.strip("/").split("/"):
            case ["api", "models", owner, name, "revision", revision]:
                self._describe(f"{owner}/{name}", revision, token)
            case [owner, name, "resolve", revision, *rest]:
                self._resolve(f"{owner}/{name}", revision, "/".join(rest), token)
            case _:
                self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str = "") -> None:
        body = self.hub.message.encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if self.hub.message:
            self.send_header("X-Error-Message", self.hub.message)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _repo(self, name: str, revision: str, token: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if token and token not in self.hub.known | self.hub.accepted:
            self.hub.message = "Invalid credentials in Authorization header"
            self._refuse(401)
        elif repo is None:
            self._refuse(404, "RepoNotFound")
        elif revision not in {"main", repo.commit}:
            self._refuse(404, "RevisionNotFound")
        else:
            return repo
        return None

    def _describe(self, name: str, revision: str, token: str) -> None:
        repo = self._repo(name, revision, token)
        if repo is None:
            return
        siblings = []
        for file, content in repo.files.items():
            size = self.hub.sizes.get(file, len(content))
            blob = hashlib.sha1(b"blob %d\0" % size + content).hexdigest()
            entry: dict[str, object] = {"rfilename": file, "size": size, "blobId": blob}
            if file.endswith(LARGE):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"size": size, "sha256": sha256, "pointerSize": 130}
            siblings.append(entry)
        body = json.dumps({"id": name, "sha": repo.commit, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _resolve(self, name: str, revision: str, file: str, token: str) -> None:
        if self.server_name == "mirror":
            self._send(file, self.hub.repos[name].files[file])
            return
        repo = self._repo(name, revision, token)
        if repo is None:
            return
        if repo.gated and token not in self.hub.accepted:
            self._refuse(403 if token else 401, "GatedRepo")
        elif file not in repo.files:
            self._refuse(404, "EntryNotFound")
        elif file.endswith(LARGE):
            self.send_response(302)
            self.send_header("Location", self.hub.mirror + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(file, repo.files[file])

    def _send(self, file: str, content: bytes) -> None:
        limit = self.hub.cut.pop(file, None)
        if limit is None and file in self.hub.answers:
            self._refuse(self.hub.answers.pop(file))
            return
        if file == self.hub.holds:
            self.hub.released.wait(120)
        if file in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = 0
        if (wanted := self.headers.get("Range")) and not self.hub.ignores_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body if limit is None else body[: limit - start])
        self.close_connection = limit is not None
