"""The sample talk is made here: three synthetic voices plan a radio show for about two minutes.

What belongs here: the words, the voices, and the mixing of one into the other. What does not:
anything that listens to the result.

The voices come from Debian 12 packages (`text2wave` is part of festival):

    apt-get install --no-install-recommends flite festival festvox-us-slt-hts festvox-kdlpc16k

and the Python side needs nothing beyond spokenby itself. Then, from the repository root:

    python data/samples/make_conversation.py

writes conversation.flac, conversation.rttm and conversation.txt beside this file. The only chance
in it is seeded, so the same packages make the same samples again.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

Samples = npt.NDArray[np.float64]
"""Mono, shape (samples,), full scale ±1, at `SAMPLE_RATE_HZ`."""

NAME = "conversation"
SAMPLE_RATE_HZ = 16_000
SEED = 1

GAP_S = (0.2, 0.8)
"""Silence between one turn and the next, shortest and longest."""
OVERLAP_S = (0.3, 0.5)
"""How long a turn that cuts in runs beside the turn before it, shortest and longest."""
MARGIN_S = 0.5
"""Silence before the first turn and after the last."""

PAUSE_S = 0.5
"""A longer pause within a line splits it in the RTTM, which says where a voice is active."""
FRAME_S = 0.01
SILENCE_DB = -33.0
"""A frame this far below its voice's level is silent: the hiss two of the voices add is lower."""
LEVEL_DB = -23.0
"""Mean level of each voice where it is active, relative to full scale."""


@dataclass(frozen=True)
class Line:
    """What one speaker says before the next one does."""

    speaker: str
    words: str
    cuts_in: bool = False
    """Begins before the line above has ended."""


@dataclass(frozen=True)
class Turn:
    """A stretch of the recording, in seconds, in which one voice is active."""

    speaker: str
    start: float
    end: float


VOICES = {
    # A woman, from a hidden Markov model (HTS).
    "Ada": ("text2wave", "-eval", "(voice_cmu_us_slt_arctic_hts)", "-o"),
    # A man, from flite's statistical parametric synthesis (clustergen).
    "John": ("flite", "-voice", "awb", "-f", "/dev/stdin", "-o"),
    # A man, from recorded diphones joined end to end.
    "Peter": ("text2wave", "-eval", "(voice_ked_diphone)", "-o"),
}
"""Commands that speak the text on standard input into the WAV file whose path is put last."""

SCRIPT = (
    Line(
        "Ada",
        "Good morning, everybody. Thank you for coming. We only have a few days before the "
        "first radio show, so I would like to make a plan today.",
    ),
    Line("John", "Good morning. I am ready when you are."),
    Line("Peter", "So am I. What time does the show begin?"),
    Line("Ada", "It begins on Friday afternoon at three o'clock, and we have half an hour."),
    Line(
        "John",
        "Half an hour is a long time. I think we should open with some music, then read the "
        "local news, and after that we could talk to a guest.",
    ),
    Line("Peter", "Who is going to be the guest?", cuts_in=True),
    Line(
        "Ada",
        "I was going to ask Mary. She has worked at the hospital for twenty years, and she "
        "knows almost everybody in this town.",
    ),
    Line("John", "That is a very good idea."),
    Line("Peter", "I can call her this evening. What should I tell her?"),
    Line(
        "Ada",
        "Tell her that we need about ten minutes of her time, and that the questions will not be "
        "difficult.",
    ),
    Line("John", "I am sure that she will say yes.", cuts_in=True),
    Line(
        "Peter",
        "I hope so. My brother has a large collection of old records. He told me that we could "
        "use any of them, if we bring them back on Sunday.",
    ),
    Line("Ada", "That is wonderful. Please thank him for me."),
    Line("John", "Do we have to pay for the music?"),
    Line("Ada", "No, the school has already paid for it."),
    Line(
        "John",
        "Then I will write the news. Last week the city council voted to build a new bridge "
        "across the river, and many people are not happy about the price.",
    ),
    Line("Peter", "How much money will it cost?"),
    Line("John", "About six million dollars."),
    Line("Peter", "That is more than I expected."),
    Line(
        "Ada",
        "We should also tell people about the weather. They always want to know if it is going "
        "to rain on the weekend.",
    ),
    Line("John", "I will look at the report on Friday, just before we start.", cuts_in=True),
    Line(
        "Peter",
        "There is one problem. The second microphone has been broken since the summer, and "
        "there are three of us and a guest.",
    ),
    Line("Ada", "My father can fix it. He used to work for the telephone company."),
    Line("Peter", "Could he do it before Thursday?"),
    Line("Ada", "I will ask him tonight."),
    Line("John", "Then everything is ready. Let us meet here again on Thursday, at the same time."),
    Line("Peter", "Thank you. I will see you both then."),
)


