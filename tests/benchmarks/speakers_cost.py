"""Measure what finding speech and telling speakers apart cost, stage by stage, in this process.

    python tests/benchmarks/speakers_cost.py [--minutes 10 30 60 110] [--threads 1]

CPU seconds a minute of sound of the embedded profile's engines: Silero, segmentation and the rest
of speech; the encoder and the rest of diarize; voiceprints. The sound is real and synthetic speech
again and again, with pauses of 0.5 to 15 s, so that the number of speakers is known. Peak memory is
that of the process so far: lengths are measured in the order given.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import arguments, finish, run, say, sounds, table, timed

from spokenby.engines.clustering import Clustering
from spokenby.engines.loading import (
    load_embedder,
    load_segmenter,
    load_voice_activity,
)
from spokenby.stages import diarization, embeddings, speech
from spokenby.types import SAMPLE_RATE_HZ, Waveform

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "conversation.flac"
PAUSES_S = (0.5, 15.0)


def long_sound(paths: Sequence[Path], seconds: float) -> Waveform:
    """Return recordings one after the other, again and again, with pauses of seeded length."""
    import soundfile

    draw, parts = np.random.default_rng(0), []
    recordings = [soundfile.read(path, dtype="float32")[0] for path in paths]
    length = 0
    while length < seconds * SAMPLE_RATE_HZ:
        pause = np.zeros(round(draw.uniform(*PAUSES_S) * SAMPLE_RATE_HZ), np.float32)
        parts += [recordings[len(parts) // 2 % len(recordings)], pause]
        length += sum(map(len, parts[-2:]))
    return Waveform(np.concatenate(parts)[: round(seconds * SAMPLE_RATE_HZ)], "")


class Watched:
    """An engine whose CPU seconds are added up by name."""

    def __init__(self, engine: Any, method: str, costs: dict[str, float], name: str) -> None:
        self._engine, self._method, self._costs, self._name = engine, method, costs, name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._engine, attribute)
        if attribute != self._method:
            return found

        def watched(*given: Any, **named: Any) -> Any:
            results: list[Any] = []
            cost = timed(lambda: results.append(found(*given, **named)))
            self._costs[self._name] += cost.cpu
            return results[0]

        return watched


def measure(sound: Waveform, compute_type: str) -> dict[str, Any]:
    """Find speech and speakers in a sound; return CPU seconds a minute and what was found."""
    parts: dict[str, float] = defaultdict(float)
    options = {"device": "cpu", "compute_type": compute_type}
    speech_params = speech.Params(device="cpu")
    diarizer_params = diarization.Params.model_validate(options)
    print_params = embeddings.Params.model_validate(options)
    results: list[Any] = []

    @contextmanager
    def segmenter() -> Iterator[Any]:
        with load_segmenter(speech_params, Path()) as network:
            yield Watched(network, "segment", parts, "of it segmentation")

    with load_voice_activity(Path()) as vad, load_embedder(print_params, Path()) as encoder:
        with load_segmenter(speech_params, Path()):
            pass  # loading is not measured
        listener = Watched(vad, "probabilities", parts, "of it Silero")
        watched = Watched(encoder, "embed", parts, "of it CAM++")
        works: dict[str, Callable[[], Any]] = {
            "speech": lambda: speech.detect_speech(
                sound, listener, segmenter(), speech_params, digest=""
            ),
            "diarize": lambda: diarization.diarize_speakers(
                sound, results[0], Clustering(watched), diarizer_params, digest=""
            ),
            "embed": lambda: embeddings.embed_speakers(
                sound, results[1], encoder, print_params, speech=results[0], digest=""
            ),
        }
        costs: dict[str, float] = {}
        for name, work in works.items():
            cost = timed(lambda work=work: results.append(work()))
            costs[name] = cost.cpu
            say(f"{name}: {cost.cpu:.1f} CPU s, {cost.wall:.1f} s by the clock")
    regions, turns, _ = results
    minutes = sound.duration / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {
        "minutes": minutes,
        "computes in": encoder.computes_in,
        **{name: seconds / minutes for name, seconds in {**costs, **parts}.items()},
        "together": sum(costs.values()) / minutes,
        "speech, share": regions.speech / sound.duration,
        "speakers": len(turns.speakers),
        "peak MB": peak,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0])
    parser.add_argument("--types", nargs="+", default=["float32", "auto"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paths = options.sound or [*sounds(None), SAMPLE]
    measure(long_sound(paths, 30), "auto")  # the first call of a library costs more
    rows = []
    for minutes in options.minutes:
        for compute_type in options.types:
            say(f"{minutes:g} min in {compute_type}")
            rows.append(measure(long_sound(paths, 60 * minutes), compute_type))
    text = table(list(rows[0]), [list(row.values()) for row in rows])
    text += "\nCPU seconds a minute of sound."
    finish("speakers_cost", options, text, rows)


if __name__ == "__main__":
    run(main)
