"""Write and read a transcript's manifest, and check whether its folder is complete."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spokenby.engines.batching import smaller_batches
from spokenby.engines.loading import ENGINES
from spokenby.output.folders import MANIFEST, Files, file_entries
from spokenby.plan.planning import Plan
from spokenby.plan.profiles import Recipe
from spokenby.plan.stages import Stage
from spokenby.types import (
    Digest,
    EngineResult,
    Identity,
    SpeakerTranscript,
    StageResult,
    TranscriptSummary,
    Video,
)

SCHEMA_VERSION = 1
_REPORTED_PACKAGES = dict.fromkeys(
    ["spokenby", *(name for engine in ENGINES.values() for name in engine.packages)]
)


def describe_run(
    video: Video,
    recipe: Recipe,
    plan: Plan,
    model_identities: Mapping[str, Sequence[str]],
    transcript: SpeakerTranscript,
    results: Mapping[str, StageResult],
    *,
    identified_from: Digest | None = None,
    identities: Sequence[Identity] = (),
    listening_copy: Digest | None = None,
    telemetry: Mapping[str, Any] | None = None,
    host: str = "",
) -> dict[str, Any]:
    """Return a manifest without its files: the provenance of a transcript.

    `identified_from` is the digest of the voiceprints from which its speakers were identified, if
    they were, `listening_copy` that of the audio of which there is a copy to listen to, if there is
    one, and `host` the name of the host that wrote it, where there are several. It holds no
    absolute path: outputs may be moved and shared.
    """
    stages: dict[str, dict[str, Any]] = {
        stage: {
            "digest": result.digest,
            "seconds": result.seconds,
            "from_cache": stage not in plan.run,
            "computed_in": result.computed_in if isinstance(result, EngineResult) else "",
        }
        for stage, result in results.items()
    }
    computed = sum(stage["seconds"] for stage in stages.values() if not stage["from_cache"])
    about = {
        "schema_version": SCHEMA_VERSION,
        "digest": plan.digests[Stage.MERGE],
        "video": {
            "name": Path(video.path).name,
            "digest": video.digest,
            "duration": video.duration,
            "audio_streams": video.audio_streams,
            "recorded": video.recorded,
        },
        "profile": recipe.profile,
        "made_by": recipe.made_by,
        "coverage": transcript.coverage,
        "seconds": round(computed, 3),
        "times_real_time": round(video.duration / computed, 1) if computed else None,
        "stages": stages,
        "smaller_batches": smaller_batches(),
        "telemetry": dict(telemetry or {}),
        "models": {stage: ", ".join(names) for stage, names in model_identities.items()},
        "params": recipe.model_dump(mode="json", exclude={"profile"}),
        "versions": versions(),
        "identified_from": identified_from,
        "listening_copy": listening_copy,
        **({"host": host} if host else {}),
        **_vocabulary(recipe, transcript),
    }
    return renamed(about, transcript, identities)


def versions() -> dict[str, str]:
    """Return the versions of what a transcript is made with."""
    packages = {name: version(name) for name in _REPORTED_PACKAGES}
    return {"python": platform.python_version(), **packages}


def _vocabulary(recipe: Recipe, transcript: SpeakerTranscript) -> dict[str, Any]:
    """Return what the vocabulary holds and did, if there is one."""
    terms = len(recipe.transcribe.vocabulary.splitlines())
    replacements = len(recipe.merge.replacements.splitlines())
    if not terms + replacements:
        return {}
    replaced = transcript.replaced
    return {
        "vocabulary": {"terms": terms, "replacements": replacements, "replaced": replaced},
    }


def renamed(
    about: Mapping[str, Any], transcript: SpeakerTranscript, identities: Sequence[Identity]
) -> dict[str, Any]:
    """Return a manifest with the identities behind the names that the transcript shows."""
    listed = [identity.model_dump(mode="json") for identity in identities]
    return {**about, "identities": listed, **_figures(transcript)}


def corrected(
    about: Mapping[str, Any], transcript: SpeakerTranscript, counts: Mapping[str, float] | None
) -> dict[str, Any]:
    """Return a manifest with what people corrected of the transcript: `Layer.counts`."""
    kept = {name: value for name, value in about.items() if name != "corrections"}
    return {**kept, **_figures(transcript), **({"corrections": dict(counts)} if counts else {})}


def _figures(transcript: SpeakerTranscript) -> dict[str, Any]:
    return {
        "speakers": len(transcript.speakers),
        "words": sum(len(segment.words) for segment in transcript.segments),
        "warnings": list(transcript.named_warnings),
    }


def describe_origin(video: Video, recipe: Recipe) -> dict[str, Any]:
    """Return what a transcript says about how it was made: equal on every run of a video."""
    about = {"profile": recipe.profile, "made_by": recipe.made_by, "notes": [recipe.made_by]}
    return {**about, "recorded": video.recorded} if video.recorded else about


def with_files(about: dict[str, Any], files: Files) -> dict[str, bytes | Path]:
    """Return the files of an output folder, including the manifest that lists the others."""
    return {**files, MANIFEST: as_json(about, file_entries(files))}


def as_json(about: Mapping[str, Any], listed: Mapping[str, Any]) -> bytes:
    """Return the content of manifest.json; `listed` is from `folders.file_entries`."""
    content = json.dumps({**about, "files": listed}, indent=2, ensure_ascii=False) + "\n"
    return content.encode()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an output folder, or `None` if the folder is incomplete."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        whole = all((folder / name).is_file() for name in manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return manifest if whole else None


def is_written(folder: Path, digest: Digest) -> bool:
    """Return whether a folder holds the complete transcript of a merge digest."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest.get("digest") == digest


def video_of(manifest: Mapping[str, Any]) -> Video:
    """Return the video of a manifest; its path is only the file name."""
    return Video(
        path=manifest["video"]["name"],
        **{**manifest["video"], "name": Path(manifest["video"]["name"]).stem},
    )


def summarize_folder(folder: Path, *, computed: bool) -> TranscriptSummary:
    """Read the figures of a transcript from the manifest of its complete folder.

    `computed` says whether this run wrote it; otherwise all of it came from the cache.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder / MANIFEST} is missing or incomplete")
    stages = manifest["stages"]
    stored = [name for name, stage in stages.items() if stage["from_cache"] or not computed]
    return TranscriptSummary(
        speakers=manifest["speakers"],
        words=manifest["words"],
        coverage=manifest.get("coverage"),
        seconds=manifest["seconds"] if computed else 0.0,
        stored=tuple(stored),
        warnings=tuple(manifest["warnings"]),
    )
