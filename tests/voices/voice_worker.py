"""A process beside the tests that does with voice libraries what lines of JSON tell it."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from spokenby.errors import SpokenbyError
from spokenby.types import Diarization, SpeakerEmbeddings, Turn, Video
from spokenby.voices.library import VoiceLibrary
from spokenby.voices.matching import Params

MODEL = "campplus-zh-en"
PARAMS = Params(threshold=0.8, margin=0.05)


def digest_of(text: str) -> str:
    """Return digits for a text; their order is that of the texts."""
    return text.encode(errors="surrogateescape").hex()[:64].ljust(64, "0")


def scene(
    name: str,
    *vectors: Any,
    model: str = MODEL,
    digest: str = "",
    speech: float = 20.0,
    at: tuple[float, ...] = (),
) -> tuple[Video, SpeakerEmbeddings, Diarization]:
    """Return a video of that name in which somebody speaks for each vector, one after the other.

    A vector of `None` is somebody without a print. `at` are the seconds at which they begin.
    """
    speakers = tuple(f"SPEAKER_{number:02}" for number in range(len(vectors)))
    begins = at or tuple(30.0 * number for number in range(len(vectors)))
    turns = tuple(
        sorted(
            (
                Turn(start=begin, end=begin + speech, speaker=speaker)
                for begin, speaker in zip(begins, speakers, strict=True)
            ),
            key=lambda turn: turn.start,
        )
    )
    size = next((len(vector) for vector in vectors if vector is not None), 3)
    rows = [np.full(size, np.nan) if vector is None else np.array(vector) for vector in vectors]
    array = np.array(rows, dtype=np.float32).reshape(len(rows), size)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    return (
        Video(
            path=f"{name}.mp4",
            name=name,
            digest=digest_of(name),
            duration=100,
            audio_streams=1,
        ),
        SpeakerEmbeddings(
            digest=digest_of(digest or f"embeddings of {name}"),
            model=model,
            speakers=speakers,
            vectors=array,
            spread=np.full(len(vectors), 0.1),
            speech=np.array([0.0 if vector is None else speech for vector in vectors]),
            segments=4 * len(vectors),
        ),
        Diarization(digest="diarization", turns=turns, exclusive=turns),
    )


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        url, verb, *words = json.loads(line)
        try:
            library = VoiceLibrary(url)
            if verb == "identify":
                found = library.identify(*scene(words[0], *words[1]), PARAMS)
                answer: Any = [identity.name for identity in found]
            else:
                answer = str(getattr(library, verb)(*words))
        except SpokenbyError as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
