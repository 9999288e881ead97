"""One voice, one name, in every video: the command line on real videos, with a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Here, Ran
from conftest import ROOT, Site
from media import Sound, make_video
from postgres import new_schema
from sqlalchemy import select, update

from spokenby.engines.av import read_audio
from spokenby.errors import InputError
from spokenby.settings import read_settings
from spokenby.site import voice_library
from spokenby.voices.centroids import pack, refresh_centroids, unpack
from spokenby.voices.library import Voiceprint
from spokenby.voices.tables import voiceprints

CONVERSATION = ROOT / "data" / "samples" / "conversation.flac"
ADA, JOHN, PETER = (29.9, 37.6), (20.4, 27.7), (95.4, 101.2)
"""When one of them speaks alone in the conversation."""
NOBODY = {"SPOKENBY_DATABASE": "postgresql+psycopg://127.0.0.1:9/voices"}
"""A database that does not answer."""


def cut(path: Path, *parts: tuple[float, float]) -> Path:
    """Make a video of parts of the conversation."""
    samples, rate_hz = read_audio(CONVERSATION)
    pause = np.zeros(rate_hz // 2, np.float32)
    pieces = [pause]
    for start, end in parts:
        pieces += [samples[round(start * rate_hz) : round(end * rate_hz)], pause]
    return make_video(path, Sound(np.concatenate(pieces)[None], rate_hz))


def names(site: Site, video: str) -> list[str]:
    return [speaker.name for speaker in site.transcript(video).speakers]


EVERY_FILE = {"json", "srt", "vtt", "txt", "csv", "html"}
"""Kinds that show names."""


def shows(site: Site, video: str, name: str) -> set[str]:
    """Return the files of a transcript that show a name."""
    return {
        path.suffix[1:]
        for path in site.output(video).iterdir()
        if name.encode() in path.read_bytes() and path.name != "manifest.json"
    }


def copy_of(original: Site, folder: Path) -> Site:
    site = Site(folder, {"PREFECT_API_URL": original.environment["PREFECT_API_URL"]})
    site.copy_data(original)
    return site


def forget_all(site: Site, video: str = "") -> None:
    """Lose the library, the transcripts, and the voiceprints of a video."""
    if video:
        digest = site.manifest(video)["stages"]["embed"]["digest"]
        (site.results / "embed" / f"{digest}.json").unlink()
    shutil.rmtree(site.data / "voices")
    shutil.rmtree(site.transcripts)
    voice_library._open.cache_clear()


@pytest.fixture(scope="module")
def heard(finished: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a copy of the finished site, and Ada and John again in another video, John first."""
    site = copy_of(finished, tmp_path_factory.mktemp("heard"))
    cut(site.videos / "again.mp4", JOHN, ADA)
    with Here(site) as here:
        site.ran = here.run("transcribe", site.videos)  # type: ignore[attr-defined]
    assert site.ran.code == 0, site.ran.out  # type: ignore[attr-defined]
    return site


@pytest.fixture
def site(heard: Site, tmp_path: Path) -> Site:
    return copy_of(heard, tmp_path)


@pytest.fixture
def here(site: Site) -> Iterator[Here]:
    with Here(site) as commands:
        yield commands


def listed(here: Here) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(here.run("voices", "list", "--json").out)
    return found


def done(ran: Ran) -> str:
    assert ran.code == 0, ran.out
    return ran.out


def test_voices_of_one_video_are_known_in_the_next(heard: Site) -> None:
    assert names(heard, "conversation") == ["Speaker 1", "Speaker 2", "Speaker 3"]
    assert names(heard, "telephone talk") == ["Speaker 4", "Speaker 5"]
    assert names(heard, "again") == ["Speaker 2", "Speaker 1"]
    again = heard.transcript("again").speakers[0]
    assert (again.label, again.voice) == ("SPEAKER_00", 2)
    assert again.confidence
    assert again.confidence > 0.5
    assert shows(heard, "again", "Speaker 2") == EVERY_FILE
    identity = heard.manifest("again")["identities"][0]
    assert (identity["voice"], identity["known"]) == (2, False)
    assert identity["score"] > 0.5


