from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spokenby.engines.gpus import Gpu
from spokenby.errors import InputError, SpokenbyError
from spokenby.settings import Settings, read_settings
from spokenby.site import gpu_slots
from spokenby.site.gpu_slots import on_gpu, tag_limit
from spokenby.stages.diarization import Params
from spokenby.stages.local_speakers import CHUNK_FRAMES, CLASSES
from spokenby.stages.speech import Params as SpeechParams
from spokenby.types import Span, SpeechRegions, Turn, Video
from tasks import diarization, speech

GB = 10**9
T4, L4, H100 = (
    Gpu(name, memory, memory, "590")
    for name, memory in (("T4", 16 * GB), ("L4", 24 * GB), ("H100", 85 * GB))
)
VIDEO = Video(path="talk.mp4", name="talk", digest="d", duration=9.0, audio_streams=1)


@pytest.fixture(autouse=True)
def _site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(gpu_slots, "list_gpus", lambda: [T4])


@contextmanager
def engine(lock: threading.Lock) -> Iterator[str]:
    with lock:
        yield "engine"


@pytest.mark.parametrize(
    ("gpus", "asked", "count"),
    [
        ([], None, 0),
        ([T4], None, 1),
        ([L4], None, 2),
        ([H100, H100], None, 2),
        ([H100], 1, 1),
        ([T4], 3, 3),
        ([], 1, 1),
    ],
)
def test_lanes_by_memory(
    gpus: list[Gpu], asked: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_slots, "list_gpus", lambda: gpus)
    assert len(gpu_slots._lanes(Settings(gpu_lanes=asked))) == count


@pytest.mark.parametrize(
    ("count", "in_flight", "limit"), [(1, 3, 2), (2, 3, 5), (None, 3, 5), (2, 1, 3), (4, 6, 10)]
)
def test_tag_admits_more_than_there_are_lanes(
    count: int | None, in_flight: int, limit: int
) -> None:
    assert tag_limit(Settings(gpu_lanes=count, videos_in_flight=in_flight)) == limit


def test_a_folder_that_holds_no_lanes_is_one_line(tmp_path: Path) -> None:
    lanes = tmp_path / "cache" / "lanes"
    lanes.parent.mkdir()
    lanes.touch()
    with (
        pytest.raises(InputError, match="lanes cannot be written"),
        on_gpu("talk", "diarize", nullcontext()),
    ):
        pass
    lanes.unlink()
    next(iter(gpu_slots._lanes(read_settings()))).acquire().lock.release()
    (lane,) = lanes.iterdir()
    lane.unlink()
    lane.mkdir()
    with (
        pytest.raises(SpokenbyError, match="cannot be written"),
        on_gpu("talk", "diarize", nullcontext()),
    ):
        pass


def test_who_waits_for_an_engine_holds_no_lane() -> None:
    """One lane, two engines: the one that is taken does not keep the other from the GPU."""
    taken, free = threading.Lock(), threading.Lock()
    got = threading.Event()

    def wait_for_the_engine() -> None:
        with on_gpu("talk.mp4", "embed", engine(taken)):
            got.set()

    waiting = threading.Thread(target=wait_for_the_engine)
    with taken:
        waiting.start()
        with on_gpu("talk.mp4", "embed", engine(free)) as held:
            assert held == "engine"
            assert not got.wait(0.1)
    waiting.join(60)
    assert got.is_set()


def test_who_waits_for_a_lane_with_speech_half_found_holds_no_detector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next video may use voice activity detection meanwhile."""
    detector, told = threading.Lock(), []
    heard, got = threading.Event(), threading.Event()

    class Vad:
        def probabilities(self, _waveform: Any, _progress: Any) -> Any:
            told.append(detector.locked())
            heard.set()
            return np.zeros(32, np.float32)

    class Segmenter:
        computes_in = "cpu"

        def segment(self, _waveform: Any, _progress: Any) -> Any:
            got.set()
            return np.full((1, CHUNK_FRAMES, len(CLASSES)), 1 / len(CLASSES), np.float32)

    @contextmanager
    def load_vad(_: Any) -> Iterator[Any]:
        with detector:
            yield Vad()

    class Waveform:
        duration = 1.0

    monkeypatch.setattr(speech, "load_voice_activity", load_vad)
    monkeypatch.setattr(speech, "load_segmenter", lambda *_: nullcontext(Segmenter()))
    arguments = (VIDEO, Waveform(), SpeechParams(), "key")
    waiting = threading.Thread(target=speech.detect_speech.fn, args=arguments)
    with gpu_slots.gpu_slot():  # the only one
        waiting.start()
        assert heard.wait(60)
        assert detector.acquire(timeout=60)
        detector.release()
        assert not got.is_set()
    waiting.join(60)
    assert got.is_set()
    assert told == [True]


def test_diarizing_lets_go_of_engine_and_lane_before_voices_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock, told = threading.Lock(), []

    class Diarizer:
        computes_in = "cpu"

        def diarize(self, _waveform: Any, _speech: Any, _params: Any, _: Any, release: Any) -> Any:
            told.append(lock.locked())
            release()
            told.append(lock.locked())
            with gpu_slots.gpu_slot():  # the only one
                turns = [Turn(start=0, end=1, speaker="a")]
            return turns, turns

    @contextmanager
    def load(*_: Any) -> Iterator[Any]:
        with lock:
            yield Diarizer()

    class Waveform:
        duration = 9.0
        tracks = ()

    monkeypatch.setattr(diarization, "load_diarizer", load)
    speech = SpeechRegions(digest="s", regions=(Span(start=0, end=9),), windows=(), duration=9.0)
    found = diarization.diarize_speakers.fn(VIDEO, Waveform(), speech, Params(), "key")  # type: ignore[arg-type]
    assert told == [True, False]
    assert found.speakers == ("SPEAKER_00",)
    assert found.seconds >= 0
