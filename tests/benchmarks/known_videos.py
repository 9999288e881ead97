"""Measure what a site of several hosts costs by how many videos it knows.

    python tests/benchmarks/known_videos.py [--known 100 1000 10000] [--rounds 2] [--json FILE]

Videos and transcripts are in a bucket, voices, lines and attempts in PostgreSQL. One short video is
transcribed; the others are copies of its transcript with other digests, names and voices. There are
as many voices as videos, each in two of them. One video in a hundred has failed: no transcript.
For each number of videos: `status`, `sweep` with nothing new, and `transcribe` with one new video,
on a host that has looked before; the first and the last also on a new one, which knows nothing.

Counted are CPU seconds of the command and of both servers, requests to the bucket, and statements
and connections to the database; not what the Prefect server does. Each is the least of some rounds.

Needs the programs of PostgreSQL (Debian: apt-get install postgresql) and SeaweedFS
(uv sync --inexact --group s3 --group s3-server).
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import soundfile
from measuring import (
    Missing,
    arguments,
    finish,
    repeat,
    run,
    run_process,
    say,
    table,
    temporary_folder,
)
from measuring import sounds as find_sounds
from sites import EMBEDDED, server

from spokenby.types import SAMPLE_RATE_HZ

SECONDS = 30.0
"""Length of the videos that are transcribed."""
LINES = 100
"""Of each transcript that is noted for `spokenby find`."""
FAILED = 100
"""One in so many videos has failed."""
AT_ONCE = 16
COUNT = "KNOWN_VIDEOS_COUNT"
"""Environment variable: the file to which a process writes what it asked of the servers."""


class Spent(NamedTuple):
    """What one command cost."""

    cpu: float
    requests: int
    statements: int
    connections: int
    bucket_cpu: float
    database_cpu: float


# --- in the process that is measured


def command(words: list[str]) -> None:
    """Run `spokenby`, and write what it asked of bucket and database."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from flows.cli.app import main
    from spokenby import buckets

    asked: Counter[str] = Counter()

    def count(what: str) -> Any:
        return lambda *_, **__: asked.update([what])

    make = buckets._make_client

    def make_counted(*which: Any, **how: Any) -> Any:
        client = make(*which, **how)
        client.meta.events.register("before-send.s3", count("requests"), unique_id="counted")
        return client

    buckets._make_client = make_counted  # type: ignore[assignment]
    event.listen(Engine, "before_cursor_execute", count("statements"))
    event.listen(Engine, "connect", count("connections"))
    sys.argv = ["spokenby", *words]
    try:
        main()
    finally:
        Path(os.environ[COUNT]).write_text(json.dumps(asked))


# --- the services, and a site on them


class Services:
    """A bucket server and a database server, and what they have used of the processor."""

    def __init__(self, folder: Path) -> None:
        sys.path.append(str(Path(__file__).parents[1]))  # what tests have for this
        from buckets import BucketServer, program_of_server
        from postgres import Server, programs_of_server

        weed, programs = program_of_server(), programs_of_server()
        if not weed or not programs:
            raise Missing("SeaweedFS or PostgreSQL is not installed: see --help")
        self._bucket = BucketServer(weed, folder / "bucket")
        self._database = Server(programs)

    def start(self) -> dict[str, str]:
        """Start both; return the environment of a site on them."""
        from postgres import new_schema

        self._database.start()
        self._bucket.start()
        return {
            **self._bucket.environment,
            "SPOKENBY_STORAGE": self._bucket.new_bucket(),
            "SPOKENBY_DATABASE": new_schema(self._database.address),
        }

    def end(self) -> None:
        if self._bucket._process:
            self._bucket.stop()
        self._database.end()

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds that bucket and database have used so far."""
        return _cpu(self._bucket._process), _cpu(self._database._process)

    def megabytes(self, address: str) -> float:
        """Return how large the site's tables are, with their indexes."""
        import psycopg

        with psycopg.connect(address) as connection:
            row = connection.execute(
                "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = current_schema()::regnamespace"
            ).fetchone()
        return float(row[0]) / 1e6 if row else 0.0


