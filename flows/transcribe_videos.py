"""The order of a video's stages, and of the videos of a batch, lives here. Computing does not."""

from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from time import sleep
from typing import Any

from prefect import allow_failure, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import final_states
from flows.hub_token import find_hub_token
from flows.parameters import (
    CountOrUnknown,
    FolderOrDefault,
    IndexOrDefault,
    LanguageOrDetect,
    ParamsByStage,
    ProfileOrDefault,
)
from spokenby.errors import StoppedError
from spokenby.output.manifest import outcome_of
from spokenby.plan.stages import READS_AUDIO, Plan, Stage
from spokenby.progress import Step, announce, calling_on_exit, is_stopping
from spokenby.site.attempts import Ledger
from spokenby.site.batch import Batch, plan_for, prepare_batch
from spokenby.site.inspection import find_all
from spokenby.site.inventory import failure, note_end, note_unread, request_of
from spokenby.site.model_files import make_models_ready
from spokenby.site.stage_results import read_stored
from spokenby.site.video_locks import Claims
from spokenby.site.voice_library import note_unchanged
from spokenby.types import Digest, Outcome, Video
from tasks import (
    audio,
    diarization,
    embeddings,
    merging,
    reporting,
    speech,
    transcription,
    turn_edges,
)
from tasks.identification import identify_speakers
from tasks.options import for_plan, missing_limit
from tasks.run_report import watch_run

Futures = dict[str, PrefectFuture[Any]]


def run_name() -> str:
    """Name a run after its videos: the first one, and how many more there are."""
    paths: list[str] = flow_run.parameters["paths"]
    first = " ".join(Path(paths[0]).name.split()) if paths else "nothing"
    return f"{first} and {len(paths) - 1} more" if len(paths) > 1 else first


@flow(name="transcribe-videos", flow_run_name=run_name, persist_result=False)
def transcribe_videos(
    paths: list[str],
    profile: ProfileOrDefault = None,
    language: LanguageOrDetect = None,
    num_speakers: CountOrUnknown = None,
    min_speakers: CountOrUnknown = None,
    max_speakers: CountOrUnknown = None,
    audio_stream: IndexOrDefault = None,
    output: FolderOrDefault = None,
    force: tuple[Stage, ...] = (),
    params: ParamsByStage = None,
) -> State[list[Outcome]]:
    """Transcribe videos: who said what, when.

    Videos are worked on side by side, a few at a time. What is stored is not computed again; a
    video that fails does not touch the others.

    Args:
        paths: Videos, or folders that are searched for videos, as the worker's machine names them.
        profile: Which engines to use.
        language: Spoken language; detected where the engine can.
        num_speakers: How many people speak, if known, else 0.
        min_speakers: At least this many people speak, if known, else 0.
        max_speakers: At most this many people speak, if known, else 0.
        audio_stream: Which of a video's audio streams, from 0; -1 for its default one.
        output: Folder that transcripts go to; the site's folder if empty.
        force: Stages to compute again, with everything that builds on them.
        params: Any other params, by stage and field: {"merging": {"max_pause": 1.0}}.
    """
    batch = prepare_batch(
        profile,
        language=language,
        num_speakers=num_speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        audio_stream=audio_stream,
        output=output,
        params=params,
    )
    get_run_logger().info("profile %s: %s", batch.recipe.profile, batch.profile_reason)
    if missing := missing_limit(batch.settings.gpu_tag):
        get_run_logger().warning(missing)
    make_models_ready(batch, find_hub_token)

    found, outcomes = find_all(paths)
    claims, claimed = Claims(batch.settings.claims), []
    run = Run(batch, force, claims, outcomes)
    watched = watch_run(flow_run.name or "a run", batch.settings)
    with watched, claims, calling_on_exit(run.note_stopped):
        for path in found:
            inspected = audio.inspect_video(path, return_state=True)
            if not inspected.is_completed():
                run.note_unread(failure(path, "inspect", cause(inspected)))
            elif not run.begin(video := inspected.result()):
                claimed.append(video)
                announce(Step(path, "wait", "waiting", note="waiting for the run that works on it"))
        # Another run works on these, or this one on another file with the same bytes. They come
        # last: what the other has stored then is not computed again, and should it die, this run
        # takes its place.
        for video in claimed:
            run.begin_when_free(video)
        run.collect_all()

    outcomes = note_unchanged(outcomes, batch.settings)
    order = {path: position for position, path in enumerate(found)}
    outcomes.sort(key=lambda outcome: order.get(outcome.path, -1))
    return end_state(outcomes)


