"""Every stage's digest, frozen: what is stored on a site must be found again after a change.

A digest that differs here makes every site compute that stage again. That is right only where the
stage's output changed and its VERSION was raised.
"""

from typing import Literal

import pytest

from spokenby.plan.planning import stage_digests
from spokenby.plan.profiles import Profile, make_recipe
from spokenby.stages import transcription
from spokenby.types import StageParams

MODELS = {
    "speech": ("hub:silero", "hub:segmentation"),
    "diarize": ("hub:speakers",),
    "embed": ("hub:voices",),
    "transcribe": ("hub:words",),
}
CHANGED = {
    "extract": {"audio_stream": 1},
    "speech": {"onset": 0.4},
    "diarize": {"num_speakers": 2},
    "transcribe": {"faster_whisper": {"beam_size": 3}, "language": "en"},
    "edges": {"enabled": True},
    "merge": {"max_pause": 2.0},
}


OWN = {
    "diarize": {
        "clustering": {
            "embedder": "speechbrain",
            "window": 2.0,
            "hop": 1.0,
            "join_similarity": 0.9,
            "max_gap": 0.1,
        }
    },
    "transcribe": {
        "max_wordless_gap": 2.0,
        "faster_whisper": {
            "compute_type": "float32",
            "initial_prompt": "one",
            "hotwords": "two",
            "workers": 2,
        },
    },
    "merge": {"max_wordless_share": 0.3},
    "identify": {"enabled": False},
}
"""Params of engines, and those that had other names when their digests were first computed."""


FROZEN = [
    (
        Profile.EMBEDDED,
        {},
        {
            "extract": "5e9d32b4728a744f",
            "speech": "7d30da16ef6e098a",
            "diarize": "275f75099cd130b3",
            "embed": "f4f3d891c7a604bb",
            "transcribe": "c45e73707136a68f",
            "merge": "234d511e1f5f3348",
        },
    ),
    (
        Profile.EMBEDDED,
        CHANGED,
        {
            "extract": "bc69a9966c299744",
            "speech": "ce9ce05b9ebad1d3",
            "diarize": "8b5789528b00335f",
            "embed": "cbfdaafad37d48a4",
            "transcribe": "d2bfe4716da93073",
            "edges": "ae0469d1ad6bb7a8",
            "merge": "6ef38b53c5787752",
        },
    ),
    (
        Profile.STUDIO,
        {},
        {
            "extract": "5e9d32b4728a744f",
            "speech": "7d30da16ef6e098a",
            "diarize": "5b46ffc6cd348bbf",
            "embed": "64395b73fab5eba4",
            "transcribe": "c45e73707136a68f",
            "merge": "410adcf707bcb3d2",
        },
    ),
    (
        Profile.EMBEDDED,
        OWN,
        {
            "extract": "5e9d32b4728a744f",
            "speech": "7d30da16ef6e098a",
            "diarize": "165fb83434ee02e6",
            "embed": "5a6f9c7855dbe43c",
            "transcribe": "f04ae88e7fe48b92",
            "merge": "1f1289e9f6758c2c",
        },
    ),
    (
        Profile.STUDIO,
        OWN,
        {
            "extract": "5e9d32b4728a744f",
            "speech": "7d30da16ef6e098a",
            "diarize": "babd2aae531f8b1e",
            "embed": "79c346c1e8b0f1a7",
            "transcribe": "f04ae88e7fe48b92",
            "merge": "58ecf01c2f734ea0",
        },
    ),
]


def test_an_engine_more_changes_no_digest_of_others() -> None:
    """Its own params are in the key of those who use it."""

    class Own(StageParams):
        beam_size: int = 9

    class More(transcription.Params):
        engine: Literal["faster_whisper", "more"] = "faster_whisper"
        more: Own = Own()

    usual = transcription.Params().in_key()
    assert More(more=Own(beam_size=1)).in_key() == usual
    assert More(engine="more").in_key() == usual | {"engine": "more", "more": {"beam_size": 9}}


@pytest.mark.parametrize(("profile", "params", "frozen"), FROZEN)
def test_no_digest_changes_unnoticed(profile, params, frozen):
    found = stage_digests("0" * 64, make_recipe(profile, **params), MODELS)

    assert {str(stage): digest[:16] for stage, digest in found.items()} == frozen