def synthesise(speaker: str, words: str) -> Samples:
    """Speak `words` with the voice of `speaker`, silence at the ends and all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        subprocess.run([*VOICES[speaker], str(path)], input=words, text=True, check=True)
        with wave.open(str(path), "rb") as reader:
            rate_hz = reader.getframerate()
            pcm = np.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2")
    shared = gcd(rate_hz, SAMPLE_RATE_HZ)
    up, down = SAMPLE_RATE_HZ // shared, rate_hz // shared
    return np.asarray(resample_poly(pcm / 32768.0, up, down), dtype=np.float64)


def frame_powers(samples: Samples) -> npt.NDArray[np.float64]:
    """Mean square of each whole frame, shape (frames,)."""
    length = round(FRAME_S * SAMPLE_RATE_HZ)
    frames = len(samples) // length
    framed = samples[: frames * length].reshape(frames, length)
    return np.asarray(np.square(framed).mean(axis=1), dtype=np.float64)


def level_voice(lines: list[Samples]) -> list[Samples]:
    """All lines of one voice, with the one gain that brings its active frames to `LEVEL_DB`."""
    powers = np.concatenate([frame_powers(line) for line in lines])
    active = powers[powers > powers.max() * 10 ** (SILENCE_DB / 10)].mean()
    gain = float(np.sqrt(10 ** (LEVEL_DB / 10) / active))
    return [line * gain for line in lines]


def active_spans(samples: Samples) -> list[tuple[int, int]]:
    """Where a levelled line is spoken, as sample ranges; pauses up to `PAUSE_S` count as spoken."""
    length = round(FRAME_S * SAMPLE_RATE_HZ)
    active = np.flatnonzero(frame_powers(samples) > 10 ** ((LEVEL_DB + SILENCE_DB) / 10))
    breaks = np.flatnonzero(np.diff(active) - 1 > PAUSE_S / FRAME_S)
    starts = active[np.concatenate(([0], breaks + 1))]
    ends = active[np.concatenate((breaks, [len(active) - 1]))] + 1
    return [
        (int(start) * length, int(end) * length) for start, end in zip(starts, ends, strict=True)
    ]


def voice_lines() -> list[Samples]:
    """Every line of the script, each voice at its level."""
    raw = [synthesise(line.speaker, line.words) for line in SCRIPT]
    spoken = list(raw)
    for speaker in VOICES:
        own = [index for index, line in enumerate(SCRIPT) if line.speaker == speaker]
        for index, samples in zip(own, level_voice([raw[index] for index in own]), strict=True):
            spoken[index] = samples
    return spoken


def mix(lines: list[Samples]) -> tuple[Samples, list[Turn]]:
    """Put the levelled lines of the script one after the other, now and then one over the other."""
    chance = random.Random(SEED)
    placed: list[tuple[int, Samples]] = []
    turns: list[Turn] = []
    end = 0
    for line, samples in zip(SCRIPT, lines, strict=True):
        gap_s = -chance.uniform(*OVERLAP_S) if line.cuts_in else chance.uniform(*GAP_S)
        start = end + round((gap_s if placed else MARGIN_S) * SAMPLE_RATE_HZ)
        spans = active_spans(samples)
        first, last = spans[0][0], spans[-1][1]
        placed.append((start, samples[first:last]))
        for span in spans:
            from_s, to_s = ((start - first + edge) / SAMPLE_RATE_HZ for edge in span)
            turns.append(Turn(line.speaker, from_s, to_s))
        end = start + last - first
    mixed = np.zeros(end + round(MARGIN_S * SAMPLE_RATE_HZ))
    for start, samples in placed:
        mixed[start : start + len(samples)] += samples
    return mixed, turns


def write_flac(samples: Samples, path: Path) -> None:
    """Encode to 16-bit FLAC."""
    peak = float(np.abs(samples).max())
    if peak >= 1:
        raise ValueError(f"the mix clips: its peak is {peak:.2f} of full scale")
    pcm = np.round(samples * 32767).astype(np.int16)
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono", format="s16")
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def rttm(turns: list[Turn]) -> str:
    """One SPEAKER record a turn."""
    return "".join(
        f"SPEAKER {NAME} 1 {turn.start:.3f} {turn.end - turn.start:.3f}"
        f" <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in sorted(turns, key=lambda turn: turn.start)
    )


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(
        description="Make the sample talk: NAME.flac, NAME.rttm and NAME.txt.".replace(
            "NAME", NAME
        ),
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        metavar="FOLDER",
        help="where to write them (default: beside this script)",
    )
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    mixed, turns = mix(voice_lines())
    write_flac(mixed, folder / f"{NAME}.flac")
    (folder / f"{NAME}.rttm").write_text(rttm(turns), encoding="utf-8")
    words = "".join(f"{line.speaker}: {line.words}\n" for line in SCRIPT)
    (folder / f"{NAME}.txt").write_text(words, encoding="utf-8")


if __name__ == "__main__":
    main()
