"""The voice library: the people of a site, recognized by voice in every video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from spokenby.errors import InputError, SpokenbyError
from spokenby.types import Diarization, Digest, Identity, Seconds, SpeakerEmbeddings, Video
from spokenby.voices import registry, roster, search
from spokenby.voices.centroids import refresh_centroids
from spokenby.voices.exchange import Imported, export_voices, import_voices
from spokenby.voices.identification import (
    Voiceprint,
    check_enrollment,
    find_reunions,
    identify_speakers,
)
from spokenby.voices.matching import Params
from spokenby.voices.neighbors import Neighbor, read_neighbors
from spokenby.voices.rebuilding import MissingPrint, add_prints, find_missing_prints
from spokenby.voices.roster import AppearanceSummary, Hit, VoiceSummary
from spokenby.voices.search import Line, TranscriptPlace
from spokenby.voices.store import Store
from spokenby.voices.tables import apart, appearances, centroids, library, voiceprints, voices

__all__ = [
    "AppearanceSummary",
    "Change",
    "Enrolled",
    "Hit",
    "Imported",
    "Line",
    "MissingPrint",
    "Neighbor",
    "TranscriptPlace",
    "VoiceLibrary",
    "VoiceSummary",
    "Voiceprint",
]

_DEFAULT = Params()


class Enrolled(NamedTuple):
    """The result of an enrollment."""

    voice: int
    name: str
    added: int
    """How many prints are new; known ones are not added again."""
    created: bool
    """The name is new in the library."""


class Change(NamedTuple):
    """What a change of the library affects: all that is needed to rewrite transcripts."""

    voice: int | None
    """The remaining or new voice; `None` after `forget`."""
    name: str
    """Its displayed name."""
    before: tuple[str, ...]
    """The names under which the affected voices were displayed before."""
    videos: tuple[Digest, ...]
    """The videos in whose transcripts a name changes."""
    embeddings: tuple[Digest, ...]
    """Stored results of `embed_speakers` that also hold the vectors: to delete after `forget`."""
    numbers: tuple[int, ...] = ()
    """After `forget`: the voice's number, and those of the voices that went into it."""
    scrubbed: bool = True
    """After `forget`: whether the voice is erased from the database's files. If others were using
    them, it is erased when the library is next opened without them."""