class Run:
    """The videos of one run: those in flight, bounded, and the outcomes of those that ended."""

    def __init__(
        self, batch: Batch, force: Collection[Stage], claims: Claims, outcomes: list[Outcome]
    ) -> None:
        self._batch = batch
        self._force = force
        self._claims = claims
        self._outcomes = outcomes
        self._ledger = Ledger(batch.settings.ledger)
        context = FlowRunContext.get()
        self._request = request_of(batch, (context and context.parameters) or {})
        self._finished: SimpleQueue[str] = SimpleQueue()
        self._in_flight: dict[str, tuple[Video, Digest, Futures]] = {}
        self._identified: PrefectFuture[Any] | None = None

    def begin(self, video: Video) -> bool:
        """Do what a video needs, unless another run works on it: tell which."""
        while len(self._in_flight) >= self._batch.settings.videos_in_flight:
            self._collect()
        if not self._claims.take(video.digest):
            return False
        plan = plan_for(video, self._batch, self._force)
        key = plan.digests[Stage.MERGE]
        if plan.done:
            self._outcomes.append(outcome_of(video, self._batch.folder(video), unchanged=True))
            self._ledger.forget(key)
            self._claims.free(video.digest)
            return True
        self._ledger.begin(
            key, video.digest, video.path, stored=len(plan.stored), asked=self._request
        )
        futures = submit_stages(video, plan, self._batch, self._identified)
        self._identified = futures.get("identify")
        futures["write"].add_done_callback(partial(_put, self._finished, video.path))
        self._in_flight[video.path] = (video, key, futures)
        return True

    def begin_when_free(self, video: Video) -> None:
        """Do likewise when the other run has ended, or is dead."""
        while not self.begin(video):
            if self._in_flight:
                self._collect()
            elif is_stopping():
                stopped = StoppedError("stopped on request")
                self._outcomes.append(failure(video.path, "wait", stopped, video))
                return
            else:
                sleep(1)

    def note_unread(self, outcome: Outcome) -> None:
        """Note a file that turned out to be no video."""
        self._outcomes.append(outcome)
        note_unread(outcome, self._batch, self._request)

    def note_stopped(self) -> None:
        """Note that the videos in flight were stopped on request."""
        for _, key, _ in self._in_flight.values():
            self._ledger.stop(key)

    def collect_all(self) -> None:
        """Wait for all videos in flight."""
        while self._in_flight:
            self._collect()

    def _collect(self) -> None:
        """Wait for one of the videos in flight and note how it ended."""
        path = _take(self._finished)
        video, key, futures = self._in_flight[path]
        wait(list(futures.values()))
        outcome = outcome_from(video, futures)
        self._outcomes.append(outcome)
        note_end(self._ledger, key, outcome)
        del self._in_flight[path]
        self._claims.free(video.digest)


