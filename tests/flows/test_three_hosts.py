"""Three hosts, each in its own network namespace, with one server, one database and one bucket.

Takes minutes, needs root and Linux: THREE_HOSTS=1 asks for it. docs/scale.md has its figures.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest
import soundfile
from buckets import BucketServer, program_of_server
from conftest import ROOT, SPOKENBY, Site
from postgres import Server, new_schema, programs_of_server
from recordings import CONVERSATION, TELEPHONE, sound_of
from served import Served, wait

from spokenby.buckets import Bucket, _make_client
from spokenby.output import formats
from spokenby.review.listening_copy import FILE as COPY
from spokenby.settings import Settings
from spokenby.site.attempts import Ledger

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("THREE_HOSTS"), reason="THREE_HOSTS=1 asks for it: takes 15 minutes"
    ),
    pytest.mark.timeout(3000),
]

ADDRESS = "10.77.0.{}"
HOSTS = 3
VIDEOS = int(os.environ.get("THREE_HOSTS_VIDEOS", "30"))
VIDEOS_IN_FLIGHT = Settings.model_fields["videos_in_flight"].default
STAGES = ("speech", "diarize", "embed", "transcribe")
FORMATS = ",".join(formats.FORMATS)
OF_LIBRARY = {"name", "voice", "confidence"}
"""What a transcript says of a speaker that depends on which voices were met before."""
FINAL = ("Completed", "Failed", "Crashed", "Cancelled")


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """Make a network of three hosts."""
    links = [f"spk{host}" for host in range(1, HOSTS + 1)]
    sh("ip", "link", "add", "spkbr", "type", "bridge")
    try:
        sh("ip", "addr", "add", f"{ADDRESS.format(1)}/24", "dev", "spkbr")
        sh("ip", "link", "set", "spkbr", "up")
        for number, link in enumerate(links, 1):
            sh("ip", "netns", "add", link)
            sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", link)
            sh("ip", "link", "set", link, "master", "spkbr", "up")
            inside = ("ip", "-n", link)
            sh(*inside, "addr", "add", f"{ADDRESS.format(10 + number)}/24", "dev", "eth0")
            sh(*inside, "link", "set", "eth0", "up")
            sh(*inside, "link", "set", "lo", "up")
        yield
    finally:
        for link in links:
            subprocess.run(["ip", "netns", "del", link], check=False, capture_output=True)
        sh("ip", "link", "del", "spkbr")


class Cluster(Served):
    """A Prefect server on PostgreSQL, an S3 server, and hosts with a worker each."""

    def __init__(self, folder: Path, postgres: Server, bucket: BucketServer) -> None:
        super().__init__(folder)
        here = ADDRESS.format(1)
        self.home = f"http://{here}:{self.port}"
        self.url = f"{self.home}/api"
        self.postgres, self.bucket_server = postgres, bucket
        self.address = new_schema(postgres.address)
        self.bucket = bucket.new_bucket()
        self.videos_in = self.bucket.replace("/some/site", "/videos")
        with psycopg.connect(postgres.address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE prefect_{self.port}")  # type: ignore[arg-type]
        server = postgres.address.replace("postgresql:", "postgresql+asyncpg:")
        self.shared = {
            **bucket.environment,
            "PREFECT_API_URL": self.url,
            "SPOKENBY_STORAGE": self.bucket,
            "SPOKENBY_DATABASE": self.address,
            "SPOKENBY_FORMATS": FORMATS,
            "SPOKENBY_GPU_LANES": "1",  # slots also without a GPU
        }
        self.environment |= {
            **self.shared,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": server.replace(
                "/postgres", f"/prefect_{self.port}"
            ),
        }
        self.hosts = [
            Site(folder / f"host{host}", {**self.shared, "HOME": str(folder / f"host{host}")})
            for host in range(1, HOSTS + 1)
        ]
        for host in self.hosts:
            shutil.rmtree(host.videos)

    def work(self, host: int, **environment: str) -> None:
        """Start the worker of a host."""
        name = f"host{host}"
        enter = ("ip", "netns", "exec", f"spk{host}", "unshare", "--uts", "sh", "-c")
        site = self.hosts[host - 1]
        log = (site.folder / "worker.out").open("ab")
        before = (site.folder / "worker.out").read_text().count("Ctrl-C")
        words = f'hostname {name} && exec "$0" "$@"'

        self.parts[name] = subprocess.Popen(
            [*enter, words, SPOKENBY, "serve", "--only", "worker", "--workers-limit", "1"],
            cwd=site.elsewhere,
            env={**site.environment, "PREFECT_WORKER_QUERY_SECONDS": "1", **environment},
            stdout=log,
            stderr=log,
            text=True,
        )

        def ready() -> bool:
            return (site.folder / "worker.out").read_text().count("Ctrl-C") > before

        wait(ready, 120, (site.folder / "worker.out").read_text)

    def kill_host(self, host: int) -> None:
        """Kill -9 all that runs on a host."""
        self._end(self.parts[f"host{host}"].pid)

    def cut_off(self, host: int, seconds: float) -> None:
        """Carry nothing from and to a host for some time."""
        sh("ip", "link", "set", f"spk{host}", "nomaster")
        time.sleep(seconds)
        sh("ip", "link", "set", f"spk{host}", "master", "spkbr")

    def runs(self, deployment: str = "transcribe-videos") -> list[dict[str, Any]]:
        """Return the runs of a deployment."""
        body = {"deployments": {"name": {"any_": [deployment]}}}
        found: list[dict[str, Any]] = self.api("POST", "/flow_runs/filter", body)
        return found

    def slots(self) -> list[str]:
        """Return the task runs that hold a slot of a limit."""
        limits = self.api("POST", "/concurrency_limits/filter", {})
        return [run for limit in limits for run in limit["active_slots"]]

    def _end(self, pid: int) -> None:
        found = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in found:
            process.kill()

    def end(self) -> None:
        for name, part in self.parts.items():
            if part.poll() is None and name != "server":
                self._end(part.pid)
        if "server" in self.parts:
            self.down("server")

    def computed(self) -> Counter[tuple[str, str]]:
        """Return how often each stage of each video was computed.

        The server hears of it in events that it takes its time to store: asked until it tells
        nothing new.
        """
        before, found = None, self._computed()
        while found != before:
            time.sleep(10)
            before, found = found, self._computed()
        return found

    def _computed(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        offset = 0
        while True:
            body = {
                "task_runs": {"state": {"name": {"any_": ["Completed"]}}},
                "limit": 200,
                "offset": offset,
                "sort": "ID_DESC",
            }
            page = self.api("POST", "/task_runs/filter", body)
            for run in page:
                stage, _, video = re.sub(r" \(attempt \d+\)", "", run["name"]).partition(" ")
                if stage in STAGES:
                    found[stage, video] += 1
            if len(page) < 200:
                return found
            offset += 200

    def locks(self) -> int:
        with psycopg.connect(self.address) as connection:
            row = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            return int(row.fetchone()[0])  # type: ignore[index]

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that each of the shared services has used."""
        services = {
            "Prefect server": self.parts["server"].pid,
            "PostgreSQL": self.postgres._process.pid,  # type: ignore[union-attr]
            "S3 server": self.bucket_server._process.pid,  # type: ignore[union-attr]
        }
        spent = {}
        for name, pid in services.items():
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            spent[name] = 0.0
            for process in tree:
                with suppress(psutil.NoSuchProcess):  # a connection's, which has ended
                    spent[name] += sum(process.cpu_times()[:4])
        return spent

    def megabytes(self) -> float:
        """Return how large the Prefect server's database is."""
        with psycopg.connect(self.postgres.address) as connection:
            row = connection.execute("SELECT pg_database_size(%s)", [f"prefect_{self.port}"])
            return float(row.fetchone()[0]) / 1e6  # type: ignore[index]

    def put(self, files: list[Path], folders: int = HOSTS) -> list[str]:
        """Put recordings into folders of the bucket; return the folders."""
        there = Bucket(self.videos_in)
        for number, file in enumerate(files):
            there.put(f"{number % folders}/{file.name}", file)
        return [f"{self.videos_in}/{folder}" for folder in range(folders)]

    def published(self) -> dict[str, dict[str, Any]]:
        """Return the manifests in the bucket, by the name of the video."""
        there = Bucket(self.bucket)
        keys = [each.key for each in there.list("transcripts/")]
        read = [json.loads(there.get(key).content) for key in keys]  # type: ignore[union-attr,arg-type]
        return {about["video"]["name"]: about for about in read}

    def written(self, folder: str) -> dict[str, bytes]:
        """Return the files of a transcript's folder in the bucket, but for its manifest."""
        there = Bucket(self.bucket)
        about = json.loads(there.get(f"transcripts/{folder}/manifest.json").content)  # type: ignore[union-attr,arg-type]
        return {
            name: there.get(f"files/{folder}/{entry['sha256']}/{name}").content  # type: ignore[union-attr,misc]
            for name, entry in about["files"].items()
        }

    def voices(self) -> list[int]:
        with psycopg.connect(self.address) as connection:
            rows = connection.execute("SELECT number FROM voices ORDER BY number")
            return [row[0] for row in rows]


