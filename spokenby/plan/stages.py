"""The one table of stages: what each is called, takes, builds on, makes and needs.

A new stage is a row here, a file in `stages/`, one in `tasks/`, and its place in
`flows/video_stages.py`. Everything else about stages is read from the rows: the recipe and its
`--set`, `--force`, digests, cache keys, stored results, the GPU tag, the order of the progress,
colors.
"""

from enum import StrEnum
from typing import NamedTuple, Self

from spokenby.stages import (
    audio,
    diarization,
    embeddings,
    merging,
    speech,
    transcription,
    turn_edges,
)
from spokenby.types import (
    AudioFile,
    Diarization,
    EdgeDecisions,
    SpeakerEmbeddings,
    SpeechRegions,
    StageParams,
    StageResult,
    Transcript,
)


class StageSpec(NamedTuple):
    """A row of the table.

    Attributes:
        params: its params; a false `enabled` among them switches it off.
        version: raised when its output changes for the same input.
        color: in the picture of a run; after Okabe and Ito, so that color-blind people can
            distinguish them.
        needs: the stages it builds on, by name.
        result: the type of its stored result; `None` if it is too cheap to be stored.
        hears: whether it needs the samples.
        gpu: whether it has the GPU tag.
    """

    params: type[StageParams]
    version: int
    color: str
    needs: tuple[str, ...] = ()
    result: type[StageResult] | None = None
    hears: bool = False
    gpu: bool = False


class Stage(StrEnum):
    """A stage with a digest, in order of execution.

    The steps in between (preload, identify, write) are cheap or side effects. Transcription does
    not wait for diarization.
    """

    spec: StageSpec

    def __new__(cls, name: str, *row: StageSpec) -> Self:
        """Create a member that equals its name, with its row as `spec`; `Stage(name)` finds one."""
        stage = str.__new__(cls, name)
        stage._value_ = name
        (stage.spec,) = row
        return stage

    EXTRACT = (
        "extract",
        StageSpec(audio.Params, audio.VERSION, "#7f8794", result=AudioFile),
    )
    SPEECH = (
        "speech",
        StageSpec(
            speech.Params,
            speech.VERSION,
            "#56b4e9",
            needs=("extract",),
            result=SpeechRegions,
            hears=True,
        ),  # no GPU tag: most of it runs on the CPU
    )
    DIARIZE = (
        "diarize",
        StageSpec(
            diarization.Params,
            diarization.VERSION,
            "#0072b2",
            needs=("speech",),
            result=Diarization,
            hears=True,
            gpu=True,
        ),
    )
    EMBED = (
        "embed",
        StageSpec(
            embeddings.Params,
            embeddings.VERSION,
            "#009e73",
            needs=("speech", "diarize"),
            result=SpeakerEmbeddings,
            hears=True,
            gpu=True,
        ),
    )
    TRANSCRIBE = (
        "transcribe",
        StageSpec(
            transcription.Params,
            transcription.VERSION,
            "#e08a00",
            needs=("speech",),
            result=Transcript,
            hears=True,
            gpu=True,
        ),
    )
    EDGES = (
        "edges",
        StageSpec(
            turn_edges.Params,
            turn_edges.VERSION,
            "#a0522d",
            needs=("embed", "transcribe"),
            result=EdgeDecisions,
            hears=True,
            gpu=True,
        ),
    )
    MERGE = (
        "merge",
        StageSpec(
            merging.Params,
            merging.VERSION,
            "#8d6bc4",
            needs=("speech", "diarize", "embed", "transcribe", "edges"),
        ),
    )


UPSTREAM = {stage: tuple(map(Stage, stage.spec.needs)) for stage in Stage}
"""What each stage builds on."""

READS_AUDIO = tuple(stage for stage in Stage if stage.spec.hears)


def with_upstream(stage: Stage) -> tuple[Stage, ...]:
    """Return a stage and everything that it builds on, in order of execution."""
    above = {found for needed in UPSTREAM[stage] for found in with_upstream(needed)}
    return tuple(member for member in Stage if member in above or member is stage)
