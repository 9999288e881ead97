"""What spokenby reads and writes stays with its user: modes of files, and no connection out."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, Site
from media import Sound, make_video
from tracing import run_traced

from flows.cli.doctor import Finding, Light, examine
from spokenby.engines.av import read_audio

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")


def open_to_others(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o077
    ]


@contextmanager
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the address of a proxy that answers nobody, and what it was asked for."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def note() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                asked.append(caller.recv(200))
                caller.close()

        threading.Thread(target=note, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a site on which a talk was transcribed with a temporary server, by a new user.

    `alone.hosts` is where that connected to, `alone.asked` what it asked of the user's proxy.
    """
    site = Site(tmp_path_factory.mktemp("alone"), {})
    site.environment.pop("PREFECT_API_URL", None)
    site.environment["HOME"] = str(site.folder / "home")
    samples, rate_hz = read_audio(ROOT / "data" / "samples" / "conversation.flac")
    make_video(site.videos / "clip.mp4", Sound(samples[None, : 6 * rate_hz], rate_hz))
    plain = site.environment
    before = os.umask(0o022)
    try:
        (site.folder / "home").mkdir()
        with proxy() as (address, asked):
            names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy")
            socks = address.replace("http", "socks5")
            proxies = {"ALL_PROXY": socks, "NO_PROXY": "files.example"}
            site.environment = {**plain, **dict.fromkeys(names, address), **proxies}
            ran, hosts = run_traced(site, "transcribe")
        site.environment = plain
    finally:
        os.umask(before)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    site.ran, site.hosts, site.asked = ran, hosts, asked  # type: ignore[attr-defined]
    return site


def test_no_server_is_needed_beforehand(alone: Site) -> None:
    """Without an address spokenby starts Prefect's temporary server, which ends with the run."""
    assert "1 of 1 video transcribed" in alone.ran.stdout  # type: ignore[attr-defined]
    assert alone.manifest("clip")["words"] > 5
    # It starts in the user's current directory, with whatever `flows` and `tasks` that has.
    assert alone.strangers_imported == ""


def test_a_run_and_its_temporary_server_write_for_their_user_alone(alone: Site) -> None:
    ours = [alone.transcripts, *(alone.data / name for name in ("cache", "voices", "runs"))]
    for folder in (*ours, alone.folder / "prefect"):
        assert not folder.stat().st_mode & 0o077
        assert list(folder.iterdir())
        assert open_to_others(folder) == []
    assert (alone.folder / "prefect" / "prefect.db").exists()
    assert any((alone.data / "cache" / "audio").iterdir())


def test_a_run_and_its_server_meet_without_the_proxy(alone: Site) -> None:
    """Nobody else was asked through it either."""
    assert alone.asked == []  # type: ignore[attr-defined]


def test_a_run_connects_to_nobody(alone: Site) -> None:
    if alone.hosts is None:  # type: ignore[attr-defined]
        pytest.skip("needs strace, and permission to trace")
    assert alone.hosts == set()  # type: ignore[attr-defined]


def test_no_library_keeps_an_id_of_the_device(alone: Site) -> None:
    assert [path for path in (alone.folder / "home").rglob("*") if "icrosoft" in str(path)] == []


@pytest.mark.parametrize("words", [("doctor",), ("models", "list")])
def test_commands_ask_nobody(alone: Site, words: tuple[str, ...]) -> None:
    _, hosts = run_traced(alone, *words)
    if hosts is None:
        pytest.skip("needs strace, and permission to trace")
    assert hosts == set()


def privacy() -> Finding:
    (finding,) = [finding for finding in examine() if finding.what == "privacy"]
    return finding


def test_doctor_says_what_others_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    (tmp_path / "voices").mkdir()
    voices, transcripts = tmp_path / "voices" / "voices.sqlite", tmp_path / "transcripts"
    voices.touch(0o600)
    transcripts.mkdir(0o700)
    assert str(tmp_path) not in privacy().message
    voices.chmod(0o644)
    transcripts.chmod(0o755)
    finding = privacy()
    assert finding.light is Light.YELLOW
    assert f"{transcripts}, {voices}" in finding.message
    assert finding.next_step.startswith("unless that is intended, run: chmod -R go= ")
