"""Find who speaks when: the diarizer's protocol, and tidy turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from spokenby.stages import intervals, local_speakers
from spokenby.stages.tracks import find_tracks, place_on_timeline
from spokenby.types import (
    Device,
    Diarization,
    Digest,
    Progress,
    Seconds,
    SpeakerEncoder,
    SpeechRegions,
    StageParams,
    TorchType,
    Track,
    Turn,
    Waveform,
    no_progress,
    no_release,
)

VERSION = 8


class ClusteringParams(StageParams):
    """How the engine `clustering` distinguishes speakers."""

    embedder: SpeakerEncoder = Field(default="campplus", description="the speaker encoder")
    window: Seconds = Field(
        default=1.6, ge=0.5, le=10, description="length of the audio behind a vector"
    )
    hop: Seconds = Field(default=0.8, ge=0.1, le=5, description="distance between vectors")
    join_similarity: float = Field(
        default=0.84,
        gt=0,
        le=1,
        description="join voices at least this similar",
        serialization_alias="same_voice",
    )
    max_gap: Seconds = Field(
        default=0.3,
        ge=0,
        description="join one speaker's turns across gaps of at most this",
        serialization_alias="max_pause",
    )


class Params(StageParams):
    """Which engine distinguishes speakers, and how many there are."""

    engine: Literal["clustering", "pyannote"] = Field(
        default="clustering", description="clustering needs no download"
    )
    model: str = Field(default="", description="the model; empty is the engine's default")
    num_speakers: int | None = Field(default=None, ge=1, description="exact number, if known")
    min_speakers: int | None = Field(default=None, ge=1, description="at least this many")
    max_speakers: int | None = Field(default=None, ge=1, description="at most this many")
    compute_type: TorchType = Field(
        default="auto",
        description="number type of the speaker network; float32: pyannote's own turns; auto: "
        "bfloat16 on hardware that supports it natively (on such a CPU: half the time)",
    )
    device: Device = Field(default="auto", description="where it runs")
    batch_size: int | None = Field(default=None, ge=1, description="None is the engine's choice")
    clustering: ClusteringParams = ClusteringParams()

    @model_validator(mode="after")
    def _check(self) -> Self:
        exact = [self.num_speakers] if self.num_speakers else []
        least = max([self.min_speakers or 1, *exact])
        most = min([self.max_speakers or least, *exact])
        if least > most:
            raise ValueError(f"no number of speakers is at least {least} and at most {most}")
        return self

    @property
    def needs_speech(self) -> bool:
        """Whether the engine needs the speech regions; pyannote detects speech itself."""
        return self.engine == "clustering"

    def models(self) -> tuple[tuple[str, str], ...]:
        """Return the diarizer's model, which for `clustering` is its speaker encoder's."""
        clusters = self.engine == "clustering"
        return ((self.clustering.embedder if clusters else self.engine, self.model),)

    def speaker_range(self) -> tuple[int, int]:
        """Return the least and the most speakers allowed."""
        least = self.num_speakers or self.min_speakers or 1
        return least, self.num_speakers or self.max_speakers or max(least, MOST_SPEAKERS)


MOST_SPEAKERS = 20
"""Upper limit of an automatic count."""

PADDED: Seconds = 0.15
"""At most this is taken off an end of speech beside a pause to make it a turn of its track."""

PAD_PAUSE: Seconds = 1.0
"""Beside shorter pauses speech is not widened."""


class Diarizer(Protocol):
    """Distinguishes the voices of one recording."""

    computes_in: str
    """Device and number type in use, such as `cuda, bfloat16`."""

    def diarize(
        self,
        waveform: Waveform,
        speech: SpeechRegions | None,
        params: Params,
        progress: Progress = no_progress,
        release: Callable[[], None] = no_release,
    ) -> tuple[list[Turn], list[Turn]]:
        """Return regular turns, which may overlap, and exclusive turns, which do not.

        `speech` is None for an engine that detects it itself, see `Params.needs_speech`. Calls
        `release` once its networks have read everything: from then on another thread may use the
        engine and its device.
        """
        ...


def diarize_speakers(
    waveform: Waveform,
    speech: SpeechRegions | None,
    diarizer: Diarizer,
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
    release: Callable[[], None] = no_release,
) -> Diarization:
    """Return who speaks when, speakers numbered by their first turn.

    Without speech there are no turns. A warning says if there are fewer speakers than requested.
    Nobody speaks on two tracks.
    """
    tracks = waveform.tracks
    if speech and not speech.regions:
        return Diarization(digest=digest, turns=(), exclusive=(), tracks=tracks)
    regular, exclusive = diarizer.diarize(waveform, speech, params, progress, release)
    turns = _by_track(tidy_turns(regular, waveform.duration), tracks)
    apart = _by_track(separate_turns(tidy_turns(exclusive, waveform.duration)), tracks)
    names = _numbered([*turns, *apart], tracks)
    return Diarization(
        digest=digest,
        computed_in=diarizer.computes_in,
        turns=_renamed(turns, names),
        exclusive=_renamed(apart, names),
        warnings=tuple(_missing(len(names), params)),
        tracks=tracks,
    )


def is_by_track(waveform: Waveform, params: Params) -> bool:
    """Return whether each track is one speaker: unless more speakers than tracks are requested."""
    least, _ = params.speaker_range()
    return bool(waveform.tracks) and least <= len(waveform.tracks)


def take_tracks(
    waveform: Waveform, speech: SpeechRegions, params: Params, *, digest: Digest
) -> Diarization:
    """Return who speaks when where each track is one speaker: what speech is on it is theirs."""
    tracks = waveform.tracks
    turns = _by_track(_trim(speech, params.clustering.max_gap), tracks)
    names = _numbered(turns, tracks)
    most = params.num_speakers or params.max_speakers or len(names)
    fewer = f"each of {len(names)} tracks is one speaker, although {most} at most was requested"
    return Diarization(
        digest=digest,
        turns=_renamed(turns, names),
        exclusive=_renamed(turns, names),
        warnings=(fewer,) if len(names) > most else (),
        tracks=tracks,
    )


def _trim(speech: SpeechRegions, max_gap: Seconds) -> list[Turn]:
    """Return the regions as turns, without what was added around them for recognizers.

    They are joined across gaps of at most `max_gap`, as the turns of voices are.

    Beside a pause they begin and end where the segmentation network hears somebody, if it is near.
    """
    active = local_speakers.unpack(speech.local_speakers)
    frames = local_speakers.count_frames(speech.duration)
    somebody = (
        local_speakers.average(np.asarray(active.any(axis=2)), frames) >= 0.5
        if len(active)
        else None
    )
    turns: list[Turn] = []
    edges = intervals.array(speech.regions)
    pauses = np.r_[np.inf, edges[1:, 0] - edges[:-1, 1], np.inf] >= PAD_PAUSE - 2 * PADDED
    for region, before, after in zip(speech.regions, pauses[:-1], pauses[1:], strict=False):
        start, end = region.start, region.end
        if somebody is not None:
            first, last = local_speakers.to_frame(np.array([start, end])).clip(0, frames - 1)
            if len(heard := first + np.flatnonzero(somebody[first : last + 1])):
                begins, ends = local_speakers.to_time(heard[[0, -1]]).tolist()
                start = max(start, min(begins, start + PADDED * before))
                end = min(end, max(ends, end - PADDED * after))
        if start < end:
            joins = turns and start - turns[-1].end <= max_gap
            begin = turns.pop().start if joins else round(start, 3)
            turns.append(Turn(start=begin, end=round(end, 3), speaker=""))
    return turns


def _by_track(turns: list[Turn], tracks: Sequence[Track]) -> list[Turn]:
    """Return the turns with the tracks that they begin on as part of their speakers' labels."""
    if not tracks:
        return turns
    on = find_tracks(tracks, np.array([turn.start for turn in turns])).tolist()
    return [
        turn.model_copy(update={"speaker": f"{number} {turn.speaker}"})
        for turn, number in zip(turns, on, strict=True)
    ]