def test_name_shows_in_every_file_of_every_video_and_edited_ones_are_kept(
    site: Site, here: Here
) -> None:
    edited = site.output("again") / "transcript.txt"
    edited.write_text("my own words")
    out = done(here.run("voices", "name", "Speaker 1", "Ada Lovelace"))
    assert "transcripts: 1 written again, 1 edited" in out
    assert f"{site.output('again')}: edited by hand: left as it is" in out
    assert names(site, "conversation") == ["Ada Lovelace", "Speaker 2", "Speaker 3"]
    assert shows(site, "conversation", "Ada Lovelace") == EVERY_FILE
    assert not shows(site, "conversation", "Speaker 1")
    assert edited.read_text() == "my own words"
    assert names(site, "again") == ["Speaker 2", "Speaker 1"]

    done(here.run("voices", "identify", "--overwrite-edited"))
    assert names(site, "again") == ["Speaker 2", "Ada Lovelace"]
    kept = site.output("again").with_name(f"{site.output('again').name}.edited-1")
    assert (kept / "transcript.txt").read_text() == "my own words"
    # What was written again is as good as written by a run: the next one has nothing to do.
    assert "already up to date" in done(here.run("transcribe"))
    # And what runs later has the name from the beginning.
    done(here.run("transcribe", site.videos / "conversation.mp4", "--force", "merge"))
    assert names(site, "conversation") == ["Ada Lovelace", "Speaker 2", "Speaker 3"]


def test_merge_split_and_forget(site: Site, here: Here) -> None:
    refused = site.run("voices", "merge", "2", "3")
    assert refused.returncode == 2
    assert "cannot ask for confirmation here: to confirm, give --yes" in refused.stderr
    done(here.run("voices", "merge", "Speaker 2", "3", "--yes"))
    assert names(site, "conversation") == ["Speaker 1", "Speaker 2", "Speaker 2"]
    done(here.run("voices", "split", "2", "again"))
    assert names(site, "again") == ["Speaker 6", "Speaker 1"]

    stored = {path.stem for path in (site.results / "embed").iterdir()}
    prints = {
        site.manifest(video)["stages"]["embed"]["digest"] for video in ("conversation", "again")
    }
    shutil.rmtree(site.output("conversation"))
    out = done(here.run("voices", "forget", "1", "--yes"))
    assert "its transcript is missing or incomplete" in out
    assert names(site, "again") == ["Speaker 6", "Unknown speaker A"]
    assert [voice["voice"] for voice in listed(here)].count(1) == 0
    assert {path.stem for path in (site.results / "embed").iterdir()} == stored - prints

    (site.output("again") / "transcript.txt").write_text("my own words")
    ran = here.run("voices", "forget", "6", "--yes")
    assert ran.code == 1
    assert "edited transcripts still name Speaker 6" in ran.out
    assert names(site, "again") == ["Speaker 6", "Unknown speaker A"]
    done(here.run("voices", "identify", "--overwrite-edited"))
    assert names(site, "again") == ["Unknown speaker A", "Unknown speaker B"]


@pytest.mark.skipif(os.name != "posix", reason="terminals are made in another way")
@pytest.mark.parametrize(("answer", "code"), [("", 2), ("n", 2), ("Yes", 0)])
def test_a_terminal_is_asked(site: Site, answer: str, code: int) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "voices", "merge", "2", "3"],
        cwd=ROOT,
        env=site.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=100)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, out
    assert "Continue? [y/N]" in out
    assert ("nothing was changed" in out) == bool(code)
    joined = "Speaker 3" if code else "Speaker 2"
    assert names(site, "conversation") == ["Speaker 1", "Speaker 2", joined]


