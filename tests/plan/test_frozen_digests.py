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
            "extract": "81ff103800051eb331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f4653",
            "speech": "f43b49c93433fe775aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e9",
            "diarize": "e7aa55936d13d178e9ee4763cb4cd658dbe98a0a12722a100c4dfd3e3d1f9413",
            "embed": "63bc209a70013ffe3a8994a79fed8e97fe68cb0a4398213ae0037b96165a8336",
            "transcribe": "e12710c09df4c7adde44b4cd73f3aa780f4b216f31e756f31d8723315032c75bde44b4cd73f3aa780f4b216f31e756f31d8723315032c75b",
            "merge": "91be8992eaa543a35b66b018228e582c4d78d2aa35a3a4084bf282f24dd04d55",
        },
    ),
    (
        Profile.EMBEDDED,
        CHANGED,
        {
            "extract": "0c194c7915b1d3b1864b587a39c05effdbf62d86e20cc5f5e4992cf97965c96e",
            "speech": "a4acd28431b39495daf9aa17271730f48058ba76b6ace00010f341d643e7ba0a",
            "diarize": "b310688364feef2145d3055959f8ee47d8522b8539d0bccd24291bcc9e0356c2",
            "embed": "fed8dc56f3741029c1db37d06c338536c3451a8a8ccfd92b1e5df2e92315c133",
            "transcribe": "decb41caf0ed5b2f245a7636d77d3fcf7e70c622e54f44e4db454430d16806ce",
            "edges": "5cf37b1d4ee4034a1ae2c13ad67374bfba99761bd75cce3410171e39f316707d",
            "merge": "67adb6ad526c712c766dcfeebaf00cbb9f1b9965471d348744375f0ecfe28484",
        },
    ),
    (
        Profile.STUDIO,
        {},
        {
            "extract": "81ff103800051eb331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f4653",
            "speech": "f43b49c93433fe775aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e9",
            "diarize": "2fa6e2d79851901544493806d590f0766a5a408ead9f6e8f2a16d01c3689c4d1",
            "embed": "7ff29bee663c3df7ae1b34e50b7e00e0882c171787f0b84e41edda9d9d31ec81",
            "transcribe": "e12710c09df4c7adde44b4cd73f3aa780f4b216f31e756f31d8723315032c75bde44b4cd73f3aa780f4b216f31e756f31d8723315032c75b",
            "merge": "af210be1d32682b73719ee0d5c2e5c75e880ecfbde91e41395651440fbb0d4f3",
        },
    ),
    (
        Profile.EMBEDDED,
        OWN,
        {
            "extract": "81ff103800051eb331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f4653",
            "speech": "f43b49c93433fe775aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e9",
            "diarize": "cad8c12c22f9bf63ad9108dc1bd3333ef47d648d309ecdadb43e2dd72d18b2e4",
            "embed": "6d8b53437d411ada07bef32d4da91fce913517973b5a4ee02502654faad2fdf3",
            "transcribe": "a7665224b3acc65edfc322774d4457248c1739a3392cef5ffb9adc13ff42263adfc322774d4457248c1739a3392cef5ffb9adc13ff42263a",
            "merge": "bcf0f325e08774cd531b9d8c6ceea475c11a23eb2e8bf7e1e7672111260c15ab",
        },
    ),
    (
        Profile.STUDIO,
        OWN,
        {
            "extract": "81ff103800051eb331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f465331269e1a3a51041d0fe28db6a7d925908a33eb1b042f4653",
            "speech": "f43b49c93433fe775aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e95aa39f1cdb7c662731f85374117352e5b2277fdcdfec91e9",
            "diarize": "98c62bcbb29b062bf9aa15d2a2591cffe82f956dd0c570155fe5c2a12f7e8ef0",
            "embed": "4e535db77093c0170f9dbebcb4bb53aea11e7caf2d12a1443d961b9d805fb004",
            "transcribe": "a7665224b3acc65edfc322774d4457248c1739a3392cef5ffb9adc13ff42263adfc322774d4457248c1739a3392cef5ffb9adc13ff42263a",
            "merge": "4d23e9773244a808330e4f920ee2e218a8c91fa4ccd2f899ab6dc33c932ff375",
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