@pytest.fixture(scope="module")
def services(
    network: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, BucketServer]]:
    programs, weed = programs_of_server(), program_of_server()
    assert programs
    assert weed
    here = ADDRESS.format(1)
    postgres = Server(programs, here)
    bucket = BucketServer(weed, tmp_path_factory.mktemp("s3") / "server", here)
    try:
        postgres.start()
        bucket.start()
        yield postgres, bucket
    finally:
        bucket.stop()
        postgres.end()


@pytest.fixture
def cluster(
    tmp_path: Path, services: tuple[Server, BucketServer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    for name, value in services[1].environment.items():
        monkeypatch.setenv(name, value)
    _make_client.cache_clear()
    cluster = Cluster(tmp_path, *services)
    try:
        cluster.up("server", "--host", ADDRESS.format(1))
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return short recordings, of 8 s each, no two the same."""
    folder, seconds = tmp_path_factory.mktemp("clips"), 8
    talk, phone = sound_of(CONVERSATION), sound_of(TELEPHONE)
    files = []
    for number in range(VIDEOS):
        sound, at = (talk, number * 3.5) if number % 5 else (phone, number * 0.7)
        first = round(at * 16_000)
        samples = sound.samples[first : first + seconds * 16_000]
        files.append(folder / f"clip{number:02}.flac")
        soundfile.write(files[-1], samples, 16_000)
    return files


@pytest.fixture(scope="module")
def one_host(clips: list[Path], prefect_server: str, tmp_path_factory: Any) -> Site:
    """Return a site on which one host has transcribed all clips."""
    environment = {"PREFECT_API_URL": prefect_server, "SPOKENBY_FORMATS": FORMATS}
    site = Site(tmp_path_factory.mktemp("one"), environment)
    for clip in clips:
        shutil.copy(clip, site.videos)
    begun = time.monotonic()
    ran = site.run("transcribe")
    print(f"one host without services: {time.monotonic() - begun:.0f} s")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return site


def without_names(content: bytes) -> Any:
    """Return a transcript without who its speakers are: voices are numbered as they are met."""

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: walk(each) for key, each in part.items() if key not in OF_LIBRARY}
        return [walk(each) for each in part] if isinstance(part, list) else part

    document = json.loads(content)
    document["speakers"] = walk(document["speakers"])
    return document


def compare(
    cluster: Cluster, one_host: Site, clips: list[Path], *, with_names: bool = False
) -> list[str]:
    """Compare the transcripts with those of one host; return which lack the listening copy.

    `with_names`, all files are compared byte by byte.
    """
    silent = []
    for clip in clips:
        folder = one_host.output(clip.stem)
        mine = {path.name: path.read_bytes() for path in folder.iterdir()}
        del mine["manifest.json"]  # says how long it took, and which host it was
        got = cluster.written(folder.name)
        silent += [] if COPY in got else [clip.name]
        assert got.keys() | {COPY} == mine.keys()
        assert without_names(got["transcript.json"]) == without_names(mine["transcript.json"])
        if with_names:
            assert [name for name in mine if got.get(name) != mine[name]] == [], clip.name
    return silent


def wait_all(cluster: Cluster, runs: list[str], seconds: float) -> list[dict[str, Any]]:
    return [cluster.wait_for(run, *FINAL, seconds=seconds) for run in runs]


def test_three_hosts_compute_each_video_once(
    cluster: Cluster, clips: list[Path], one_host: Site, tmp_path: Path
) -> None:
    # Voices are numbered as they are met: the names are the same where they were known before.
    exported = tmp_path / "voices.json"
    for site, word in ((one_host, "export"), (cluster.hosts[0], "import")):
        ran = site.run("voices", word, exported)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    voices = cluster.voices()
    assert voices == [*range(1, len(voices) + 1)]
    folders = cluster.put(clips)
    Bucket(cluster.videos_in).put("2/again.flac", clips[0])
    Bucket(cluster.videos_in).put("1/broken.mp4", b"not a video")
    for host in range(1, HOSTS + 1):
        cluster.work(host)
    begun, before, idle = time.monotonic(), cluster.megabytes(), cluster.cpu()
    runs = [cluster.trigger(paths=[folder]) for folder in folders]
    ended = wait_all(cluster, runs, 1500)
    print(f"three hosts: {time.monotonic() - begun:.0f} s")
    used = {name: (spent - idle[name]) / len(clips) for name, spent in cluster.cpu().items()}
    print("CPU s a video:", ", ".join(f"{name} {spent:.2f}" for name, spent in used.items()))
    assert Counter(run["state"]["name"] for run in ended) == {"Completed": 2, "Failed": 1}
    assert "broken.mp4" in str([run["state"]["message"] for run in ended])

    computed = cluster.computed()
    # "again" has the bytes of the first clip: one of the two computes, the other finds it stored.
    assert sum(computed.values()) == len(STAGES) * len(clips), computed
    assert set(computed.values()) == {1}
    assert len({about["host"] for about in cluster.published().values()}) == HOSTS
    grew = (cluster.megabytes() - before) / (len(clips) + 1)
    print(f"the server's database grew by {grew:.2f} MB a video")
    stored = [*Bucket(cluster.bucket).list()]
    for kind in sorted({each.key.split("/")[0] for each in stored}):
        sizes = [each.size for each in stored if each.key.startswith(f"{kind}/")]
        print(f"the bucket: {len(sizes)} objects, {sum(sizes) / 1e6:.2f} MB of {kind}")
    assert compare(cluster, one_host, clips, with_names=True) == []
    assert cluster.voices() == voices
    assert cluster.locks() == 0
    for host in cluster.hosts:
        assert not [*(host.data / "cache" / "videos").glob("*/*")]

    # All hosts show all videos, and two sweeps at once find nothing to do.
    status = cluster.hosts[0].run("status")
    assert f"{len(clips) + 1} done" in status.stdout, status.stdout
    sweeps = [cluster.trigger("sweep-folder", folders=folders, stable_s=0) for _ in range(2)]
    for sweep in wait_all(cluster, sweeps, 300):
        assert sweep["state"]["name"] in {"Completed", "Failed"}, sweep["state"]
    assert sum(cluster.computed().values()) == len(STAGES) * len(clips)


def test_nothing_is_lost_when_parts_fail(
    cluster: Cluster, clips: list[Path], one_host: Site
) -> None:
    folders = cluster.put(clips)
    for host in range(1, HOSTS + 1):
        cluster.work(host)
    runs = [cluster.trigger(paths=[folder]) for folder in folders]

    def done() -> int:
        return len(cluster.published())

    def until(enough: Callable[[], bool], seconds: float = 900) -> None:
        deadline = time.monotonic() + seconds
        while not enough():
            assert time.monotonic() < deadline, done()
            time.sleep(1)

    until(lambda: done() >= len(clips) // 6)
    cluster.kill_host(2)
    print(f"host2 killed with {done()} done")
    until(lambda: done() >= len(clips) // 3)
    cluster.postgres.stop()
    time.sleep(3)
    cluster.postgres.start()
    print(f"database restarted with {done()} done")
    until(lambda: done() >= len(clips) // 2)
    before = done()
    cluster.bucket_server.stop()
    time.sleep(60)
    cluster.bucket_server.start()
    print(f"bucket gone for a minute with {before} done")
    # What the killed host had, another one takes once it is known to be dead.
    until(lambda: done() >= len(clips), 1500)
    ended = wait_all(cluster, runs, 600)
    print(Counter(run["state"]["name"] for run in ended))
    # Where the killed host had computed all but the transcript, who went on had not the sound.
    silent = compare(cluster, one_host, clips)
    print(f"without a listening copy: {silent}")
    assert len(silent) <= VIDEOS_IN_FLIGHT
    computed = cluster.computed()
    twice = {which: count for which, count in computed.items() if count > 1}
    print(f"computed twice: {twice}")
    assert set(computed) == {(stage, clip.stem) for stage in STAGES for clip in clips}
    assert all(count == 2 for count in twice.values())
    assert max(Counter(video for _, video in twice).values(), default=0) <= 1
    voices = cluster.voices()
    assert voices
    assert voices == [*range(1, len(voices) + 1)]
    assert cluster.locks() == 0


class Naming:
    """Somebody who gives each voice a name as soon as it is met, while hosts write."""

    def __init__(self, cluster: Cluster, site: Site) -> None:
        self._cluster, self._site = cluster, site
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._name)
        self.refused: list[str] = []
        self.named: set[int] = set()

    def _name(self) -> None:
        while not self._stop.wait(1):
            with suppress(psycopg.OperationalError):
                for number in {*self._cluster.voices()} - self.named:
                    ran = self._site.run("voices", "name", str(number), f"Person {number}")
                    self.named.add(number)
                    if ran.returncode:
                        self.refused.append(ran.stdout + ran.stderr)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_sweep_deals_out_to_hosts_that_are_cut_off_and_lose_their_server(
    cluster: Cluster, clips: list[Path], one_host: Site
) -> None:
    clips = clips[: 2 * len(clips) // 3]
    (folder,) = cluster.put(clips, 1)
    for host in range(1, HOSTS + 1):
        cluster.work(host)
    sweep = cluster.trigger("sweep-folder", folders=[folder], stable_s=0)
    assert cluster.wait_for(sweep, *FINAL)["state"]["name"] == "Completed"
    shares = [run["parameters"]["paths"] for run in cluster.runs()]
    assert len(shares) == HOSTS
    assert {Path(path).name for share in shares for path in share} == {each.name for each in clips}

    def hosts() -> list[set[str]]:
        """Return which hosts have written transcripts of each run."""
        by = {name: about["host"] for name, about in cluster.published().items()}
        names = [[Path(path).name for path in share] for share in shares]
        return [{by[name] for name in share if name in by} for share in names]

    with Naming(cluster, cluster.hosts[2]) as naming:
        wait(lambda: all(hosts()), 900, hosts)
        assert sorted(min(by) for by in hosts()) == ["host1", "host2", "host3"]
        print(f"host2 is cut off with {len(cluster.published())} done")
        cluster.cut_off(2, 120)
        print(f"host2 is back with {len(cluster.published())} done")
        cluster.down("server")
        time.sleep(5)
        cluster.up("server", "--host", ADDRESS.format(1))
        print(f"the server is back with {len(cluster.published())} done")
        wait(lambda: len(cluster.published()) == len(clips), 1500, cluster.published)
        ended = wait_all(cluster, [run["id"] for run in cluster.runs()], 600)
        print(Counter(run["state"]["name"] for run in ended), hosts())
        wait(lambda: {*cluster.voices()} == naming.named, 60, cluster.voices)
    assert not naming.refused
    assert naming.named
    assert compare(cluster, one_host, clips) == []
    for clip in clips:
        found = json.loads(cluster.written(one_host.output(clip.stem).name)["transcript.json"])
        for speaker in found["speakers"]:
            if speaker["voice"]:
                assert speaker["name"] == f"Person {speaker['voice']}", clip.name
    computed = cluster.computed()
    twice = {which: count for which, count in computed.items() if count > 1}
    print(f"computed twice: {twice}")
    assert set(computed) == {(stage, clip.stem) for stage in STAGES for clip in clips}
    assert all(count == 2 for count in twice.values())
    assert max(Counter(video for _, video in twice).values(), default=0) <= 1
    assert Ledger(cluster.address).read() == {}
    assert cluster.locks() == 0
    assert cluster.slots() == []


def test_hosts_add_up(cluster: Cluster, clips: list[Path], one_host: Site) -> None:
    """Measure what more hosts bring where work needs no processor: this machine has few."""
    sleeps = {
        "PYTHONPATH": str(ROOT / "tests" / "sleeping"),
        "SLEEP_S": "10",
        "SPOKENBY_VIDEOS_IN_FLIGHT": "1",
    }
    cluster.put(clips[:18], 1)
    there, videos = Bucket(cluster.bucket), Bucket(cluster.videos_in)
    for result in one_host.results.glob("*/*.json"):
        if result.parent.name != "extract":
            there.put(f"results/{result.parent.name}/{result.name}", result)
    names = [f"{cluster.videos_in}/{each.key}" for each in videos.list()]
    took, rate = {}, {}
    before = cluster.megabytes()
    for hosts in range(1, HOSTS + 1):
        cluster.work(hosts, **sleeps)
        there.delete(*[each.key for each in there.list("transcripts/")])
        begun = time.time()
        runs = [cluster.trigger(paths=names[host::hosts]) for host in range(hosts)]
        wait_all(cluster, runs, 900)
        written = sorted(each.modified for each in there.list("transcripts/"))
        assert len(written) == len(names)
        took[hosts] = written[-1] - begun
        # Until the first one of each, runs start: three at once on this machine's processors.
        rate[hosts] = (len(written) - hosts) / (written[-1] - written[0])
        print(f"{hosts} hosts: {took[hosts]:.0f} s, the first after {written[0] - begun:.0f} s")
        spent = cluster.computed()
        assert not spent, spent
    print(f"speed at {HOSTS}: {took[1] / took[HOSTS]:.2f} x, {rate[HOSTS] / rate[1]:.2f} x")
    grew = (cluster.megabytes() - before) / (HOSTS * len(names))
    print(f"the server's database grew by {grew:.2f} MB a video")
    assert rate[HOSTS] / rate[1] >= 2.7
