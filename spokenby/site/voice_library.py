"""Open this site's voice library and keep it and the transcripts in step."""

import logging
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from spokenby.errors import SpokenbyError
from spokenby.output import formats, manifest, published
from spokenby.output.folders import CORRECTIONS
from spokenby.output.formats import TRANSCRIPT
from spokenby.output.layers import forget_name
from spokenby.output.rename_speakers import Rewritten, rewrite_folder
from spokenby.plan.stages import Stage
from spokenby.review import page
from spokenby.settings import Settings
from spokenby.site.inventory import State, VideoStatus
from spokenby.site.shares import check_library
from spokenby.site.stage_results import delete_shared, storage_key
from spokenby.types import Digest, Identity, SpeakerTranscript, Video
from spokenby.voices.library import Change, Hit, Line, VoiceLibrary


class Identified(NamedTuple):
    """Who the speakers of a video are."""

    embeddings: Digest
    """Of the voiceprints by which they were identified."""
    identities: tuple[Identity, ...]
    unmatched_people: str = ""
    """Which known people could not be found, whatever they sound like."""


@cache
def _open(url: str) -> VoiceLibrary:
    return VoiceLibrary(url)


def open_library(settings: Settings) -> VoiceLibrary:
    """Return the site's voice library, which a process opens once.

    Raises:
        SpokenbyError: it cannot be reached or used.
    """
    check_library(settings)
    return _open(settings.voices)


@cache
def unmatched_people(url: str, model: str) -> str:
    """Say which known people a model cannot find, as of when this process first asked.

    See `VoiceLibrary.other_models`; it reads every known voice.
    """
    lacking = _open(url).other_models(model)
    if lacking:
        logging.getLogger("spokenby").warning(lacking)
    return lacking


def place_of(folder: Path, settings: Settings) -> str:
    """Return how a folder of outputs is noted: relative to the site's, so that it can be moved."""
    folder, transcripts = folder.absolute(), settings.transcripts.absolute()
    return (
        folder.relative_to(transcripts).as_posix()
        if folder.is_relative_to(transcripts)
        else str(folder)
    )


def folder_at(place: str, settings: Settings) -> Path:
    """Return the folder that was noted as `place`."""
    return settings.transcripts.absolute() / place


def note_transcript(
    video: Video, folder: Path, transcript: SpeakerTranscript, settings: Settings
) -> None:
    """Tell the library where a transcript is and what is said in it."""
    lines = [
        Line(segment.start, segment.end, segment.speaker, segment.text)
        for segment in transcript.segments
    ]
    open_library(settings).note_transcript(video, place_of(folder, settings), lines)


def note_unchanged(statuses: Sequence[VideoStatus], settings: Settings) -> list[VideoStatus]:
    """Tell the library of finished transcripts that it lacks: it may be newer, or another one.

    Returns the statuses; one warns if that was not possible, which harms nothing but the search.
    """
    unchanged = [status for status in statuses if status.state is State.UNCHANGED]
    if not unchanged:
        return list(statuses)
    try:
        noted = {place.folder for place in open_library(settings).transcripts()}
        for status in unchanged:
            folder = Path(status.folder)
            if place_of(folder, settings) not in noted:
                note_folder(folder, settings)
    except SpokenbyError as error:
        first = unchanged[0]
        if first.summary:
            warnings = (*first.summary.warnings, f"`spokenby find` may not find it: {error}")
            summary = first.summary.model_copy(update={"warnings": warnings})
            warned = first._replace(summary=summary)
            return [warned if status is first else status for status in statuses]
    return list(statuses)


def note_folder(folder: Path, settings: Settings) -> None:
    """Tell the library what a finished transcript says, if it is complete."""
    if about := manifest.read_manifest(folder):
        transcript = formats.read_transcript((folder / TRANSCRIPT).read_bytes())
        note_transcript(manifest.video_of(about), folder, transcript, settings)


def rename_since(
    shown: Sequence[Identity], video: Digest, embeddings: Digest, folder: Path, settings: Settings
) -> str:
    """Write a transcript again if a speaker has another name than it shows; return a warning.

    Who renames a voice writes the transcripts that are there. One that was just being written was
    not, or its writer was cut off from the database and had no turn any more.

    Args:
        shown: the identities that it was written with.
        video: whose transcript it is.
        embeddings: of its voiceprints; empty if nobody was identified.
        folder: of the transcript.
        settings: the site.
    """
    library = open_library(settings) if embeddings else None
    if not library or tuple(shown) == library.identities_of(video, embeddings):
        return ""
    written = rewrite_folder(folder, library.identities_of, settings.claims, pages=page.render)
    return f"a name that was given meanwhile is not in it: {written.note}" if written.note else ""


