"""Every stage's digest, frozen: what is stored on a site must be found again after a change.

A digest that differs here makes every site compute that stage anew. That is right where the stage's
output changed, and its VERSION was raised; nowhere else.
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
            "speech": "e707e31efbd0b675",
            "diarize": "a9d3516126e05078",
            "embed": "c441c744416f8d49",
            "transcribe": "785197f4e394fe16",
            "merge": "c9e1d78b870c3bf7",
        },
    ),
    (
        Profile.EMBEDDED,
        CHANGED,
        {
            "extract": "bc69a9966c299744",
            "speech": "caf668a3afb0514d",
            "diarize": "bb6669689df4fa7c",
            "embed": "df66b5ac57390ee3",
            "transcribe": "9579f068f56aa7a4",
            "edges": "1691dc5536f5f1b3",
            "merge": "d5395fb3846b70f9",
        },
    ),
    (
        Profile.STUDIO,
        {},
        {
            "extract": "5e9d32b4728a744f",
            "speech": "e707e31efbd0b675",
            "diarize": "ea35f4ae9757fb0f",
            "embed": "d13f1f260420342a",
            "transcribe": "785197f4e394fe16",
            "merge": "8bc156c4b5bea846",
        },
    ),
    (
        Profile.EMBEDDED,
        OWN,
        {
            "extract": "5e9d32b4728a744f",
            "speech": "e707e31efbd0b675",
            "diarize": "92c6c0af22cba4cb",
            "embed": "2dae0fd6420b6c1d",
            "transcribe": "66b9c2a72e932b68",
            "merge": "073df9da412ae1b9",
        },
    ),
    (
        Profile.STUDIO,
        OWN,
        {
            "extract": "5e9d32b4728a744f",
            "speech": "e707e31efbd0b675",
            "diarize": "21715a1709cc08ff",
            "embed": "affa622cfce4ef44",
            "transcribe": "66b9c2a72e932b68",
            "merge": "cb4a143d9eb2e497",
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
