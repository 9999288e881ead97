"""Read params under former names, which only stored requests and manifests may have."""

from collections.abc import Mapping
from typing import Any

_STAGES = {
    "audio": "extract",
    "diarization": "diarize",
    "embeddings": "embed",
    "transcription": "transcribe",
    "merging": "merge",
    "voices": "identify",
}
_FIELDS = {
    "diarize.embedder": "diarize.clustering.embedder",
    "diarize.window": "diarize.clustering.window",
    "diarize.hop": "diarize.clustering.hop",
    "diarize.same_voice": "diarize.clustering.join_similarity",
    "diarize.max_pause": "diarize.clustering.max_gap",
    "transcribe.cpu_threads": "transcribe.faster_whisper.cpu_threads",
    "transcribe.workers": "transcribe.faster_whisper.workers",
    "transcribe.compute_type": "transcribe.faster_whisper.compute_type",
    "transcribe.beam_size": "transcribe.faster_whisper.beam_size",
    "transcribe.initial_prompt": "transcribe.faster_whisper.initial_prompt",
    "transcribe.hotwords": "transcribe.faster_whisper.hotwords",
    "transcribe.max_wordless": "transcribe.max_wordless_gap",
    "merge.max_wordless": "merge.max_wordless_share",
    "identify.identify": "identify.enabled",
}


def renamed(name: str) -> str:
    """Return the current name of a stage, or of a param with its stage, as `merging.max_pause`."""
    stage, *rest = name.split(".")
    now = ".".join([_STAGES.get(stage, stage), *rest])
    return _FIELDS.get(now, now)


def with_new_names(params: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return params, by stage and field, under their current names."""
    current: dict[str, dict[str, Any]] = {}
    for stage, fields in params.items():
        for field, value in fields.items():
            *path, last = renamed(f"{stage}.{field}").split(".")
            inside = current
            for part in path:
                inside = inside.setdefault(part, {})
            inside[last] = value
    return current
