"""What was corrected in the same way several times is offered for the vocabulary."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROOT

from flows.cli.app import app
from spokenby.errors import InputError
from spokenby.output.corrections import Correction, Corrections, as_json
from spokenby.settings import Settings, read_settings
from spokenby.site.frequent_corrections import add_lines, find_frequent
from spokenby.site.vocabularies import read_vocabulary
from spokenby.site.voice_library import open_library
from spokenby.types import Video
from spokenby.voices.library import Line

CHANGES = {
    "a": [
        ("Lovelase.", "Lovelace."),
        ("so Lovelase said", "so Lovelace said"),
        ("Love lays", "Lovelace"),
        ("love lays,", "Lovelace,"),
        ("the", "The"),  # begins a sentence
        ("there", "their"),
        ("sea", "see"),
        ("iphone", "iPhone"),
        ("well", ""),
        ("one two three four five", "quite another thing was said"),
    ],
    "b": [
        ("lovelase", "Lovelace"),
        ("Love lays", "Lovelace"),
        ("the", "The"),
        ("there", "they're"),
        ("there", "their"),
        ("sea", "see"),
        ("iphone", "iPhone"),
        ("known", "Known; better"),
    ],
    "c": [
        ("there", "they're"),
        ("the", "The"),
        ("sea", "see"),
        ("iphone", "iPhone"),
        ("there", "their"),
        *[("known", "gnome")] * 3,
    ],
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a site on which three videos were corrected, and "sea" was often heard rightly."""
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
    settings = read_settings()
    settings.corrections.mkdir(parents=True)
    for video, changes in CHANGES.items():
        corrections = tuple(
            Correction(start=n, end=n + 1, old=old, new=new, when=datetime(2026, 1, 1, tzinfo=UTC))
            for n, (old, new) in enumerate(changes)
        )
        content = as_json(Corrections(video=video * 64, corrections=corrections))
        for ending in ("json", "1.json"):  # the second of another transcript of the video
            (settings.corrections / f"{video * 64}.{ending}").write_bytes(content)
    video = Video(path="sea.mp4", name="sea", digest="d" * 64, duration=9.0, audio_streams=1)
    lines = [Line(float(n), n + 1.0, None, "By the sea.") for n in range(4)]
    open_library(settings).note_transcript(video, "sea-dddddddd", lines)
    (settings.data_dir / "vocabulary.txt").write_text("# ours\nAda\nknown => gnome")
    return settings


def test_frequent_corrections_are_found(settings: Settings) -> None:
    found = {each.line: (each.times, each.unfit) for each in find_frequent(settings)}
    assert found == {
        "Lovelase => Lovelace": (3, ""),
        "Love lays => Lovelace": (3, ""),
        "iphone => iPhone": (3, ""),
        "sea => see": (3, "4 lines still have it: there it may be right"),
        "there => their": (3, "it also meant they're"),
    }
    assert find_frequent(settings, 4) == []


def test_the_docs_examples(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    commands = re.findall(r"\n    spokenby (vocabulary[^#\n]*)", page)
    assert [command.strip() for command in commands] == ["vocabulary", "vocabulary --add"]
    for command in commands:
        assert app(command, exit_on_error=False, result_action="return_value") == 0
    out = capsys.readouterr().out
    assert out.count("Lovelase => Lovelace    # 3 times\n") == 2
    assert "not offered: sea => see: 4 lines still have it" in out
    file = settings.data_dir / "vocabulary.txt"
    assert file.read_text() == (
        "# ours\nAda\nknown => gnome\niphone => iPhone\n"
        "Love lays => Lovelace\nLovelase => Lovelace\n"
    )
    assert read_vocabulary(file).terms == ("Ada",)
    assert app("vocabulary --add", exit_on_error=False, result_action="return_value") == 0
    assert "no correction was made 3 times that is not there already" in capsys.readouterr().out


def test_lines_that_are_added_at_once_are_all_kept(settings: Settings) -> None:
    lines = [f"heard {number} => meant" for number in range(20)]
    with ThreadPoolExecutor(20) as clicks:
        list(clicks.map(lambda line: add_lines([line], settings), lines))
    assert {*lines} <= {*(settings.data_dir / "vocabulary.txt").read_text().splitlines()}


def test_what_cannot_be_read_is_one_line(settings: Settings) -> None:
    (settings.corrections / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json: Invalid JSON"):
        find_frequent(settings)
    (settings.corrections / "bad.json").unlink()
    (settings.data_dir / "vocabulary.txt").write_text("a => b\nb => a\n")
    with pytest.raises(InputError, match=r"vocabulary\.txt cannot be used: line 1: .* circle"):
        find_frequent(settings)
