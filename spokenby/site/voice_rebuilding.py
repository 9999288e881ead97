"""Make the voiceprints that the site's speaker encoder lacks, from the sound of their videos.

What is lacking, and how it is kept: spokenby/voices/rebuilding.py.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spokenby.digests import DigestIndex
from spokenby.engines.ffmpeg import find_ffmpeg
from spokenby.engines.ffmpeg_decoder import FfmpegDecoder
from spokenby.engines.loading import load_embedder
from spokenby.errors import InputError, SpokenbyError, StoppedError
from spokenby.output import published
from spokenby.plan.planning import stage_digests
from spokenby.plan.renamed_params import with_new_names
from spokenby.plan.stages import Stage
from spokenby.progress import showing
from spokenby.settings import Settings
from spokenby.site.batch import Batch, prepare_batch
from spokenby.site.find_videos import find_videos, look_for_videos
from spokenby.site.gpu_slots import gpu_slot
from spokenby.site.inventory import confirm_unchanged
from spokenby.site.model_files import FindToken, make_models_ready
from spokenby.site.remote_videos import address_of, on_disk
from spokenby.site.stage_results import read_stored
from spokenby.site.track_folders import digest_recording, recording_stamp, track_names
from spokenby.site.voice_library import folder_at, open_library
from spokenby.stages import audio, embeddings
from spokenby.stages.embeddings import Embedder
from spokenby.types import AudioFile, Digest, Progress, Video, Waveform
from spokenby.voices.library import MissingPrint, VoiceLibrary, Voiceprint


class Rebuilt(NamedTuple):
    """The result for one video's voiceprints."""

    video_name: str
    added: int
    problem: str
    """Why some could not be made; empty if all were."""


def rebuild_voiceprints(
    paths: Sequence[str], settings: Settings, find_token: FindToken
) -> Iterator[Rebuilt]:
    """Make the voiceprints that the site's encoder lacks; yield the result for each.

    Each video's are kept as soon as they are made, so the next call goes on where one ended.

    Args:
        paths: where to look for videos that are not where they were when they were transcribed.
        settings: the site.
        find_token: see `make_models_ready`.

    Raises:
        SpokenbyError: the library or the encoder can't be used, or the process is to stop.
    """
    batch = prepare_batch()
    make_models_ready(batch, find_token, (Stage.EMBED,))
    library = open_library(settings)
    sounds = _Sounds(batch, library, paths)
    with load_embedder(batch.recipe.embed, settings.models) as embedder:
        due = library.missing_prints(embedder.model)
        for _, some in groupby(due, key=lambda speaker: speaker.video):
            speakers = list(some)
            yield _rebuild(speakers, sounds, library, embedder)


def _rebuild(
    speakers: Sequence[MissingPrint], sounds: "_Sounds", library: VoiceLibrary, embedder: Embedder
) -> Rebuilt:
    name = speakers[0].video_name
    try:
        with sounds.waveform_of(speakers[0].video, name) as waveform:
            prints = _take_prints(speakers, waveform, embedder)
        added = library.add_prints(embedder.model, prints)
    except StoppedError:
        raise
    except SpokenbyError as error:
        return Rebuilt(name, 0, str(error))
    missed = len(speakers) - len(prints)
    return Rebuilt(name, added, f"{missed} speakers said too little" if missed else "")


def _take_prints(
    speakers: Sequence[MissingPrint], waveform: Waveform, embedder: Embedder
) -> list[tuple[MissingPrint, Voiceprint]]:
    """Embed what the library noted of each speaker, and pool it; without those too short."""
    samples = [sample for speaker in speakers for sample in speaker.samples]
    owner = np.repeat(np.arange(len(speakers)), [len(speaker.samples) for speaker in speakers])
    with gpu_slot(), showing(speakers[0].video_name, Stage.EMBED) as progress:
        vectors = embedder.embed(waveform, samples, progress)
    length = np.array([sample.duration for sample in samples])
    usable = np.isfinite(vectors).all(axis=1)
    prints = []
    for row, speaker in enumerate(speakers):
        rows = usable & (owner == row)
        vector, spread = embeddings.pool_segments(vectors[rows], length[rows])
        if np.isfinite(vector).all():
            start = min(sample.start for sample in speaker.samples)
            end = max(sample.end for sample in speaker.samples)
            seconds = float(length[rows].sum())
            prints.append(
                (speaker, Voiceprint(vector, seconds, spread, speaker.video_name, start, end))
            )
    return prints


