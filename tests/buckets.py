"""Start an S3 server for tests on free ports, in a temporary folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ports import free_port

KEY, SECRET = "key-of-tests", "secret-of-tests"


class BucketServer:
    """An S3 server (SeaweedFS) that tests can stop and start again."""

    def __init__(self, program: str, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        folder.mkdir()
        permits = {"accessKey": KEY, "secretKey": SECRET}
        config = folder / "s3.json"
        config.write_text(
            json.dumps(
                {"identities": [{"name": "tests", "credentials": [permits], "actions": ["Admin"]}]}
            )
        )
        self.port = free_port()
        ports = [
            f"-{part}.port{kind}={free_port()}"
            for part in ("master", "volume", "filer", "s3")
            for kind in ("", ".grpc")
            if part + kind != "s3"
        ]
        self._words = [
            *(program, "-logtostderr", "server", f"-dir={folder}", f"-ip={host}"),
            *("-s3", f"-s3.port={self.port}", f"-s3.config={config}", "-volume.max=0"),
            *("-master.volumeSizeLimitMB=64", "-s3.iam=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", *ports),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)
        client, deadline = self.client(), time.monotonic() + 120
        while True:
            try:
                with suppress(client.exceptions.BucketAlreadyExists):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                return
            except Exception:  # noqa: BLE001 - it refuses in many ways until it is up
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self._folder / "log").read_text()[-3000:]) from None
                time.sleep(0.1)

    def stop(self) -> None:
        assert self._process
        self._process.kill()  # SIGTERM takes seconds
        self._process.wait(120)

    def client(self) -> object:
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2),
        )

    def new_bucket(self) -> str:
        """Return the address of an empty place in a bucket."""
        name = f"tests-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}/some/site"


class Way:
    """A way to a server that can be gone, and come back at once."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, free_port()
        self._process: subprocess.Popen[str] | None = None

    def up(self) -> None:
        program = Path(__file__).with_name("faults") / "forwarder.py"
        self._process = subprocess.Popen(
            [sys.executable, program, str(self._to), str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def down(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


def program_of_server() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """Start an S3 server."""
    pytest.importorskip("boto3", reason="no boto3: uv sync --inexact --group s3")
    program = program_of_server()
    if program is None:
        pytest.skip("no S3 server on this machine: uv sync --inexact --group s3-server")
    server = BucketServer(program, tmp_path_factory.mktemp("s3") / "server")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def way(bucket: str, bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """Return the way on which this process reaches the server."""
    way = Way(bucket_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
    way.up()
    yield way
    way.down()


@pytest.fixture
def bucket(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty place, with this process let in."""
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    from spokenby import buckets

    buckets._make_client.cache_clear()
    return bucket_server.new_bucket()
