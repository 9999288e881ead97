"""Voices to hear, compare and name, and what naming them changes in the transcripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.errors import InputError
from spokenby.review import listening_copy
from spokenby.review.page import SAMPLE
from spokenby.settings import Settings
from spokenby.site.voice_library import (
    count_rewritten,
    folder_at,
    open_library,
    rewrite_transcripts,
)
from spokenby.types import Digest, Seconds
from spokenby.view.address import folder_id, page_of
from spokenby.view.videos import Videos
from spokenby.voices.library import Change, Neighbor, VoiceSummary
from spokenby.voices.registry import name_key

SAMPLES = 3
"""To hear of a voice, each from another video."""

AT_ONCE = 30
"""Voices without a name on one page: those who speak most come first."""


class Sample(NamedTuple):
    """A stretch of a video in which only one voice speaks."""

    video: Digest
    video_name: str
    speaker: str
    """The label in that video."""
    start: Seconds
    end: Seconds
    page: str
    sound: str
    """Address of what can be heard of it; empty if nothing."""


class Likeness(NamedTuple):
    """A voice that may be another one."""

    neighbor: Neighbor
    sample: Sample | None


class Voice(NamedTuple):
    """A voice, with what to decide by who it is."""

    summary: VoiceSummary
    samples: list[Sample]
    like: list[Likeness]


class Page(NamedTuple):
    """Voices without a name, from one place in their list on, and all that have one."""

    nameless: list[Voice]
    known: list[Voice]
    first: int
    total: int
    """Of those without a name."""


def list_voices(videos: Videos, settings: Settings, first: int = 0) -> Page:
    """Return the voices of the site."""
    library = open_library(settings)
    voices, neighbors = library.voices(), library.neighbors()
    heard: dict[int, list[Sample]] = {}

    def samples(voice: int, most: int) -> list[Sample]:
        if voice not in heard:
            heard[voice] = _samples(voice, videos, settings)
        return heard[voice][:most]

    nameless = [voice for voice in voices if not voice.known]
    return Page(
        [
            Voice(
                voice,
                samples(voice.voice, SAMPLES),
                [
                    Likeness(each, next(iter(samples(each.voice, 1)), None))
                    for each in neighbors.get(voice.voice, ())
                    if each.likely
                ],
            )
            for voice in nameless[first : first + AT_ONCE]
        ],
        [Voice(voice, samples(voice.voice, 1), []) for voice in voices if voice.known],
        first,
        len(nameless),
    )


def _samples(voice: int, videos: Videos, settings: Settings) -> list[Sample]:
    """Return samples of a voice, one a video, those that can be heard and the longest first."""
    found: dict[Digest, Sample] = {}
    for each in open_library(settings).show(str(voice)):
        if each.sample is None or each.folder is None:
            continue
        folder = folder_at(each.folder, settings)
        sample = Sample(
            each.video,
            each.video_name,
            each.speaker,
            each.sample.start,
            min(each.sample.end, each.sample.start + SAMPLE),
            page_of(folder),
            _sound(folder, videos),
        )
        if each.video not in found or _worth(found[each.video]) < _worth(sample):
            found[each.video] = sample
    return sorted(found.values(), key=_worth, reverse=True)


def _worth(sample: Sample) -> tuple[bool, Seconds]:
    return bool(sample.sound), sample.end - sample.start


def _sound(folder: Path, videos: Videos) -> str:
    about = videos.about(folder)
    if about is None:
        return ""
    if listening_copy.FILE in about["files"]:
        return f"/t/{folder_id(folder)}/{listening_copy.FILE}"
    return f"/t/{folder_id(folder)}/video" if videos.video(about["video"]["digest"]) else ""


class TakenError(InputError):
    """Another voice has the name already."""

    def __init__(self, other: VoiceSummary) -> None:
        super().__init__(f"{other.name} is the name of another voice")
        self.other = other


Values = dict[str, Any]
"""The body of a request, as JSON."""


def name_voice(values: Values, settings: Settings) -> dict[str, Any]:
    """Give a voice a name: `voice`, `name`, and `merge` if another one of that name is the same.

    Raises:
        TakenError: another voice has the name, and they are not to be merged.
        InputError: the voice or the name does not fit.
    """
    library = open_library(settings)
    which, name = str(_number(values, "voice")), _text(values, "name")
    if values.get("merge") is not True:
        # Numbers are not compared: who is merged has another one than was asked for.
        mine, key = library.summary(which), name_key(" ".join(name.split()))
        others = (each for each in library.voices() if each.known and each.voice != mine.voice)
        if other := next((each for each in others if name_key(each.name) == key), None):
            raise TakenError(other)
    change = library.rename(which, name, merge=values.get("merge") is True)
    return _write(change, f"{change.before[-1]} is {change.name} now", settings)


def merge_voices(values: Values, settings: Settings) -> dict[str, Any]:
    """Make two voices one: `drop` is the same person as `keep`."""
    keep, drop = str(_number(values, "keep")), str(_number(values, "drop"))
    change = open_library(settings).merge(keep, drop)
    return _write(change, f"{change.before[-1]} is {change.name} now", settings)


def keep_apart(values: Values, settings: Settings) -> dict[str, Any]:
    """Note that two voices, `voice` and `other`, are different people."""
    one, other = _number(values, "voice"), _number(values, "other")
    open_library(settings).keep_apart(str(one), str(other))
    return {"said": "Noted: they are different people"}


def split_voice(values: Values, settings: Settings) -> dict[str, Any]:
    """Take a voice out of a `video`, in which it is somebody else, under the label `speaker`."""
    which, video = str(_number(values, "voice")), _text(values, "video")
    change = open_library(settings).split(which, video, _text(values, "speaker"))
    return _write(change, f"It is {change.name} in that video now", settings)


CHANGES: dict[str, Callable[[Values, Settings], dict[str, Any]]] = {
    "name": name_voice,
    "merge": merge_voices,
    "apart": keep_apart,
    "split": split_voice,
}


def _write(change: Change, said: str, settings: Settings) -> dict[str, Any]:
    """Put a change into the transcripts, and say what came of it."""
    rewritten = list(rewrite_transcripts(change.videos, settings)) if change.videos else []
    counted = count_rewritten(rewritten)
    return {
        "voice": change.voice,
        "name": change.name,
        "said": f"{said}; transcripts: {counted}" if counted else said,
        "notes": [f"{each.folder.name}: {each.note}" for each in rewritten if each.note],
    }


def _number(values: Values, name: str) -> int:
    if isinstance(value := values.get(name), int) and not isinstance(value, bool) and value > 0:
        return value
    raise InputError(f"{name} is not the number of a voice", "load the page again")


def _text(values: Values, name: str) -> str:
    if isinstance(value := values.get(name), str):
        return value
    raise InputError(f"{name} is missing", "load the page again")