class _Sounds:
    """Bring the sound of videos: what is stored, else from the video, if it can be found."""

    def __init__(self, batch: Batch, library: VoiceLibrary, paths: Sequence[str]) -> None:
        self._batch = batch
        self._settings = batch.settings
        self._index = DigestIndex(batch.settings.digest_index)
        self._places = {place.video: place.folder for place in library.transcripts()}
        videos, _ = look_for_videos([batch.settings.videos])
        self._files = videos + (find_videos(paths) if paths else [])
        self._digests: dict[Path, Digest | None] = {}

    @contextmanager
    def waveform_of(self, video: Digest, name: str) -> Iterator[Waveform]:
        """Yield the sound that a video's speakers were found in.

        Raises:
            SpokenbyError: neither it nor the video is here, or it can't be decoded.
        """
        folder = self._places.get(video)
        place = folder_at(folder, self._settings) if folder else None
        about = published.about(place, self._settings) if place else None
        extract = with_new_names(about["params"])[Stage.EXTRACT] if about else {}
        params = audio.Params.model_validate(extract)
        recipe = self._batch.recipe.model_copy(update={Stage.EXTRACT.value: params})
        digest = stage_digests(video, recipe, self._batch.model_identities)[Stage.EXTRACT]
        stored = read_stored(Stage.EXTRACT, digest, self._settings)
        if isinstance(stored, AudioFile):
            path = self._settings.audio / stored.name
            if audio.is_unchanged(path, stored):
                yield audio.open_waveform(path, digest, stored.tracks)
                return
        source = self._find(video, name)
        with self._extracted(source, name, video, params, digest) as waveform:
            yield waveform

    @contextmanager
    def _extracted(
        self, source: Path, name: str, video: Digest, params: audio.Params, digest: Digest
    ) -> Iterator[Waveform]:
        """Extract a video's sound for this once: no run has asked for it to be stored."""
        settings = self._settings
        decoder = FfmpegDecoder(
            find_ffmpeg(settings.ffmpeg), settings.ffmpeg_stall_s, settings.max_hours
        )
        about = Video(
            path=address_of(source),
            name=name,
            digest=video,
            duration=0,
            audio_streams=1,
            tracks=track_names(source),
            stamp=recording_stamp(source),
        )
        settings.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix="rebuild-", dir=settings.cache, ignore_cleanup_errors=True
        ) as folder:
            with showing(name, Stage.EXTRACT) as progress, on_disk(source) as on_this_host:
                file = audio.extract_audio(
                    about.model_copy(update={"path": str(on_this_host)}),
                    Path(folder),
                    decoder,
                    params,
                    digest=digest,
                    confirm=lambda _: confirm_unchanged(about),
                    progress=progress,
                )
            yield audio.open_waveform(Path(folder) / file.name, digest, file.tracks)

    def _digest(self, path: Path, progress: Progress) -> Digest | None:
        """Return the digest of a file; `None`: it cannot be read, so it is not the one."""
        with suppress(InputError):
            return digest_recording(path, self._index, progress)
        return None

    def _find(self, video: Digest, name: str) -> Path:
        """Return a file with a video's bytes: where it was transcribed from, or one of `paths`."""
        for path in self._index.places(video):
            with suppress(InputError):  # it is gone
                if digest_recording(path, self._index) == video:
                    return path
        for path in sorted(self._files, key=lambda path: path.stem != name):
            if path not in self._digests:
                with showing(address_of(path), "inspect") as progress:
                    self._digests[path] = self._digest(path, progress)
            if self._digests[path] == video:
                return path
        raise InputError(
            "neither its sound nor the video is here",
            "name the folder that it is in: spokenby voices rebuild FOLDER",
        )
