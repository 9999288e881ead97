"""`spokenby voices` on libraries in files, without a run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from flows.cli.app import app
from spokenby.errors import InputError
from spokenby.settings import Settings
from spokenby.site import voice_library
from spokenby.voices import store
from tests.voices.voice_worker import PARAMS, scene


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with patch.dict("os.environ"):
        monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
        yield Settings()
    voice_library._open.cache_clear()


def run(*words: str | Path) -> int:
    code = app(
        [str(word) for word in words],
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    assert isinstance(code, int)
    return code


def test_forget_says_what_remains(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "WAIT_S", 0.2)
    library = voice_library.open_library(settings)
    library.identify(*scene("one", np.eye(3)[0], np.eye(3)[1]), PARAMS)
    reader = sqlite3.connect(library.place, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM voices").fetchall()
    assert run("voices", "forget", "1", "--yes") == 1
    said = capsys.readouterr().out
    assert "Speaker 1 is deleted from the voice library, but traces remain" in said
    assert f"{library.place} may contain traces" in said
    assert "forgotten" not in said
    reader.close()
    assert run("voices", "forget", "2", "--yes") == 0
    assert "Speaker 2 is forgotten" in capsys.readouterr().out


def test_names_are_data(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # on a narrow terminal the name is cut into lines
    name = "\x1b[31m\x9bm[bold]a[/bold]\u202egpj\n[/x].mp4"
    library = voice_library.open_library(settings)
    library.identify(*scene(name, np.eye(3)[0]), PARAMS)
    assert run("voices", "show", "1") == 0
    shown = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e") & set(shown)
    assert "[bold]a[/bold]" in shown
    assert run("voices", "show", "1", "--json") == 0
    printed = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e") & set(printed)
    assert json.loads(printed)["appearances"][0]["video_name"] == name


@pytest.mark.parametrize("content", ["[" * 100_000, "{", '{"format": ' * 50_000])
def test_import_of_what_is_no_export(settings: Settings, tmp_path: Path, content: str) -> None:
    file = tmp_path / "voices.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"is not an export of voices \("):
        run("voices", "import", file)


def test_a_crafted_import_deletes_nothing_outside(settings: Settings, tmp_path: Path) -> None:
    library = voice_library.open_library(settings)
    library.identify(*scene("one", np.eye(3)[0]), PARAMS)
    content = library.export()
    outside = tmp_path / "data" / "outside.json"
    outside.write_text("{}")
    content["voices"][0]["appearances"][0]["embeddings"] = "../../../outside"
    file = tmp_path / "voices.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"voices\.0\.appearances\.0\.embeddings"):
        run("voices", "import", file)
    assert run("voices", "forget", "1", "--yes") == 0
    assert outside.exists()
