"""A flipped bit in a stored result is noticed by both of its readers: ours and Prefect's."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore

from spokenby.plan.stages import Stage
from spokenby.settings import Settings
from spokenby.site.stage_results import read_stored, storage_key
from spokenby.types import (
    AudioFile,
    Diarization,
    EdgeDecision,
    EdgeDecisions,
    Span,
    SpeakerEmbeddings,
    SpeechRegions,
    StageResult,
    Transcript,
    Turn,
    Word,
)
from tasks.checked_json import CheckedJSONSerializer

DIGEST = "abc0" * 16
TURNS = (Turn(start=0.5, end=2.25, speaker="SPEAKER_00"),)
RESULTS: dict[Stage, StageResult] = {
    Stage.EXTRACT: AudioFile(
        digest=DIGEST, name="a.wav", duration=3.5, sha256=DIGEST, warnings=("quiet",)
    ),
    Stage.SPEECH: SpeechRegions(
        digest=DIGEST,
        regions=(Span(start=0.5, end=2.25),),
        windows=(Span(start=0.5, end=2.25),),
        duration=3.5,
        local_speakers=((0, 12, 1), (0, 80, 3)),
    ),
    Stage.DIARIZE: Diarization(digest=DIGEST, turns=TURNS, exclusive=TURNS),
    Stage.EMBED: SpeakerEmbeddings(
        digest=DIGEST,
        model="m",
        speakers=("SPEAKER_00",),
        vectors=np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32),
        spread=np.array([0.125]),
        speech=np.array([1.75]),
        segments=3,
    ),
    Stage.TRANSCRIBE: Transcript(
        digest=DIGEST,
        language="en",
        words=(Word(start=0.5, end=0.75, text="naïve", confidence=0.875),),
    ),
    Stage.EDGES: EdgeDecisions(
        digest=DIGEST,
        decisions=(EdgeDecision(word=0, speaker="SPEAKER_00", margin=0.25),),
        doubtful=2,
        heard=1,
    ),
}


def test_every_stored_stage_has_a_sample() -> None:
    assert set(RESULTS) == {stage for stage in Stage if stage.spec.result}


@pytest.mark.parametrize("stage", RESULTS)
def test_a_flipped_bit_is_noticed_or_changes_nothing(
    tmp_path: Path, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=tmp_path)
    store = ResultStore(
        result_storage=LocalFileSystem(basepath=str(settings.results)),
        serializer=CheckedJSONSerializer(),
        cache_result_in_memory=False,
    )
    key = storage_key(stage, DIGEST)
    path = settings.results / key
    store.write(RESULTS[stage], key)
    right, whole = RESULTS[stage].model_dump_json(), path.read_bytes()
    assert read_stored(stage, DIGEST, settings).model_dump_json() == right
    bits, noticed = random.Random(stage), 0
    for _ in range(120):
        flipped, bit = bytearray(whole), bits.randrange(8 * len(whole))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        caplog.clear()
        if (ours := read_stored(stage, DIGEST, settings)) is None:
            noticed += 1
            assert f"{stage} is computed again" in caplog.text
            continue  # Prefect is told not to look: see `for_plan`
        assert ours.model_dump_json() == right
        if store.exists(key):
            assert store.read(key).result.model_dump_json() == right
    assert noticed > 40
