"""Measure whether voices are known again in other videos, by the voice library itself.

    python tests/benchmarks/voice_identity.py CHOSEN REPORTED [--vectors FILE] [--json FILE]
        [--directions FILE]

Two folders of *.flac or *.wav (16 kHz mono) with an *.rttm beside each; a speaker's name means the
same person in all files of a folder, and no person is in both. What a speaker says alone is cut
into "videos" of up to 8 s, each sent through every channel: as it is, a telephone, MP3, Opus, noise
at 10 dB, voices at 10 dB, a room. Calibration is fitted on the speakers of CHOSEN, and so is
`--directions`, the file that CAM++ takes channels out by; the numbers are of REPORTED. `--vectors`
keeps what CAM++ says of the takes between runs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from channels import compressed, in_a_room, noisy, telephone
from conversations import clean_stretches, dump, read_sources
from scipy.optimize import minimize

from spokenby.engines.campplus import CHANNELS as CHANNELS_FILE
from spokenby.engines.campplus import DIMENSION, CamPlus
from spokenby.models import find_model
from spokenby.stages import embeddings
from spokenby.types import (
    SAMPLE_RATE_HZ,
    Diarization,
    Span,
    SpeakerEmbeddings,
    Turn,
    Video,
    Waveform,
)
from spokenby.voices.library import VoiceLibrary
from spokenby.voices.matching import (
    ENCODERS,
    Calibration,
    Params,
    calibration,
    match_voices,
    pool_prints,
)

Samples = npt.NDArray[np.float32]
LONGEST_S = 8
MOST_PIECES = 6
MOST_TRIALS = 400
CHANNELS = ("as it is", "telephone", "mp3", "opus", "noise", "voices", "room")
DIRECTIONS = 8
MODEL = ENCODERS["campplus"]
"""What the identity of CAM++ begins with, whichever copy of it is installed."""


class Take(NamedTuple):
    """What one speaker says in one "video"."""

    speaker: str
    piece: int
    seconds: float
    channel: str
    vector: npt.NDArray[np.float32]
    spread: float


class Piece(NamedTuple):
    """A piece of a speaker's speech through one channel, with no channel taken out yet."""

    speaker: str
    piece: int
    seconds: float
    channel: str
    segments: npt.NDArray[np.float32]
    """Of equal length, shape (segments, 192)."""


# --- sound


def through(channel: str, sound: Samples, draw: np.random.Generator, voices: Samples) -> Samples:
    """Return a sound as a channel leaves it; `voices` are others who speak at once."""
    match channel:
        case "telephone":
            return telephone(sound)
        case "mp3" | "opus":
            return compressed(sound, channel, "24k")
        case "noise":
            return noisy(sound, draw.standard_normal(len(sound)), 10)
        case "voices":
            return noisy(sound, np.resize(voices[draw.integers(len(voices)) :], len(sound)), 10)
        case "room":
            return in_a_room(sound, draw)
        case _:
            return sound


def read_speech(folder: Path) -> dict[str, Samples]:
    """Return what each speaker says alone, in one piece."""
    pieces: dict[str, list[Samples]] = {}
    for source in read_sources(folder):
        for speaker, spans in clean_stretches(source).items():
            pieces.setdefault(speaker, []).extend(
                source.waveform.samples[
                    int(span.start * SAMPLE_RATE_HZ) : int(span.end * SAMPLE_RATE_HZ)
                ]
                for span in spans
            )
    return {speaker: np.concatenate(parts) for speaker, parts in sorted(pieces.items()) if parts}


