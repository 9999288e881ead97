"""The main job on real videos: a real Prefect server, real models, the command line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import Here
from conftest import ROOT, Site
from media import Sound, make_video, silence
from output.test_corrections import at
from scoring import SAMPLE_RTTM, diarization_error

from spokenby.engines.av import read_audio
from spokenby.evaluation.annotations import annotation_of
from spokenby.evaluation.references import Annotations
from spokenby.evaluation.scores import score
from spokenby.output.corrections import Corrections, as_json, read_corrections
from spokenby.output.formats import open_transcript
from spokenby.plan.planning import stages_of
from spokenby.plan.profiles import Profile, make_recipe
from spokenby.plan.stages import Stage

CONVERSATION = ROOT / "data" / "samples" / "conversation.rttm"
NO_SERVER = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
"""An address where nothing answers: whoever asks a Prefect server fails."""


def test_telephone_talk_has_two_speakers(finished: Site) -> None:
    transcript = finished.transcript("telephone talk")
    assert len(transcript.speakers) == 2
    assert diarization_error(transcript.turns, SAMPLE_RTTM) <= 0.09
    assert transcript.language == "en"
    assert transcript.coverage > 0.9


def test_conversation_has_three_speakers(finished: Site) -> None:
    transcript = finished.transcript("conversation")
    assert len(transcript.speakers) == 3
    assert diarization_error(transcript.turns, CONVERSATION) <= 0.06


@pytest.mark.parametrize(
    ("name", "rttm", "bounds"),
    [  # DER, WER, WDER and cpWER; where they were measured: 6.1, 12.6, 2.5, 13.8; 4.2, 2.2, 0, 2.2
        pytest.param("telephone talk", SAMPLE_RTTM, (0.08, 0.16, 0.05, 0.18), id="telephone"),
        pytest.param("conversation", CONVERSATION, (0.055, 0.035, 0.01, 0.035), id="conversation"),
    ],
)
def test_words_and_speakers_are_as_right_as_they_were(
    finished: Site, name: str, rttm: Path, bounds: tuple[float, ...]
) -> None:
    pytest.importorskip("meeteval", reason="the group `evaluation` is not installed")
    right = Annotations(rttm.parent, deep=False).of(rttm.stem).annotation
    heard = annotation_of(open_transcript(finished.output(name)))
    figures = score(right, heard, language="en").figures
    found = {key: figures[key].value for key in ("der", "wer", "wder", "cpwer")}
    assert all(value <= bound for value, bound in zip(found.values(), bounds, strict=True)), found


def test_first_run_shows_table_quality_and_places(finished: Site) -> None:
    shown = finished.first.stdout  # type: ignore[attr-defined]
    for expected in (
        "video",
        "x real time",
        "telephone talk",
        "faster-whisper-base",
        "2 of 2 videos",
    ):
        assert expected in shown
    assert str(finished.output("conversation")) in shown
    assert "Traceback" not in shown + finished.first.stderr  # type: ignore[attr-defined]


def test_manifest_tells_how_the_transcript_came_about(finished: Site) -> None:
    manifest = finished.manifest("conversation")
    assert manifest["made_by"] == "words by faster-whisper-base, speakers by campplus-zh-en"
    recipe = make_recipe(Profile.EMBEDDED)
    assert set(manifest["stages"]) == {*stages_of(recipe)} - {Stage.MERGE}
    assert all(stage["seconds"] > 0 for stage in manifest["stages"].values())
    assert manifest["times_real_time"] > 0
    assert manifest["smaller_batches"] == {}  # memory was enough
    assert str(finished.folder) not in json.dumps(manifest)
    assert set(manifest["files"]) == {
        path.name for path in finished.output("conversation").iterdir()
    } - {"manifest.json"}
    assert {"page.html", "audio.webm"} < set(manifest["files"])
    assert manifest["listening_copy"] == manifest["stages"]["extract"]["digest"]


def test_plan_tells_what_would_run(site_copy: Site) -> None:
    video = site_copy.videos / "conversation.mp4"
    site_copy.environment |= NO_SERVER
    with Here(site_copy) as cli:
        assert "nothing: the transcript exists" in cli.run("plan", video).out
        forced = cli.run("plan", video, "--force", "diarize").out
    for expected in ("run: forced", "run: diarize is computed again", "from the cache"):
        assert expected in forced


def test_second_run_computes_nothing_and_does_without_prefect(site_copy: Site) -> None:
    """Importing it takes seconds, also where a file is broken that always was."""
    for code in (0, 1):
        ran = site_copy.run("transcribe", PYTHONPROFILEIMPORTTIME="1", **NO_SERVER)
        assert ran.returncode == code, ran.stderr[-1000:]
        assert code or "already up to date" in ran.stdout
        imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
        assert "rich" in imported
        assert not imported & {"prefect", "torch", "pandas", "scipy"}
        (site_copy.videos / "broken.mp4").write_bytes(b"no video")


def test_renamed_video_is_only_written_again(site_copy: Site) -> None:
    (site_copy.videos / "conversation.mp4").rename(site_copy.videos / "-new 'name'.mp4")
    with Here(site_copy) as cli:
        assert cli.run("transcribe").code == 0
    assert not site_copy.computed("new 'name'")


def test_other_merge_params_compute_no_stage_before_and_keep_what_people_corrected(
    site_copy: Site, tmp_path: Path
) -> None:
    video, folder = site_copy.videos / "conversation.mp4", site_copy.output("conversation")
    transcript = site_copy.transcript("conversation")
    right = at(transcript, 1, 1, new="CORRECTED")
    lost = right.model_copy(update={"old": "nobody said this", "new": "lost"})
    digest = site_copy.manifest("conversation")["video"]["digest"]
    file = tmp_path / "corrections.json"
    file.write_bytes(as_json(Corrections(video=digest, corrections=(right, lost))))
    with Here(site_copy) as cli:
        told = cli.run("correct", file)
        assert (told.code, "does not fit: " in told.out) == (1, True)
        shutil.rmtree(folder)
        ran = cli.run("transcribe", video, "--set", "merge.max_pause=0.1")
    assert ran.code == 0, ran.out
    assert "1 of 2 corrections does not fit" in " ".join(ran.out.split())
    assert not site_copy.computed("conversation")
    assert len(site_copy.transcript("conversation").segments) > len(transcript.segments)
    kept = read_corrections((folder / "corrections.json").read_bytes())
    assert kept.corrections == (right, lost)
    assert site_copy.manifest("conversation")["corrections"]["unfit"] == 1
    for name in ("transcript.json", "transcript.srt", "page.html"):
        assert "CORRECTED" in (folder / name).read_text("utf-8")


def test_each_part_is_transcribed_in_its_language_as_the_docs_say(site_copy: Site) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    (example,) = re.findall(r"spokenby (transcribe talk\.mp4 --language \S+)", page)
    talk = site_copy.videos / "telephone talk.mp4"
    with Here(site_copy) as cli:
        ran = cli.run(*(talk if word == "talk.mp4" else word for word in example.split()))
    assert ran.code == 0, ran.out
    assert "transcribe" in site_copy.computed("telephone talk")
    parts = site_copy.transcript("telephone talk").languages
    assert {(part.language, part.transcribed) for part in parts} == {("en", "en")}


def test_vocabulary_site_file_and_on_done_in_runs_that_compute_nothing(
    site_copy: Site,
) -> None:
    video = site_copy.videos / "conversation.mp4"
    before = site_copy.transcript("conversation")
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    example = page.partition("```text\n")[2].partition("```")[0]
    vocabulary = site_copy.videos / "vocabulary.txt"
    (site_copy.data / "spokenby.toml").write_text("[write]\n[merge]\nlow_confidence = 0.4\n")
    with Here(site_copy) as cli:
        vocabulary.write_text(example)
        planned = re.findall(r"(\w+) +│ run: ", cli.run("plan", video).out)
        assert planned == ["transcribe", "merge"]
        vocabulary.write_text("\n".join(line for line in example.splitlines() if "=>" in line))
        (command,) = re.findall(r'--on-done "(.+?)"', page)
        notes = site_copy.folder / "notes"
        command = command.replace("python", sys.executable, 1).replace("notes/", str(notes))
        command = command.replace("examples/", f"{ROOT}/examples/")
        assert cli.run("transcribe", video, "--on-done", command).code == 0
        (note,) = notes.iterdir()
        assert 'video: "conversation.mp4"' in note.read_text("utf-8")
        manifest, after = site_copy.manifest("conversation"), site_copy.transcript("conversation")
        assert not site_copy.computed("conversation")
        replaced = {"Mary => Marie": 1, "half an hour => 30 minutes": 2}
        assert manifest["vocabulary"] == {"terms": 0, "replacements": 2, "replaced": replaced}
        assert manifest["params"]["merge"]["low_confidence"] == 0.4
        text = " ".join(segment.text for segment in after.segments)
        assert "ask Marie. She" in text
        assert "30 minutes is a long time" in text
        vocabulary.unlink()
        fails = shlex.join([sys.executable, "-c", "raise SystemExit('no room for notes')"])
        ran = cli.run("transcribe", video, "--on-done", fails)
        assert ran.code == 0
        assert "exit code 1: no room for notes" in " ".join(ran.out.split())
    undone = site_copy.transcript("conversation")
    assert undone.model_copy(update={"digest": before.digest}) == before
    assert "vocabulary" not in site_copy.manifest("conversation")


def test_channels_and_files_of_a_folder_are_speakers(site: Site) -> None:
    """The examples of the documentation: Ada and John, who cuts in, each with a microphone."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    said_in_sample = CONVERSATION.with_suffix(".txt").read_text("utf-8")
    lines = [line.split(": ") for line in said_in_sample.splitlines()]
    samples, rate = soundfile.read(CONVERSATION.with_suffix(".flac"), dtype="float32")
    ada, john = np.zeros((2, 11 * rate), np.float32)
    ada[: 9 * rate] = samples[: 9 * rate]
    john[7 * rate : 9 * rate + rate // 2] = samples[round(9.7 * rate) :][: 2 * rate + rate // 2]
    heard = np.stack([ada + 0.1 * john, 0.04 * (john + 0.1 * ada)])
    make_video(site.videos / "interview.m4a", Sound(heard, rate, "stereo"), picture=False)
    folder = site.videos / "meeting.tracks"
    folder.mkdir()
    make_video(folder / "Ada Lovelace.wav", Sound(heard[:1], codec="pcm_s16le"), picture=False)
    make_video(folder / "Bob.m4a", Sound(heard[1:]), picture=False)
    commands = re.findall(r"    spokenby transcribe ((?:interview|meeting)\S+)(.*)", page)
    assert [name for name, _ in commands] == ["interview.m4a", "meeting.tracks"]
    (stereo, options), (tracks, none) = commands
    assert not none
    with Here(site) as cli:
        planned = cli.run("plan", site.videos / stereo, *options.split())
        assert "run: not stored" in planned.out
        ran = cli.run("transcribe", site.videos / tracks)
        assert ran.code == 0, ran.out
    transcript = site.transcript("meeting")
    assert [speaker.name for speaker in transcript.speakers] == ["Ada Lovelace", "Bob"]
    for speaker, (who, right) in zip(transcript.speakers, lines[:2], strict=True):
        segments = [it for it in transcript.segments if it.speaker == speaker.label]
        text = " ".join(segment.text for segment in segments)
        found, expected = (re.findall(r"\w+", each.lower()) for each in (text, right))
        assert SequenceMatcher(None, found, expected).ratio() > 0.95, (who, text)
    assert segments[0].start == pytest.approx(7, abs=0.5)
    assert segments[0].overlap
    assert transcript.duration == pytest.approx(11, abs=0.1)
    copy = site.output("meeting") / "audio.webm"
    assert len(read_audio(copy)[0]) / 48_000 == pytest.approx(11, abs=0.2)


def test_formats_of_a_run_are_written_and_no_stage_runs_for_them(site_copy: Site) -> None:
    video, folder = site_copy.videos / "conversation.mp4", site_copy.output("conversation")
    before = {path.name for path in folder.iterdir()}
    ran = site_copy.run("transcribe", video, "--formats", "docx,never.srt", **NO_SERVER)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    exported = {"transcript.docx", "transcript.never.srt"}
    assert {path.name for path in folder.iterdir()} == before | exported
    with Here(site_copy) as cli:
        ran = cli.run("transcribe", video, "--formats", "md", "--set", "merge.max_pause=0.2")
    assert ran.code == 0, ran.out
    assert not site_copy.computed("conversation")
    assert {path.name for path in folder.iterdir()} == before | exported | {"transcript.md"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--num-speakers", "0"], "num_speakers"),
        (["--num-speakers", "two"], "--num-speakers"),
        (["--profile", "imaginary"], "choose one of auto, embedded, open, studio"),
        (["--force", "sing"], "choose from extract"),
        (["--formats", "papyrus"], "formats: there is no format 'papyrus'"),
        (["--set", "merge.max_pause"], "stage.field=value"),
        (["--set", "merge.tempo=3"], "merge.tempo"),
        (["--colour"], "--colour"),
    ],
)
def test_words_that_do_not_fit_are_one_line(site: Site, words: list[str], says: str) -> None:
    site.environment |= NO_SERVER
    with Here(site) as cli:
        ran = cli.main("transcribe", "video.mp4", *words)
    assert ran.code == 2
    assert says in ran.out
    assert len(ran.out.strip().splitlines()) == 1


def test_misspelt_setting_is_one_line(site: Site) -> None:
    ran = site.run("transcribe", **NO_SERVER, SPOKENBY_PROFIL="embedded")
    assert ran.returncode == 2
    assert "SPOKENBY_PROFIL is not a setting" in ran.stderr


def test_folder_without_videos_is_one_line(site: Site, tmp_path: Path) -> None:
    empty = tmp_path / "empty folder"
    empty.mkdir()
    site.environment |= NO_SERVER
    with Here(site) as cli:
        ran = cli.run("transcribe", empty)
    assert ran.code == 1
    assert "holds no video" in ran.out


def test_output_that_cannot_be_written_is_one_line_before_anything_is_computed(
    site: Site,
) -> None:
    blocked = site.folder / "blocked"
    blocked.write_text("a file where the folder should be")
    video = make_video(site.videos / "talk.mp4", Sound(silence(2)))
    ran = site.run("transcribe", video, "--output", blocked / "inside", **NO_SERVER)
    assert ran.returncode == 2
    (line,) = ran.stderr.strip().splitlines()
    assert "blocked" in line
    assert "choose another output folder" in line
    assert not site.results.exists()
