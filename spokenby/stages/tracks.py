"""Tell tracks apart that hear one speaker each, and place what is heard on them on one timeline.

The tracks of a video are its channels, its audio streams, or the files of a folder. Extracted, they
lie one after the other in one waveform, with silence between: each stage hears all of them in one
pass, and each on its own sound. Times in that waveform become times of the video in the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spokenby.stages import intervals
from spokenby.types import SAMPLE_RATE_HZ, Diarization, Seconds, Track

GAP_S: Seconds = 30.0
"""Silence between tracks: no window and no chunk holds two of them."""

FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
"""Levels are measured in frames of 20 ms."""

_GENERIC = re.compile(
    r"(?i)[\W\d_]*((simple|audio|recording|track|stream|channel|sound|handler|stereo|mono|mix|mic"
    r"|microphone|aux|desktop|system|default|capture|input|output|device|main|media|core|apple"
    r"|speaker|unknown|redacted)[\W\d_]*((?<=[\W_])[a-z](?![a-z])[\W\d_]*)?)*"
)
"""What programs call streams and files by themselves, and spokenby whom it does not know."""

AUDIBLE = 1e-7
"""Energy of speech: a track that is not above it (-70 dB) is silent."""

SMOOTHED = 10
"""Frames over which energies are averaged to see which track is the loudest, against echoes."""

ACTIVE = 0.05
"""Somebody speaks where a track has this share of its usual energy."""

FAR_APART = 10.0
"""One track alone is active where it has so many times the energy of every other (10 dB)."""

MOSTLY = 0.75
"""Tracks are different speakers if one of them alone is active in this share of the speech."""

A_PART = 0.05
"""Each of at least two has to be that in this share of it."""

LEAST_ACTIVE: Seconds = 3.0
"""Less speech says nothing about tracks."""

LEAST_TURN: Seconds = 0.5
"""Mean length for which a track stays the loudest one: people take turns, sounds alternate fast."""

LEAK_QUANTILE = 0.15
"""Of how a track's energy compares with the loudest one's: so low, it is what leaks, even where
both mostly speak at once."""

LEAK_MARGIN = 10.0
"""A track is not heard where it has less than so many times (10 dB) what leaks into it."""

CLOSED_FRAMES = 15
"""Shorter stretches of leaking between own speech, 0.3 s, stay."""

OPEN_FRAMES = 4
"""Shorter stretches of own speech between leaking, 80 ms, go."""

MARGIN_FRAMES = 5
"""Own speech is widened by 0.1 s: its beginning and its end are soft."""

SUM_ERROR = 0.2
"""A track that is the sum of the others but for this share of its energy is their mix."""

Floats = npt.NDArray[np.float64]
Energies = npt.NDArray[np.float32]
"""Mean squares of a track's frames, shape (frames,)."""


def person_in(title: str) -> str:
    """Return the title of a track where it may be somebody's name, else nothing."""
    return "" if _GENERIC.fullmatch(title) else " ".join(title.split())


def place_on_timeline(tracks: Sequence[Track], times: Floats) -> Floats:
    """Return times of the waveform as times of the video."""
    if not tracks:
        return times
    start = np.array([track.start for track in tracks])
    which = find_tracks(tracks, times)
    length = np.array([track.duration for track in tracks])[which]
    return np.asarray((times - start[which]).clip(0, length).round(3))


def find_tracks(tracks: Sequence[Track], times: Floats) -> npt.NDArray[np.intp]:
    """Return which track a time of the waveform belongs to; the gaps are shared half and half."""
    start = np.array([track.start for track in tracks])
    return np.asarray(np.searchsorted(start[1:] - GAP_S / 2, times, "right"))


def on_timeline(diarization: Diarization) -> Diarization:
    """Return who speaks when in the video. Turns of different tracks may overlap."""
    if not (tracks := diarization.tracks):
        return diarization
    placed = {}
    for field in ("turns", "exclusive"):
        turns = getattr(diarization, field)
        times = place_on_timeline(tracks, intervals.array(turns))
        moved = [
            turn.model_copy(update={"start": start, "end": end})
            for turn, (start, end) in zip(turns, times.tolist(), strict=True)
        ]
        placed[field] = tuple(sorted(moved, key=lambda turn: (turn.start, turn.end)))
    return diarization.model_copy(update={**placed, "tracks": ()})


def measure(samples: npt.NDArray[np.float32]) -> Energies:
    """Return the energy of each frame; the last one may be short."""
    block = 3000 * FRAME_SAMPLES
    energies: list[Energies] = [np.zeros(0, np.float32)]
    for first in range(0, len(samples), block):
        part = samples[first : first + block]
        edges = np.arange(0, len(part), FRAME_SAMPLES)
        sums = np.add.reduceat(np.square(part, dtype=np.float32), edges)
        counts = np.diff(edges, append=len(part))
        energies.append((sums / counts).astype(np.float32))
    return np.concatenate(energies)


def measure_level(energies: Energies) -> float:
    """Return the energy of what is loud in a track, however rarely it is: weighted by energy."""
    if not len(energies):
        return 0.0
    clipped = np.minimum(energies, np.quantile(energies, 0.999)).astype(np.float64)
    return float(np.square(clipped).sum() / max(clipped.sum(), 1e-12))


