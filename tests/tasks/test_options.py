"""Retries, keys, tags and storage on a real Prefect server."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.futures import wait
from prefect.settings import PREFECT_API_URL, temporary_settings

from spokenby.digests import digest_file
from spokenby.errors import InputError, TransientError
from spokenby.plan.planning import Plan
from spokenby.plan.stages import Stage
from spokenby.settings import Settings
from spokenby.site.stage_results import read_stored, storage_key
from spokenby.stages import audio, speech
from spokenby.types import Digest, SpeechRegions, Video, Waveform
from tasks.audio import extract_audio, preload_waveform
from tasks.options import RETRY_TRANSIENT, for_plan, stored_stage
from tasks.speech import detect_speech

CONVERSATION = Path(__file__).parents[2] / "data" / "samples" / "conversation.flac"
DIGEST = "abc0" * 16
VIDEO = Video(path="talk.mp4", name="talk", digest="d", duration=1.0, audio_streams=1)
QUICK = {**RETRY_TRANSIENT, "retry_delay_seconds": 0}


@pytest.fixture(autouse=True)
def _server(prefect_server: str) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        (TransientError("the disk was away"), 3),
        (ConnectionError("gone"), 3),
        (InputError("no such file"), 1),
        (KeyError("a bug"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, runs: int) -> None:
    tried = []

    @task(**QUICK)
    def fail() -> None:
        tried.append(1)
        raise error

    @flow
    def once() -> None:
        wait([fail.submit()])

    once(return_state=True)
    assert len(tried) == runs


def plan(*run: Stage) -> Plan:
    return Plan(
        digests=dict.fromkeys(Stage, DIGEST),
        run=dict.fromkeys(run, "not stored"),
        stored=tuple(stage for stage in Stage if stage not in run),
    )


def test_stored_stage_is_computed_once_and_read_without_a_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    computed = []

    @task(**stored_stage(Stage.SPEECH))
    def detect(video: Video, digest: Digest) -> SpeechRegions:
        computed.append(video.name)
        return SpeechRegions(digest=digest, regions=(), windows=(), duration=1.0)

    @flow
    def run(*stages: Stage) -> tuple[str, SpeechRegions]:
        configured = for_plan(detect, Stage.SPEECH, plan(*stages), settings)
        future = configured.submit(VIDEO, DIGEST)
        future.wait()
        return future.state.name, future.result()

    assert read_stored(Stage.SPEECH, DIGEST, settings) is None
    first, result = run(Stage.SPEECH)
    again, same = run()
    assert (first, again) == ("Completed", "Cached")
    assert result == same == read_stored(Stage.SPEECH, DIGEST, settings)
    assert computed == ["talk"]

    path = settings.results / storage_key(Stage.SPEECH, DIGEST)
    path.write_bytes(path.read_bytes()[:50])
    assert read_stored(Stage.SPEECH, DIGEST, settings) is None
    assert run(Stage.SPEECH)[0] == "Completed"
    assert len(computed) == 2


def test_only_a_gpu_stage_that_runs_carries_the_tag(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, gpu_tag="gpu-of-this-host", gpu_lanes=1)

    @task(**stored_stage(Stage.DIARIZE))
    def diarize(video: Video, digest: Digest) -> None: ...

    def tags(stage: Stage, *run: Stage) -> set[str]:
        return for_plan(diarize, stage, plan(*run), settings).tags

    assert tags(Stage.DIARIZE, Stage.DIARIZE) == {"gpu-of-this-host"}
    assert tags(Stage.DIARIZE) == set()
    assert tags(Stage.SPEECH, Stage.SPEECH) == set()  # mostly on the CPU; it takes a lane


def test_waveform_is_mapped_and_passed_by_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be pickled: had Prefect copied or stored it, the run would have failed."""
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path))
    video = VIDEO.model_copy(
        update={"path": str(CONVERSATION), "digest": digest_file(CONVERSATION)}
    )

    @flow
    def run() -> tuple[Waveform, SpeechRegions]:
        audio_file = extract_audio.submit(video, audio.Params(), "a")
        waveform = preload_waveform.submit(video, audio_file)
        regions = detect_speech.submit(video, waveform, speech.Params(device="cpu"), "b")
        return waveform.result(), regions.result()

    waveform, regions = run()
    assert regions.regions
    assert not waveform.samples.flags.owndata
    with pytest.raises(TypeError, match="by reference"):
        pickle.dumps(waveform)
