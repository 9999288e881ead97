"""Measure words on a folder of recordings with their text, beside faster-whisper itself.

    python tests/benchmarks/words.py FOLDER --model DIR [--set FIELD=VALUE …] [--steps]

FOLDER holds `words.json`: for the name of each file, without its ending, `text` and `language`; or
an `.stm` beside a file. Word error rates are those of `spokenby evaluate`; "CPU" is CPU seconds a
minute of audio, with speech found as in a run. `again` is how many stretches were heard a second
time. faster-whisper runs its own voice activity detection, once sequentially and once in batches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import faster_whisper
from conditions import Recording, read_words
from measuring import Missing, arguments, finish, run, say, table

from spokenby.engines.faster_whisper import FasterWhisper
from spokenby.engines.segmentation import Segmentation
from spokenby.engines.silero import Silero
from spokenby.evaluation.scores import check_libraries
from spokenby.evaluation.words import align, joined, normalize
from spokenby.models import find_model
from spokenby.plan.profiles import read_params
from spokenby.stages.merging import join_words
from spokenby.stages.speech import Params as SpeechParams
from spokenby.stages.speech import detect_speech
from spokenby.stages.transcription import Params, transcribe_speech
from spokenby.types import Waveform


class Heard(NamedTuple):
    """What one way of transcribing made of a recording."""

    text: str
    again: int = 0
    doubts: int = 0


def compare(reference: str, heard: str, language: str) -> list[tuple[str, str]]:
    """Return pairs of words that belong together, empty where one side has none."""
    right, found = normalize(reference, language), normalize(heard, language)
    return [
        (
            "" if step.reference is None else right[step.reference],
            "" if step.hypothesis is None else found[step.hypothesis],
        )
        for step in align(right, found)
    ]


def ours(model: Path, options: argparse.Namespace) -> Callable[[Recording], Heard]:
    """Return our way: batches of windows, doubtful ones heard again."""
    engine = FasterWhisper(model, device=options.device, cpu_threads=options.threads)
    vad = Silero(find_model("silero", "", Path()))
    segmenter = Segmentation(find_model("segmentation", "", Path()), device=options.device)
    chosen = read_params(f"transcribe.{word}" for word in options.set)
    params = Params.model_validate(chosen.get("transcribe", {}))
    asked: list[int] = []
    first, again = engine.transcribe, engine.transcribe_again

    def count(windows: int) -> None:
        asked.append(windows)

    engine.transcribe = lambda *args: (count(len(args[1])), first(*args))[1]  # type: ignore[method-assign]
    engine.transcribe_again = lambda *args: (count(1), again(*args))[1]  # type: ignore[method-assign]

    def hear(clip: Recording) -> Heard:
        asked.clear()
        waveform = Waveform(clip.sound, clip.name)
        speech = detect_speech(waveform, vad, nullcontext(segmenter), SpeechParams(), digest="s")
        found = transcribe_speech(waveform, speech, engine, params, digest="d")
        return Heard(join_words(found.words), sum(asked[1:]), len(found.doubtful))

    return hear


def theirs(
    model: Path, options: argparse.Namespace, *, batched: bool
) -> Callable[[Recording], Heard]:
    """Return faster-whisper's own ways, as its documentation calls them."""
    whisper = faster_whisper.WhisperModel(
        str(model), device=options.device, compute_type="auto", cpu_threads=options.threads
    )
    if batched:
        pipeline = faster_whisper.BatchedInferencePipeline(whisper)

    def hear(clip: Recording) -> Heard:
        if batched:
            segments, _ = pipeline.transcribe(clip.sound, batch_size=8, word_timestamps=True)
        else:
            segments, _ = whisper.transcribe(clip.sound, vad_filter=True, word_timestamps=True)
        return Heard("".join(segment.text for segment in segments))

    return hear


def main() -> None:
    parser = arguments(__doc__, speech=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder of a Whisper model")
    parser.add_argument("--set", action="append", default=[], help="of transcribe: retries=0")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", action="append", help="way: spokenby, sequential, batched")
    parser.add_argument("--steps", action="store_true", help="print each wrong word")
    options = parser.parse_args()
    check_libraries()
    clips = list(read_words(options.folder))
    if not clips:
        raise Missing(f"{options.folder}: no recording with its words")
    ways = {
        "spokenby": lambda: ours(options.model, options),
        "sequential": lambda: theirs(options.model, options, batched=False),
        "batched": lambda: theirs(options.model, options, batched=True),
    }
    results: dict[str, dict[str, Any]] = {clip.name: {} for clip in clips}
    told = []
    for way in options.only or ways:
        hear = ways[way]()
        for clip in clips:
            say(f"{way}: {clip.name}")
            began = time.process_time()
            heard = hear(clip)
            cost = 60 * (time.process_time() - began) / clip.seconds
            steps = compare(joined(clip.reference.lines or ()), heard.text, clip.language)
            wrong = [(a, b) for a, b in steps if a != b]
            words = sum(bool(a) for a, _ in steps)
            results[clip.name][way] = {
                "wer": 100 * len(wrong) / max(words, 1),
                "words": words,
                "cpu_a_minute": cost,
                **heard._asdict(),
            }
            if options.steps:
                shown = "  ".join(f"{a or '-'}>{b or '-'}" for a, b in wrong)
                told.append(f"{way}, {clip.name}: {shown}")
    done = list(results[clips[0].name])
    head = ["recording", "words", *(f"{way} {it}" for way in done for it in ("WER %", "CPU"))]
    if "spokenby" in done:
        head += ["again", "doubts"]
    rows = [
        [
            name,
            next(iter(found.values()))["words"],
            *(found[way][it] for way in done for it in ("wer", "cpu_a_minute")),
            *((found["spokenby"][it] for it in ("again", "doubts")) if "spokenby" in done else ()),
        ]
        for name, found in results.items()
    ]
    finish("words", options, "\n".join([table(head, rows), *told]), results)


if __name__ == "__main__":
    run(main)
