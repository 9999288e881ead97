"""Every stage's digest, frozen: what is stored on a site must be found again after a change.

A digest that differs here makes every site compute that stage anew. That is right where the stage's
output changed, and its VERSION was raised; nowhere else.
"""

import pytest

from spokenby.plan.profiles import Profile, make_recipe
from spokenby.plan.stages import stage_digests

MODELS = {
    "speech": ("hub:silero", "hub:segmentation"),
    "diarize": ("hub:speakers",),
    "embed": ("hub:voices",),
    "transcribe": ("hub:words",),
}
CHANGED = {
    "audio": {"audio_stream": 1},
    "speech": {"onset": 0.4},
    "diarization": {"num_speakers": 2},
    "transcription": {"beam_size": 3, "language": "en"},
    "edges": {"enabled": True},
    "merging": {"max_pause": 2.0},
}


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
]


@pytest.mark.parametrize(("profile", "params", "frozen"), FROZEN)
def test_no_digest_changes_unnoticed(profile, params, frozen):
    found = stage_digests("0" * 64, make_recipe(profile, **params), MODELS)

    assert {str(stage): digest[:16] for stage, digest in found.items()} == frozen
