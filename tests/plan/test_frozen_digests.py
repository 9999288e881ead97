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
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "0ab1a91900d9c241",
            "embed": "71c311e6eaa04ef0",
            "transcribe": "e12710c09df4c7ad",
            "merge": "5c13bcac9eeb753f",
        },
    ),
    (
        Profile.EMBEDDED,
        CHANGED,
        {
            "extract": "0c194c7915b1d3b1",
            "speech": "a4acd28431b39495",
            "diarize": "2d0754f8d767bbd2",
            "embed": "d3e91ed3dbf85709",
            "transcribe": "decb41caf0ed5b2f",
            "edges": "1a16cc347b97fde3",
            "merge": "19f1fcbbe6ec44e7",
        },
    ),
    (
        Profile.STUDIO,
        {},
        {
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "a9710c9bff36f8fe",
            "embed": "db2a1db88d989694",
            "transcribe": "e12710c09df4c7ad",
            "merge": "e8f564819b92727c",
        },
    ),
    (
        Profile.EMBEDDED,
        OWN,
        {
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "fa3abc5b30eb6657",
            "embed": "a18fe6356712b00a",
            "transcribe": "a7665224b3acc65e",
            "merge": "55e2245623b17f57",
        },
    ),
    (
        Profile.STUDIO,
        OWN,
        {
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "fb51e2fb909a19de",
            "embed": "8fb87e126a79ac25",
            "transcribe": "a7665224b3acc65e",
            "merge": "5db9ade965b56403",
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