def _cpu(started: Any) -> float:
    spent = 0.0
    for process in (tree := psutil.Process(started.pid), *tree.children(recursive=True)):
        times = process.cpu_times()
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


@contextmanager
def services(folder: Path) -> Iterator[tuple[Services, dict[str, str]]]:
    found = Services(folder)
    try:
        yield found, found.start()
    finally:
        found.end()


class Host:
    """A host of the site, with a cache of its own."""

    def __init__(self, folder: Path, shared: dict[str, str], services: Services) -> None:
        self.folder, self._services = folder, services
        others = {name: value for name, value in os.environ.items() if name[:8] != "SPOKENBY_"}
        folder.mkdir()
        self._count = folder / "count.json"
        self.environment = {
            **others,
            **shared,
            "SPOKENBY_DATA_DIR": str(folder / "data"),
            "PREFECT_HOME": str(folder / "prefect"),
            COUNT: str(self._count),
        }

    def forget(self) -> None:
        """Be a new host, but for its models."""
        for path in (self.folder / "data").glob("*"):
            if path.is_dir() and path.name != "models":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()

    def spokenby(self, *words: str) -> Spent:
        """Run a command; return what it cost."""
        before = self._services.cpu()
        ran = run_process(
            [sys.executable, __file__, "--command", *words],
            self.environment,
            self.folder / "out",
        )
        if ran.code and not (words[0] == "status" and ran.code == 1):  # some videos have failed
            said = (self.folder / "out").read_text(encoding="utf-8")[-2000:]
            raise Missing(f"spokenby {' '.join(words)} ended with exit code {ran.code}: {said}")
        time.sleep(0.5)  # what the servers do after their answers
        bucket, database = (
            after - before for after, before in zip(self._services.cpu(), before, strict=True)
        )
        asked = json.loads(self._count.read_text(encoding="utf-8"))
        counts = (asked.get(what, 0) for what in ("requests", "statements", "connections"))
        return Spent(ran.cpu, *counts, bucket, database)


# --- videos that are known