def _numbered(turns: Sequence[Turn], tracks: Sequence[Track]) -> dict[str, str]:
    """Return labels by the order in which speakers are first heard in the video."""
    if tracks:
        starts = place_on_timeline(tracks, np.array([turn.start for turn in turns]))
        turns = [turns[first] for first in starts.argsort(kind="stable").tolist()]
    speakers = dict.fromkeys(turn.speaker for turn in turns)
    return {speaker: f"SPEAKER_{number:02d}" for number, speaker in enumerate(speakers)}


def _missing(found: int, params: Params) -> Iterator[str]:
    """Yield a warning if fewer speakers were found than requested."""
    least, _ = params.speaker_range()
    if found and found < least:
        requested = f"{least} speakers" if params.num_speakers else f"at least {least} speakers"
        voices = "voice" if found == 1 else "voices"
        yield (
            f"{requested} were requested, but only {found} {voices} can be told apart: "
            "the others say too little, or sound too much alike"
        )


def tidy_turns(turns: Iterable[Turn], duration: Seconds) -> list[Turn]:
    """Return the turns inside the recording, to the millisecond, sorted by start, then end."""
    inside = (
        Turn(
            start=round(max(turn.start, 0.0), 3),
            end=round(min(turn.end, duration), 3),
            speaker=turn.speaker,
        )
        for turn in turns
    )
    return sorted(
        (turn for turn in inside if turn.end > turn.start),
        key=lambda turn: (turn.start, turn.end, turn.speaker),
    )


def separate_turns(turns: Iterable[Turn]) -> list[Turn]:
    """Let each turn begin only where those before it, in order of start, have ended."""
    apart: list[Turn] = []
    for turn in turns:
        start = max(turn.start, apart[-1].end) if apart else turn.start
        if start < turn.end:
            apart.append(Turn(start=start, end=turn.end, speaker=turn.speaker))
    return apart


def _renamed(turns: Iterable[Turn], names: dict[str, str]) -> tuple[Turn, ...]:
    return tuple(
        Turn(start=turn.start, end=turn.end, speaker=names[turn.speaker]) for turn in turns
    )
