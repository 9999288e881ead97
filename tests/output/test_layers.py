"""Corrections belong to a folder: in every format, through new names and runs, undone at will."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from output.test_corrections import TALK, VIDEO, A, at, who

from spokenby.errors import InputError, TransientError
from spokenby.output import exporting, folders, formats, layers, manifest
from spokenby.output.corrections import Correction, Corrections, Who, as_json
from spokenby.output.layers import Saved, save_corrections
from spokenby.output.rename_speakers import rewrite_folder
from spokenby.types import Identity, SpeakerTranscript

SESSION, OTHER = "1" * 16, "2" * 16


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(folder: Path, transcript: SpeakerTranscript = TALK, video: str = VIDEO) -> Path:
    about = {
        "digest": transcript.digest,
        "video": {"name": "talk.mp4", "digest": video, "duration": 9.0, "audio_streams": 1},
        "identified_from": "e" * 64,
        "speakers": 2,
    }
    files = formats.render(transcript, "talk", {}) | {"audio.webm": b"sound"}
    folders.write_folder(
        folder, manifest.with_files(manifest.renamed(about, transcript, []), files)
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "talk-aaaaaaaa")


@pytest.fixture
def save(folder: Path, tmp_path: Path):
    """Save corrections as a page does, and return how they were applied."""

    def saving(
        *corrections: Correction, number: int = 1, session=SESSION, builds_on="", **how
    ) -> Saved:
        content = as_json(
            Corrections(
                video=VIDEO,
                name="talk",
                revision=f"{session}-{number}",
                builds_on=builds_on,
                corrections=corrections,
            )
        )
        return save_corrections(
            folder, content, locks=tmp_path / "locks", copies=tmp_path / "copies", **how
        )

    return saving


def revision_of(folder: Path) -> str:
    return str(json.loads((folder / "corrections.json").read_bytes())["revision"])


MEET = at(TALK, 1, 1, new="meet")
FREE = at(TALK, 3, 3, new="three", author="Ada")
LOST = MEET.model_copy(update={"old": "meet", "new": "greet", "start": 8.0, "end": 8.8})


def test_every_file_shows_the_corrections_and_undoing_them_brings_all_back(folder, save):
    before = contents(folder)
    saved = save(MEET, FREE, at(TALK, 8, 8, speaker=Who(name="Grace")), LOST)
    assert (saved.applied, [each.number for each in saved.unfit]) == (3, [3])
    after = contents(folder)
    for name in ("transcript.json", "transcript.srt", "transcript.vtt", "transcript.txt"):
        assert "meat" not in after[name].decode()
        assert "three" in after[name].decode()
        assert "Grace" in after[name].decode()
    assert "SPEAKER_02" in after["transcript.rttm"].decode()
    assert formats.read_transcript(after["recognized.json"]) == TALK
    assert after["recognized.json"] == before["transcript.json"]
    about = json.loads(after["manifest.json"])
    assert about["corrections"] == {"applied": 3, "unfit": 1, "checked": 0.222}
    warning = "1 of 4 corrections does not fit: 0:08 “meet” to “greet”: now “bye.”"
    assert about["warnings"] == [warning]
    assert about["speakers"] == 3
    assert about["files"].keys() == after.keys() - {"manifest.json"}
    assert not folders.is_edited(folder)
    assert formats.read_transcript(after["transcript.json"]).warnings == (warning,)

    save(number=2)
    undone = contents(folder)
    assert json.loads(undone.pop("corrections.json"))["corrections"] == []
    about = json.loads(undone.pop("manifest.json"))
    assert about.pop("files").pop("corrections.json")
    former = json.loads(before.pop("manifest.json"))
    former.pop("files")
    assert (undone, about) == (before, former)


def test_names_and_exports_go_on_with_corrected_transcripts(folder, save, tmp_path):
    save(MEET, at(TALK, 5, 5, speaker=who(TALK, A)))
    exported = exporting.export_into(folder, ["md"], tmp_path / "locks")
    assert [each.state for each in exported] == ["written"]
    assert "meet" in (folder / "transcript.md").read_text()
    ada = Identity(speaker=A, voice=7, name="Ada", known=True)
    told = rewrite_folder(folder, lambda *_: [ada], tmp_path / "locks")
    assert told.state == "written"
    assert "Ada: We meet" in (folder / "transcript.txt").read_text()
    assert "Ada" in (folder / "recognized.json").read_text()
    assert "Ada" in (folder / "transcript.md").read_text()
    assert formats.open_transcript(folder / "recognized.json").transcript.segments == TALK.segments
    assert not folders.is_edited(folder)
    assert rewrite_folder(folder, lambda *_: [ada], tmp_path / "locks").state == "unchanged"
    # The voice is theirs under its new name, too.
    assert formats.open_transcript(folder).transcript.segments[0].text == (
        "We meet at free o'clock. Yes"
    )


def test_the_sound_stays_the_same_file(folder, save):
    before = (folder / "audio.webm").stat()
    save(MEET)
    after = (folder / "audio.webm").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_corrections_outlive_their_folder(folder, save, tmp_path):
    save(MEET)
    (copy,) = (tmp_path / "copies").iterdir()
    assert (copy.name, copy.stat().st_mode & 0o777) == (f"{VIDEO}.json", 0o600)
    content = (folder / "corrections.json").read_bytes()
    assert copy.read_bytes() == content
    assert layers.stored_corrections(folder, VIDEO, tmp_path / "copies") == (
        content,
        str(folder / "corrections.json"),
    )
    (folder / "corrections.json").unlink()
    assert manifest.read_manifest(folder) is None  # so that a run writes it again
    assert layers.stored_corrections(folder, VIDEO, tmp_path / "copies") == (content, str(copy))
    copy.unlink()
    layers.keep_copy(content, VIDEO, tmp_path / "copies")
    assert copy.read_bytes() == content
    layers.keep_copy(b"other", VIDEO, tmp_path / "copies")
    assert copy.read_bytes() == content


def test_nobody_writes_over_what_somebody_else_corrected(folder, save):
    save(MEET)
    save(MEET, FREE, number=2)  # the same page goes on
    with pytest.raises(InputError, match="have changed since this page was opened"):
        save(LOST, session=OTHER)
    with pytest.raises(InputError, match="have changed since this page was opened"):
        save(LOST, session=OTHER, builds_on=f"{SESSION}-1")
    both = save(FREE, at(TALK, 7, 7, checked=True), session=OTHER, add=True)
    assert both.applied == 3
    with pytest.raises(InputError, match="have changed"):
        save(MEET, number=3)
    with pytest.raises(InputError, match="have changed"):  # the page of what was added, too
        save(FREE, session=OTHER, number=2)
    assert save(MEET, number=3, builds_on=revision_of(folder)).applied == 1


def test_what_a_program_corrected_is_not_undone_by_a_page_opened_before(folder, tmp_path, save):
    content = as_json(Corrections(video=VIDEO, corrections=(MEET,)))
    save_corrections(folder, content, locks=tmp_path / "locks", copies=tmp_path / "copies")
    with pytest.raises(InputError, match="have changed"):
        save(FREE)
    assert save(MEET, FREE, builds_on=revision_of(folder)).applied == 2


def test_two_transcripts_of_a_video_are_corrected_each_for_itself(folder, save, tmp_path):
    other = folder.with_name("talk by another model-aaaaaaaa")
    shutil.copytree(folder, other)
    save(MEET)
    first = (folder / "corrections.json").read_bytes()
    how = {"locks": tmp_path / "locks", "copies": tmp_path / "copies"}
    mine = Corrections(video=VIDEO, revision=f"{OTHER}-1", corrections=(FREE,))
    assert save_corrections(other, as_json(mine), **how).applied == 1
    again = mine.model_copy(update={"revision": f"{OTHER}-2"})
    assert save_corrections(other, as_json(again), **how).applied == 1
    assert (folder / "corrections.json").read_bytes() == first
    second = (other / "corrections.json").read_bytes()
    copies = contents(tmp_path / "copies")
    assert copies == {f"{VIDEO}.json": first, f"{VIDEO}.1.json": second}
    assert layers.stored_corrections(tmp_path, VIDEO, tmp_path / "copies")[0] == second
    for number in (2, 3):  # in turn
        save(MEET, at(TALK, 7, 7, checked=True), number=number)
        again = mine.model_copy(update={"revision": f"{OTHER}-{number + 1}"})
        save_corrections(other, as_json(again), **how)
    copies = contents(tmp_path / "copies")
    assert copies.keys() == {f"{VIDEO}.json", f"{VIDEO}.1.json"}
    assert copies[f"{VIDEO}.json"] == (folder / "corrections.json").read_bytes()


def test_what_is_not_this_transcripts_is_refused_and_changes_nothing(folder, save, tmp_path):
    before = contents(folder)
    locks = {"locks": tmp_path / "locks", "copies": tmp_path / "copies"}
    wrong = as_json(Corrections(video="b" * 64, name="other talk", corrections=(MEET,)))
    with pytest.raises(InputError, match=r"corrects another video, other talk: use it with"):
        save_corrections(folder, wrong, **locks)
    with pytest.raises(InputError, match="Invalid JSON"):
        save_corrections(folder, b"{", **locks)
    with pytest.raises(InputError, match="missing or incomplete"):
        save_corrections(tmp_path / "gone", as_json(Corrections(video=VIDEO)), **locks)
    (folder / "transcript.txt").write_text("by hand")
    with pytest.raises(InputError, match="was edited by hand"):
        save(MEET)
    (folder / "transcript.txt").write_bytes(before["transcript.txt"])
    assert contents(folder) == before
    assert not (tmp_path / "copies").exists() or not list((tmp_path / "copies").iterdir())
    (folder / "transcript.txt").write_text("by hand")
    saved = save(MEET, overwrite=True)
    assert saved.kept == folder.with_name("talk-aaaaaaaa.edited-1")
    assert "meet" in (folder / "transcript.txt").read_text()


def test_a_save_that_fails_leaves_folder_and_copy(folder, save, tmp_path, monkeypatch):
    save(MEET)
    before = contents(folder), contents(tmp_path / "copies")

    def full(*_):
        raise TransientError("the disk is full")

    monkeypatch.setattr(folders, "write_folder", full)
    with pytest.raises(TransientError):
        save(MEET, FREE, number=2)
    assert (contents(folder), contents(tmp_path / "copies")) == before


def test_a_forgotten_voice_leaves_no_name_and_keeps_its_words(folder, save, tmp_path):
    ada = Who(name="Ada", label=A, voice=7, talk_time=TALK.speakers[0].talk_time)
    save(MEET, at(TALK, 5, 5, speaker=ada))
    before = formats.open_transcript(folder).transcript.segments
    how = {"locks": tmp_path / "locks", "copies": tmp_path / "copies"}
    (tmp_path / "copies" / f"{'b' * 64}.json").write_text("spoilt")
    (line,) = layers.forget_name([folder], {7}, **how)
    assert "b.json: Invalid JSON" in line
    with pytest.raises(InputError, match="have changed"):  # an open page would bring it back
        save(MEET, at(TALK, 5, 5, speaker=ada), number=2)
    copy = tmp_path / "copies" / f"{VIDEO}.json"
    for path in (folder / "corrections.json", copy):
        assert "Ada" not in path.read_text()
        assert "meet" in path.read_text()
    save(MEET, builds_on=revision_of(folder), number=3)  # in the place of its own copy
    save(MEET, at(TALK, 5, 5, speaker=ada.model_copy(update={"name": A, "voice": None})), number=4)
    assert copy.read_bytes() == (folder / "corrections.json").read_bytes()
    assert len(list(copy.parent.iterdir())) == 2
    unknown = Identity(speaker=A, voice=None, name="Unknown speaker A")
    told = rewrite_folder(folder, lambda *_: [unknown], tmp_path / "locks")
    assert told.state == "written"
    assert formats.open_transcript(folder).transcript.segments == before
    assert not [path for path in folder.iterdir() if b"Ada" in path.read_bytes()]


def test_a_file_put_there_by_hand_is_no_edit_and_a_spoilt_one_is_not_lost(folder, tmp_path):
    (folder / "corrections.json").write_bytes(as_json(Corrections(video=VIDEO, corrections=[MEET])))
    assert not folders.is_edited(folder)
    ada = Identity(speaker=A, voice=7, name="Ada", known=True)
    assert rewrite_folder(folder, lambda *_: [ada], tmp_path / "locks").state == "written"
    assert "Ada: We meet" in (folder / "transcript.txt").read_text()
    (folder / "corrections.json").write_text("spoilt")
    before = contents(folder)
    bob = ada.model_copy(update={"name": "Bob"})
    told = rewrite_folder(folder, lambda *_: [bob], tmp_path / "locks")
    assert (told.state, contents(folder)) == ("failed", before)
    assert str(folder / "corrections.json") in told.note
