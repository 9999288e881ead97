"""Conversations built from real speakers, with words whose speaker is known: for benchmarks.

A folder of *.flac or *.wav (16 kHz mono) with an *.rttm beside each gives the speakers. Each one's
sound is recognized alone by Whisper, so whose a word is is known even where it lies in an
overlap; its text may be wrong, which does not matter here. Turns are cut between words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from pyannote.database.util import load_rttm

from spokenby.engines.campplus import CamPlus
from spokenby.engines.clustering import Clustering
from spokenby.engines.faster_whisper import FasterWhisper
from spokenby.engines.segmentation import Segmentation
from spokenby.engines.silero import Silero
from spokenby.models import find_model
from spokenby.stages import diarization, embeddings, speech, transcription
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Diarization,
    Span,
    SpeakerEmbeddings,
    SpeechRegions,
    Transcript,
    Turn,
    Waveform,
    Word,
    no_progress,
)

Samples = npt.NDArray[np.float32]
LONGEST_PAUSE_S = 0.6
"""A turn of a built conversation has no longer pause: there it may be cut, and there only."""


class Engines:
    """The speaker encoder of every profile, and what finds speech and speakers in `embedded`."""

    def __init__(self) -> None:
        self.encoder = CamPlus(find_model("campplus", "", Path()))
        self._vad = Silero(find_model("silero", "", Path()))
        self._segmentation = Segmentation(find_model("segmentation", "", Path()))

    def detect_speech(self, waveform: Waveform) -> SpeechRegions:
        """Find speech."""
        segmenter = nullcontext(self._segmentation)
        return speech.detect_speech(waveform, self._vad, segmenter, speech.Params(), digest="")

    def diarize(
        self, waveform: Waveform, regions: SpeechRegions, speakers: int | None = None
    ) -> Diarization:
        """Find speakers, as many as asked for if a number is given."""
        params = diarization.Params(num_speakers=speakers)
        diarizer = Clustering(self.encoder)
        return diarization.diarize_speakers(waveform, regions, diarizer, params, digest="")

    def embed(self, waveform: Waveform, turns: Diarization) -> SpeakerEmbeddings:
        """Take voiceprints."""
        return embeddings.embed_speakers(
            waveform, turns, self.encoder, embeddings.Params(), digest=""
        )


class Source(NamedTuple):
    """A real recording and its reference."""

    name: str
    waveform: Waveform
    turns: tuple[Turn, ...]

    @property
    def reference(self) -> Diarization:
        """The reference as a perfect diarizer would give it; overlaps are exclusive to nobody."""
        return Diarization(digest="", turns=self.turns, exclusive=self.turns)


class Stretch(NamedTuple):
    """What somebody says alone in a recording, and when."""

    speaker: str
    span: Span
    words: tuple[Word, ...]


class Piece(NamedTuple):
    """Some words of one speaker in a row, with their sound. Times are from its start."""

    speaker: str
    samples: Samples
    words: tuple[Word, ...]


class Conversation(NamedTuple):
    """A built conversation. `owners[i]` says whose `words[i]` is."""

    waveform: Waveform
    turns: tuple[Turn, ...]
    words: tuple[Word, ...]
    owners: tuple[str, ...]

    @property
    def transcript(self) -> Transcript:
        """The words, by nobody yet, and without a text that might say where sentences end."""
        words = tuple(word.model_copy(update={"text": "w"}) for word in self.words)
        return Transcript(digest="", language="en", words=words)


def installed(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(package)
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def read_sources(folder: Path) -> list[Source]:
    """Read every recording of a folder that has a reference and is not digital silence."""
    sources = []
    for path in sorted([*folder.glob("*.flac"), *folder.glob("*.wav")]):
        if not path.with_suffix(".rttm").exists():
            continue
        samples, rate = soundfile.read(path, dtype="float32")
        if rate != SAMPLE_RATE_HZ or samples.ndim != 1:
            raise ValueError(f"{path}: {rate} Hz, shape {samples.shape}; 16 kHz mono is needed")
        (annotation,) = load_rttm(path.with_suffix(".rttm")).values()
        turns = tuple(
            Turn(start=segment.start, end=min(segment.end, len(samples) / rate), speaker=str(label))
            for segment, _, label in annotation.itertracks(yield_label=True)
        )
        if samples.any():
            sources.append(Source(path.stem, Waveform(samples, path.stem), turns))
    return sources


def clean_stretches(source: Source) -> dict[str, list[Span]]:
    """Return where each speaker speaks alone, in time."""
    everything = embeddings.Params(max_segments=200, max_segment=30, min_segment=0.8)
    chosen = embeddings.choose_segments(source.reference, everything)
    return {name: sorted(spans, key=lambda span: span.start) for name, spans in chosen.items()}


def recognize(sources: Sequence[Source], keep: Path | None = None) -> dict[str, list[Stretch]]:
    """Return what each speaker says alone, by recording.

    Args:
        sources: recordings.
        keep: file that the words are kept in, since recognizing takes as long as listening.
    """
    kept = json.loads(keep.read_text()) if keep and keep.exists() else {}
    params = transcription.Params(language="en")
    recognizer = FasterWhisper(find_model(params.engine, params.model, Path("data/models")))
    heard = {}
    for source in sources:
        alone = [(name, span) for name, spans in clean_stretches(source).items() for span in spans]
        if source.name not in kept:
            windows = [span for _, span in alone]
            found = recognizer.transcribe(source.waveform, windows, params, no_progress)
            kept[source.name] = [
                [(word.start, word.end, word.text) for word in text.words] for text in found.texts
            ]
        heard[source.name] = [
            Stretch(
                name,
                span,
                tuple(
                    Word(start=start, end=end, text=text, confidence=1)
                    for start, end, text in words
                    if span.start <= start < end <= span.end
                ),
            )
            for (name, span), words in zip(alone, kept[source.name], strict=True)
        ]
    if keep:
        keep.write_text(json.dumps(kept))
    return heard


def as_recorded(source: Source, stretches: Sequence[Stretch]) -> Conversation:
    """Return a recording with the words that somebody says alone in it."""
    said = [(word, stretch.speaker) for stretch in stretches for word in stretch.words]
    said.sort(key=lambda pair: (pair[0].start, pair[0].end))
    return Conversation(
        source.waveform,
        source.turns,
        tuple(word for word, _ in said),
        tuple(speaker for _, speaker in said),
    )


def cut_pieces(
    sources: Sequence[Source], heard: Mapping[str, Sequence[Stretch]]
) -> dict[str, list[Piece]]:
    """Cut what each speaker says at the pauses: pieces by speaker, of all recordings together."""
    pieces: dict[str, list[Piece]] = {}
    for source in sources:
        for stretch in heard[source.name]:
            pieces.setdefault(stretch.speaker, []).extend(_cut(source.waveform, stretch))
    return pieces


def _cut(waveform: Waveform, stretch: Stretch) -> Iterator[Piece]:
    words, span = stretch.words, stretch.span
    cuts = [(a.end + b.start) / 2 for a, b in pairwise(words) if b.start - a.end > LONGEST_PAUSE_S]
    for start, end in pairwise([span.start, *cuts, span.end]):
        inside = [word for word in words if start <= word.start and word.end <= end]
        if inside:
            yield _piece(waveform, stretch.speaker, inside, start, end)


def _piece(
    waveform: Waveform, speaker: str, words: Sequence[Word], start: float, end: float
) -> Piece:
    """Take some words out of a recording, with at most 0.1 s around them."""
    start = max(start, words[0].start - 0.1)
    end = min(end, words[-1].end + 0.1)
    first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
    moved = tuple(_moved(word, -start) for word in words)
    return Piece(speaker, waveform.samples[first:last], moved)


def _moved(word: Word, by: float) -> Word:
    return word.model_copy(update={"start": max(word.start + by, 0.0), "end": word.end + by})


def part(piece: Piece, first: int, last: int) -> Piece:
    """Return words first…last-1 of a piece, cut in the middle between words."""
    words = piece.words
    length = len(piece.samples) / SAMPLE_RATE_HZ
    start = (words[first - 1].end + words[first].start) / 2 if first else 0.0
    end = (words[last - 1].end + words[last].start) / 2 if last < len(words) else length
    whole = Waveform(piece.samples, "")
    return _piece(whole, piece.speaker, words[first:last], start, end)


def build(
    pieces: Mapping[str, Sequence[Piece]],
    speakers: Sequence[str],
    draw: np.random.Generator,
    *,
    turns: int,
    longest_s: float,
    gap_s: tuple[float, float],
) -> Conversation:
    """Mix a conversation in which no speaker follows upon himself.

    Args:
        pieces: from `cut_pieces`.
        speakers: who takes part.
        draw: decides.
        turns: how many turns there are.
        longest_s: a turn takes words up to a length between 0.5 s and this.
        gap_s: the pause before a turn is drawn from this range; negative is an overlap.
    """
    sound = np.zeros(0, np.float32)
    now, before = 0.5, ""
    said: list[Turn] = []
    words: list[tuple[Word, str]] = []
    for _ in range(turns):
        speaker = str(draw.choice([name for name in speakers if name != before]))
        piece = _some(pieces[speaker], float(draw.uniform(0.5, longest_s)), draw)
        length = len(piece.samples) / SAMPLE_RATE_HZ
        # Nobody speaks before the last one began, nor at the same time as himself.
        earliest = [said[-1].start] if said else [0.0]
        earliest += [turn.end for turn in said if turn.speaker == speaker]
        start = max(now + float(draw.uniform(*gap_s)), *earliest)
        first = round(start * SAMPLE_RATE_HZ)
        sound = np.pad(sound, (0, max(first + len(piece.samples) - len(sound), 0)))
        sound[first : first + len(piece.samples)] += piece.samples
        said.append(Turn(start=start, end=start + length, speaker=speaker))
        words += [(_moved(word, start), speaker) for word in piece.words]
        now, before = max(now, start + length), speaker
    words.sort(key=lambda pair: (pair[0].start, pair[0].end))
    return Conversation(
        Waveform(np.pad(sound, (0, SAMPLE_RATE_HZ // 2)), ""),
        tuple(said),
        tuple(word for word, _ in words),
        tuple(owner for _, owner in words),
    )


def _some(pieces: Sequence[Piece], seconds: float, draw: np.random.Generator) -> Piece:
    """Draw words in a row of about some seconds, at least one."""
    weights = np.array([len(piece.words) for piece in pieces], float)
    piece = pieces[int(draw.choice(len(pieces), p=weights / weights.sum()))]
    first = int(draw.integers(len(piece.words)))
    last = first + 1
    while last < len(piece.words) and piece.words[last].end - piece.words[first].start <= seconds:
        last += 1
    while first and piece.words[last - 1].end - piece.words[first - 1].start <= seconds:
        first -= 1
    return part(piece, first, last)


def dump(path: Path | None, content: Any) -> None:
    """Write JSON where it is wanted."""
    if path:
        path.write_text(json.dumps(content, indent=2) + "\n")
