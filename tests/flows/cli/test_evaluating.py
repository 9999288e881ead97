"""`spokenby evaluate` on finished transcripts: nothing is computed but figures."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Site
from review.conversation import (
    SAMPLES,
    conversation_lines,
    conversation_turns,
    transcript_of,
)
from rich.console import Console
from scoring import sample_of_pyannote

from flows.cli import app, comparing, evaluating
from spokenby.digests import digest_of
from spokenby.evaluation import scores
from spokenby.output import folders, formats, manifest
from spokenby.settings import Settings

pytest.importorskip("meeteval", reason="the group `evaluation` is not installed")

JOHNS = "Good morning. I am ready when you are."
"""What John says, and Peter by the transcript."""


class Ran:
    """What the command printed and wrote."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], *words: str | Path):
        self.file = folder / "figures.json"
        argv = ["spokenby", "evaluate", *map(str, words), "--json", str(self.file)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", argv)
            with pytest.raises(SystemExit) as ended:
                app.main()
        self.code = ended.value.code
        printed = capsys.readouterr()
        self.out, self.err = printed.out, printed.err

    @property
    def figures(self) -> dict[tuple[str, str], dict[str, float]]:
        """Return values by recording and system."""
        content = json.loads(self.file.read_text("utf-8"))
        return {
            (row["name"], row["system"]): {
                key: each["value"] for key, each in row["figures"].items()
            }
            for row in content["recordings"]
        }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a transcript, and references; in one line, it errs."""
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    lines = [
        replace(line, speaker="Peter") if line.text == JOHNS else line
        for line in conversation_lines()
    ]
    transcript = transcript_of(lines, conversation_turns())
    files = formats.render(transcript, "conversation", {}, ["json"])
    folders.write_folder(
        tmp_path / "transcripts" / "conversation-dddddddd",
        manifest.with_files(
            {"digest": "d" * 64, "video": {"digest": "v" * 64, "name": "conversation.mp4"}}, files
        ),
    )
    (tmp_path / "references").mkdir()
    for ending in ("rttm", "txt"):
        shutil.copy(SAMPLES / f"conversation.{ending}", tmp_path / "references")
    return tmp_path


def test_figures_are_shown_written_and_drawn(folder, capsys):
    ran = Ran(
        folder, capsys, folder / "transcripts", "--references", folder / "references",
        "--pictures", folder / "pictures",
    )  # fmt: skip
    assert ran.code == 0, ran.out + ran.err
    found = ran.figures["conversation", "spokenby"]
    assert (found["der"], found["count"], found["wer"], found["wer_raw"]) == (0, 0, 0, 0)
    assert found["wder"] == pytest.approx(len(JOHNS.split()) / 360, abs=1e-6)
    assert found["cpwer"] == pytest.approx(2 * len(JOHNS.split()) / 360, abs=1e-6)
    assert "tcpwer" not in found  # the text has no times
    for expected in (
        "conversation by conversation.rttm (turns), conversation.txt (text)",
        "3 of 3",
        "collar 0 s, overlap scored; pyannote.metrics",
        "English (en); whisper-normalizer",
    ):
        assert expected in ran.out
    picture = ET.parse(folder / "pictures" / "conversation.svg")
    titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    marks = [title for title in titles if title and "by another speaker" in title]
    assert len(marks) == len(JOHNS.split())
    assert any("SPEAKER_00, who is Ada" in title for title in titles if title)


def test_collar_and_overlap_are_said(folder, capsys):
    where = [folder / "transcripts", "--references", folder / "references"]
    ran = Ran(folder, capsys, *where, "--collar", "0.25", "--skip-overlap")
    assert "collar 0.25 s on each side, overlap left out" in ran.out
    assert json.loads(ran.file.read_text())["settings"]["turns"].startswith("collar 0.25 s on each")


def test_other_systems_stand_beside(folder, capsys):
    results = folder / "whisperx"
    results.mkdir()
    segments = [
        {"start": line.start, "end": line.end, "text": f" {line.text}", "speaker": "SPEAKER_00"}
        for line in conversation_lines()
    ]
    (results / "conversation.json").write_text(json.dumps({"segments": segments, "language": "en"}))
    (folder / "nothing").mkdir()
    where = [folder / "transcripts", "--references", folder / "references"]
    ran = Ran(folder, capsys, *where, "--against", results, "--against", folder / "nothing")
    theirs = ran.figures["conversation", "whisperx"]
    assert theirs["wer"] == 0
    assert theirs["count"] == 1
    assert theirs["confusion"] > 0.5
    assert theirs["wder"] > 0.5
    assert "nothing has nothing on conversation" in ran.out
    assert ran.code == 1
    (all_,) = [
        each
        for each in json.loads(ran.file.read_text())["together"]
        if each["system"] == "whisperx"
    ]
    assert all_["figures"]["wder"]["recordings"] == 1


def test_bad_references_are_a_line_each_and_the_rest_is_measured(folder, capsys):
    (folder / "references" / "conversation.rttm").write_text("rubbish\n")
    second = folder / "transcripts" / "other-eeeeeeee"
    shutil.copytree(folder / "transcripts" / "conversation-dddddddd", second)
    about = json.loads((second / "transcript.json").read_text("utf-8"))
    (second / "transcript.json").write_text(json.dumps(about | {"name": "other"}), "utf-8")
    (folder / "transcripts" / "broken-ffffffff").mkdir()
    (folder / "transcripts" / "broken-ffffffff" / "transcript.json").write_text("{")
    ran = Ran(folder, capsys, folder / "transcripts", "--references", folder / "references")
    assert ran.code == 1
    assert "conversation.rttm: line 1 has 1 fields, not 8; left out" in ran.out
    assert "other has no reference; left out" in ran.out
    assert "broken-ffffffff" in ran.out
    assert ran.figures.keys() == {("conversation", "spokenby")}
    assert "der" not in ran.figures["conversation", "spokenby"]


def test_names_are_compared_with_the_reference(folder, capsys):
    transcript = folder / "transcripts" / "conversation-dddddddd"
    about = manifest.read_manifest(transcript)
    assert about
    identities = [
        {"speaker": "SPEAKER_00", "name": "Ada", "known": True},
        {"speaker": "SPEAKER_01", "name": "Grace", "known": True},
        {"speaker": "SPEAKER_02", "name": "Speaker 9", "known": False},
    ]
    (transcript / "manifest.json").write_text(json.dumps({**about, "identities": identities}))
    ran = Ran(folder, capsys, folder / "transcripts", "--references", folder / "references")
    found = ran.figures["conversation", "spokenby"]
    assert (found["name_wrong"], found["name_missed"]) == (0.5, 0)


def test_what_people_corrected_is_measured_as_it_was(folder, capsys):
    transcript = folder / "transcripts" / "conversation-dddddddd"
    shutil.copy(transcript / "transcript.json", transcript / folders.RECOGNIZED)
    right = transcript_of(conversation_lines(), conversation_turns())
    files = formats.render(right, "conversation", {}, ["json"])
    (transcript / "transcript.json").write_bytes(files["transcript.json"])
    where = [folder / "transcripts", "--references", folder / "references"]
    ran = Ran(folder, capsys, *where, "--against", folder / "transcripts")
    assert "conversation: measured without people's corrections" in ran.out
    both = ran.figures
    assert both["conversation", "spokenby"]["wder"] > 0
    assert both["conversation", "transcripts"]["wder"] > 0


def test_what_is_exported_is_no_reference(folder, capsys):
    transcript = folder / "transcripts" / "conversation-dddddddd"
    content = formats.render(*formats.open_transcript(transcript), ["srt"])["transcript.srt"]
    (folder / "references" / "conversation.srt").write_bytes(content)
    (folder / "references" / "conversation.txt").unlink()
    ran = Ran(folder, capsys, folder / "transcripts", "--references", folder / "references")
    assert "conversation.srt: it is this transcript, exported as it is; left out" in ran.out
    assert "wer" not in ran.figures["conversation", "spokenby"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no transcript was named"),
        (["transcripts"], "nothing could be measured"),
        (["transcripts", "--references", "nowhere"], "nowhere is not a folder"),
        (["transcripts", "--collar", "-1"], "--collar"),
        (["transcripts", "--references", "references", "--pictures", "file"], "file"),
    ],
)
def test_words_that_do_not_fit_are_one_line(folder, capsys, monkeypatch, words, says):
    monkeypatch.chdir(folder)
    (folder / "file").write_text("no folder")
    ran = Ran(folder, capsys, *words)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_without_its_packages_the_command_says_how_to_get_them(folder, capsys, monkeypatch):
    monkeypatch.setitem(scores._NEEDED, "not_installed_at_all", "meeteval")
    ran = Ran(folder, capsys, folder / "transcripts")
    assert ran.code == 2
    assert ran.err == (
        "spokenby: evaluating needs meeteval: install with: uv sync --inexact --group evaluation\n"
    )


def test_samples_are_as_right_as_ever(finished: Site, tmp_path, capsys, monkeypatch):
    """The gate: a change that makes words or speakers worse is seen here."""
    for name, value in finished.environment.items():
        monkeypatch.setenv(name, value)
    sample = sample_of_pyannote()
    references = tmp_path / "references"
    references.mkdir()
    for ending in ("rttm", "stm"):
        shutil.copy(sample / f"sample.{ending}", references / f"telephone talk.{ending}")
    for ending in ("rttm", "txt"):
        shutil.copy(SAMPLES / f"conversation.{ending}", references)
    ran = Ran(tmp_path, capsys, finished.transcripts, "--references", references)
    assert ran.code == 0, ran.out + ran.err
    for name, bounds in {
        "conversation": {"der": 0.05, "wer": 0.03, "wder": 0.005, "cpwer": 0.03, "count": 0},
        "telephone talk": {"der": 0.09, "wer": 0.16, "wder": 0.05, "cpwer": 0.18, "count": 0},
    }.items():
        found = ran.figures[name, evaluating.OURS]
        worse = {key: found[key] for key, bound in bounds.items() if found[key] > bound}
        assert not worse, name


def test_profiles_are_compared_apart_from_the_site(site_copy: Site, tmp_path, capsys, monkeypatch):
    for name, value in site_copy.environment.items():
        monkeypatch.setenv(name, value)
    references = tmp_path / "references"
    references.mkdir()
    shutil.copy(SAMPLES / "conversation.txt", references)
    shutil.copy(SAMPLES / "conversation.rttm", references)
    before = contents(site_copy.transcripts), contents(site_copy.data / "voices")
    apart = site_copy.data / "cache" / "evaluation"
    own = folders.folder_name("embedded", digest_of("embedded"))
    stale = apart / own / "transcripts" / "conversation-00000000"
    stale.mkdir(parents=True)
    two = "embedded --set merge.max_pause=0.1"  # only that is computed
    video = site_copy.videos / "conversation.mp4"
    ran = Ran(
        tmp_path, capsys, video, "--references", references,
        "--profile", "embedded", "--profile", two,
    )  # fmt: skip
    assert ran.code == 0, ran.out + ran.err
    one, other = ran.figures["conversation", "embedded"], ran.figures["conversation", two]
    assert one["wer"] == other["wer"] < 0.05
    assert one["der"] == other["der"] < 0.05
    few, many = (
        formats.open_transcript(each).transcript
        for each in apart.glob("*/transcripts/conversation-*")
    )
    assert not list(apart.rglob("voices.sqlite*"))
    assert len(few.segments) != len(many.segments)
    assert (contents(site_copy.transcripts), contents(site_copy.data / "voices")) == before


def test_what_is_compared_is_nobody_elses_transcript(tmp_path, monkeypatch):
    """Hosts that share a bucket see the site's transcripts there, not those of a comparison."""
    given = {}

    class Ended:
        def __init__(self, _command, env, stdout):
            given.update(env)

        def wait(self):
            return 0

    monkeypatch.setattr(comparing.subprocess, "Popen", Ended)
    site = Settings(data_dir=tmp_path, storage="s3://bucket/site")
    apart = comparing.transcribe_apart("embedded", [], site, Console(quiet=True))
    assert given["SPOKENBY_STORAGE"] == apart.bucket == ""
    assert given["SPOKENBY_RESULTS_DIR"] == str(apart.results) == str(site.results)
    # Names that begin alike for longer than a folder's name can be are two folders.
    two = [f"embedded --set merge.max_pause=0.1{'0' * 200}{last}" for last in "12"]
    folders = {
        comparing.transcribe_apart(profile, [], site, Console(quiet=True)).transcripts
        for profile in two
    }
    assert len(folders) == 2


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
