"""Measure speaker embeddings: one model call a segment, as the seed did, against spokenby.

    python tests/benchmarks/embeddings.py [--segments 200] [--device auto]

The seed cut a video of 110 minutes into 4,199 segments and embedded each by itself. «one by one»
does that: crop, one call of the model, fetch the vector. «batched» are the same segments through
spokenby's engine. «a video of N speakers» is what spokenby does with such a video: at most 20
segments a speaker. On a CPU the first two are measured on a stretch of so many segments
(`--segments`) and their times multiplied; the table says so. ECAPA-TDNN has full size and random
weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import (
    Cost,
    alternate,
    arguments,
    finish,
    repeat,
    run,
    say,
    sounds,
    table,
    temporary_folder,
)

from spokenby.engines.campplus import CamPlus
from spokenby.engines.loading import load_embedder
from spokenby.models import find_model
from spokenby.stages import embeddings
from spokenby.types import SAMPLE_RATE_HZ, Diarization, Span, Turn, Waveform

VIDEO_S = 6600
SEGMENTS = 4199
CPU_SAMPLE = 100
SPEAKERS = (2, 5, 10)


def cut(seconds: float, count: int) -> list[Span]:
    """Return segments without gaps, most of them short as turns of a talk are, the same each time.

    4,199 in 110 minutes last 1.6 s each, the longest 20 of them 6 to 8 s.
    """
    lengths = np.random.default_rng(0).lognormal(0, 0.65, count).clip(0.4, 5)
    edges = np.concatenate([[0], np.cumsum(lengths) * seconds / lengths.sum()]).tolist()
    return [Span(start=s, end=e) for s, e in pairwise(edges)]


def diarization_of(segments: list[Span], speakers: int) -> Diarization:
    """Give the segments to speakers in turn."""
    turns = tuple(
        Turn(start=segment.start, end=segment.end, speaker=f"S{i % speakers}")
        for i, segment in enumerate(segments)
    )
    return Diarization(digest="", turns=turns, exclusive=turns)


def one_by_one_speechbrain(
    folder: Path, device: str, waveform: Waveform
) -> Callable[[Span], np.ndarray]:
    """Return how the seed embedded a segment, on the library as it comes."""
    from spokenby.engines.speechbrain import _load

    encoder = _load(folder, "cuda:0" if device == "cuda" else "cpu")

    def embed(segment: Span) -> np.ndarray:
        first, last = (round(time * SAMPLE_RATE_HZ) for time in (segment.start, segment.end))
        sound = torch.from_numpy(np.array(waveform.samples[first:last]))
        with torch.no_grad():
            return encoder.encode_batch(sound[None]).squeeze().cpu().numpy()

    return embed


def measure(
    engine: str, model: str, waveform: Waveform, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure one encoder."""
    segments = cut(waveform.duration, round(SEGMENTS * waveform.duration / VIDEO_S))
    first = max(0, (len(segments) - options.segments) // 2)
    sample = segments[first : first + options.segments]  # of one stretch, as they are in a video
    params = embeddings.Params(engine=engine, model=model, device=options.device)
    with load_embedder(params, Path()) as embedder:
        if engine == "speechbrain":
            alone = one_by_one_speechbrain(Path(model), options.device, waveform)
        else:  # no library runs it: the same engine, as exact
            exact = CamPlus(find_model("campplus", "", Path()), options.device)
            alone = partial(_embed_alone, exact, waveform)

        def one_by_one() -> None:
            for done, segment in enumerate(sample):
                if done and not done % 500:
                    say(f"{done} of {len(sample)}")
                alone(segment)

        def whole_video(speakers: int) -> embeddings.SpeakerEmbeddings:
            return embeddings.embed_speakers(
                waveform, diarization_of(segments, speakers), embedder, params, digest=""
            )

        say(f"{engine} on {options.device}: warming up")
        embedder.embed(waveform, sample[:4])
        for segment in sample[:4]:
            alone(segment)
        works: dict[str, Callable[[], Any]] = {
            "one by one": one_by_one,
            "batched": lambda: embedder.embed(waveform, sample),
        }
        for speakers in options.speakers:
            works[f"a video of {speakers} speakers"] = partial(whole_video, speakers)
        costs = alternate(works, options.rounds)
        embedded = {
            f"a video of {n} speakers": whole_video_segments(segments, n, params)
            for n in options.speakers
        }
    scale = waveform.duration / sum(segment.duration for segment in sample)
    for name in ("one by one", "batched"):
        costs[name] = Cost(*(seconds * scale for seconds in costs[name]))
        embedded[name] = len(segments)
    reference = costs["one by one"]
    return {
        "segments": len(segments),
        "measured_on": len(sample),
        "works": {
            name: {
                "segments": embedded[name],
                "wall": cost.wall,
                "cpu": cost.cpu,
                "times_faster": reference.wall / cost.wall,
                "times_less_cpu": reference.cpu / cost.cpu,
            }
            for name, cost in costs.items()
        },
    }


def _embed_alone(embedder: embeddings.Embedder, waveform: Waveform, segment: Span) -> np.ndarray:
    return embedder.embed(waveform, [segment])


def whole_video_segments(segments: list[Span], speakers: int, params: embeddings.Params) -> int:
    """Return how many segments spokenby embeds."""
    chosen = embeddings.choose_segments(diarization_of(segments, speakers), params)
    return sum(map(len, chosen.values()))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--segments", type=int, help="measure the first two on so many of them")
    parser.add_argument("--encoders", nargs="+", default=["speechbrain", "campplus"])
    parser.add_argument("--ecapa", type=Path, help="folder of real ECAPA weights")
    parser.add_argument("--speakers", type=int, nargs="+", default=SPEAKERS)
    parser.add_argument("--minutes", type=float, default=VIDEO_S / 60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.segments is None:
        options.segments = CPU_SAMPLE if options.device == "cpu" else SEGMENTS
    torch.set_num_threads(options.threads)
    waveform = Waveform(repeat(sounds(options.sound), 60 * options.minutes), "")
    results, text = {}, []
    with temporary_folder() as folder:
        models = {"campplus": ""}
        if options.ecapa:
            models["speechbrain"] = str(options.ecapa)
        elif "speechbrain" in options.encoders:
            from tests.checkpoints.speechbrain import build_encoder

            models["speechbrain"] = str(build_encoder(folder / "ecapa", full_size=True))
        for engine in options.encoders:
            results[engine] = found = measure(engine, models[engine], waveform, options)
            measured = f"measured on {found['measured_on']} and multiplied"
            if found["measured_on"] == found["segments"]:
                measured = "all of them measured"
            text.append(f"\n{engine} on {options.device}, {found['segments']} segments, {measured}")
            head = ["", "segments", "wall s", "CPU s", "times faster", "times less CPU"]
            text.append(
                table(head, [[name, *row.values()] for name, row in found["works"].items()])
            )
    finish("embeddings", options, "\n".join(text), results)


if __name__ == "__main__":
    run(main)
