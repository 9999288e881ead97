"""A file of corrections finds its transcript, and what was corrected can be found."""

from __future__ import annotations

from pathlib import Path

import pytest
from output.test_corrections import TALK, VIDEO, at
from output.test_layers import FREE, LOST, MEET, write

from flows.cli.correcting import correct
from spokenby.errors import InputError
from spokenby.output.corrections import Corrections, as_json, read_corrections
from spokenby.settings import Settings, read_settings
from spokenby.site.voice_library import open_library


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
    return read_settings()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corrections.json"
    path.write_bytes(as_json(Corrections(video=VIDEO, name="talk", corrections=(MEET, FREE))))
    return path


def test_a_downloaded_file_finds_its_transcript(settings, file, capsys):
    write(settings.transcripts / "other-bbbbbbbb", video="b" * 64)
    write(settings.transcripts / "namesake-aaaaaaaa", video="a" * 8 + "b" * 56)
    folder = write(settings.transcripts / "talk-aaaaaaaa")
    assert correct(str(file)) == 0
    assert capsys.readouterr().out == f"{folder}: 2 corrections applied\n"
    text = (folder / "transcript.txt").read_text()
    assert "We meet at three o'clock." in text
    page = (folder / "page.html").read_text()
    assert "three" in page
    copy = read_corrections((settings.corrections / f"{VIDEO}.json").read_bytes())
    assert copy.corrections == (MEET, FREE)
    (hit,) = open_library(settings).find("three")
    assert hit.text == "We meet at three o'clock."


def test_what_does_not_fit_is_said_and_stored_ones_are_kept_on_request(settings, file, capsys):
    folder = write(settings.transcripts / "talk-aaaaaaaa")
    assert correct(str(file)) == 0
    one = Corrections(
        video=VIDEO, revision="1" * 16 + "-1", corrections=(LOST, at(TALK, 7, 7, checked=True))
    )
    more = file.with_name("more.json")
    more.write_bytes(as_json(one.model_copy(update={"builds_on": "2" * 16 + "-7"})))
    capsys.readouterr()
    assert correct(str(more)) == 1
    told = capsys.readouterr().out
    assert told.startswith(f"{folder}: the stored corrections have changed")
    assert correct(str(more), str(folder), add=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: 3 corrections applied",
        "  does not fit: 0:08 “meet” to “greet”: now “bye.”",
    ]


def test_a_file_that_is_none_or_of_no_transcript_is_one_line(settings, file, tmp_path):
    with pytest.raises(InputError, match=r"gone.json cannot be read \(No such file"):
        correct(str(tmp_path / "gone.json"))
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_text("{}")
    with pytest.raises(InputError, match=r"spoilt.json: video: Field required: use one that"):
        correct(str(spoilt))
    with pytest.raises(InputError, match="has no transcript of talk: name the folder"):
        correct(str(file))
    write(settings.transcripts / "a-bbbbbbbb", video="b" * 64)
    write(settings.transcripts / "b-bbbbbbbb", video="b" * 64)
    with pytest.raises(InputError, match="holds several transcripts"):
        correct(str(file), str(settings.transcripts))
