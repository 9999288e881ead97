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
            "diarize": "e7aa55936d13d178",
            "embed": "63bc209a70013ffe",
            "transcribe": "e12710c09df4c7ad",
            "merge": "91be8992eaa543a3",
        },
    ),
    (
        Profile.EMBEDDED,
        CHANGED,
        {
            "extract": "0c194c7915b1d3b1",
            "speech": "a4acd28431b39495",
            "diarize": "b310688364feef21",
            "embed": "fed8dc56f3741029",
            "transcribe": "decb41caf0ed5b2f",
            "edges": "5cf37b1d4ee4034a",
            "merge": "67adb6ad526c712c",
        },
    ),
    (
        Profile.STUDIO,
        {},
        {
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "2fa6e2d798519015",
            "embed": "7ff29bee663c3df7",
            "transcribe": "e12710c09df4c7ad",
            "merge": "af210be1d32682b7",
        },
    ),
    (
        Profile.EMBEDDED,
        OWN,
        {
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "cad8c12c22f9bf63",
            "embed": "6d8b53437d411ada",
            "transcribe": "a7665224b3acc65e",
            "merge": "bcf0f325e08774cd",
        },
    ),
    (
        Profile.STUDIO,
        OWN,
        {
            "extract": "81ff103800051eb3",
            "speech": "f43b49c93433fe77",
            "diarize": "98c62bcbb29b062b",
            "embed": "4e535db77093c017",
            "transcribe": "a7665224b3acc65e",
            "merge": "4d23e9773244a808",
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
