"""Measure whether labels that do not fit the voices of a video are noticed.

    python tests/benchmarks/same_voice.py FOLDER [--pattern 'lib*'] [--json FILE]

FOLDER holds *.flac or *.wav (16 kHz mono) with an *.rttm beside each. From the reference: each
speaker's segments are dealt to two labels (by halves of the time, every other one, one alone), and
those of each pair of speakers put under one label; as recorded and made worse. From the diarizer:
as it is, and made to find one speaker too many and one too few.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conversations import Engines, Source, dump, read_sources
from scipy.signal import butter, fftconvolve, sosfilt

from spokenby.engines.campplus import CamPlus
from spokenby.stages import embeddings, intervals, merging, voice_similarity
from spokenby.types import SAMPLE_RATE_HZ, Diarization, SpeakerEmbeddings, Waveform

PARAMS = merging.Params()
MIXED = 0.25
"""A label with at least this share of a second speaker holds two voices."""


def worse(samples: np.ndarray, sound: str) -> np.ndarray:
    """Return a sound as by telephone, in a room of 0.6 s reverberation, or in noise at 10 dB."""
    draw = np.random.default_rng(0)
    match sound:
        case "telephone":
            band = butter(4, [300, 3400], "band", fs=SAMPLE_RATE_HZ, output="sos")
            samples = sosfilt(band, samples)
        case "room":
            time = np.arange(int(0.6 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
            echo = draw.standard_normal(len(time)) * np.exp(-time * np.log(1000) / 0.6)
            echo[0] = 3
            samples = fftconvolve(samples, echo / np.linalg.norm(echo))[: len(samples)]
        case "noise":
            level = samples.std() * 10 ** (-10 / 20)
            samples = samples + level * draw.standard_normal(len(samples))
    return samples.astype(np.float32)


def judge(vectors: Sequence[np.ndarray]) -> tuple[np.ndarray, list[float]]:
    """Return likenesses between groups of segments, and of the two parts of each."""
    inner = []
    for rows in vectors:
        part = voice_similarity.split_voice(rows)
        both = [rows[~part], rows[part]]
        inner.append(voice_similarity.measure_likeness(both)[0, 1] if part.any() else 1.0)
    return voice_similarity.measure_likeness(vectors), inner


def from_references(sources: Sequence[Source], encoder: CamPlus) -> Iterator[dict[str, Any]]:
    """Yield a row for each label or pair of labels made from a reference."""
    voices: dict[tuple[str, str], np.ndarray] = {}
    for source in sources:
        for name, chosen in embeddings.choose_segments(
            source.reference, embeddings.Params()
        ).items():
            chosen.sort(key=lambda span: span.start)
            rows = encoder.embed(source.waveform, chosen)
            voices[source.name, name] = rows[np.isfinite(rows).all(axis=1)]
    for source in sources:
        names = [name for where, name in voices if where == source.name]
        groups = {name: voices[source.name, name] for name in names}
        groups = {name: rows for name, rows in groups.items() if len(rows)}
        alike, inner = judge(list(groups.values()))
        for number, (name, rows) in enumerate(groups.items()):
            others = [group for other, group in groups.items() if other != name]
            if len(rows) >= 2 * voice_similarity.SMALLEST_PART:
                yield row("one speaker's parts", source, name, inner[number])
            if len(rows) >= 2:
                half = len(rows) // 2
                for how, dealt in (
                    ("halves", [rows[:half], rows[half:]]),
                    ("every other", [rows[::2], rows[1::2]]),
                    ("one segment", [rows[:1], rows[1:]]),
                ):
                    found = voice_similarity.measure_likeness([*dealt, *others])[0, 1]
                    yield row("one speaker, two labels", source, f"{name}, {how}", found)
        for a, b in combinations(range(len(groups)), 2):
            pair = f"{list(groups)[a]} {list(groups)[b]}"
            yield row("two speakers, two labels", source, pair, float(alike[a, b]))
    known = {
        key: rows for key, rows in voices.items() if len(rows) >= voice_similarity.SMALLEST_PART
    }
    for one, other in combinations(known, 2):
        if one[1] != other[1]:
            (part,) = judge([np.concatenate([known[one], known[other]])])[1]
            yield {
                "case": "two speakers, one label",
                "file": f"{one[0]} {other[0]}",
                "label": f"{one[1]} {other[1]}",
                "alike": part,
            }


def row(case: str, source: Source, label: str, alike: float) -> dict[str, Any]:
    return {"case": case, "file": source.name, "label": label, "alike": float(alike)}


def from_diarizer(sources: Sequence[Source], engines: Engines) -> Iterator[dict[str, Any]]:
    """Yield a row for each label and pair of labels of the diarizer, with the truth."""
    for source in sources:
        regions = engines.detect_speech(source.waveform)
        true = len({turn.speaker for turn in source.turns})
        for count in (None, true - 1, true + 1):
            if count == 0:
                continue
            found = engines.diarize(source.waveform, regions, count)
            voices = engines.embed(source.waveform, found)
            asked = "as it is" if count is None else f"{count - true:+d} speaker"
            yield from with_truth(source, asked, found, voices)


def with_truth(
    source: Source, asked: str, found: Diarization, voices: SpeakerEmbeddings
) -> Iterator[dict[str, Any]]:
    names = sorted({turn.speaker for turn in source.turns})
    truth = [
        intervals.union(intervals.array([t for t in source.turns if t.speaker == n])) for n in names
    ]
    main, mixed = {}, {}
    for label in voices.speakers:
        times = intervals.array([turn for turn in found.turns if turn.speaker == label])
        shares = [float(intervals.covered(who, times[:, 0], times[:, 1]).sum()) for who in truth]
        main[label] = names[int(np.argmax(shares))]
        mixed[label] = sorted(shares)[-2] / max(sum(shares), 1e-9) if len(shares) > 1 else 0.0
    says_one = {(a, b) for a, b, _ in voice_similarity.find_one_voice(voices, PARAMS.same_voice)}
    says_two = {label for label, *_ in voice_similarity.find_two_voices(voices, PARAMS.two_voices)}
    for a, label in enumerate(voices.speakers):
        yield {
            "asked": asked,
            "file": source.name,
            "question": "two voices in a label",
            "label": label,
            "true": mixed[label] >= MIXED,
            "said": label in says_two,
            "alike": float(voices.likeness[a, a]),
        }
        for b, other in enumerate(voices.speakers[a + 1 :], a + 1):
            yield {
                "asked": asked,
                "file": source.name,
                "question": "one voice in two labels",
                "label": f"{label} {other}",
                "true": main[label] == main[other],
                "said": (label, other) in says_one,
                "alike": float(voices.likeness[a, b]),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pattern", default="*", help="which recordings, as in lib*")
    parser.add_argument("--json", type=Path, help="write settings and numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    engines = Engines()
    encoder = engines.encoder
    sources = [
        source
        for source in read_sources(arguments.folder)
        if Path(source.name).match(arguments.pattern)
    ]
    made = []
    for sound in ("as recorded", "telephone", "room", "noise"):
        changed = [
            source._replace(waveform=Waveform(worse(source.waveform.samples, sound), ""))
            for source in sources
        ]
        made += [{"sound": sound, **row} for row in from_references(changed, encoder)]
    limits = {
        "one speaker, two labels": (PARAMS.same_voice, True),
        "two speakers, two labels": (PARAMS.same_voice, False),
        "two speakers, one label": (PARAMS.two_voices, True),
        "one speaker's parts": (PARAMS.two_voices, False),
    }
    table = []
    print(f"{'from references':28}{'sound':13}{'cases':>7}{'warned':>8}{'right':>8}{'range':>16}")
    for case, (limit, wanted) in limits.items():
        for sound in dict.fromkeys(row["sound"] for row in made):
            alike = np.array(
                [row["alike"] for row in made if (row["case"], row["sound"]) == (case, sound)]
            )
            above = case.endswith("two labels")
            warned = int(((alike >= limit) if above else (alike < limit)).sum())
            right = warned if wanted else len(alike) - warned
            extent = f"{alike.min():.2f} to {alike.max():.2f}" if len(alike) else ""
            print(f"{case:28}{sound:13}{len(alike):7}{warned:8}{right:8}{extent:>16}")
            table.append(
                {
                    "case": case,
                    "sound": sound,
                    "cases": len(alike),
                    "warned": warned,
                    "right": right,
                    "range": extent,
                }
            )
    sys.stdout.flush()
    heard = list(from_diarizer(sources, engines))
    print(
        f"\n{'diarizer':14}{'question':28}{'cases':>7}{'true':>6}{'noticed':>9}{'false alarms':>14}"
    )
    for asked in ("as it is", "-1 speaker", "+1 speaker"):
        for question in ("one voice in two labels", "two voices in a label"):
            rows = [r for r in heard if r["asked"] == asked and r["question"] == question]
            true = [r for r in rows if r["true"]]
            entry = {
                "diarizer": asked,
                "question": question,
                "cases": len(rows),
                "true": len(true),
                "noticed": sum(r["said"] for r in true),
                "false alarms": sum(r["said"] for r in rows) - sum(r["said"] for r in true),
            }
            table.append(entry)
            print(
                f"{asked:14}{question:28}{len(rows):7}{len(true):6}"
                f"{entry['noticed']:9}{entry['false alarms']:14}"
            )
    settings = {
        "pattern": arguments.pattern,
        "same_voice": PARAMS.same_voice,
        "two_voices": PARAMS.two_voices,
        "model": encoder.model,
    }
    dump(arguments.json, {"settings": settings, "table": table})


if __name__ == "__main__":
    main()