class Copies:
    """Makes the site know more videos, each as the one that was transcribed."""

    def __init__(self, videos: str, shared: dict[str, str], folder: Path) -> None:
        os.environ.update({**shared, "SPOKENBY_DATA_DIR": str(folder / "maker")})
        from spokenby.buckets import Bucket
        from spokenby.site.batch import prepare_batch
        from spokenby.site.voice_library import open_library

        self._videos, self._there = Bucket(videos), Bucket(shared["SPOKENBY_STORAGE"])
        self._address = shared["SPOKENBY_DATABASE"]
        self._batch = prepare_batch("embedded")
        self._library = open_library(self._batch.settings)
        (written,) = self._there.list("transcripts/")
        got = self._there.get(written.key)
        assert got
        assert got.content
        self._about = json.loads(got.content)
        name = written.key.split("/")[1]
        digest = self._about["files"]["transcript.json"]["sha256"]
        transcript = self._there.get(f"files/{name}/{digest}/transcript.json")
        assert transcript
        assert transcript.content
        self._transcript = transcript.content
        (self._voice, *_) = self._library.export()["voices"]
        self.known = 1
        self._random = np.random.default_rng(0)

    def make(self, known: int) -> None:
        """Let the site know so many videos in all."""
        numbers = range(self.known, known)
        names = [f"day {number // 100}/talk {number}.mp4" for number in numbers]
        digests = [hashlib.sha256(f"video {number}".encode()).hexdigest() for number in numbers]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._put, names, digests, numbers))
        self._note_voices(names, digests, numbers)
        self._note_lines(names, digests)
        self.known = known

    def _put(self, name: str, digest: str, number: int) -> None:
        """Put a video and its transcript into the bucket, and its digest, which hosts share."""
        from spokenby.digests import digest_of
        from spokenby.output import manifest
        from spokenby.plan.planning import stage_digests
        from spokenby.plan.stages import Stage
        from spokenby.site.attempts import Ledger
        from spokenby.site.inventory import transcript_key

        content = f"video {number}".encode()
        etag = self._videos.put(name, content)
        noted = digest_of(self._videos.address(name), etag, len(content))
        self._there.put(f"digests/{noted}", digest.encode())
        key = transcript_key(digest, self._batch)
        if number % FAILED == 0:
            ledger = Ledger(self._address)
            ledger.begin(key, digest, self._videos.address(name))
            ledger.fail(key, "extract", "it cannot be read")
            return
        about = copy.deepcopy(self._about)
        about["digest"] = key
        about["video"] |= {"name": Path(name).name, "digest": digest}
        stages = stage_digests(digest, self._batch.recipe, self._batch.model_identities)
        for stage, entry in about["stages"].items():
            entry["digest"] = stages[Stage(stage)]
        folder = self._batch.folder_of(Path(name).stem, digest).name
        listed = about.pop("files")
        file = listed["transcript.json"]["sha256"]
        self._there.put(f"files/{folder}/{file}/transcript.json", self._transcript)
        self._there.put(f"transcripts/{folder}/manifest.json", manifest.as_json(about, listed))

    def _note_voices(self, names: list[str], digests: list[str], numbers: range) -> None:
        from spokenby.voices.centroids import pack

        dimension = len(base64.b64decode(self._voice["prints"][0]["vector"])) // 4
        voices = []
        for place, number in enumerate(numbers):
            vector = self._random.standard_normal(dimension).astype(np.float32)
            packed = base64.b64encode(pack(vector / np.linalg.norm(vector))).decode()
            voice = copy.deepcopy(self._voice)
            voice |= {"uid": uuid.uuid4().hex, "number": 1000 + number, "name": None}
            seen = [(place, "SPEAKER_00"), ((place + 1) % len(digests), "SPEAKER_01")]
            voice["prints"] = [
                {**voice["prints"][0], "vector": packed, "video": digests[at], "speaker": label}
                for at, label in seen
            ]
            voice["appearances"] = [
                {
                    **voice["appearances"][0],
                    "video": digests[at],
                    "speaker": label,
                    "video_name": Path(names[at]).stem,
                }
                for at, label in seen
            ]
            voices.append(voice)
        content = {"format": "spokenby voices", "version": 1, "merged": [], "apart": []}
        self._library.import_(
            {**content, "voices": voices, "next_voice": 1001 + numbers[-1] if voices else 1001}
        )

    def _note_lines(self, names: list[str], digests: list[str]) -> None:
        """Note lines by hand, copied in the database: one by one it would take long."""
        import psycopg

        from spokenby.types import Video
        from spokenby.voices.library import Line

        lines = [Line(i, i + 1, f"SPEAKER_{i % 2:02}", f"word {i} of a talk") for i in range(LINES)]
        model = Video(path="m", name="model", digest="0" * 64, duration=1, audio_streams=1)
        self._library.note_transcript(model, "model", lines)
        with psycopg.connect(self._address) as connection:
            row = connection.execute("SELECT id FROM transcripts WHERE folder = 'model'").fetchone()
            assert row
            (number,) = row
            (line,) = connection.execute(
                "SELECT min(id) FROM transcript_lines WHERE transcript = %s", [number]
            ).fetchone() or (0,)
            folders = [
                self._batch.folder_of(Path(name).stem, digest).name
                for name, digest in zip(names, digests, strict=True)
            ]
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO transcripts (id, folder, video, video_name)"
                    " VALUES (%s, %s, %s, %s)",
                    [
                        (number + place, folder, digest, Path(name).stem)
                        for place, (folder, digest, name) in enumerate(
                            zip(folders, digests, names, strict=True), 1
                        )
                    ],
                )
            size, values = len(names), {"number": number, "line": line, "lines": LINES}
            connection.execute(
                'INSERT INTO transcript_lines (id, transcript, start, "end", speaker, text)'
                ' SELECT id + place * %(lines)s, transcript + place, start, "end", speaker, text'
                " FROM transcript_lines, generate_series(1, %(size)s) AS place"
                " WHERE transcript = %(number)s",
                {**values, "size": size},
            )
            connection.execute(
                "INSERT INTO line_words (rowid, words) SELECT rowid + place * %(lines)s, words"
                " FROM line_words, generate_series(1, %(size)s) AS place"
                " WHERE rowid >= %(line)s AND rowid < %(line)s + %(lines)s",
                {**values, "size": size},
            )
            # Not known as a transcript any more, but its numbers stay in use.
            connection.execute(
                "UPDATE transcripts SET folder = folder || id WHERE id = %s", [number]
            )
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute("ANALYZE")


