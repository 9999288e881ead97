"""Measure whether voices are known again in other videos, by the voice library itself.

    python tests/benchmarks/voice_identity.py FOLDER… [--vectors FILE] [--json FILE]

A FOLDER holds *.flac or *.wav (16 kHz mono) with an *.rttm beside each; a speaker's name means the
same person in all of them. What a speaker says alone is cut into "videos" of some seconds, each
sent through a channel drawn by chance: as it is, a telephone's band, noise, a room, a low bit rate.
Every other speaker, by name, serves to choose threshold, margin and calibration; the numbers are of
the other half. `--vectors` keeps the voiceprints between runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import torch
from conversations import clean_stretches, dump, installed, read_sources
from scipy.optimize import minimize
from scipy.signal import butter, fftconvolve, sosfilt
from whosaid.engines.resemblyzer import Resemblyzer

from whosaid import embeddings
from whosaid.types import (
    SAMPLE_RATE_HZ,
    Diarization,
    SpeakerEmbeddings,
    Turn,
    Video,
    Waveform,
)
from whosaid.voices.library import VoiceLibrary
from whosaid.voices.matching import CALIBRATIONS, Calibration, Params, match_voices, pool_prints

Samples = npt.NDArray[np.float32]
LENGTHS_S = (3, 6, 12, 24)  # each is twice the one before: where a long one begins, short ones do
MOST_TRIALS = 150
CHANNELS = ("as it is", "telephone", "noise", "room", "low bit rate")


class Take(NamedTuple):
    """What one speaker says in one "video"."""

    speaker: str
    start: int
    """In everything that the speaker says, in seconds: a multiple of `seconds`."""
    seconds: int
    channel: str
    vector: npt.NDArray[np.float32]
    spread: float


# --- sound


def through(channel: str, sound: Samples, draw: np.random.Generator) -> Samples:
    """Return a sound as a channel leaves it."""
    match channel:
        case "telephone":
            band = butter(4, [300, 3400], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
            out = sosfilt(band, sound)
        case "noise":  # pink, 10 to 20 dB below
            spectrum = np.fft.rfft(draw.standard_normal(len(sound)))
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), len(sound))
            level = 10 ** (-draw.uniform(10, 20) / 20)
            out = sound + noise * level * np.std(sound) / np.std(noise)
        case "room":  # 0.2 to 0.5 s until -60 dB, as loud as what comes directly
            decay = np.exp(-6.9 * np.arange(8000) / (draw.uniform(0.2, 0.5) * SAMPLE_RATE_HZ))
            echo = decay * draw.standard_normal(8000)
            echo /= np.linalg.norm(echo)
            echo[0] += 1
            out = fftconvolve(sound, echo)[: len(sound)]
        case "low bit rate":
            out = _compressed(sound, "20k")
        case _:
            out = sound
    return np.asarray(out, dtype=np.float32)


def _compressed(sound: Samples, rate: str) -> Samples:
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    form = ["-f", "f32le", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1"]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "sound.mp3"
        quiet = [ffmpeg, "-v", "error", "-y"]
        subprocess.run(
            [*quiet, *form, "-i", "-", "-b:a", rate, packed], input=sound.tobytes(), check=True
        )
        raw = subprocess.run([*quiet, "-i", packed, *form, "-"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.float32)[: len(sound)]


def read_speech(folders: Sequence[Path]) -> dict[str, Samples]:
    """Return what each speaker says alone, in one piece."""
    pieces: dict[str, list[Samples]] = {}
    for source in (source for folder in folders for source in read_sources(folder)):
        for speaker, spans in clean_stretches(source).items():
            pieces.setdefault(speaker, []).extend(
                source.waveform.samples[
                    int(span.start * SAMPLE_RATE_HZ) : int(span.end * SAMPLE_RATE_HZ)
                ]
                for span in spans
            )
    return {speaker: np.concatenate(parts) for speaker, parts in sorted(pieces.items()) if parts}


def take_prints(speech: dict[str, Samples], encoder: Resemblyzer) -> list[Take]:
    """Cut each speaker's speech into takes of each length, every channel once in a row."""
    draw = np.random.default_rng(0)
    takes = []
    for speaker, sound in speech.items():
        for seconds in LENGTHS_S:
            size = seconds * SAMPLE_RATE_HZ
            order = 1 + draw.permutation(len(CHANNELS) - 1)
            for number, first in enumerate(range(0, len(sound) - size + 1, size)):
                for channel in ("as it is", CHANNELS[order[number % len(order)]]):
                    part = through(channel, sound[first : first + size], draw)
                    turn = Turn(start=0, end=seconds, speaker=speaker)
                    spoken = Diarization(digest="", turns=(turn,), exclusive=(turn,))
                    found = embeddings.embed_speakers(
                        Waveform(part, ""), spoken, encoder, embeddings.Params(), digest=""
                    )
                    takes.append(
                        Take(
                            speaker,
                            number * seconds,
                            seconds,
                            channel,
                            found.vectors[0],
                            float(found.spread[0]),
                        )
                    )
    return takes


