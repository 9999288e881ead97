from __future__ import annotations

import threading
from pathlib import Path
from typing import get_args

import pytest

from spokenby.engines.loading import (
    ENGINES,
    _only_one,
    load_embedder,
    load_segmenter,
    load_voice_activity,
)
from spokenby.models import CATALOGUE
from spokenby.stages import diarization, embeddings, speech, transcription
from spokenby.types import SpeakerEncoder

PARAMS = embeddings.Params(engine="campplus", device="cpu")


def test_one_copy_in_a_process(tmp_path: Path) -> None:
    with load_embedder(PARAMS, tmp_path) as first:
        pass
    with load_embedder(PARAMS, tmp_path) as again:
        assert again is first


@pytest.mark.parametrize("compute_type", ["float32", "bfloat16"])
def test_it_computes_in_what_was_chosen(tmp_path: Path, compute_type: str) -> None:
    params = PARAMS.model_copy(update={"compute_type": compute_type})
    with load_embedder(params, tmp_path) as embedder:
        assert embedder.computes_in == f"cpu, {compute_type}"


def test_the_segmenter_is_loaded_once_for_all_that_ask_alike(tmp_path: Path) -> None:
    params = speech.Params(device="cpu")
    with load_segmenter(params, tmp_path) as first:
        assert first.computes_in == "cpu, float32"
    with load_segmenter(params.model_copy(update={"onset": 0.5}), tmp_path) as again:
        assert again is first
    with load_segmenter(params.model_copy(update={"batch_size": 2}), tmp_path) as other:
        assert other is not first


def test_every_engine_that_a_run_can_choose_is_registered() -> None:
    chosen = {
        *get_args(transcription.Params.model_fields["engine"].annotation),
        *get_args(diarization.Params.model_fields["engine"].annotation),
        *get_args(SpeakerEncoder),
        *(engine for engine, _ in speech.Params().models()),
    }
    assert ENGINES.keys() == chosen - {"clustering"} == {model.engine for model in CATALOGUE}


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with load_embedder(PARAMS, tmp_path):
            entered.set()

    other = threading.Thread(target=enter)
    with load_embedder(PARAMS, tmp_path):
        other.start()
        assert not entered.wait(0.3)
    other.join(60)
    assert entered.is_set()


def test_what_is_loaded_does_not_wait_for_what_is_being_loaded(tmp_path: Path) -> None:
    with load_voice_activity(tmp_path):
        pass
    begun, may_end = threading.Event(), threading.Event()

    def load_slowly() -> str:
        begun.set()
        assert may_end.wait(60)
        return "a model"

    def enter() -> None:
        with _only_one(("slow",), load_slowly):
            pass

    thread = threading.Thread(target=enter)
    thread.start()
    assert begun.wait(60)
    with load_voice_activity(tmp_path) as engine:
        assert engine
        assert not may_end.is_set()
    may_end.set()
    thread.join(60)
