"""Further files of a finished transcript: listed, renamed with the rest, over nobody's work."""

from __future__ import annotations

import json
from pathlib import Path

import docx
import pytest
from output.test_formats import transcript_of
from output.test_rename_speakers import AFTER, BEFORE, contents, identities_of, transcript, write

from spokenby.output import folders, formats, manifest
from spokenby.output.exporting import export_into, export_to, missing_formats
from spokenby.output.rename_speakers import rewrite_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "talk-12345678", transcript())


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_an_exported_file_belongs_to_the_folder_and_gets_new_names_with_the_rest(folder, locks):
    before = contents(folder)
    results = export_into(folder, ["docx", "srt"], locks)
    assert [(each.path.name, each.state) for each in results] == [
        ("transcript.docx", "written"),
        ("transcript.srt", "unchanged"),
    ]
    after = contents(folder)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: content for name, content in before.items() if name != "manifest.json"
    }
    assert not folders.is_edited(folder)
    about = manifest.read_manifest(folder)
    assert about
    assert about["files"] == folders.file_entries(
        {name: content for name, content in after.items() if name != "manifest.json"}
    )
    assert missing_formats(folder, ["docx", "md", "json"]) == ["md"]
    assert {each.state for each in export_into(folder, ["docx"], locks)} == {"unchanged"}

    assert rewrite_folder(folder, identities_of(AFTER), locks).state == "written"
    styles = {p.style.name for p in docx.Document(str(folder / "transcript.docx")).paragraphs}
    assert "Ada  L." in styles
    assert rewrite_folder(folder, identities_of(BEFORE), locks).state == "written"
    again = contents(folder)
    assert json.loads(again.pop("manifest.json")) == json.loads(after.pop("manifest.json"))
    assert again == after


def test_what_somebody_edited_or_put_there_stays(folder, locks):
    (folder / "transcript.txt").write_text("by hand")
    (folder / "transcript.docx").write_text("my own")
    results = export_into(folder, ["txt", "docx", "md"], locks)
    assert [each.state for each in results] == ["edited", "edited", "written"]
    assert (folder / "transcript.txt").read_text() == "by hand"
    assert (folder / "transcript.docx").read_text() == "my own"
    assert folders.is_edited(folder)
    told = rewrite_folder(folder, identities_of(AFTER), locks)
    assert told.state == "edited"
    results = export_into(folder, ["txt", "docx"], locks, overwrite=True)
    assert [each.state for each in results] == ["written", "written"]
    assert not folders.is_edited(folder)


def test_files_elsewhere_are_named_after_the_video_and_never_replaced_unasked(folder, tmp_path):
    target = tmp_path / "new" / "handover"
    results = export_to(folder, ["minutes.docx", "md"], target, "talk")
    assert [each.path.name for each in results] == ["talk.minutes.docx", "talk.md"]
    (target / "talk.md").write_text("my own")
    results = export_to(folder, ["minutes.docx", "md"], target, "talk")
    assert [each.state for each in results] == ["unchanged", "edited"]
    assert (target / "talk.md").read_text() == "my own"
    (result,) = export_to(folder, ["md"], target, "talk", overwrite=True)
    assert result.state == "written"
    (failed,) = export_to(folder, ["md"], folder / "manifest.json", "talk")
    assert failed.state == "failed"


def test_what_cannot_be_written_is_told_and_stops_nothing_else(tmp_path, locks):
    long = transcript_of([("S0", [(36_000.0, 36_001.0, "late")])], digest="d" * 64)
    folder = write(tmp_path / "long-12345678", long, {})
    results = export_into(folder, ["ass", "md"], locks)
    assert [each.state for each in results] == ["failed", "written"]
    assert "10 hours" in results[0].note
    (folder / "transcript.srt").unlink()
    (result,) = export_into(folder, ["docx"], locks)
    assert (result.state, result.note) == ("failed", "its transcript is missing or incomplete")


def test_formats_are_chosen_by_name():
    chosen = formats.choose_formats(["docx, SRT,.md", "textgrid", "docx"], "--as")
    assert chosen == ("docx", "srt", "md", "TextGrid")
    for wrong, says in (("dokx", "did you mean docx"), ("wordperfect", "use one of rttm")):
        with pytest.raises(formats.InputError, match=f"--as: there is no format '{wrong}'.*{says}"):
            formats.choose_formats([wrong], "--as")