def test_enrollment_names_who_is_known_already(site: Site, here: Here, tmp_path: Path) -> None:
    stored = {path.name for path in (site.results / "embed").iterdir()}
    out = done(
        here.run(
            "voices", "enroll", "Peter", site.videos / "conversation.mp4", "--from", "1:35", "--to",
            "101.3",
        )
    )  # fmt: skip
    assert "Speaker 3 is now recognized as Peter" in out
    assert "transcripts: 1 written again" in out
    assert names(site, "conversation") == ["Speaker 1", "Speaker 2", "Peter"]
    people = tmp_path / "people"
    (people / "Ada Lovelace").mkdir(parents=True)
    cut(people / "Ada Lovelace" / "clip.mp4", ADA)
    enrolled = done(here.run("voices", "enroll", people))
    assert "Speaker 1 is now recognized as Ada Lovelace" in enrolled
    assert names(site, "again") == ["Speaker 2", "Ada Lovelace"]

    for clip, person, says in (
        (cut(tmp_path / "short.mp4", (0.5, 4)), "Grace", "s of speech by one person"),
        (people / "Ada Lovelace" / "clip.mp4", "Grace", "Ada Lovelace"),
        (tmp_path / "none.wav", "Grace", "does not exist"),
    ):
        refused = here.run("voices", "enroll", person, clip)
        assert refused.code == 1
        (line,) = [line for line in refused.out.splitlines() if "was not enrolled" in line]
        assert line.startswith(f"{person} was not enrolled: ")
        assert says in line
    assert [voice["name"] for voice in listed(here)][:2] == ["Ada Lovelace", "Peter"]
    # The library keeps their voiceprints, nothing else does.
    assert {path.name for path in (site.results / "embed").iterdir()} == stored


def test_find(site: Site, here: Here) -> None:
    done(here.run("voices", "name", "1", "Ada Lovelace"))
    everything = json.loads(done(here.run("find", "--speaker", "ada", "--json")))
    assert {hit["video_name"] for hit in everything} == {"conversation", "again"}
    hit = next(hit for hit in everything if hit["video_name"] == "again")
    said = next(
        segment.text
        for segment in site.transcript("again").segments
        if segment.speaker == "SPEAKER_01"
    )
    assert said.startswith(hit["text"][:10])
    assert Path(hit["folder"]) == site.output("again")
    word = max(said.split(), key=len)
    out = done(here.run("find", word, "--speaker", "Ada Lovelace"))
    assert "again" in out
    assert "Ada Lovelace" in out
    assert here.run("find", word, "--speaker", "Speaker 4").code == 1
    # A library that is lost is filled again by the next run, without computing anything.
    shutil.rmtree(site.data / "voices")
    voice_library._open.cache_clear()
    assert here.run("find", word).code == 1
    assert "already up to date" in done(here.run("transcribe"))
    assert word in done(here.run("find", word))


def test_numbers_do_not_depend_on_which_video_is_done_first(site: Site, here: Here) -> None:
    """What is slow in one run, having to be computed, is stored in the other."""
    order = [site.videos / f"{video}.mp4" for video in ("telephone talk", "again", "conversation")]
    for slow in ("telephone talk", "again"):
        forget_all(site, slow)
        out = done(here.run("transcribe", *order))
        # Not in the order in which they were identified:
        assert f"{slow}.mp4: embed done" in out
        assert out.count(": embed done") == 1
        assert names(site, "telephone talk") == ["Speaker 1", "Speaker 2"]
        assert names(site, "again") == ["Speaker 3", "Speaker 4"]
        assert names(site, "conversation") == ["Speaker 4", "Speaker 3", "Speaker 5"]


def test_two_runs_at_once_make_one_voice_of_one(site: Site) -> None:
    forget_all(site)
    runs = [
        site.start("transcribe", site.videos / f"{name}.mp4") for name in ("conversation", "again")
    ]
    for run in runs:
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, out + err
    ada, john, peter = names(site, "conversation")
    assert names(site, "again") == [john, ada]
    assert {ada, john, peter} == {"Speaker 1", "Speaker 2", "Speaker 3"}


