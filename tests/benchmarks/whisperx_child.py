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

BATCH_SIZE = 8  # of WhisperX's command line

begun = time.perf_counter(), time.process_time()
parts: dict[str, dict[str, float]] = {}


def lap(name: str) -> None:
    """Note what was spent since the last lap."""
    global begun  # noqa: PLW0603 - a clock
    now = time.perf_counter(), time.process_time()
    part = parts.setdefault(name, {"wall": 0.0, "cpu": 0.0})
    part["wall"] += now[0] - begun[0]
    part["cpu"] += now[1] - begun[1]
    begun = now
    text = f"WhisperX: {name} {part['wall']:.1f} s, CPU {part['cpu']:.1f} s"
    print(text, file=sys.stderr, flush=True)


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
    detect = model.vad_model

    def detect_and_lap(file):
        regions = detect(file)
        lap("VAD")
        return regions

    detect_and_lap.merge_chunks = detect.merge_chunks
    detect_and_lap.preprocess_audio = detect.preprocess_audio
    model.vad_model = detect_and_lap
    sounds, results = [], []
    for path in options["recordings"]:
        sounds.append(whisperx.load_audio(path))
        lap("decode")
        results.append(model.transcribe(sounds[-1], batch_size=BATCH_SIZE))
        lap("transcribe")
    windows = sum(len(result["segments"]) for result in results)

    folder = Path(options["aligner"] or options["random_aligner"])
    if not options["aligner"] and not folder.is_dir():
        make_aligner(folder)
        lap("make the aligner")
    split_without_download(alignment)
    aligner, about = whisperx.load_align_model("en", options["device"], model_name=str(folder))
    lap("load the aligner")
    for number, sound in enumerate(sounds):
        segments = results[number]["segments"]
        results[number] = whisperx.align(segments, aligner, about, sound, options["device"])
        lap("align")

    diarize = DiarizationPipeline(options["pyannote"], device=options["device"])
    lap("load pyannote")
    for number, sound in enumerate(sounds):
        turns = diarize(sound)
        lap("diarize")
        results[number] = whisperx.assign_word_speakers(turns, results[number])
        lap("assign speakers")
    names = ("whisperx", "torch", "pyannote.audio", "faster-whisper", "ctranslate2")
    print(
        json.dumps(
            {
                "parts": parts,
                "windows": windows,
                "turns": [spoken_turns(result["segments"]) for result in results],
                "versions": {name: version(name) for name in names},
            }
        )
    )


def split_without_download(alignment) -> None:
    """Let WhisperX split sentences by NLTK's rules where NLTK's trained ones would be fetched."""
    punkt = alignment.nltk_load

    def load(name):
        try:
            return punkt(name)
        except LookupError:
            from nltk.tokenize.punkt import PunktSentenceTokenizer

            return PunktSentenceTokenizer()

    alignment.nltk_load = load


def spoken_turns(segments) -> list[tuple[str | None, str]]:
    """Return who says what: each word has a speaker where WhisperX could align and place it."""
    turns = []
    for segment in segments:
        speaker, words = segment.get("speaker"), []
        for word in segment["words"] or [{"word": segment["text"]}]:
            if word.get("speaker", speaker) != speaker and words:
                turns.append((speaker, " ".join(words)))
                words = []
            speaker = word.get("speaker", speaker)
            words.append(word["word"])
        turns.append((speaker, " ".join(words)))
    return turns


if __name__ == "__main__":
    main()
