"""Measure what the voice library costs with 100, 10,000 and 100,000 voices.

    python tests/benchmarks/voice_library.py [--postgres URL] [--sizes 100 10000] [--json FILE]

Random voices, one print of 192 numbers each, as an export that is imported into an empty library.
Then a video with four speakers, two of them known, is identified; times are the median of five,
each of which adds two voices. `--postgres` names an empty database, for the last of the sizes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conversations import dump

from spokenby.types import Diarization, SpeakerEmbeddings, Turn, Video
from spokenby.voices.centroids import pack
from spokenby.voices.library import Line, VoiceLibrary

MODEL = "campplus-zh-en"
DIMENSION = 192
REPEATS = 5


def export_of(vectors: np.ndarray) -> dict[str, Any]:
    """Return a library of these voices, as it exports itself."""
    about = {"seconds": 20.0, "spread": 0.1, "source": "talk", "start": 0.0, "end": 20.0}
    return {
        "format": "spokenby voices",
        "version": 1,
        "next_voice": len(vectors) + 1,
        "voices": [
            {
                "number": number,
                "uid": uuid.uuid4().hex,
                "name": f"Person {number}" if number % 10 == 0 else None,
                "created": 0.0,
                "prints": [
                    {
                        **about,
                        "model": MODEL,
                        "vector": b64encode(pack(vector)).decode(),
                        "video": f"video {number // 4}",
                        "speaker": f"SPEAKER_{number % 4:02}",
                    }
                ],
                "appearances": [
                    {
                        "video": f"video {number // 4}",
                        "speaker": f"SPEAKER_{number % 4:02}",
                        "video_name": f"video {number // 4}",
                        "embeddings": "embeddings",
                        "seconds": 20.0,
                        "score": None,
                        "confidence": None,
                        "samples": [[0.0, 8.0]],
                        "identified": 0.0,
                    }
                ],
            }
            for number, vector in enumerate(vectors, 1)
        ],
        "merged": [],
        "apart": [],
    }


def a_video(number: int, vectors: np.ndarray) -> tuple[Video, SpeakerEmbeddings, Diarization]:
    """Return a video in which these speak one after the other."""
    labels = tuple(f"SPEAKER_{row:02}" for row in range(len(vectors)))
    turns = tuple(
        Turn(start=20 * row, end=20 * row + 19, speaker=label) for row, label in enumerate(labels)
    )
    name = f"measured {number}"
    return (
        Video(path=name, name=name, digest=name, duration=100, audio_streams=1),
        SpeakerEmbeddings(
            digest=name,
            model=MODEL,
            speakers=labels,
            vectors=vectors,
            spread=[0.1] * len(labels),
            speech=[19.0] * len(labels),
            segments=12,
        ),
        Diarization(digest=name, turns=turns, exclusive=turns),
    )


def timed(work: Callable[[int], Any], repeats: int = REPEATS) -> float:
    """Return the median seconds of some calls, each given its number."""
    taken = []
    for number in range(repeats):
        began = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure(url: str, size: int) -> dict[str, Any]:
    """Return what things take with a library of some size, in seconds."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((size + 2 * REPEATS, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    content = export_of(vectors[:size])
    library = VoiceLibrary(url)
    began = time.perf_counter()
    library.import_(content)
    imported = time.perf_counter() - began

    def identify(number: int) -> None:
        known = vectors[[number, size // 2 + number]]
        found = library.identify(
            *a_video(number, np.vstack([known, vectors[size + 2 * number :][:2]]))
        )
        assert [identity.voice for identity in found[:2]] == [number + 1, size // 2 + number + 1]
        assert all(identity.voice > size for identity in found[2:] if identity.voice)

    lines = [Line(float(i), i + 1.0, "SPEAKER_00", f"word {i} of a talk") for i in range(1500)]
    return {
        "voices": size,
        "import s": imported,
        "open s": timed(lambda _: VoiceLibrary(url)),
        "identify s": timed(identify),
        "name s": timed(lambda number: library.rename(f"Speaker {number + 1}", f"Name {number}")),
        "list s": timed(lambda _: library.voices()),
        "note 1500 lines s": timed(
            lambda number: library.note_transcript(a_video(number, vectors[:1])[0], "folder", lines)
        ),
        "find s": timed(lambda number: library.find(f"word {number}")),
        "forget s": timed(lambda number: library.forget(f"Name {number}"), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--postgres", help="measure this empty database, too")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "voices.sqlite"
            rows.append({"database": "sqlite", **measure(f"sqlite:///{path}", size)})
            rows[-1]["MB"] = path.stat().st_size / 1e6
    if arguments.postgres:
        rows.append({"database": "postgresql", **measure(arguments.postgres, arguments.sizes[-1])})
    names = [name for name in rows[0] if name not in {"database", "voices"}]
    print(f"{'':12}{'voices':>8}" + "".join(f"{name:>20}" for name in names))
    for row in rows:
        print(
            f"{row['database']:12}{row['voices']:8}"
            + "".join(f"{row.get(name, float('nan')):20.3f}" for name in names)
        )
    dump(arguments.json, {"rows": rows})


if __name__ == "__main__":
    main()
