"""Transcribe videos with several profiles, each apart from the site, for `spokenby evaluate`."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flows.cli.terminal import FAILED, say

if TYPE_CHECKING:
    from spokenby.settings import Settings

_SQLITE = "sqlite:///"
_STDERR = 2
"""What the runs print goes there: figures alone are printed."""


def transcribe_apart(
    profile: str, videos: Sequence[str], site: Settings, console: Console
) -> Settings:
    """Transcribe videos with a profile; return a site that holds nothing but these transcripts.

    Stored results of stages are used, those of a bucket as far as this host has copies, and stored:
    what profiles share is computed once. The site's transcripts and voice library stay as they are;
    the voices' names are those of a copy, which is deleted. So are transcripts of an earlier
    comparison: none is taken for a result of this run.

    Args:
        profile: its name; behind it may stand options of `spokenby transcribe`.
        videos: to transcribe.
        site: whose videos they are.
        console: to say what happens.

    Raises:
        InputError: there is no such profile or option, or the cache cannot be written.
    """
    from spokenby.digests import digest_of
    from spokenby.errors import InputError
    from spokenby.files import explaining
    from spokenby.output.folders import folder_name

    try:
        name, *options = shlex.split(profile)
    except ValueError:
        raise InputError(f"--profile {profile!r} cannot be read", "close its quotes") from None
    folder = (site.cache / "evaluation" / folder_name(profile, digest_of(profile))).absolute()
    with explaining(folder, "set SPOKENBY_CACHE_DIR"):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    voices = f"{_SQLITE}{folder / 'voices.sqlite'}"
    if site.voices.startswith(_SQLITE):
        _copy_library(Path(site.voices.removeprefix(_SQLITE)), folder / "voices.sqlite")
    else:
        say(console, f"{profile}: people have no names, as the voice library is not a file")
    # Without the storage of all hosts: what is written here is nobody else's transcript.
    apart = site.model_copy(
        update={
            "transcripts_dir": folder / "transcripts",
            "results_dir": site.results.absolute(),
            "storage": "",
            "database": voices,
        }
    )
    environment = {
        "SPOKENBY_TRANSCRIPTS_DIR": str(apart.transcripts),
        "SPOKENBY_RESULTS_DIR": str(apart.results),
        "SPOKENBY_STORAGE": "",
        "SPOKENBY_DATABASE": voices,
        "SPOKENBY_LISTENING_COPY": "false",
        "SPOKENBY_ON_DONE": "",
    }
    say(console, f"transcribing with {profile}")
    command = [sys.executable, "-P", "-c", "from flows.cli.app import main; main()"]
    command += ["transcribe", *videos, "--profile", name, *options]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=_STDERR)
    try:
        code = process.wait()
    except KeyboardInterrupt:  # it got the same Ctrl-C
        process.wait()
        raise
    finally:
        for file in folder.glob("voices.sqlite*"):
            file.unlink()
    if code not in {0, FAILED}:
        raise InputError(f"transcribing with {profile} ended (exit code {code})", "see above")
    return apart


def _copy_library(library: Path, copy: Path) -> None:
    if library.exists():
        with closing(sqlite3.connect(library)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