def rewrite_transcripts(
    videos: Collection[Digest] | None, settings: Settings, *, overwrite: bool = False
) -> Iterator[Rewritten]:
    """Write the transcripts of some videos again, with today's names; yield the result for each.

    Args:
        videos: those in which a speaker has another name now; all if `None`.
        settings: the site.
        overwrite: those that were edited by hand, too.
    """
    library = open_library(settings)
    for place in library.transcripts(videos):
        folder = folder_at(place.folder, settings)
        yield rewrite_folder(
            folder,
            library.identities_of,
            settings.claims,
            pages=page.render,
            overwrite=overwrite,
        )


def find_lines(text: str, speaker: str | None, limit: int, settings: Settings) -> list[Hit]:
    """Return lines as `VoiceLibrary.find` does, but none of a transcript that was deleted."""
    library, there = open_library(settings), cache(partial(_is_there, settings=settings))
    published.look(settings)
    asked = limit
    while True:
        hits = library.find(text, speaker, asked)
        found = [hit for hit in hits if there(hit.folder)]
        if len(found) >= limit or len(hits) < asked:
            return found[:limit]
        asked *= 4


def _is_there(folder: str, settings: Settings) -> bool:
    return published.about(folder_at(folder, settings), settings) is not None


def count_rewritten(rewritten: Iterable[Rewritten]) -> str:
    """Return in words how transcripts ended: 7 written again, 1 edited; empty of none."""
    counts: Counter[str] = Counter(each.state for each in rewritten)
    words = {"written": "written again", "unchanged": "as they were", "missing": "not there"}
    words |= {"edited": "edited", "failed": "failed"}
    return ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state])


def delete_embeddings(embeddings: Iterable[Digest], settings: Settings) -> list[str]:
    """Delete stored voiceprints; return a line for each file that is still there."""
    remains = []
    for digest in sorted(set(embeddings)):
        try:
            path = settings.results / storage_key(Stage.EMBED, digest)
        except ValueError:  # not a digest, as of an older import: nothing is stored under it
            continue
        try:
            path.unlink(missing_ok=True)
            delete_shared(Stage.EMBED, digest, settings)
        except OSError as error:
            remains.append(f"{path} cannot be deleted ({error.strerror}): delete it")
        except SpokenbyError as error:
            remains.append(f"a stored voiceprint is still there: {error}")
    return remains


class Forgotten(NamedTuple):
    """What `forget_voice` did. `remains` are lines: what is still there, and what to do."""

    change: Change
    remains: tuple[str, ...]


def forget_voice(which: str, settings: Settings) -> Forgotten:
    """Delete all that is known of a voice, also the stored voiceprints of the videos concerned."""
    published.look(settings)  # first: without its bucket, nothing is done
    library = open_library(settings)
    change = library.forget(which)
    folders = [folder_at(each.folder, settings) for each in library.transcripts(change.videos)]
    written = [published.about(folder, settings) for folder in folders]
    # Where labels of one voice were joined, the library knows voiceprints made of the stored ones.
    stored = {about["stages"]["embed"]["digest"] for about in written if about}
    remains = delete_embeddings(stored.union(change.embeddings), settings)
    # Everywhere: words may be given to somebody whose voice is not in the video.
    noted = (folder_at(each.folder, settings) for each in library.transcripts())
    corrected = {path.parent for path in settings.transcripts.absolute().glob(f"*/{CORRECTIONS}")}
    corrected |= {folder for folder in noted if (folder / CORRECTIONS).is_file()}
    for folder in published.list_folders(settings):  # also what other hosts wrote
        about = published.about(folder, settings)
        corrected |= {folder} if about and CORRECTIONS in about["files"] else set()
    remains += forget_name(
        sorted(corrected), change.numbers, locks=settings.claims, copies=settings.corrections
    )
    compared = settings.cache / "evaluation"
    shutil.rmtree(compared, ignore_errors=True)  # transcripts with today's names
    if compared.exists():
        remains.append(f"{compared} may name them: delete it")
    if settings.bucket:
        remains.append(
            f"other hosts may have copies of its voiceprints and name: delete"
            f" {settings.results / 'embed'} and {settings.corrections} there; their transcripts"
            " follow when they are next opened"
        )
    if not change.scrubbed:
        remains.append(
            f"{library.place} may contain traces, because another process uses it or it cannot be"
            " written: end that process, then run: spokenby voices list"
        )
    return Forgotten(change, tuple(remains))
