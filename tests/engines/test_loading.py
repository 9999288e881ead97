from __future__ import annotations

import threading
from pathlib import Path

from whosaid import embeddings
from whosaid.engines.loading import load_embedder, release_models

PARAMS = embeddings.Params(engine="resemblyzer", device="cpu")


def test_one_copy_in_a_process_until_it_is_released(tmp_path: Path) -> None:
    with load_embedder(PARAMS, tmp_path) as first:
        pass
    with load_embedder(PARAMS, tmp_path) as again:
        assert again is first
    release_models()
    with load_embedder(PARAMS, tmp_path) as fresh:
        assert fresh is not first


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with load_embedder(PARAMS, tmp_path):
            entered.set()

    other = threading.Thread(target=enter)
    with load_embedder(PARAMS, tmp_path):
        other.start()
        assert not entered.wait(0.3)
    other.join(10)
    assert entered.is_set()