class VoiceLibrary:
    """The voices of a site in one database, shared by its processes.

    A voice keeps its number when it gets a name, and a number is never reused. Every change locks
    the whole library for its one transaction. `which` identifies a voice: "Speaker 7", "7", its
    name, or the beginning of exactly one name.

    Every method raises InputError or TransientError with one clear line where the database is
    damaged, newer than this spokenby, busy for long or out of reach.
    """

    def __init__(self, url: str) -> None:
        """Open a library, `sqlite:///…` or `postgresql://…`; create it or bring it up to date."""
        self._store = Store(url)

    @property
    def place(self) -> str:
        """Where it is, without user and password."""
        return self._store.place

    def identify(
        self,
        video: Video,
        embeddings: SpeakerEmbeddings,
        diarization: Diarization,
        params: Params = _DEFAULT,
    ) -> tuple[Identity, ...]:
        """Identify the speakers of a video and store the result: one identity a speaker, by label.

        A speaker who matches no voice becomes a new one; with too little speech for that, a speaker
        gets no voice, and a name like "Unknown speaker A". An earlier decision on the same
        embeddings is returned unchanged. With other embeddings of the same video (other params,
        another model), speakers keep the voices that spoke at the same time before.

        With `params.enabled` off nothing is stored, and the result is empty.
        """
        if not params.enabled or not embeddings.speakers:
            return ()
        with self._store.writing() as connection:
            of_video = appearances.c.video == video.digest
            noted = select(appearances.c.speaker, appearances.c.embeddings).where(of_video)
            before = {(row.speaker, row.embeddings) for row in connection.execute(noted)}
            if before == {(speaker, embeddings.digest) for speaker in embeddings.speakers}:
                connection.execute(
                    update(appearances).where(of_video).values(video_name=video.name)
                )
            else:
                identify_speakers(connection, video, embeddings, diarization, params)
            return registry.read_identities(connection, video.digest)

    def identities_of(
        self, video: Digest, embeddings: Digest | None = None
    ) -> tuple[Identity, ...]:
        """Return what `identify` decided, with current names.

        Empty if the video is unknown, or was last identified from other `embeddings`: its labels
        may stand for other people.
        """
        with self._store.reading() as connection:
            return registry.read_identities(connection, video, embeddings)

    def other_models(self, model: str) -> str:
        """Return one line on the named voices without prints of a model; empty if all have some.

        Prints of different models are never compared.
        """
        models: dict[int, set[str]] = defaultdict(set)
        with self._store.reading() as connection:
            for number, name in connection.execute(
                select(voices.c.number, centroids.c.model)
                .join_from(voices, centroids)
                .where(voices.c.name.is_not(None))
            ):
                models[number].add(name)
        lacking = [found for found in models.values() if model not in found]
        if not lacking:
            return ""
        others = ", ".join(sorted(set().union(*lacking)))
        return (
            f"{len(lacking)} of {len(models)} named voices are known only by the embedding model"
            f" {others}, not by {model}: run: spokenby voices rebuild"
        )

    def missing_prints(self, model: str) -> list[MissingPrint]:
        """Return the speakers who lack a voiceprint by a model, by video."""
        with self._store.reading() as connection:
            return find_missing_prints(connection, model)

    def enrolled_from(self, voice: int) -> list[str]:
        """Return the names of the recordings that a voice was enrolled from."""
        with self._store.reading() as connection:
            enrolled = select(voiceprints.c.source).where(
                voiceprints.c.voice == voice, voiceprints.c.video.is_(None)
            )
            return sorted(set(connection.scalars(enrolled)))

    def add_prints(self, model: str, prints: Sequence[tuple[MissingPrint, Voiceprint]]) -> int:
        """Add voiceprints where they are still missing; return how many."""
        with self._store.writing() as connection:
            return add_prints(connection, model, prints)

    def enroll(
        self,
        name: str,
        model: str,
        prints: Sequence[Voiceprint],
        params: Params = _DEFAULT,
        *,
        force: bool = False,
    ) -> Enrolled:
        """Add a voice by name, or prints to the voice of that name.

        Raises:
            InputError: too little speech; or the prints are not of one voice, not of the voice of
                that name, or of another named voice. `force` allows the last three.
        """
        name = registry.checked_name(name)
        speech = sum(print_.seconds for print_ in prints)
        if not prints or speech < params.shortest_new:
            raise InputError(
                f"{speech:.1f} s of speech are too little to enroll {name}",
                f"give at least {params.shortest_new:g} s",
            )
        with self._store.writing() as connection:
            voice = registry.by_name(connection, name)
            if not force:
                check_enrollment(connection, name, voice, model, prints, params)
            number = voice.number if voice else registry.begin_voice(connection, name)
            kept = select(voiceprints.c.vector).where(
                voiceprints.c.voice == number, voiceprints.c.model == model
            )
            there = set(connection.scalars(kept))
            rows = [print_.as_row(number, model) for print_ in prints]
            fresh = {row["vector"]: row for row in rows if row["vector"] not in there}
            if fresh:
                connection.execute(insert(voiceprints), list(fresh.values()))
            refresh_centroids(connection, {number})
        return Enrolled(
            voice=number,
            name=voice.name if voice else name,
            added=len(fresh),
            created=voice is None,
        )

    def rename(self, which: str, name: str, *, merge: bool = False) -> Change:
        """Give a voice a name. If another one has it, `merge` makes both one voice.

        Raises:
            InputError: unknown or ambiguous `which`; the name is taken, empty, too long, or of
                the reserved form "Speaker 9".
        """
        name = registry.checked_name(name)
        with self._store.writing() as connection:
            voice = registry.resolve(connection, which)
            other = registry.by_name(connection, name)
            if other and other.number != voice.number:
                if merge:
                    return _merge(connection, other, voice)
                raise InputError(
                    f"{other.name} is already the name of Speaker {other.number}",
                    "choose another one, or, if both are one person, merge them:"
                    f' spokenby voices merge "{other.name}" "Speaker {voice.number}"',
                )
            connection.execute(
                update(voices)
                .where(voices.c.number == voice.number)
                .values(name=name, name_key=registry.name_key(name))
            )
            return _change(connection, voice.number, name, voice)

    def merge(self, keep: str, drop: str) -> Change:
        """Merge two voices. The number of `drop` becomes an alias of `keep`.

        `keep` keeps its name; if it has none, it gets that of `drop`.
        """
        with self._store.writing() as connection:
            kept, dropped = (registry.resolve(connection, which) for which in (keep, drop))
            if kept.number == dropped.number:
                raise InputError(
                    f"{keep} and {drop} are already one voice, {registry.shown(kept)}",
                    "name two voices",
                )
            return _merge(connection, kept, dropped)

    def split(self, which: str, video: str, speaker: str | None = None) -> Change:
        """Separate a voice's appearance in one video from it, as a new voice.

        Args:
            which: the voice.
            video: the name of the video, or the beginning of its digest.
            speaker: its label, needed if the voice has two in that video.
        """
        with self._store.writing() as connection:
            voice = registry.resolve(connection, which)
            row = registry.find_appearance(connection, voice, video, speaker)
            if not registry.is_known_beside(connection, voice, row.video, row.speaker):
                raise InputError(
                    f"{registry.shown(voice)} appears nowhere else", "rename it instead"
                )
            number = registry.begin_voice(connection)
            for table, values in (
                (appearances, {"score": None, "confidence": None}),
                (voiceprints, {}),
            ):
                connection.execute(
                    update(table)
                    .where(table.c.voice == voice.number)
                    .where(table.c.video == row.video, table.c.speaker == row.speaker)
                    .values(voice=number, **values)
                )
            connection.execute(insert(apart).values(voice=voice.number, other=number))
            refresh_centroids(connection, {voice.number, number})
            return _change(connection, number, f"Speaker {number}", voice)._replace(
                videos=(row.video,), embeddings=(row.embeddings,)
            )

    def keep_apart(self, one: str, other: str) -> None:
        """Note that two voices are different people: they are never merged by themselves.

        Raises:
            InputError: they are one voice.
        """
        with self._store.writing() as connection:
            voice, stranger = (registry.resolve(connection, which) for which in (one, other))
            if voice.number == stranger.number:
                raise InputError(
                    f"{one} and {other} are one voice, {registry.shown(voice)}",
                    "split it in the video in which somebody else speaks",
                )
            if not registry.are_apart(connection, voice.number, stranger.number):
                connection.execute(insert(apart).values(voice=voice.number, other=stranger.number))

    def forget(self, which: str) -> Change:
        """Delete a voice: its name, prints and appearances, and erase them from the file.

        Its speakers become "Unknown speaker A" in its videos, and remain so as long as these are
        identified from the same embeddings.
        """
        with self._store.writing() as connection:
            voice = registry.resolve(connection, which)
            merged = registry.read_merged(connection, {voice.number}).get(voice.number, ())
            change = _change(connection, None, "", voice)
            change = change._replace(numbers=(voice.number, *merged))
            connection.execute(
                update(appearances)
                .where(appearances.c.voice == voice.number)
                .values(voice=None, score=None, confidence=None, seconds=0.0, samples="[]")
            )
            connection.execute(delete(voices).where(voices.c.number == voice.number))
            connection.execute(update(library).values(unscrubbed=True))
        try:
            return change._replace(scrubbed=self._store.scrub())
        except SpokenbyError:  # it is deleted, but not yet from the file's free space
            return change._replace(scrubbed=False)

    def reidentify(self, params: Params = _DEFAULT) -> tuple[Change, ...]:
        """Merge voices without a name into named ones that they match, as after an enrollment.

        Voices that people separated are not merged, nor two that speak in one video.
        """
        with self._store.writing() as connection:
            return tuple(
                # One at a time: each merge changes which voices share a video.
                _merge(
                    connection,
                    registry.by_number(connection, known),
                    registry.by_number(connection, lone),
                )
                for lone, known in find_reunions(connection, params)
            )

    def voices(self) -> list[VoiceSummary]:
        """Return all voices: named ones first, each by talk time."""
        with self._store.reading() as connection:
            return roster.read_summaries(connection)

    def neighbors(self) -> dict[int, list[Neighbor]]:
        """Return the voices that sound most like each one without a name, the likest first.

        Without those that people keep apart.
        """
        with self._store.reading() as connection:
            return read_neighbors(connection)

    def summary(self, which: str) -> VoiceSummary:
        """Return one voice."""
        with self._store.reading() as connection:
            return roster.read_summaries(connection, registry.resolve(connection, which))[0]

    def show(self, which: str) -> list[AppearanceSummary]:
        """Return where a voice speaks, the latest first."""
        with self._store.reading() as connection:
            return roster.read_appearances(connection, registry.resolve(connection, which))

    def note_transcript(self, video: Video, folder: str, lines: Sequence[Line]) -> None:
        """Index a transcript: its place and lines. Replaces what was indexed of `folder`."""
        with self._store.writing() as connection:
            search.note_transcript(connection, video, folder, lines)

    def transcripts(self, videos: Collection[Digest] | None = None) -> list[TranscriptPlace]:
        """Return the transcripts of some videos, or all, by name."""
        with self._store.reading() as connection:
            return search.transcript_places(connection, videos)

    def find(self, text: str, speaker: str | None = None, limit: int = 100) -> list[Hit]:
        """Return lines that have all words of `text`, by video and time.

        Accents and case are ignored, "words in quotes" are a phrase, quant* matches a prefix.
        `text` may be empty if a `speaker` (a `which`) is given: all that it said.
        """
        with self._store.reading() as connection:
            voice = registry.resolve(connection, speaker) if speaker else None
            return roster.find_lines(connection, text, voice, limit)

    def read(
        self, folder: str, start: Seconds, end: Seconds, first: int = 0, limit: int = 100
    ) -> list[Hit]:
        """Return the lines of a transcript that are heard between two times, in order.

        Args:
            folder: as it was noted.
            start: of the passage.
            end: of the passage.
            first: how many lines to skip.
            limit: maximum number of lines.
        """
        with self._store.reading() as connection:
            return roster.read_lines(connection, folder, start, end, first, limit)

    def export(self) -> dict[str, Any]:
        """Return voices, prints and appearances, without the transcripts' lines, as JSON values."""
        with self._store.reading() as connection:
            return export_voices(connection)

    def import_(self, content: Mapping[str, Any]) -> Imported:
        """Add the voices of another library. Importing twice changes nothing.

        A voice keeps its number if that was never used here; otherwise it gets a new one. Voices of
        the same name are merged. This library's decisions on a video take precedence.

        Raises:
            InputError: `content` is not an export.
        """
        with self._store.writing() as connection:
            imported, touched = import_voices(connection, content)
            refresh_centroids(connection, touched)
            return imported


def _change(
    connection: Connection, number: int | None, name: str, *before: registry.Voice
) -> Change:
    videos, embeddings = registry.read_concerned(connection, [voice.number for voice in before])
    return Change(number, name, tuple(map(registry.shown, before)), videos, embeddings)


def _merge(connection: Connection, kept: registry.Voice, dropped: registry.Voice) -> Change:
    change = _change(connection, kept.number, "", kept, dropped)
    return change._replace(name=registry.join_voices(connection, kept, dropped))
