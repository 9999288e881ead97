"""What the videos of a run share, and which stages this site still has to compute for each."""

import logging
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from spokenby.digests import DigestIndex, digest_of
from spokenby.errors import InputError
from spokenby.output import formats as file_formats
from spokenby.output import published
from spokenby.output.folders import folder_name
from spokenby.plan.planning import Plan, plan_video, stage_digests, upstream_of
from spokenby.plan.profiles import (
    Profile,
    Recipe,
    choose_profile,
    identify_models,
    make_recipe,
    merge_params,
)
from spokenby.plan.stages import Stage, with_upstream
from spokenby.settings import Settings, origins, read_settings
from spokenby.site.find_videos import is_track_folder
from spokenby.site.shares import shared_locks
from spokenby.site.stage_results import read_stored
from spokenby.site.vocabularies import Vocabularies
from spokenby.stages import audio
from spokenby.stages.vocabulary import ARROW, Vocabulary
from spokenby.types import AudioFile, Digest, Span, Video

Params = dict[str, dict[str, Any]]
"""By stage (`diarize`, `merge`, …) and field."""


class Batch(NamedTuple):
    """What every video of a run shares."""

    settings: Settings
    recipe: Recipe
    profile_reason: str
    model_identities: dict[str, tuple[str, ...]]
    output: Path
    formats: tuple[str, ...] = file_formats.USUAL
    """Which files the folder of a transcript gets. In no stage's key: a file more is no result."""
    vocabularies: Vocabularies | None = None
    on_done: str = ""
    """Whom to tell of each transcript; see on_done.py. From this site only: no form has it."""

    def for_video(self, path: str) -> "Batch":
        """Return the batch with the vocabulary of a video in its recipe. Given params stay.

        A folder of tracks is split, whatever is said of channels.

        Raises:
            InputError: the vocabulary cannot be used.
        """
        if is_track_folder(Path(path)) and self.recipe.extract.channels != "split":
            extract = self.recipe.extract.model_copy(update={"channels": "split"})
            recipe = self.recipe.model_copy(update={"extract": extract})
            return self._replace(recipe=recipe).for_video(path)
        found = self.vocabularies.of_video(path) if self.vocabularies else Vocabulary()
        if found == Vocabulary():
            return self
        given = {
            "transcribe": {"vocabulary": "\n".join(found.terms)},
            "merge": {"replacements": "\n".join(map(f" {ARROW} ".join, found.replacements))},
        }
        stages = {
            stage: self.recipe[stage].model_copy(
                update={name: text for name, text in fields.items() if text}
            )
            for stage, fields in given.items()
            if not any(getattr(self.recipe[stage], name) for name in fields)
        }
        return self._replace(recipe=self.recipe.model_copy(update=stages))

    def folder(self, video: Video) -> Path:
        """Return where a video's outputs go."""
        return self.folder_of(video.name, video.digest)

    def folder_of(self, name: str, video: Digest) -> Path:
        """Return where the outputs of a video of that name go."""
        return self.output / folder_name(name, video)


SETTLED = {"embed.engine": "voice_encoder", "write.listening_copy": "listening_copy"}
"""Params that are settings of the site, by the name of the setting."""


def site_params(settings: Settings) -> Params:
    """Return the params in which a site differs from the profiles.

    Raises:
        InputError: one of those in the site's file does not fit.
    """
    try:
        if settings.params:
            make_recipe(Profile.EMBEDDED, **settings.params)
    except InputError as error:
        raise InputError(f"{settings.file}: {error.problem}", error.next_step) from None
    of_site: Params = {}
    for param, setting in SETTLED.items():
        stage, field = param.split(".")
        if field in settings.params.get(stage, {}):
            raise InputError(
                f"{settings.file}: {param} is a setting of the site",
                f"write {setting} = … above the first [table] instead",
            )
        of_site[stage] = {field: getattr(settings, setting)}
    return merge_params(of_site, settings.params)


