"""Params of earlier versions are read; those of today stay as they are."""

from __future__ import annotations

from spokenby.plan import renamed_params
from spokenby.plan.profiles import PARAMS, Profile, make_recipe
from spokenby.plan.renamed_params import renamed, with_new_names


def test_every_old_name_leads_to_one_of_today() -> None:
    assert set(renamed_params._STAGES.values()) < set(PARAMS)
    for old, now in renamed_params._FIELDS.items():
        found = make_recipe(Profile.EMBEDDED)
        for part in now.split("."):
            found = getattr(found, part)
        assert renamed(old) == now


def test_all_params_of_an_earlier_version_are_read() -> None:
    """As a manifest holds them: every field, with its value."""
    old = {
        "audio": {"audio_stream": 1},
        "diarization": {"engine": "clustering", "hop": 1.0, "same_voice": 0.9, "max_pause": 0.2},
        "transcription": {"beam_size": 2, "max_wordless": 2.5, "language": "en"},
        "merging": {"max_pause": 2.0, "max_wordless": 0.3, "same_voice": 0.8},
        "voices": {"identify": False, "margin": 0.2},
    }
    recipe = make_recipe(Profile.EMBEDDED, **with_new_names(old))
    assert recipe.extract.audio_stream == 1
    assert recipe.diarize.clustering.model_dump(exclude={"embedder", "window"}) == {
        "hop": 1.0,
        "join_similarity": 0.9,
        "max_gap": 0.2,
    }
    assert recipe.transcribe.faster_whisper.beam_size == 2
    assert (recipe.transcribe.max_wordless_gap, recipe.transcribe.language) == (2.5, "en")
    assert (recipe.merge.max_pause, recipe.merge.max_wordless_share) == (2.0, 0.3)
    assert recipe.merge.same_voice == 0.8
    assert (recipe.identify.enabled, recipe.identify.margin) == (False, 0.2)


def test_params_of_today_stay_as_they_are() -> None:
    params = make_recipe(Profile.STUDIO).model_dump(exclude={"profile"})
    assert with_new_names(params) == params
