"""One run of WhisperX, in its own environment: times of its parts to standard output.

Called by `whisperx.py`, which knows what to compare it with. The order of the parts is that of
WhisperX's own command line (`whisperx/transcribe.py`).
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

begun = time.perf_counter(), time.process_time()
parts: dict[str, dict[str, float]] = {}


def lap(name: str) -> None:
    """Note what was spent since the last lap."""
    global begun  # noqa: PLW0603 - a clock
    now = time.perf_counter(), time.process_time()
    parts[name] = {"wall": now[0] - begun[0], "cpu": now[1] - begun[1]}
    begun = now
    print(f"WhisperX: {name} {parts[name]['wall']:.1f} s", file=sys.stderr, flush=True)


def make_aligner(folder: Path) -> None:
    """Write a wav2vec 2.0 of the size of the default one for English, with random weights."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder.mkdir(parents=True)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaonihsrdlumwcfgypbvkxjqz'"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(letters))).save_pretrained(folder)


def main() -> None:
    options = json.loads(sys.argv[1])
    import torch
    import whisperx
    from whisperx import alignment
    from whisperx.diarize import DiarizationPipeline

    torch.set_num_threads(options["threads"])
    lap("import")
    model = whisperx.load_model(
        options["whisper"],
        options["device"],
        compute_type=options["compute_type"],
        language="en",
        asr_options={"beam_size": options["beam_size"]},
        threads=options["threads"],
        local_files_only=True,
    )
    lap("load Whisper and VAD")
    sound = whisperx.load_audio(options["video"])
    lap("decode")

    detect = model.vad_model

    def detect_and_lap(file):
        regions = detect(file)
        lap("VAD")
        return regions

    detect_and_lap.merge_chunks = detect.merge_chunks
    detect_and_lap.preprocess_audio = detect.preprocess_audio
    model.vad_model = detect_and_lap
    result = model.transcribe(sound, batch_size=options["batch_size"])
    lap("transcribe")
    if options["aligner"]:
        folder = Path(options["aligner"])
        if not folder.is_dir():
            make_aligner(folder)
            lap("make the aligner")
        punkt = alignment.nltk_load

        def sentences(name):
            try:
                return punkt(name)
            except LookupError:  # it would be downloaded
                from nltk.tokenize.punkt import PunktSentenceTokenizer

                return PunktSentenceTokenizer()

        alignment.nltk_load = sentences
        aligner, about = whisperx.load_align_model("en", options["device"], model_name=str(folder))
        lap("load the aligner")
        result = whisperx.align(result["segments"], aligner, about, sound, options["device"])
        lap("align")
    if options["pyannote"]:
        diarize = DiarizationPipeline(options["pyannote"], device=options["device"])
        lap("load pyannote")
        turns = diarize(sound)
        lap("diarize")
        result = whisperx.assign_word_speakers(turns, result)
        lap("assign speakers")
    words = [word for segment in result["segments"] for word in segment["text"].split()]
    speakers = {segment.get("speaker") for segment in result["segments"]} - {None}
    names = ("whisperx", "torch", "pyannote.audio", "faster-whisper", "ctranslate2")
    print(
        json.dumps(
            {
                "parts": parts,
                "windows": len(result["segments"]),
                "words": len(words),
                "speakers": len(speakers),
                "versions": {name: version(name) for name in names},
            }
        )
    )


if __name__ == "__main__":
    main()