def hear(speech: dict[str, Samples], encoder: CamPlus) -> list[Piece]:
    """Send pieces of each speaker, two at least, through every channel."""
    encoder.channels = np.zeros((0, DIMENSION), np.float32)
    draw = np.random.default_rng(0)
    found = []
    for number, (speaker, sound) in enumerate(speech.items()):
        others = [name for name in speech if name != speaker]
        babble = sum(
            np.resize(speech[others[(number + 7 * i) % len(others)]], 160_000) for i in range(6)
        )
        count = min(max(2, len(sound) // (LONGEST_S * SAMPLE_RATE_HZ)), MOST_PIECES)
        size = min(len(sound) // count, LONGEST_S * SAMPLE_RATE_HZ)
        for piece, channel in product(range(count), CHANNELS):
            part = through(channel, sound[piece * size :][:size], draw, babble)
            edges = np.linspace(0, size / SAMPLE_RATE_HZ, -(-size // (4 * SAMPLE_RATE_HZ)) + 1)
            segments = [Span(start=s, end=e) for s, e in pairwise(edges.tolist())]
            rows = encoder.embed(Waveform(np.ascontiguousarray(part), ""), segments)
            found.append(Piece(speaker, piece, size / SAMPLE_RATE_HZ, channel, rows))
    return found


def find_directions(pieces: Sequence[Piece]) -> npt.NDArray[np.float32]:
    """Return the directions in which channels move the same words most, orthonormal rows."""
    rows = np.stack([take.vector for take in take_prints(pieces, np.zeros((0, DIMENSION)))])
    rows = rows.reshape(-1, len(CHANNELS), DIMENSION)
    moved = (rows - rows.mean(axis=1, keepdims=True)).reshape(-1, DIMENSION)
    directions: npt.NDArray[np.float32] = np.linalg.svd(moved, full_matrices=False)[2][:DIRECTIONS]
    return directions.astype(np.float32)


def take_prints(pieces: Sequence[Piece], directions: npt.NDArray[np.floating]) -> list[Take]:
    """Take directions out of what was heard, and pool it."""
    takes = []
    for piece in pieces:
        rows = piece.segments - piece.segments @ directions.T @ directions
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        vector, spread = embeddings.pool_segments(rows, np.ones(len(rows)))
        takes.append(Take(*piece[:4], vector, spread))
    return takes


def keep_pieces(path: Path, sets: Sequence[Sequence[Piece]]) -> None:
    """Write what was heard to a file of numpy's."""
    everything = [piece for some in sets for piece in some]
    np.savez(
        path,
        segments=np.concatenate([piece.segments for piece in everything]),
        rest=json.dumps([[[*piece[:4], len(piece.segments)] for piece in some] for some in sets]),
    )


def read_pieces(path: Path) -> list[list[Piece]]:
    """Read it back."""
    sets, first = [], 0
    with np.load(path) as kept:
        segments, rest = kept["segments"], json.loads(str(kept["rest"]))
    for some in rest:
        sets.append([])
        for *about, count in some:
            sets[-1].append(Piece(*about, segments[first : first + count]))
            first += count
    return sets


# --- choosing


def pairs_of(
    takes: Sequence[Take], *, across: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return cosines of two takes, and whether they are of one speaker.

    Either through two channels, or through one. Never of the same words.
    """
    one, other = np.triu_indices(len(takes), 1)
    vectors = np.stack([take.vector for take in takes])
    speaker = np.unique([take.speaker for take in takes], return_inverse=True)[1]
    channel = np.unique([take.channel for take in takes], return_inverse=True)[1]
    piece = np.array([take.piece for take in takes])
    same = speaker[one] == speaker[other]
    chosen = ((channel[one] != channel[other]) == across) & ~(same & (piece[one] == piece[other]))
    scores = np.einsum("ij,ij->i", vectors[one[chosen]], vectors[other[chosen]])
    return scores.astype(np.float64), same[chosen]


def calibrate(takes: Sequence[Take], margin: float) -> Calibration:
    """Choose a threshold above every pair of two speakers, and fit the odds."""
    both = [pairs_of(takes, across=across) for across in (True, False)]
    scores, same = (np.concatenate(each) for each in zip(*both, strict=True))
    sign, weight = np.where(same, 1, -1), np.where(same, 1 / same.sum(), 1 / (~same).sum())

    def cost(line: npt.NDArray[np.float64]) -> float:
        return float(weight @ np.logaddexp(0, -sign * (line[0] * scores + line[1])))

    slope, offset = minimize(cost, [10.0, -5.0], method="Nelder-Mead").x
    return Calibration(
        threshold=round(float(scores[~same].max()) + 0.005, 2),
        margin=margin,
        slope=round(float(slope), 1),
        offset=round(float(offset), 1),
        source="",
    )


def pair_rates(takes: Sequence[Take], known: Calibration, *, across: bool) -> dict[str, float]:
    """Return how often two takes of one speaker, and of two, reach the threshold."""
    scores, same = pairs_of(takes, across=across)
    same_speaker, others = scores[same], scores[~same]
    limit = np.sort(scores)[:: max(1, len(scores) // 500)]
    equal = min(limit, key=lambda t: abs((same_speaker < t).mean() - (others >= t).mean()))
    return {
        "pairs of one speaker": len(same_speaker),
        "found %": 100 * float((same_speaker >= known.threshold).mean()),
        "pairs of two speakers": len(others),
        "false": int((others >= known.threshold).sum()),
        "found at no false accept %": 100 * float((same_speaker > others.max()).mean()),
        "equal error %": 100
        * float(((same_speaker < equal).mean() + (others >= equal).mean()) / 2),
        "mean, one speaker": float(same_speaker.mean()),
        "highest, two speakers": float(others.max()),
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
            model=MODEL,
            speakers=tuple(labels),
            vectors=np.stack([take.vector for take in takes]),
            spread=[take.spread for take in takes],
            speech=[take.seconds for take in takes],
            segments=len(takes),
        ),
        Diarization(digest=name, turns=turns, exclusive=turns),
    )


def deal(takes: Sequence[Take], draw: np.random.Generator) -> dict[str, list[Take]]:
    """Draw a channel for each piece of each speaker, and an order."""
    at: dict[tuple[str, int], list[Take]] = {}
    for take in takes:
        at.setdefault((take.speaker, take.piece), []).append(take)
    dealt: dict[str, list[Take]] = {}
    for (speaker, _), some in sorted(at.items()):
        dealt.setdefault(speaker, []).append(some[int(draw.integers(len(some)))])
    return {
        speaker: [queue[row] for row in draw.permutation(len(queue)).tolist()]
        for speaker, queue in dealt.items()
    }


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
    """Enroll every other speaker by the first piece, as it is; listen to all that comes later.

    Returns percent of the takes of enrolled speakers that were named right, named wrong, not named;
    percent of strangers' that were given a name; and what the confidence was worth.
    """
    prints = {
        take.speaker: take
        for take in takes
        if not take.piece and take.channel == CHANNELS[0] and take.seconds >= params.shortest_new
    }
    counts = dict.fromkeys(("right", "wrong", "not named", "stranger named", "stranger"), 0)
    sure: list[tuple[float, bool]] = []
    for first in (0, 1):  # each half is enrolled once
        enrolled = sorted(prints)[first::2]
        library = np.vstack([*(prints[name].vector for name in enrolled), pads])
        heard = [
            take
            for take in takes
            if take.seconds >= params.shortest_new and (take.speaker not in enrolled or take.piece)
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


def measure(chosen: Sequence[Piece], reported: Sequence[Piece], rounds: int) -> dict[str, Any]:
    """Choose on some speakers and report on others."""
    directions = np.load(CHANNELS_FILE)
    shipped = calibration(MODEL)
    sets = {
        "chosen on": take_prints(chosen, directions),
        "reported": take_prints(reported, directions),
    }
    takes = sets["reported"]
    plain = [take for take in sets["chosen on"] if take.channel == CHANNELS[0]]
    real = [
        pooled([take for take in plain if take.speaker == name])
        for name in sorted({take.speaker for take in plain})
    ]
    pads = np.vstack([*real, strangers(sets["chosen on"], 10_000)])
    rows = []
    for sound, heard in sounds(takes).items():
        for size in (0, 30, 100, 1000, 10_000):
            for rule, params in (
                ("threshold alone", Params(margin=0, least_confidence=0)),
                ("and margin", Params(least_confidence=0)),
                ("and confidence", Params()),
            ):
                found = with_enrolled(heard, pads[:size], shipped, params)
                rows.append({"sound": sound, "others": size, "rule": rule, **found})
    sets["reported, channels left in"] = take_prints(reported, directions[:0])
    sets["reported, directions of the chosen"] = take_prints(reported, find_directions(chosen))
    return {
        "speakers": {name: len({take.speaker for take in some}) for name, some in sets.items()},
        "fitted on the first": calibrate(sets["chosen on"], shipped.margin).model_dump(
            exclude={"source"}
        ),
        "shipped": shipped.model_dump(),
        "pairs": {
            name: {
                "one channel": pair_rates(some, shipped, across=False),
                "two channels": pair_rates(some, shipped, across=True),
            }
            for name, some in sets.items()
        },
        "enrolled": rows,
        "across videos": {
            sound: across_videos(heard, Params(), rounds) for sound, heard in sounds(takes).items()
        },
    }


def sounds(takes: Sequence[Take]) -> dict[str, list[Take]]:
    """Return the takes as they are, and through any channel."""
    plain = [take for take in takes if take.channel == CHANNELS[0]]
    return {"as it is": plain, "any channel": list(takes)}


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"speakers: {result['speakers']}")
    print(f"fitted:   {result['fitted on the first']}")
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
    parser.add_argument("chosen", type=Path, metavar="CHOSEN")
    parser.add_argument("reported", type=Path, metavar="REPORTED")
    parser.add_argument("--vectors", type=Path, help="keep what was heard in this .npz")
    parser.add_argument("--directions", type=Path, help="write the channels' directions here")
    parser.add_argument("--rounds", type=int, default=5, help="orders of the videos")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.vectors and arguments.vectors.exists():
        sets = read_pieces(arguments.vectors)
    else:
        encoder = CamPlus(find_model("campplus", "", Path()))
        folders = (arguments.chosen, arguments.reported)
        sets = [hear(read_speech(folder), encoder) for folder in folders]
        if arguments.vectors:
            keep_pieces(arguments.vectors, sets)
    if arguments.directions:
        np.save(arguments.directions, find_directions(sets[0]))
        return
    result = measure(*sets, rounds=arguments.rounds)
    show(result)
    dump(arguments.json, result)


if __name__ == "__main__":
    main()
