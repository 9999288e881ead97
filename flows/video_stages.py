"""Submit the stages of one video: each starts as soon as what it builds on is there."""

from contextlib import suppress
from typing import Any

from prefect import allow_failure
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run

from spokenby.plan.planning import Plan, upstream_of
from spokenby.plan.stages import READS_AUDIO, Stage
from spokenby.progress import Step, announce
from spokenby.site.batch import Batch
from spokenby.site.stage_results import read_stored
from spokenby.types import Span, Video
from tasks import (
    audio,
    diarization,
    embeddings,
    identification,
    merging,
    reporting,
    speech,
    transcription,
    turn_edges,
)
from tasks.options import for_plan

Futures = dict[str, PrefectFuture[Any]]
"""By the name of the stage, in the order in which they were submitted."""


class VideoGraph:
    """The stages of one video, submitted one after the other.

    Transcribing does not depend on diarization: a failed diarization does not cost the words.

    Args:
        video: to be worked on.
        plan: what it needs.
        batch: what its run uses.
    """

    def __init__(self, video: Video, plan: Plan, batch: Batch) -> None:
        self.futures: Futures = {}
        self._video = video
        self._plan = plan
        self._batch = batch

    def transcribe(self, identified: PrefectFuture[Any] | None = None) -> Futures:
        """Submit all that a transcript needs.

        Args:
            identified: the future of the same name of the video before: its voices come first, and
                get lower numbers, whichever video is done first.
        """
        plan, recipe, futures = self._plan, self._batch.recipe, self.futures
        regions, turns, voices = self._voices()
        words = self._start_stage(
            Stage.TRANSCRIBE,
            transcription.transcribe_speech,
            futures.get("preload"),
            regions,
            recipe.transcribe,
        )
        decided = None
        if Stage.EDGES in plan.digests:
            decided = self._start_stage(
                Stage.EDGES,
                turn_edges.decide_edges,
                futures.get("preload"),
                words,
                turns,
                voices,
                recipe.embed,
                recipe.edges,
            )
        joined = self._start("join", merging.join_voices, turns, voices, recipe.merge)
        merged = self._start(
            Stage.MERGE,
            merging.merge_transcript,
            words,
            joined,
            regions,
            decided,
            recipe.merge,
            plan.digests[Stage.MERGE],
        )
        identities: Any = None
        if recipe.identify.enabled:
            identities = self._start(
                "identify",
                identification.identify_speakers,
                joined,
                recipe.identify,
                after=[allow_failure(identified)] if identified else None,
            )
        results = {stage: futures[stage] for stage in READS_AUDIO if stage in futures}
        self._start(
            "write",
            reporting.write_outputs,
            recipe,
            plan,
            self._batch.model_identities,
            merged,
            identities,
            {**self._extracted(), **results},
            self._batch.folder(self._video),
            self._batch.formats,
            self._batch.on_done,
        )
        return futures

    def take_voiceprint(self, part: Span | None) -> Futures:
        """Submit what the voiceprint of the speaker of a recording, or a part of it, needs."""
        regions, turns, vectors = self._voices(part, listens=True)
        # One person is expected: labels that sound alike are that person, whatever the params say.
        params = self._batch.recipe.merge.model_copy(update={"merge_same_voice": True})
        joined = self._start("join", merging.join_voices, turns, vectors, params)
        self._start(
            "voiceprint",
            identification.take_voiceprint,
            self.futures.get("preload"),
            regions,
            joined,
            part,
        )
        return self.futures

    def _voices(
        self, part: Span | None = None, *, listens: bool = False
    ) -> tuple[PrefectFuture[Any], ...]:
        """Submit what both need: where speech is, who speaks when, and their embeddings.

        Args:
            part: of the audio; `None` for all.
            listens: a later task needs the audio, even where every stage here is stored.
        """
        recipe, plan = self._batch.recipe, self._plan
        waveform = None
        if Stage.EXTRACT in plan.run or Stage.EXTRACT in plan.stored:
            self._start_stage(Stage.EXTRACT, audio.extract_audio, recipe.extract)
        if listens or any(stage in plan.run for stage in READS_AUDIO):
            sound = self._extracted()[Stage.EXTRACT]
            waveform = self._start("preload", audio.preload_waveform, sound, part)
        regions = self._start_stage(Stage.SPEECH, speech.detect_speech, waveform, recipe.speech)
        given = regions if Stage.SPEECH in upstream_of(recipe)[Stage.DIARIZE] else None
        turns = self._start_stage(
            Stage.DIARIZE, diarization.diarize_speakers, waveform, given, recipe.diarize
        )
        voices = self._start_stage(
            Stage.EMBED, embeddings.embed_speakers, waveform, regions, turns, recipe.embed
        )
        return regions, turns, voices

    def _extracted(self) -> dict[str, Any]:
        """Return the audio: a file, or the record of one that is gone and not needed."""
        if Stage.EXTRACT in self.futures:
            return {Stage.EXTRACT: self.futures[Stage.EXTRACT]}
        stored = read_stored(Stage.EXTRACT, self._plan.digests[Stage.EXTRACT], self._batch.settings)
        return {Stage.EXTRACT: stored} if stored else {}

    def _start(self, name: str, task: Any, *inputs: Any, after: Any = None) -> PrefectFuture[Any]:
        # Prefect shows the name of the task until the run begins, and only then the run's own.
        named = task.with_options(name=f"{name} {self._video.name}")
        if (attempt := flow_run.run_count or 1) > 1:  # the page shows the tasks of both
            title = f"{named.name} (attempt {attempt})"
            named = named.with_options(name=title, task_run_name=lambda: title)
        future: PrefectFuture[Any] = named.submit(self._video, *inputs, wait_for=after)
        self.futures[name] = future
        future.add_done_callback(lambda done: _announce_end(self._video.path, name, done))
        return future

    def _start_stage(self, stage: Stage, task: Any, *inputs: Any) -> PrefectFuture[Any]:
        planned = for_plan(task, stage, self._plan, self._batch.settings)
        return self._start(stage, planned, *inputs, self._plan.digests[stage])


def cause(state: State[Any]) -> BaseException:
    """Return the exception behind a state that is not completed."""
    error = state.result(raise_on_failure=False)
    return error if isinstance(error, BaseException) else RuntimeError(state.message or state.name)


def _announce_end(video: str, stage: str, done: PrefectFuture[Any]) -> None:
    """Announce how a stage's task ended: computed, stored before, failed, not run."""
    with suppress(BaseException):  # of the stage: whatever it was, who waits here has to be told
        done.wait()
    ended = done.state
    if ended.is_completed():
        state = "stored" if ended.name == "Cached" else "done"
    else:
        state = "failed" if ended.is_failed() or ended.is_crashed() else "skipped"
    announce(Step(video, stage, state, 1.0))