def are_speakers(tracks: Sequence[Energies]) -> bool:
    """Return whether tracks are different speakers, by their levels over time.

    Each track is measured by its own usual level. In stereo of any kind, music or a room, both
    channels are active at once and alike; of two speakers one is far louder, then the other, for
    as long as turns last. A silent track, or one of noise, is nobody's turn.
    """
    levels = np.array([measure_level(track) for track in tracks])
    heard = [track / level for track, level in zip(tracks, levels, strict=True) if level > AUDIBLE]
    if len(heard) < 2:
        return False
    energies = _smooth(_stack(heard))
    low, high = np.sort(energies, axis=0)[-2:]
    active = high > ACTIVE
    alone = active & (high > FAR_APART * low)
    if active.sum() * FRAME_SAMPLES < LEAST_ACTIVE * SAMPLE_RATE_HZ:
        return False
    loudest = energies.argmax(axis=0)[alone]
    shares = np.bincount(loudest, minlength=len(heard)) / max(len(loudest), 1)
    turn = len(loudest) / (1 + np.count_nonzero(np.diff(loudest)))
    return bool(
        alone.sum() >= MOSTLY * active.sum()
        and np.count_nonzero(shares >= A_PART) >= 2
        and turn * FRAME_SAMPLES >= LEAST_TURN * SAMPLE_RATE_HZ
    )


def find_mixes(tracks: Sequence[Energies]) -> list[int]:
    """Return the tracks that hold the sum of all others, as the first track of OBS may."""
    if len(tracks) < 3:  # of two, none can be told from a copy
        return []
    from scipy.optimize import nnls

    energies = _stack(tracks).astype(np.float64)
    found = []
    for number, whole in enumerate(energies):
        parts = np.delete(energies, number, axis=0)
        parts = parts[parts.max(axis=1) > AUDIBLE]
        if len(parts) < 2 or not whole.any():
            continue
        shares, distance = nnls(parts.T, whole)
        if np.all(shares > A_PART) and distance**2 < SUM_ERROR * np.square(whole).sum():
            found.append(number)
    return found


def find_own(tracks: Sequence[Energies]) -> npt.NDArray[np.bool_]:
    """Return where each track holds its own speaker, or nobody, shape (tracks, frames).

    The rest is what leaks into it: one track's share of another is measured where that one is the
    loudest by far, and the track is not heard where it is hardly louder than this share. The
    loudest one of all is always heard.
    """
    levels = np.array([max(measure_level(track), 1e-12) for track in tracks], np.float32)
    energies = _smooth(_stack(tracks) / levels[:, None], 3)
    loudest = _smooth(energies).argmax(axis=0)
    own = np.ones(energies.shape, np.bool_)
    for other, energy in enumerate(energies):
        speaks = (loudest == other) & (energy > ACTIVE)
        if not speaks.any():
            continue
        near = np.stack([np.roll(energy, shift) for shift in (-2, 0, 2)]).max(axis=0)
        for number, track in enumerate(energies):
            if number != other:
                leaking = np.quantile(track[speaks] / near[speaks], LEAK_QUANTILE)
                own[number] &= track > min(LEAK_MARGIN * float(leaking), 1.0) * near
    for number, track in enumerate(own):
        track |= (loudest == number) & (energies[number] > ACTIVE)  # noqa: PLW2901
        own[number] = _tidy(track)
    return own


def _tidy(own: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    from scipy.ndimage import binary_closing, binary_dilation, binary_opening

    padded = np.pad(own, CLOSED_FRAMES, mode="edge")
    padded = binary_opening(padded, np.ones(OPEN_FRAMES, np.bool_))
    padded = binary_closing(padded, np.ones(CLOSED_FRAMES, np.bool_))
    padded = binary_dilation(padded, np.ones(2 * MARGIN_FRAMES + 1, np.bool_))
    return np.asarray(padded[CLOSED_FRAMES:-CLOSED_FRAMES], np.bool_)


class Together:
    """The tracks of a waveform as they sound together; without tracks, its samples.

    A slice is mixed when it is asked for: all of a long recording need not fit memory.
    """

    def __init__(self, samples: npt.NDArray[np.float32], tracks: Sequence[Track]) -> None:
        edges = [[round(time * SAMPLE_RATE_HZ) for time in (t.start, t.end)] for t in tracks]
        self._tracks = [samples[first:last] for first, last in edges] or [samples]

    def __len__(self) -> int:
        return max(map(len, self._tracks))

    def __getitem__(self, part: slice) -> npt.NDArray[np.float32]:
        first, *others = (track[part] for track in self._tracks)
        if not others:
            return first
        mixed = np.zeros(max(map(len, [first, *others])), np.float32)
        for samples in [first, *others]:
            mixed[: len(samples)] += samples
        return np.clip(mixed, -1, 1, out=mixed)


def _stack(tracks: Sequence[Energies]) -> npt.NDArray[np.float32]:
    """Return tracks of different lengths as rows, silence behind the short ones."""
    longest = max(map(len, tracks))
    return np.stack([np.pad(track, (0, longest - len(track))) for track in tracks])


def _smooth(energies: npt.NDArray[np.float32], frames: int = SMOOTHED) -> npt.NDArray[np.float32]:
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(energies, frames, axis=-1, mode="nearest"), np.float32)