def keep_takes(path: Path, takes: Sequence[Take]) -> None:
    """Write takes to a file of numpy's."""
    np.savez(
        path,
        vectors=np.stack([take.vector for take in takes]),
        rest=json.dumps([[*take[:4], take.spread] for take in takes]),
    )


def read_takes(path: Path) -> list[Take]:
    """Read them back."""
    with np.load(path) as kept:
        return [
            Take(speaker, start, seconds, channel, vector, spread)
            for vector, (speaker, start, seconds, channel, spread) in zip(
                kept["vectors"], json.loads(str(kept["rest"])), strict=True
            )
        ]


# --- choosing


def pairs_of(takes: Sequence[Take]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return cosines of takes of one length, and whether they are of one speaker.

    A take is not compared with itself through another channel.
    """
    scores, same = [], []
    for seconds in LENGTHS_S[1:]:
        some = [take for take in takes if take.seconds == seconds]
        if len(some) < 2:
            continue
        one, other = np.triu_indices(len(some), 1)
        apart = one // 2 != other // 2
        vectors = np.stack([take.vector for take in some])
        names = np.array([take.speaker for take in some])
        scores.append((vectors @ vectors.T)[one, other][apart])
        same.append((names[one] == names[other])[apart])
    return np.concatenate(scores).astype(np.float64), np.concatenate(same)


def calibrate(takes: Sequence[Take], false_accepts: float, margin: float) -> Calibration:
    """Choose a threshold by its rate of false accepts, and fit the odds by logistic regression."""
    scores, same = pairs_of(takes)
    sign, weight = np.where(same, 1, -1), np.where(same, 1 / same.sum(), 1 / (~same).sum())

    def cost(line: npt.NDArray[np.float64]) -> float:
        return float(weight @ np.logaddexp(0, -sign * (line[0] * scores + line[1])))

    slope, offset = minimize(cost, [10.0, -5.0], method="Nelder-Mead").x
    return Calibration(
        threshold=round(float(np.quantile(scores[~same], 1 - false_accepts)), 2),
        margin=margin,
        slope=round(float(slope), 1),
        offset=round(float(offset), 1),
        source="",
    )


def pair_rates(takes: Sequence[Take], known: Calibration) -> dict[str, float]:
    """Return how often two takes of one speaker, and of two, reach the threshold."""
    scores, same = pairs_of(takes)
    over = scores >= known.threshold
    return {
        "pairs of one speaker": int(same.sum()),
        "found %": 100 * float(over[same].mean()),
        "pairs of two speakers": int((~same).sum()),
        "false %": 100 * float(over[~same].mean()),
    }


# --- libraries


def strangers(takes: Sequence[Take], count: int) -> npt.NDArray[np.float32]:
    """Return random voices that are as like real ones as those are like each other.

    Normal, with the mean and the covariance of the prints (each speaker weighs the same), the
    latter drawn towards a sphere until one in 1000 cosines to real prints is as high as one in 1000
    between two speakers.
    """
    counts = Counter(take.speaker for take in takes)
    weight = np.array([1 / counts[take.speaker] for take in takes])
    names = np.array([take.speaker for take in takes])
    vectors = np.stack([take.vector for take in takes]).astype(np.float64)
    apart = names[:, None] != names
    highest = _quantile((vectors @ vectors.T)[apart], np.outer(weight, weight)[apart])
    mean = np.average(vectors, axis=0, weights=weight)
    shape = np.cov(vectors.T, aweights=weight)
    ball = np.eye(len(mean)) * np.trace(shape) / len(mean)
    raw = np.random.default_rng(1).standard_normal((count, len(mean)))
    found = raw
    for share in np.linspace(0, 1, 21):
        root = np.linalg.cholesky((1 - share) * shape + share * ball + 1e-9 * np.eye(len(mean)))
        found = mean + raw @ root.T
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        scores = found[:500] @ vectors.T
        if _quantile(scores.ravel(), np.tile(weight, len(scores))) <= highest:
            break
    return found.astype(np.float32)


def _quantile(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    order = np.argsort(-values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[np.searchsorted(share, 0.001)]])


def pooled(takes: Sequence[Take]) -> npt.NDArray[np.float32]:
    """Return the print of a voice that has these takes."""
    vectors = np.stack([take.vector for take in takes])
    return pool_prints(vectors, np.array([take.seconds for take in takes]))


def as_video(number: int, takes: Sequence[Take]) -> tuple[Video, SpeakerEmbeddings, Diarization]:
    """Return a video in which each take is a speaker, one after the other."""
    labels = [f"SPEAKER_{row:02}" for row in range(len(takes))]
    ends = np.cumsum([take.seconds for take in takes]).tolist()
    turns = tuple(
        Turn(start=end - take.seconds, end=end, speaker=label)
        for take, label, end in zip(takes, labels, ends, strict=True)
    )
    name = f"video {number}"
    return (
        Video(path=name, name=name, digest=name, duration=ends[-1], audio_streams=1),
        SpeakerEmbeddings(
            digest=name,
            model=Resemblyzer.model,
            speakers=tuple(labels),
            vectors=np.stack([take.vector for take in takes]),
            spread=[take.spread for take in takes],
            speech=[take.seconds for take in takes],
            segments=len(takes),
        ),
        Diarization(digest=name, turns=turns, exclusive=turns),
    )


def deal(takes: Sequence[Take], draw: np.random.Generator) -> dict[str, list[Take]]:
    """Cut what each speaker says into takes of lengths drawn by chance, in an order by chance."""
    at: dict[tuple[str, int], list[Take]] = {}
    for take in takes:
        at.setdefault((take.speaker, take.start), []).append(take)
    dealt: dict[str, list[Take]] = {}
    for speaker in sorted({take.speaker for take in takes}):
        start, queue = 0, []
        while (speaker, start) in at:
            some = at[speaker, start]
            size = draw.choice(sorted({take.seconds for take in some}))
            same = [take for take in some if take.seconds == size]
            queue.append(same[int(draw.integers(len(same)))])
            start += int(size)
        dealt[speaker] = [queue[row] for row in draw.permutation(len(queue)).tolist()]
    return dealt


def across_videos(takes: Sequence[Take], params: Params, rounds: int) -> dict[str, float]:
    """Let a library that knows nobody hear videos of 2 or 3 speakers, one after the other.

    Of every two appearances in two videos with enough speech: precision is how often one number was
    one speaker, recall how often one speaker had one number.
    """
    draw = np.random.default_rng(2)
    both = right = same = 0
    numbers, people = [], []
    for _ in range(rounds):
        remaining = deal(takes, draw)
        heard = []
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            library = VoiceLibrary(f"sqlite:///{folder}/voices.sqlite")
            while len(remaining) > 1:
                size = min(len(remaining), int(draw.integers(2, 4)))
                # Who has most left comes sooner, so that nobody remains alone.
                order = sorted(remaining, key=lambda name: -len(remaining[name]))[: size + 1]
                some = [remaining[name].pop() for name in draw.permutation(order)[:size].tolist()]
                remaining = {name: queue for name, queue in remaining.items() if queue}
                found = library.identify(*as_video(len(heard), some), params)
                heard.append(
                    [
                        (take.speaker, identity.voice)
                        for take, identity in zip(some, found, strict=True)
                        if take.seconds >= params.shortest_new
                    ]
                )
        numbers.append(len({voice for video in heard for _, voice in video}))
        people.append(len({speaker for video in heard for speaker, _ in video}))
        for one, other in combinations(heard, 2):
            for speaker, voice in one:
                for speaker_too, voice_too in other:
                    both += voice == voice_too
                    same += speaker == speaker_too
                    right += voice == voice_too and speaker == speaker_too
    return {
        "precision %": 100 * right / max(both, 1),
        "recall %": 100 * right / max(same, 1),
        "voices": float(np.mean(numbers)),
        "speakers": float(np.mean(people)),
    }


def with_enrolled(
    takes: Sequence[Take], pads: npt.NDArray[np.float32], known: Calibration, params: Params
) -> dict[str, float]:
    """Enrol every other speaker by up to 24 s of sound as it is; listen to all that comes later.

    Returns percent of the takes of enrolled speakers that were named right, named wrong, not named;
    percent of strangers' that were given a name; and what the confidence was worth.
    """
    prints: dict[str, Take] = {}
    for take in takes:
        half = (
            max(other.start + other.seconds for other in takes if other.speaker == take.speaker) / 2
        )
        if take.start == 0 and take.channel == CHANNELS[0] and LENGTHS_S[0] < take.seconds <= half:
            prints[take.speaker] = take  # the longest comes last
    counts = dict.fromkeys(("right", "wrong", "not named", "stranger named", "stranger"), 0)
    sure: list[tuple[float, bool]] = []
    for first in (0, 1):  # each half is enrolled once
        enrolled = sorted(prints)[first::2]
        library = np.vstack([*(prints[name].vector for name in enrolled), pads])
        heard = [
            take
            for take in takes
            if take.seconds >= params.shortest_new
            and (take.speaker not in enrolled or take.start >= prints[take.speaker].seconds)
        ]
        heard = heard[:: max(1, len(heard) // MOST_TRIALS)]
        matches = match_voices(
            np.stack([take.vector for take in heard]), library, known, params, one_to_one=False
        )
        for take, match in zip(heard, matches, strict=True):
            voice = match.voice
            name = "" if voice is None else enrolled[voice] if voice < len(enrolled) else "a pad"
            if take.speaker in enrolled:
                kind = "right" if name == take.speaker else "wrong" if name else "not named"
                counts[kind] += 1
            else:
                counts["stranger"] += 1
                counts["stranger named"] += bool(name)
            if name and match.confidence is not None:
                sure.append((match.confidence, name == take.speaker))
    trials = max(counts["right"] + counts["wrong"] + counts["not named"], 1)
    confidence, hits = np.array(sure or [(0.0, False)]).T
    return {
        **{f"{kind} %": 100 * counts[kind] / trials for kind in ("right", "wrong", "not named")},
        "stranger named %": 100 * counts["stranger named"] / max(counts["stranger"], 1),
        "mean confidence %": 100 * float(confidence.mean()),
        "right when named %": 100 * float(hits.mean()),
        "trials": trials + counts["stranger"],
    }


# --- the whole


def measure(takes: Sequence[Take], others: Sequence[Take], rounds: int) -> dict[str, Any]:
    """Choose on one half of the speakers and report on the other; `others` only fill libraries."""
    names = sorted({take.speaker for take in takes})
    chosen_on = [take for take in takes if take.speaker in names[::2]]
    reported = [take for take in takes if take.speaker in names[1::2]]
    shipped = CALIBRATIONS[Resemblyzer.model]
    fitted = calibrate(chosen_on, false_accepts=0.001, margin=shipped.margin)
    real = [
        pooled([take for take in some if take.speaker == name and take.channel == CHANNELS[0]])
        for some in (chosen_on, others)
        for name in sorted({take.speaker for take in some})
    ]
    pads = np.vstack([*real, strangers(takes, 10_000)]) if real else strangers(takes, 10_000)
    rows = []
    for sound, heard in (
        ("as it is", [take for take in reported if take.channel == CHANNELS[0]]),
        ("any channel", reported),
    ):
        for size in (0, 30, 100, 1000, 10_000):
            for rule, params in (
                ("threshold alone", Params(margin=0, least_confidence=0)),
                ("and margin", Params(least_confidence=0)),
                ("and confidence", Params()),
            ):
                found = with_enrolled(heard, pads[:size], shipped, params)
                rows.append({"sound": sound, "others": size, "rule": rule, **found})
    return {
        "speakers": {
            "chosen on": len(names[::2]),
            "reported": len(names[1::2]),
            "real pads": len(real),
        },
        "fitted on the first half": fitted.model_dump(exclude={"source"}),
        "shipped": shipped.model_dump(),
        "pairs": {
            half: {
                sound: pair_rates(
                    [
                        take
                        for take in some
                        if sound == "any channel" or take.channel == CHANNELS[0]
                    ],
                    shipped,
                )
                for sound in ("as it is", "any channel")
            }
            for half, some in (("chosen on", chosen_on), ("reported", reported))
        },
        "enrolled": rows,
        "across videos": {
            sound: across_videos(heard, Params(), rounds)
            for sound, heard in (
                ("as it is", [take for take in reported if take.channel == CHANNELS[0]]),
                ("any channel", reported),
            )
        },
    }


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"speakers: {result['speakers']}")
    print(f"fitted:   {result['fitted on the first half']}")
    print(f"shipped:  {result['shipped']}")
    for half, sounds in result["pairs"].items():
        for sound, rates in sounds.items():
            print(f"pairs, {half}, {sound}: " + ", ".join(f"{k} {v:.2f}" for k, v in rates.items()))
    columns = (
        "right %",
        "wrong %",
        "not named %",
        "stranger named %",
        "mean confidence %",
        "right when named %",
    )
    print(f"{'sound':12}{'others':>8}  {'rule':16}" + "".join(f"{name:>20}" for name in columns))
    for row in result["enrolled"]:
        line = f"{row['sound']:12}{row['others']:8}  {row['rule']:16}"
        print(line + "".join(f"{row[name]:20.1f}" for name in columns))
    for sound, found in result["across videos"].items():
        print(f"across videos, {sound}: " + ", ".join(f"{k} {v:.1f}" for k, v in found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="only fill the library")
    parser.add_argument("--vectors", type=Path, help="keep the voiceprints here, as <name>.npz")
    parser.add_argument("--rounds", type=int, default=5, help="orders of the videos")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    sets = []
    for name, folders in (("speakers", arguments.folders), ("others", arguments.others)):
        kept = arguments.vectors and arguments.vectors / f"{name}.npz"
        if kept and kept.exists():
            sets.append(read_takes(kept))
        elif folders:
            encoder = Resemblyzer(installed("resemblyzer", "pretrained.pt"))
            sets.append(take_prints(read_speech(folders), encoder))
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                keep_takes(kept, sets[-1])
        else:
            sets.append([])
    if not sets[0]:
        sys.exit("name a folder of recordings with their references")
    result = measure(*sets, rounds=arguments.rounds)
    show(result)
    dump(arguments.json, result)


if __name__ == "__main__":
    main()
