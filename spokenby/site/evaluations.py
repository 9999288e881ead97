"""Find transcripts to measure, and what lies beside their videos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from spokenby.errors import InputError, SpokenbyError
from spokenby.evaluation.annotations import Annotation, annotation_of
from spokenby.evaluation.references import Annotations, Found
from spokenby.output import formats
from spokenby.output.folders import RECOGNIZED
from spokenby.output.formats import open_transcript
from spokenby.output.manifest import read_manifest
from spokenby.settings import Settings
from spokenby.site.exports import Found as Transcript
from spokenby.site.exports import find_transcripts, video_of
from spokenby.site.find_videos import find_videos
from spokenby.site.voice_library import open_library


class Measured(NamedTuple):
    """A finished transcript to measure, as recognized: without people's corrections."""

    name: str
    """Of its video."""
    annotation: Annotation
    reference: Found
    corrected: bool
    """People corrected it since."""


def find_measured(
    path: str, settings: Settings, references: Annotations | None
) -> Iterator[Measured | SpokenbyError]:
    """Yield the transcripts of a path with their references, and why others cannot be measured.

    Args:
        path: of a video, a folder of videos, or what `find_transcripts` takes.
        settings: the site.
        references: all there are; without, they are looked for beside each video.

    Raises:
        InputError: the path holds neither transcripts nor videos.
    """
    for each in _expanded(path):
        try:
            transcripts = find_transcripts(each, settings)
        except SpokenbyError as error:
            yield error
            continue
        for found in transcripts:
            try:
                yield _measured(found, settings, references)
            except SpokenbyError as error:
                yield error


def _measured(found: Transcript, settings: Settings, references: Annotations | None) -> Measured:
    recognized = found.folder / RECOGNIZED
    corrected = recognized.is_file()
    try:
        document = open_transcript(recognized if corrected else found.folder)
    except SpokenbyError as error:
        raise InputError(f"{found.folder}: {error.problem}", error.next_step) from error
    about = read_manifest(found.folder) or {}
    annotation = annotation_of(document, about.get("identities", ()))
    stem = found.video.stem if found.video else document.name
    if references is None:
        video = found.video or video_of(found.folder, settings)
        references, stem = _beside(video.absolute().parent), video.stem
    reference = references.of(stem, partial(_is_export, found.folder))
    return Measured(document.name, annotation, reference, corrected)


def _is_export(folder: Path, path: Path) -> bool:
    """Return whether a file is what `spokenby export` writes of the transcript in a folder."""
    ending = path.suffix[1:].casefold()
    names = [name for name in formats.FORMATS if name.rpartition(".")[2].casefold() == ending]
    return path.read_bytes() in formats.render(*open_transcript(folder), names).values()


def _expanded(path: str) -> list[str]:
    """Return the videos of a folder that holds some and no transcript; else the path."""
    folder = Path(path)
    if not folder.is_dir() or next(folder.rglob("transcript.json"), None):
        return [path]
    try:
        return [str(video) for video in find_videos([path])]
    except InputError:
        raise InputError(
            f"{path} holds neither transcripts nor videos", "name one of them, or a folder of some"
        ) from None


@cache
def _beside(folder: Path) -> Annotations:
    return Annotations(folder, deep=False)


def people_known(settings: Settings) -> set[str]:
    """Return the names of the people whom the site's voice library knows."""
    return {voice.name for voice in open_library(settings).voices() if voice.known}
