"""Forgetting a voice: what is deleted, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from spokenby.plan.stages import Stage
from spokenby.settings import Settings
from spokenby.site.stage_results import read_stored, storage_key
from spokenby.site.voice_library import delete_embeddings, forget_voice, open_library
from spokenby.voices.tables import appearances
from tests.voices.voice_worker import PARAMS, digest_of, scene


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "site" / "data")
    open_library(settings).identify(*scene("one", np.eye(3)[0]), PARAMS)
    return settings


def stored(settings: Settings) -> Path:
    path = settings.results / storage_key(Stage.EMBED, digest_of("embeddings of one"))
    path.parent.mkdir(parents=True)
    return path


def test_stored_voiceprints_are_deleted(settings: Settings) -> None:
    path = stored(settings)
    path.write_text("{}")
    compared = settings.cache / "evaluation" / "embedded" / "transcripts"  # they have names
    compared.mkdir(parents=True)
    assert forget_voice("1", settings).remains == ()
    assert not path.exists()
    assert not compared.exists()


def test_what_cannot_be_deleted_is_said(settings: Settings) -> None:
    path = stored(settings)
    path.mkdir()  # no system unlinks a folder
    change, remains = forget_voice("1", settings)
    assert change.before == ("Speaker 1",)
    (line,) = remains
    assert line.startswith(f"{path} cannot be deleted (")


@pytest.mark.parametrize("bad", ["../../../outside", "/outside", "A" * 64, "0" * 63, ""])
def test_what_is_no_digest_names_no_file(settings: Settings, bad: str) -> None:
    outside = settings.data_dir.parent / "outside.json"
    outside.write_text("{}")
    with open_library(settings)._store.writing() as connection:  # as an older version imported it
        connection.execute(update(appearances).values(embeddings=bad))
    with pytest.raises(ValueError, match="String should match pattern"):
        storage_key(Stage.EMBED, bad)
    assert read_stored(Stage.EMBED, bad, settings) is None
    assert delete_embeddings([bad], settings) == []
    assert forget_voice("1", settings).remains == ()
    assert outside.exists()
