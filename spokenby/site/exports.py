"""Find the transcripts that people name, and write further files of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from spokenby.digests import DigestIndex
from spokenby.engines.ffmpeg import copy_with_captions, find_ffmpeg
from spokenby.errors import InputError, SpokenbyError
from spokenby.output import exporting, formats, manifest, published
from spokenby.output.exporting import Exported
from spokenby.output.folders import folder_name, safe_name
from spokenby.output.formats.chapters import as_metadata, chapters_of
from spokenby.settings import Settings
from spokenby.site.batch import Batch
from spokenby.site.find_videos import is_track_folder
from spokenby.site.inventory import State, VideoStatus
from spokenby.site.remote_videos import on_disk
from spokenby.site.track_folders import digest_recording

VIDEO = "video"
"""What asks for a copy of the video with captions: no format, as it needs the video."""

_CAPTIONS = "srt"


class Found(NamedTuple):
    """A finished transcript, and its video if that was named."""

    folder: Path
    video: Path | None = None


def find_transcripts(path: str, settings: Settings) -> list[Found]:
    """Return the transcripts that a path stands for.

    Args:
        path: of a transcript's folder or its transcript.json, of a folder of such folders, or of a
            video of this site.
        settings: the site.

    Raises:
        InputError: none is there.
    """
    named = Path(path)
    published.look(settings)
    for folder in (named, named.parent):
        published.fetch(folder, settings)
    if named.absolute() == settings.transcripts.absolute():
        for folder in published.list_folders(settings):
            published.fetch(folder, settings)
    if named.name == formats.TRANSCRIPT and named.is_file():
        return [Found(named.resolve().parent)]
    if named.is_dir() and not is_track_folder(named):
        if (named / formats.TRANSCRIPT).is_file():
            return [Found(named.resolve())]
        inside = [
            file.parent
            for file in named.rglob(formats.TRANSCRIPT)
            if not any(
                part.startswith(".") or ".edited-" in part
                for part in file.relative_to(named).parts[:-1]
            )
        ]
        if not inside:
            raise InputError(
                f"no transcript in {path}", "name the folder of a transcript, or its video"
            )
        return [Found(folder.resolve()) for folder in natsorted(inside)]
    digest = digest_recording(named, DigestIndex(settings.digest_index))
    expected = settings.transcripts / folder_name(named.stem, digest)
    for folder in [
        expected,
        *published.list_folders(settings, f"*-{digest[:8]}"),
    ]:  # renamed since
        about = published.about(folder, settings)
        if about and about["video"]["digest"] == digest:
            published.fetch(folder, settings)
            return [Found(folder, named)]
    raise InputError(
        f"{path} has no transcript in {settings.transcripts}",
        "name the folder that has it, or run: spokenby transcribe",
    )


def export(
    found: Found,
    names: Sequence[str],
    settings: Settings,
    *,
    to: Path | None = None,
    stem: str = "",
    overwrite: bool = False,
) -> list[Exported]:
    """Write files of a transcript; return the result for each.

    Args:
        found: the transcript.
        names: of `formats.FORMATS`, or `VIDEO`.
        settings: the site.
        to: folder to write to; the transcript's own if `None`.
        stem: what the files' names begin with in `to`.
        overwrite: also files that somebody else wrote.
    """
    files = [name for name in names if name != VIDEO]
    results: list[Exported] = []
    if files and to:
        results = exporting.export_to(found.folder, files, to, stem, overwrite=overwrite)
    elif files:
        results = exporting.export_into(found.folder, files, settings.claims, overwrite=overwrite)
    if to and VIDEO in names:
        try:
            results.append(_copy_video(found, settings, to, stem, overwrite=overwrite))
        except SpokenbyError as error:
            results.append(Exported(found.folder, "failed", str(error)))
    return results


def stem_of(found: Found) -> str:
    """Return the name of a transcript's video, as files elsewhere can begin with it.

    Raises:
        InputError: its transcript.json cannot be read.
    """
    return safe_name(formats.open_transcript(found.folder).name)


def _copy_video(
    found: Found, settings: Settings, to: Path, stem: str, *, overwrite: bool
) -> Exported:
    """Write a copy of the video with captions and chapters."""
    video = found.video or video_of(found.folder, settings)
    if video.is_dir():
        raise InputError(
            f"{video} is a folder of tracks: there is no video to copy", "choose another format"
        )
    document = formats.open_transcript(found.folder)
    captions = formats.render(*document, [_CAPTIONS])[formats.file_of(_CAPTIONS)]
    ending = video.suffix.lower() if video.suffix.lower() in {".mp4", ".m4v", ".mov"} else ".mkv"
    target = to / f"{stem}.captions{ending}"
    if target.exists() and not overwrite:
        return Exported(target, "edited", "is there already: left as it is")
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder, "captions.srt"), Path(folder, "chapters.txt")
        texts[0].write_bytes(captions)
        texts[1].write_text(as_metadata(chapters_of(document.transcript)), encoding="utf-8")
        with on_disk(video) as file:
            copy_with_captions(find_ffmpeg(settings.ffmpeg), file, *texts, target)
    return Exported(target, "written")


def video_of(folder: Path, settings: Settings) -> Path:
    """Return where the video of a transcript's folder lies.

    Raises:
        InputError: it is not known on this machine.
    """
    about = manifest.read_manifest(folder)
    if not about:
        raise InputError(f"the transcript in {folder} is incomplete", "transcribe it again")
    digest = about["video"]["digest"]
    index = DigestIndex(settings.digest_index)
    for place in index.places(digest):
        with suppress(InputError):  # it is gone
            if digest_recording(place, index) == digest:
                return place
    raise InputError(
        f"{about['video']['name']}, the video of {folder}, is not known on this machine",
        "name the video instead of its transcript",
    )


def add_formats(statuses: Sequence[VideoStatus], batch: Batch) -> list[VideoStatus]:
    """Write what finished transcripts lack of a run's formats, from what is there.

    Returns the statuses; one warns of each file that could not be written.
    """
    return [
        _add_formats(status, batch) if status.state is State.UNCHANGED else status
        for status in statuses
    ]


def _add_formats(status: VideoStatus, batch: Batch) -> VideoStatus:
    folder = Path(status.folder)
    names = exporting.missing_formats(folder, batch.formats)
    if not names:
        return status
    results = exporting.export_into(folder, names, batch.settings.claims)
    warnings = [f"{each.path}: {each.note}" for each in results if each.note]
    if warnings and status.summary:
        summary = status.summary.model_copy(
            update={"warnings": (*status.summary.warnings, *warnings)}
        )
        return status._replace(summary=summary)
    return status
