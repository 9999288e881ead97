from __future__ import annotations

from pathlib import Path

import pytest

from spokenby.digests import DigestIndex
from spokenby.errors import InputError
from spokenby.plan.profiles import (
    Profile,
    choose_profile,
    identify_models,
    make_recipe,
    merge_params,
    read_params,
)


def test_auto_takes_the_best_whose_models_are_here(tmp_path: Path) -> None:
    profile, why = choose_profile("auto", tmp_path)
    assert profile is Profile.EMBEDDED
    assert "is not installed" in why  # and says what keeps it from a better one


def test_named_profile_is_taken_as_it_is(tmp_path: Path) -> None:
    assert choose_profile("studio", tmp_path)[0] is Profile.STUDIO
    with pytest.raises(InputError, match="choose one of auto, embedded, open, studio"):
        choose_profile("Studio", tmp_path)


@pytest.mark.parametrize("profile", [profile for profile in Profile if profile != "auto"])
def test_every_profile_makes_a_recipe(profile: Profile) -> None:
    assert make_recipe(profile).profile is profile


def test_params_are_set_over_the_profile() -> None:
    recipe = make_recipe(Profile.OPEN, diarize={"num_speakers": "3"})
    assert recipe.diarize.num_speakers == 3
    assert recipe.transcribe.model == "faster-whisper-small"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"diarize": {"num_speakers": 0}}, "diarize.num_speakers = 0 is invalid"),
        (
            {"diarize": {"min_speakers": 3, "max_speakers": 2}},
            "diarize is invalid: no number of speakers is at least 3 and at most 2: see",
        ),
        ({"transcribe": {"language": "zz"}}, "it is no language that Whisper knows .use a code"),
        ({"transcribe": {"language": "Germn"}}, "transcribe.language = 'Germn' is invalid"),
        ({"transcribe": {"language": "Germn"}}, "did you mean German"),
        ({"merge": {"tempo": 1}}, "merge.tempo = 1 is invalid"),
        ({"merge": {"max_puase": 1}}, "there is no such param: write merge.max_pause, or see all"),
        ({"trascribe": {"beam_size": 1}}, "write transcribe.faster_whisper.beam_size, or"),
        ({"singing": {"loud": True}}, "singing"),
        ({"profile": {"loud": True}}, "profile is invalid"),
        ({"transcribe": {"engine": "ear"}}, "transcribe.engine = 'ear'"),
        ({"diarize": {"clustering": {"hop": 9}}}, "diarize.clustering.hop = 9 is invalid"),
        (
            {"diarization": {"num_speakers": 2}},
            "is now called diarize.num_speakers",
        ),
        ({"diarize": {"window": 2}}, "diarize.window is now called diarize.clustering.window"),
        ({"voices": {"identify": False}}, "voices.identify is now called identify.enabled"),
    ],
)
def test_params_that_do_not_fit_are_named(params: dict[str, dict[str, object]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_recipe(Profile.EMBEDDED, **params)


def test_params_are_read_from_words() -> None:
    words = ["diarize.clustering.hop=1", "diarize.clustering.window=3", "merge.max_pause=2"]
    recipe = make_recipe(Profile.EMBEDDED, **read_params([*words, "merge.max_pause=4"]))
    assert (recipe.diarize.clustering.hop, recipe.diarize.clustering.window) == (1, 3)
    assert recipe.merge.max_pause == 4
    assert read_params(["transcribe.hotwords=a=b"]) == {"transcribe": {"hotwords": "a=b"}}
    for wrong in ("merge.max_pause", "merge=2", "merge.=2", ".max_pause=2"):
        with pytest.raises(InputError, match=r"write stage\.field=value"):
            read_params([wrong])


def test_the_last_that_says_something_wins() -> None:
    first = {"a": {"x": 1, "own": {"y": 1, "z": 1}}, "b": 2}
    second = {"a": {"x": None, "own": {"z": 2}}, "b": {"x": 3}}
    assert merge_params(first, second) == {"a": {"x": 1, "own": {"y": 1, "z": 2}}, "b": {"x": 3}}


def test_models_are_identified_by_their_bytes(tmp_path: Path) -> None:
    index = DigestIndex(tmp_path / "index.sqlite")
    found = identify_models(make_recipe(Profile.EMBEDDED), tmp_path, index)
    assert set(found) == {"speech", "diarize", "embed", "transcribe"}
    assert found["diarize"] == found["embed"]  # the same voice encoder
    models = [identity for identities in found.values() for identity in identities]
    assert len({identity.rpartition(":")[2] for identity in models}) == 4