def prepare_batch(
    profile: str | None = None,
    *,
    language: str | None = None,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    audio_stream: int | None = None,
    channels: str | None = None,
    output: str | Path | None = None,
    formats: str | None = None,
    vocabulary: str | Path | None = None,
    params: Params | None = None,
    on_done: str | None = None,
) -> Batch:
    """Settle what a run uses.

    Args:
        profile: the site's default if `None`.
        language: goes to the transcription's params, as the next ones to theirs.
        num_speakers: likewise.
        min_speakers: likewise.
        max_speakers: likewise.
        audio_stream: likewise.
        channels: likewise.
        output: folder of the transcripts; the site's if `None`.
        formats: which files it gets, with commas between; the site's if `None`. transcript.json is
            always one.
        vocabulary: a file of terms and replacements for all videos; see `Vocabularies` if `None`.
        params: any other params, by stage and field.
        on_done: whom to tell of each transcript; the site's if `None`.

    Raises:
        InputError: a setting, the profile, the vocabulary or a value does not fit, or a model is
            not here.
    """
    for what, named in {"output folder": output, "vocabulary": vocabulary}.items():
        if "\0" in str(named or ""):
            raise InputError(f"the name of the {what} holds a NUL character", "leave it out")
    settings = read_settings()
    of_site = site_params(settings)
    chosen, reason = choose_profile(profile or settings.profile, settings.models, **of_site)
    given: Params = {
        "extract": {"audio_stream": audio_stream, "channels": channels},
        "diarize": {
            "num_speakers": num_speakers,
            "min_speakers": min_speakers,
            "max_speakers": max_speakers,
        },
        "transcribe": {"language": language},
    }
    recipe = make_recipe(chosen, **merge_params(of_site, params or {}, given))
    if (encoder := recipe.embed.engine) != settings.voice_encoder:
        reason += (
            f"; voiceprints by {encoder}, which are not compared with those by"
            f" {settings.voice_encoder}, this site's encoder"
        )
    if warning := shared_locks(settings):
        reason += f"; {warning}"
    return Batch(
        settings=settings,
        recipe=recipe,
        profile_reason=reason,
        model_identities=identify_models(
            recipe, settings.models, DigestIndex(settings.digest_index)
        ),
        output=Path(output) if output else settings.transcripts,
        formats=_formats(formats, settings),
        vocabularies=Vocabularies(settings.data_dir, Path(vocabulary) if vocabulary else None),
        on_done=settings.on_done if on_done is None else on_done,
    )


def _formats(named: str | None, settings: Settings) -> tuple[str, ...]:
    source = "formats" if named else f"formats ({origins()['formats']})"
    chosen = file_formats.choose_formats([named or settings.formats], source)
    return tuple(dict.fromkeys(("json", *chosen)))


def plan_for(video: Video, batch: Batch, force: Collection[Stage] = ()) -> Plan:
    """Decide which stages of a video have to be computed on this site; read its audio for that."""
    params = batch.for_video(video.path)
    published.fetch(params.folder(video), batch.settings)
    return plan_named(video.name, video.digest, params, force, reads_audio=True)


def plan_named(
    name: str,
    video: Digest,
    batch: Batch,
    force: Collection[Stage] = (),
    *,
    reads_audio: bool = False,
) -> Plan:
    """Decide likewise for a video that was not probed, with a batch that is for it.

    Unless `reads_audio`, its audio is not read, so that a changed bit in it goes unnoticed, and
    what only other hosts have stored does not count.
    """
    return plan_video(
        stage_digests(video, batch.recipe, batch.model_identities),
        is_stored=partial(_is_stored, batch.settings, reads_audio=reads_audio),
        is_written=lambda digest: published.is_written(
            batch.folder_of(name, video), digest, batch.settings
        ),
        force=force,
        upstream=upstream_of(batch.recipe),
    )


def plan_clip(video: Video, part: Span | None, batch: Batch) -> Plan:
    """Decide likewise for what brings voiceprints, of a whole recording or a part of it."""
    digests = stage_digests(
        digest_of(video.digest, part.start, part.end) if part else video.digest,
        batch.recipe,
        batch.model_identities,
    )
    whole = stage_digests(video.digest, batch.recipe, batch.model_identities)
    needed = {stage: digests[stage] for stage in with_upstream(Stage.EMBED)}
    needed[Stage.EXTRACT] = whole[Stage.EXTRACT]
    stored = [
        stage
        for stage, digest in needed.items()
        if _is_stored(batch.settings, stage, digest, reads_audio=True)
    ]
    return Plan(
        digests=needed,
        run={stage: "not stored" for stage in needed if stage not in stored},
        stored=tuple(stored),
    )


def _is_stored(settings: Settings, stage: Stage, digest: Digest, *, reads_audio: bool) -> bool:
    result = read_stored(stage, digest, settings, fetch=reads_audio)
    if isinstance(result, AudioFile):  # the record is useless without the file it names
        path = settings.audio / result.name
        if not audio.is_whole(path, result):
            return False
        if not reads_audio or audio.is_unchanged(path, result):
            return True
        logging.getLogger("spokenby").warning("%s is damaged: %s runs again", path, stage)
        return False
    return result is not None