# --- measuring


def make_clips(folder: Path, count: int, given: list[Path]) -> list[Path]:
    """Write short recordings, no two the same."""
    folder.mkdir()
    samples = repeat(given, SECONDS * 3)
    files = []
    for number in range(count):
        first = number * 997
        files.append(folder / f"new {number}.flac")
        soundfile.write(
            files[-1], samples[first : first + round(SECONDS * SAMPLE_RATE_HZ)], SAMPLE_RATE_HZ
        )
    return files


def least(spent: list[Spent]) -> Spent:
    return Spent(*map(min, zip(*spent, strict=True)))


def main() -> None:
    if sys.argv[1:2] == ["--command"]:
        command(sys.argv[2:])
        return
    parser = arguments(__doc__)
    parser.add_argument("--known", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with temporary_folder() as folder, services(folder) as (there, shared), server() as api:
        shared["PREFECT_API_URL"] = api
        results = measure(folder, there, shared, options)
    commands = list(dict.fromkeys(row["what"] for row in results))
    head = ["", "videos known", *Spent._fields]
    rows = [
        [what, row["known"], *(row[name] for name in Spent._fields)]
        for what in commands
        for row in results
        if row["what"] == what
    ]
    finish("known_videos", options, table(head, rows), results)


def measure(
    folder: Path, there: Services, shared: dict[str, str], options: Any
) -> list[dict[str, Any]]:
    clips = make_clips(
        folder / "clips", 1 + (1 + options.rounds) * len(options.known), find_sounds(options.sound)
    )
    host, other = (Host(folder / name, shared, there) for name in ("host", "other"))
    os.environ.update(shared)
    from spokenby.buckets import Bucket

    videos = shared["SPOKENBY_STORAGE"].replace("/some/site", "/videos")
    bucket, fresh = Bucket(videos), iter(clips)

    def new_video() -> str:
        clip = next(fresh)
        bucket.put(f"new/{clip.name}", clip)
        return f"{videos}/new/{clip.name}"

    say("transcribing the first video")
    host.spokenby("transcribe", new_video(), *EMBEDDED)
    copies = Copies(videos, shared, folder)
    results = []
    for known in options.known:
        say(f"making {known} videos known")
        copies.make(known)
        taken: dict[str, list[Spent]] = {}

        def note(what: str, cost: Spent, taken: dict[str, list[Spent]] = taken) -> None:
            say(f"{what}: {cost.cpu:.2f} CPU s, {cost.requests} requests")
            taken.setdefault(what, []).append(cost)

        looks = {
            "status": ("status", videos, *EMBEDDED),
            "sweep": ("sweep", videos, *EMBEDDED, "--stable-s", "0", "--max-attempts", "1"),
        }
        other.forget()
        note("status, new host", other.spokenby(*looks["status"]))
        other.forget()
        note("one new video, new host", other.spokenby("transcribe", new_video(), *EMBEDDED))
        host.spokenby(*looks["status"])
        for _ in range(options.rounds):
            for what, words in looks.items():
                note(what, host.spokenby(*words))
            note("one new video", host.spokenby("transcribe", new_video(), *EMBEDDED))
        megabytes = there.megabytes(shared["SPOKENBY_DATABASE"])
        say(f"tables of {megabytes:.0f} MB")
        results += [
            {"what": what, "known": known, **least(costs)._asdict(), "database_mb": megabytes}
            for what, costs in taken.items()
        ]
    return results


if __name__ == "__main__":
    run(main)
