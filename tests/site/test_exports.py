"""Transcripts are found as people name them, and videos are copied with captions."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import av
import pytest
from media import Sound, make_video, silence
from output.test_rename_speakers import transcript

from flows.cli.exporting import export as export_command
from spokenby.digests import digest_file
from spokenby.errors import InputError
from spokenby.output import exporting, folders, formats, manifest
from spokenby.settings import Settings, read_settings
from spokenby.site.batch import prepare_batch
from spokenby.site.exports import add_formats, export, find_transcripts
from spokenby.site.inventory import State, VideoStatus


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
    settings = read_settings()
    settings.videos.mkdir(parents=True)
    return settings


def add(settings: Settings, name="talk", ending="mp4", seconds=4) -> tuple[Path, Path]:
    """Make a video and its transcript; return both paths."""
    video = make_video(settings.videos / f"{name}.{ending}", Sound(silence(seconds)))
    os.utime(video, (1_700_000_000, 1_700_000_000))  # digests of new files are not kept
    digest = digest_file(video)
    folder = settings.transcripts / folders.folder_name(name, digest)
    about = {
        "digest": "d" * 64,
        "video": {"name": video.name, "digest": digest, "duration": 4.0, "audio_streams": 1},
    }
    files = formats.render(transcript(2), name, {})
    folders.write_folder(folder, manifest.with_files(about, files))
    return video, folder


def decoded(path: Path, kind: str) -> list[str]:
    with av.open(str(path)) as file:
        return [
            hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()
            for frame in file.decode(**{kind: 0})
        ]


def test_transcripts_are_named_by_folder_file_video_and_parent(settings, monkeypatch):
    (video, talk), (_, other) = add(settings), add(settings, "another talk", seconds=5)
    edited = talk.with_name(f"{talk.name}.edited-1")
    edited.mkdir()
    (edited / "transcript.json").write_bytes((talk / "transcript.json").read_bytes())

    def found(path: Path | str) -> list[Path]:
        return [each.folder for each in find_transcripts(str(path), settings)]

    assert found(talk) == found(talk / "transcript.json") == found(video) == [talk]
    assert found(settings.transcripts) == [other, talk]
    assert found(edited) == [edited]
    renamed = video.rename(video.with_name("renamed.mp4"))
    assert found(renamed) == [talk]
    unknown = settings.videos / "new.mp4"
    unknown.write_bytes(b"new")
    for path, says in (
        (settings.videos, "no transcript in"),
        (unknown, "has no transcript in .* or run: spokenby transcribe"),
        (settings.videos / "gone.mp4", "gone.mp4"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            found(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("ending", "written"), [("mp4", "mp4"), ("mkv", "mkv"), ("avi", "mkv")])
def test_a_captioned_copy_has_the_same_picture_and_sound(settings, tmp_path, ending, written):
    video, folder = add(settings, "a: talk", ending)
    (found,) = find_transcripts(str(video), settings)
    to = tmp_path / "captioned"
    (result,) = export(found, ["video"], settings, to=to, stem="talk")
    assert (result.state, result.note) == ("written", "")
    assert result.path.name == f"talk.captions.{written}"
    for kind in ("video", "audio"):
        assert decoded(result.path, kind) == decoded(video, kind)
    with av.open(str(result.path)) as file:
        (chapter,) = file.chapters()
        assert chapter["metadata"]["title"] == "Speaker 7: w0"
        texts = [
            (float(packet.pts * packet.time_base), bytes(packet).lstrip(b"\0").decode()[-2:])
            for packet in file.demux(subtitles=0)
            if packet.size > 2
        ]
    assert texts == [(0.0, "w0"), (1.0, "w1"), (2.0, "w2"), (3.0, "w3")]
    assert not list(to.glob(".*"))
    (again,) = export(found, ["video"], settings, to=to, stem="talk")
    assert again.state == "edited"
    # Named by its transcript, it is where this machine has seen it last.
    (found,) = find_transcripts(str(folder), settings)
    (again,) = export(found, ["video"], settings, to=to, stem="talk", overwrite=True)
    assert again.state == "written"
    tracks = video.with_suffix(".tracks")
    tracks.mkdir()
    (none,) = export(found._replace(video=tracks), ["video"], settings, to=to, stem="tracks")
    assert (none.state, "folder of tracks: there is no video" in none.note) == ("failed", True)
    video.unlink()
    (lost,) = export(found, ["video"], settings, to=to, stem="other")
    assert (lost.state, "name the video instead" in lost.note) == ("failed", True)


def test_a_finished_transcript_gets_the_formats_that_a_run_asks_for(settings):
    _, folder = add(settings)
    batch = prepare_batch("embedded", formats="docx, srt")
    assert batch.formats == ("json", "docx", "srt")
    done = VideoStatus("talk.mp4", State.UNCHANGED, folder=str(folder))
    failed = VideoStatus("bad.mp4", State.FAILED)
    assert add_formats([done, failed], batch) == [done, failed]
    assert not exporting.missing_formats(folder, ["docx"])
    assert (folder / "transcript.txt").exists()


def test_formats_of_a_site_and_a_run_are_checked_and_in_no_key(settings, monkeypatch):
    usual = prepare_batch("embedded")
    assert usual.formats == formats.USUAL
    monkeypatch.setenv("SPOKENBY_FORMATS", "vtt,minutes.docx")
    other = prepare_batch("embedded")
    assert other.formats == ("json", "vtt", "minutes.docx")
    assert other.recipe == usual.recipe
    for named, says in (("vtx", "formats: there is no format 'vtx'"), (None, "SPOKENBY_FORMATS")):
        monkeypatch.setenv("SPOKENBY_FORMATS", "vtt" if named else "papyrus")
        with pytest.raises(InputError, match=says):
            prepare_batch("embedded", formats=named)


def test_the_command_says_what_it_wrote_and_goes_on_after_a_bad_path(settings, tmp_path, capsys):
    video, folder = add(settings)
    twin = settings.transcripts / "sub" / folder.name
    twin.parent.mkdir()
    folders.write_folder(twin, {p.name: p.read_bytes() for p in folder.iterdir()})
    assert export_command(str(video), as_="docx,md") == 0
    out = capsys.readouterr().out
    assert f"{folder / 'transcript.docx'}\n" in out
    assert out.endswith("files: 2 written\n")

    to = tmp_path / "to"
    paths = ("gone", str(settings.transcripts))
    assert export_command(*paths, as_="docx", to=str(to)) == 1
    out = capsys.readouterr().out
    assert "gone" in out.splitlines()[0]
    assert out.endswith("files: 2 written, 1 failed\n")
    assert {path.name for path in to.iterdir()} == {"talk.docx", f"{folder.name}.docx"}
    (to / "talk.docx").write_text("my own")
    assert export_command(str(folder), as_="docx", to=str(to)) == 1
    assert "--overwrite" in capsys.readouterr().out

    for words, as_, says in (
        ((), "docx", "no transcript was named"),
        (("x",), "video", "add --to"),
        (("x",), " ,", "names no format"),
        (("x",), "dokx", "did you mean docx"),
    ):
        with pytest.raises(InputError, match=says):
            export_command(*words, as_=as_)


def test_the_docs_example_of_chapters(settings, capsys):
    page = Path(__file__).parents[2].joinpath("docs", "transcript-format.md").read_text("utf-8")
    (formats_,) = re.findall(r"\n    spokenby export talk\.mp4 --as (chapters\.\S+)\n", page)
    video, folder = add(settings)
    assert export_command(str(video), as_=formats_) == 0
    assert (folder / "transcript.chapters.txt").read_text() == "0:00 Speaker 7: w0\n"
    assert "chapters.vtt" in capsys.readouterr().out
