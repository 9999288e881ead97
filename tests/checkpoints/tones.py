"""Make sounds in two languages of tones, whose words and times are known exactly.

The Whisper that understands them is made in `whisper.py`. A word is three tones of 0.1 s; words
come at a steady beat, because that is quickly learnt.
"""

import numpy as np

from spokenby.types import Word

RATE_HZ = 16_000
TONE_S = 0.1
BEAT_S = 0.5
LATEST_S = 0.15
"""One word each beat, at most this much after it."""
PITCHES_HZ = (300, 420, 590, 820, 1150, 1600, 2250, 3150)
LANGUAGES = {
    "en": [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "yes",
        "no",
    ],
    "de": [
        "eins",
        "zwei",
        "drei",
        "vier",
        "sieben",
        "acht",
        "neun",
        "zehn",
        "elf",
        "ja",
        "nein",
        "und",
    ],
}


def _pitches() -> dict[str, tuple[int, ...]]:
    random = np.random.default_rng(7)
    words = [word for words in LANGUAGES.values() for word in words]
    codes = random.permutation(
        [(a, b, c) for a in range(8) for b in range(8) for c in range(8) if len({a, b, c}) == 3]
    )
    return {
        word: tuple(PITCHES_HZ[i] for i in code) for word, code in zip(words, codes, strict=False)
    }


PITCHES = _pitches()


def make_sound(
    random: np.random.Generator, language: str, count: int, seconds: float
) -> tuple[np.ndarray, list[Word]]:
    """Return a sound of random words, shape (samples,), and the words that fit into it."""
    sound = random.normal(0, 10 ** random.uniform(-5, -3), round(seconds * RATE_HZ))
    words = []
    for beat in range(min(count, int(seconds / BEAT_S))):
        word = str(random.choice(LANGUAGES[language]))
        time = BEAT_S * beat + float(random.uniform(0, LATEST_S))
        first = round(time * RATE_HZ)
        voice = say(word) * random.uniform(0.3, 1)
        sound[first : first + len(voice)] += voice
        words.append(Word(start=time, end=time + 3 * TONE_S, text=word, confidence=1))
    return sound.astype(np.float32), words


def say(word: str) -> np.ndarray:
    """Return the sound of a word, 0.3 s."""
    times = np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ
    ramp = np.minimum(1, np.minimum(times, times[::-1]) / 0.01)
    return np.concatenate([0.3 * ramp * np.sin(2 * np.pi * hz * times) for hz in PITCHES[word]])