def submit_stages(
    video: Video, plan: Plan, batch: Batch, identified: PrefectFuture[Any] | None = None
) -> Futures:
    """Submit every stage of one video; each starts as soon as what it builds on is there.

    Transcribing does not depend on diarization: a failed diarization does not cost the words.

    Args:
        video: to be transcribed.
        plan: what it needs.
        batch: what its run uses.
        identified: the same of the video before: its voices come first, and get lower numbers,
            whichever video is done first.
    """
    futures: Futures = {}
    recipe = batch.recipe

    def start(name: str, task: Any, *inputs: Any, after: Any = None) -> PrefectFuture[Any]:
        future: PrefectFuture[Any] = task.submit(video, *inputs, wait_for=after)
        futures[name] = future
        future.add_done_callback(lambda done: announce_end(video.path, name, done))
        return future

    def start_stage(stage: Stage, task: Any, *inputs: Any) -> PrefectFuture[Any]:
        return start(
            stage, for_plan(task, stage, plan, batch.settings), *inputs, plan.digests[stage]
        )

    results: dict[str, Any] = {}
    waveform = None
    if Stage.EXTRACT in plan.run or Stage.EXTRACT in plan.stored:
        results[Stage.EXTRACT] = start_stage(Stage.EXTRACT, audio.extract_audio, recipe.audio)
    elif extracted := read_stored(Stage.EXTRACT, plan.digests[Stage.EXTRACT], batch.settings):
        results[Stage.EXTRACT] = extracted  # its file is gone and not needed; its warnings stay
    if any(stage in plan.run for stage in READS_AUDIO):
        waveform = start("preload", audio.preload_waveform, results[Stage.EXTRACT])
    regions = start_stage(Stage.SPEECH, speech.detect_speech, waveform, recipe.speech)
    told = regions if recipe.diarization.needs_speech else None
    turns = start_stage(
        Stage.DIARIZE, diarization.diarize_speakers, waveform, told, recipe.diarization
    )
    voices = start_stage(
        Stage.EMBED, embeddings.embed_speakers, waveform, regions, turns, recipe.embeddings
    )
    words = start_stage(
        Stage.TRANSCRIBE, transcription.transcribe_speech, waveform, regions, recipe.transcription
    )
    decided = None
    if Stage.EDGES in plan.digests:
        decided = start_stage(
            Stage.EDGES,
            turn_edges.decide_edges,
            waveform,
            words,
            turns,
            voices,
            recipe.embeddings,
            recipe.edges,
        )
    results |= {stage: futures[stage] for stage in READS_AUDIO if stage in futures}
    merged = start(
        Stage.MERGE,
        merging.merge_transcript,
        words,
        turns,
        voices,
        regions,
        decided,
        recipe.merging,
        plan.digests[Stage.MERGE],
    )
    identities: Any = None
    if recipe.voices.identify:
        before = [allow_failure(identified)] if identified else None
        identities = start(
            "identify",
            identify_speakers,
            voices,
            turns,
            recipe.voices,
            recipe.merging,
            after=before,
        )
    start(
        "write",
        reporting.write_outputs,
        recipe,
        plan,
        batch.model_identities,
        merged,
        identities,
        results,
        batch.folder(video),
    )
    return futures


def announce_end(video: str, stage: str, done: PrefectFuture[Any]) -> None:
    """Announce how a stage's task ended: computed, stored before, failed, not run."""
    with suppress(BaseException):  # of the stage: whatever it was, who waits here has to be told
        done.wait()
    ended = done.state
    if ended.is_completed():
        state = "stored" if ended.name == "Cached" else "done"
    else:
        state = "failed" if ended.is_failed() or ended.is_crashed() else "skipped"
    announce(Step(video, stage, state, 1.0))


def outcome_from(video: Video, futures: Futures) -> Outcome:
    """Tell how a video ended from the states of its stages, which are all final."""
    written = futures["write"].state
    if written.is_completed():
        outcome: Outcome = written.result()
        return outcome
    for stage, future in futures.items():
        if future.state.is_failed() or future.state.is_crashed():
            return failure(video.path, stage, cause(future.state), video)
    return failure(video.path, "write", cause(written), video)


def cause(state: State[Any]) -> BaseException:
    """Return the exception behind a state that is not completed."""
    error = state.result(raise_on_failure=False)
    return error if isinstance(error, BaseException) else RuntimeError(state.message or state.name)


def end_state(outcomes: list[Outcome]) -> State[list[Outcome]]:
    """Return the flow's final state: failed, with the causes, if any video failed."""
    if is_stopping():
        return final_states.stopped("stopped on request", outcomes)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        causes = [_cause_in_words(outcome) for outcome in failed]
        for line in causes:
            get_run_logger().error("%s", line)
        says = f"{len(failed)} of {len(outcomes)} videos failed: {'; '.join(causes)}"
        return final_states.failed(says, outcomes)
    return Completed(message=f"{len(outcomes)} videos done", data=outcomes)


def _cause_in_words(outcome: Outcome) -> str:
    problem = outcome.problem
    return problem if problem.startswith(outcome.path) else f"{outcome.path}: {problem}"


def _put(finished: SimpleQueue[str], path: str, _done: PrefectFuture[Any]) -> None:
    finished.put(path)


def _take(finished: SimpleQueue[str]) -> str:
    while True:  # a wait without end can't be interrupted on Windows
        try:
            return finished.get(timeout=0.5)
        except Empty:
            continue