def test_a_library_that_cannot_be_used_is_a_failed_stage_with_its_cause(site: Site) -> None:
    forget_all(site)
    library = site.data / "voices" / "voices.sqlite"
    library.parent.mkdir()
    library.write_bytes(b"not a database at all, but text" * 100)
    with Here(site) as here:
        ran = here.run("transcribe", site.videos / "again.mp4")
    assert ran.code == 1
    (line,) = [line for line in ran.out.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: again.mp4: identify: ")
    assert str(library) in line
    assert not site.transcripts.exists() or not list(site.transcripts.iterdir())


def test_without_the_database_that_hosts_share_nobody_begins(site: Site) -> None:
    site.environment |= NOBODY
    before = site.manifest("again")
    with Here(site) as here:
        ran = here.main("transcribe", site.videos / "again.mp4", "--force", "merge")
    assert ran.code == 2
    (line,) = [line for line in ran.out.splitlines() if "cannot be reached" in line]
    assert "the database voices on 127.0.0.1:9" in line
    assert "SPOKENBY_DATABASE" in line
    assert site.manifest("again") == before


def test_a_library_on_a_server(site: Site, request: pytest.FixtureRequest) -> None:
    forget_all(site)
    site.environment["SPOKENBY_DATABASE"] = new_schema(request.getfixturevalue("postgres"))
    with Here(site) as here:
        done(here.run("transcribe", site.videos / "conversation.mp4"))
        done(here.run("voices", "name", "Speaker 1", "Ada Lovelace"))
        done(here.run("transcribe", site.videos / "again.mp4"))
        assert names(site, "again") == ["Speaker 2", "Ada Lovelace"]
        assert "again" in done(here.run("find", "--speaker", "Ada"))
    assert not (site.data / "voices").exists()


def test_people_known_by_another_encoder_only_are_told_of(site: Site, here: Here) -> None:
    grace = Voiceprint(np.eye(192, dtype=np.float32)[0], 30.0, 0.1, "a clip")
    voice_library.open_library(read_settings()).enroll("Grace Hopper", "ecapa:0123abcd", [grace])
    out = done(here.run("transcribe", site.videos, "--force", "merge"))
    assert ".mp4: 1 of 1 named voices are known only by the embedding model" in out
    assert out.count("ecapa:0123abcd") == 1


def as_by_a_dropped_encoder(site: Site) -> dict[str, bytes]:
    """Turn every voiceprint into one of an encoder that is no more; return those of videos."""
    store = voice_library.open_library(read_settings())._store
    strange = np.eye(256, dtype=np.float32)
    with store.writing() as connection:
        rows = connection.execute(select(voiceprints).order_by(voiceprints.c.id)).all()
        for row in rows:
            changed = update(voiceprints).where(voiceprints.c.id == row.id)
            values = {"model": "resemblyzer-0.1.4-centred", "vector": pack(strange[row.id % 256])}
            connection.execute(changed.values(**values))
        refresh_centroids(connection, {row.voice for row in rows})
    return {f"{row.source} {row.speaker}": row.vector for row in rows if row.video}


def test_voiceprints_are_rebuilt_from_stored_audio(site: Site, here: Here, tmp_path: Path) -> None:
    forget_all(site)
    (site.videos / "conversation.mp4").unlink()  # the others are shorter
    cut(site.videos / "peter.mp4", PETER)
    videos = [site.videos / f"{video}.mp4" for video in ("again", "peter", "telephone talk")]
    done(here.run("transcribe", *videos))
    voice_library.unmatched_people.cache_clear()
    done(here.run("voices", "name", "2", "Ada Lovelace"))
    grace = Voiceprint(np.eye(192, dtype=np.float32)[0], 30.0, 0.1, "a clip.wav")
    voice_library.open_library(read_settings()).enroll("Grace Hopper", "campplus-zh-en", [grace])
    before = as_by_a_dropped_encoder(site)
    advice = "6 of 6 voices need new voiceprints, by campplus: run: spokenby voices rebuild"
    assert advice in done(here.run("voices", "list"))
    assert "it needs new voiceprints" in done(here.run("voices", "show", "Ada Lovelace"))
    assert "6 need new voiceprints, by campplus" in here.run("doctor").out
    assert "2 of 2 named voices are known only by the embedding model resemblyzer" in done(
        here.run("transcribe", site.videos, "--force", "merge")
    )

    # The sound of one video is stored, another's comes from the video, the third's is nowhere.
    (site.data / "cache" / "digests.sqlite").unlink()
    for name, video in (("again", None), ("telephone talk", "elsewhere")):
        stored = site.results / "extract" / f"{site.manifest(name)['stages']['extract']['digest']}"
        stored.with_suffix(".json").unlink()
        if video:
            (tmp_path / video).mkdir(exist_ok=True)
            shutil.move(site.videos / f"{name}.mp4", tmp_path / video)
    (site.videos / "nobody's.tracks").mkdir()  # looked at, too; it hides nothing
    ran = here.run("voices", "rebuild")
    assert ran.code == 1
    assert "3 voiceprints were added" in ran.out
    assert "not made: telephone talk: neither its sound nor the video is here" in ran.out
    assert "run: spokenby voices enroll 'Grace Hopper' 'a clip.wav'" in ran.out
    out = done(here.run("voices", "rebuild", tmp_path / "elsewhere"))
    assert "2 voiceprints were added" in out
    assert "0 voiceprints were added" in done(here.run("voices", "rebuild"))
    assert "1 of 6 voices need new voiceprints" in done(here.run("voices", "list"))  # Grace
    assert listed(here)[0]["name"] == "Ada Lovelace"
    with voice_library.open_library(read_settings())._store.reading() as connection:
        mine = voiceprints.c.model.startswith("campplus-")
        for row in connection.execute(select(voiceprints).where(mine)):
            was, now = unpack([before[f"{row.source} {row.speaker}"], row.vector])
            assert was @ now > 0.9


def test_without_identification_names_are_those_of_the_video(site: Site, here: Here) -> None:
    done(here.run("transcribe", site.videos / "telephone talk.mp4", "--no-identify"))
    assert names(site, "telephone talk") == ["Speaker 1", "Speaker 2"]
    assert site.transcript("telephone talk").speakers[0].voice is None
    done(here.run("voices", "name", "4", "Somebody"))
    assert names(site, "telephone talk") == ["Speaker 1", "Speaker 2"]
    done(here.run("transcribe", site.videos / "telephone talk.mp4"))
    assert names(site, "telephone talk") == ["Somebody", "Speaker 5"]


def test_export_and_import(site: Site, here: Here, tmp_path: Path) -> None:
    done(here.run("voices", "name", "1", "Ada Lovelace"))
    done(here.run("voices", "export", tmp_path / "voices.json"))
    with pytest.raises(InputError, match="exists already"):
        here.run("voices", "export", tmp_path / "voices.json")
    other = Site(tmp_path / "other", {})
    with Here(other) as there:
        assert "5 new voices" in done(there.run("voices", "import", tmp_path / "voices.json"))
        assert listed(there)[0]["name"] == "Ada Lovelace"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["voices", "name", "Speaker 99", "Ada"], "Speaker 99"),
        (["voices", "name", "2", "Speaker 5"], "Speaker 5"),
        (["voices", "show", "Nobody"], "Nobody"),
        (["voices", "enroll", "Ada", "clip.mp4", "--from", "soon"], "'soon' is not a time"),
        (["voices", "enroll", "Ada"], "no recording of Ada was named"),
        (["voices", "enroll", "Ada", "a.wav", "b.wav", "--to", "9"], "name only that recording"),
        (["voices", "import", "none.json"], "none.json"),
        (["find"], ""),
    ],
)
def test_words_that_do_not_fit_are_one_line(here: Here, words: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        here.run(*words)
