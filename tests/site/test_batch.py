"""What a site's settings make of the profiles."""

from __future__ import annotations

import pytest

from flows.cli.transcribing import Options
from spokenby.plan.profiles import Profile, make_recipe
from spokenby.settings import Settings
from spokenby.site.batch import prepare_batch, site_params

PROFILES = [profile for profile in Profile if profile is not Profile.AUTO]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("encoder", ["campplus", "speechbrain"])
def test_one_voice_encoder_a_site_whatever_the_profile(profile: Profile, encoder: str) -> None:
    settings = Settings.model_validate({"voice_encoder": encoder})
    recipe = make_recipe(profile, **site_params(settings))
    assert recipe.embed.engine == encoder
    assert recipe.diarize == make_recipe(profile).diarize


def test_listening_copy_is_switched_off_for_a_site_or_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = Options(no_listening_copy=True).request()
    assert prepare_batch("embedded").recipe.write.listening_copy
    assert not prepare_batch("embedded", params=switch["params"]).recipe.write.listening_copy
    monkeypatch.setenv("SPOKENBY_LISTENING_COPY", "false")
    assert not prepare_batch("embedded").recipe.write.listening_copy


def test_another_encoder_for_one_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = prepare_batch("embedded")
    assert usual.recipe.embed.engine == "campplus"
    assert "voiceprints" not in usual.profile_reason
    monkeypatch.setenv("SPOKENBY_VOICE_ENCODER", "speechbrain")
    other = prepare_batch("embedded", params={"embed": {"engine": "campplus"}})
    assert other.recipe.embed.engine == "campplus"
    assert other.profile_reason.endswith(
        "voiceprints by campplus, which are not compared with those by speechbrain, this site's"
        " encoder"
    )
