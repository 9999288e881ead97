"""Recordings to measure accuracy on, by condition, each with what is right.

What the packages carry is always there: a telephone call and the sample conversation. Folders add
to it. `Folders` says which layouts are read; conversations of a chosen number of speakers and share
of overlap are built from single voices, and sent through codecs, noise and a room.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import soundfile
from channels import compressed, in_a_room, noisy, pink_noise, telephone
from conversations import (
    Conversation,
    Piece,
    Source,
    build,
    cut_pieces,
    read_sources,
    recognize,
)
from faster_whisper import decode_audio
from measuring import Missing, say, sounds

from spokenby.evaluation.annotations import Annotation, Line
from spokenby.evaluation.readers import read_rttm, read_stm, read_text, read_uem
from spokenby.stages.merging import join_words
from spokenby.types import SAMPLE_RATE_HZ, Turn, Word

Samples = npt.NDArray[np.float32]
SAMPLES = Path(__file__).parents[2] / "data" / "samples"
ENROLL_S = 12.0
"""So much of each voice is kept out of the conversations, to enroll the person from."""
LEAST_VOICE_S = 2 * ENROLL_S
TURN_S, LONGEST_TURN_S = 4.0, 6.0
LONGEST_UTTERANCE_S = 12.0
SPEAKERS, OVERLAPS = (2, 4, 6, 8), (0.0, 0.1, 0.2)
NOISES_DB = (20, 10, 5)
CODECS = {
    "Opus 16 kbit/s": ("opus", "16k"),
    "MP3 32 kbit/s": ("mp3", "32k"),
    "AMR 7.4 kbit/s": ("amr", "7.4k"),
}
CHOSEN, FAR = "readers on whom settings were chosen", "far field: meetings"
FREE_SPEECH = "spontaneous"
"""Recordings of words with this in their name are free speech, others are read."""


@dataclass(frozen=True)
class Recording:
    """A sound, 16 kHz mono, and what is right. `name` is that of its file.

    `heard`: the words of the reference are what Whisper hears in each voice alone, so its word
    error rate says what the condition costs, not how right the words are.
    """

    name: str
    condition: str
    sound: Samples
    reference: Annotation
    language: str = "en"
    heard: bool = False

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.sound) / SAMPLE_RATE_HZ


class Folders(NamedTuple):
    """Where recordings are; `None` where there are none.

    audio: *.flac or *.wav, 16 kHz mono, with an *.rttm beside each, as for `conversations.py`.
    words: recordings and their `words.json` or an *.stm beside each, as for `words.py`.
    voxconverse: *.wav and *.rttm of the same name, anywhere below.
    ami: <meeting>.Mix-Headset.wav or .Array1-01.wav anywhere below; <meeting>.rttm (and .uem), as
        in AMI-diarization-setup, or the corpus's own words/<meeting>.<speaker>.words.xml.
    librispeech: <reader>/<chapter>/*.flac with <reader>-<chapter>.trans.txt, anywhere below.
    """

    audio: Path | None = None
    words: Path | None = None
    voxconverse: Path | None = None
    ami: Path | None = None
    librispeech: Path | None = None


@dataclass(frozen=True)
class Material:
    """All recordings, and by person a sound to enroll them from."""

    recordings: list[Recording]
    people: dict[str, Samples]


def read_material(
    folders: Folders, keep: Path, *, chosen: str, far: str, seconds: float, most: int
) -> Material:
    """Read recordings, and build conversations.

    Args:
        folders: where recordings are.
        keep: folder for what takes long to find out again.
        chosen: pattern of those of `audio` on which settings were chosen.
        far: pattern of those of `audio` whose microphone is far away.
        seconds: about how long conversations are that are built.
        most: recordings at most of each condition of a folder, the first by name.
    """
    found = list(read_samples())
    people: dict[str, Samples] = {}
    if folders.words:
        found += [replace(it, name=f"words_{it.name}") for it in read_words(folders.words)]
    if folders.audio:
        sources = read_sources(folders.audio)
        kinds = defaultdict(list)
        for source in sources:
            path = Path(source.name)
            kind = CHOSEN if path.match(chosen) else FAR if path.match(far) else ""
            kinds[kind].append(source)
        found += [_as_recorded(each, kind) for kind in (CHOSEN, FAR) for each in kinds[kind][:most]]
        if kinds[""]:
            heard = recognize(kinds[""], keep / "voices.json")
            pieces, people = hold_out(cut_pieces(kinds[""], heard))
            found += build_conversations(pieces, seconds, "", heard=True)
    if folders.librispeech:
        utterances = read_librispeech(folders.librispeech)
        found += readings(utterances, most)
        pieces, enrolled = hold_out(utterances)
        people |= enrolled
        found += build_conversations(pieces, seconds, "LibriSpeech: ", heard=False)
    if folders.voxconverse:
        found += islice(read_voxconverse(folders.voxconverse), most)
    if folders.ami:
        found += islice(read_ami(folders.ami), most)
    found += through_channels(found)
    return Material(found, people)


# --- what is there


def read_sound(path: Path) -> Samples:
    """Return a file as 16 kHz mono."""
    return np.asarray(decode_audio(str(path), SAMPLE_RATE_HZ), dtype=np.float32)


def read_samples() -> Iterator[Recording]:
    """Yield the telephone call of pyannote.audio and the sample conversation."""
    (call,) = sounds(None)
    said = read_stm(call.with_suffix(".stm"), {call.stem})
    turns = read_rttm(call.with_suffix(".rttm"), {call.stem}).turns
    right = Annotation(turns=turns, lines=said.lines)
    yield Recording("telephone", "telephone call", read_sound(call), right)
    right = Annotation(
        turns=read_rttm(SAMPLES / "conversation.rttm", {"conversation"}).turns,
        lines=read_text(SAMPLES / "conversation.txt", {"conversation"}).lines,
    )
    sound = read_sound(SAMPLES / "conversation.flac")
    yield Recording("conversation", "synthetic voices", sound, right)


def read_words(folder: Path) -> Iterator[Recording]:
    """Yield recordings with their text."""
    listed = folder / "words.json"
    texts = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
    for path in sorted(it for it in folder.iterdir() if it.suffix in {".flac", ".wav", ".mp4"}):
        stm = path.with_suffix(".stm")
        if path.stem in texts:
            right = Annotation(lines=(Line(texts[path.stem]["text"]),))
            language = texts[path.stem]["language"]
        elif stm.exists():
            right, language = read_stm(stm, {path.stem}), "en"
        else:
            continue
        kind = "free speech" if FREE_SPEECH in path.stem else "read"
        condition = kind if language == "en" else f"{kind}, {language}"
        yield Recording(path.stem, condition, read_sound(path), right, language)


def _as_recorded(source: Source, condition: str) -> Recording:
    right = Annotation(turns=source.turns)
    return Recording(source.name, condition, source.waveform.samples, right)


def read_voxconverse(folder: Path) -> Iterator[Recording]:
    """Yield the recordings of VoxConverse: *.wav and *.rttm of the same name."""
    turns = {path.stem: path for path in sorted(folder.rglob("*.rttm"))}
    paths = [path for path in sorted(folder.rglob("*.wav")) if path.stem in turns]
    if not paths:
        raise Missing(f"{folder}: no *.wav with an *.rttm of the same name")
    for path in paths:
        right = read_rttm(turns[path.stem], {path.stem})
        yield Recording(f"voxconverse_{path.stem}", "VoxConverse", read_sound(path), right)


AMI_SOUNDS = {"Mix-Headset": "AMI: headsets", "Array1-01": "AMI: one far microphone"}


def read_ami(folder: Path) -> Iterator[Recording]:
    """Yield meetings of AMI whose turns or words are there."""
    paths = sorted(path for kind in AMI_SOUNDS for path in folder.rglob(f"*.{kind}.wav"))
    found = False
    for path in paths:
        meeting, _, kind = path.stem.partition(".")
        right = _ami_reference(folder, meeting)
        if right.turns is None:
            say(f"{path.name}: no {meeting}.rttm and no words/{meeting}.*.words.xml; left out")
            continue
        found = True
        name = f"ami_{meeting}_{kind}"
        yield Recording(name, AMI_SOUNDS[kind], read_sound(path), right)
    if not found:
        raise Missing(f"{folder}: no <meeting>.Mix-Headset.wav or .Array1-01.wav with a reference")


def _ami_reference(folder: Path, meeting: str) -> Annotation:
    words = sorted(folder.rglob(f"{meeting}.*.words.xml"))
    lines = sorted(
        (line for path in words for line in read_ami_words(path)), key=lambda line: line.start or 0
    )
    turns: tuple[Turn, ...] | None = tuple(
        Turn(start=line.start or 0, end=line.end or 0, speaker=line.speaker or "") for line in lines
    )
    right = Annotation(turns=turns or None, lines=tuple(lines) or None)
    for path in folder.rglob(f"{meeting}.rttm"):
        right = replace(right, turns=read_rttm(path, {meeting}).turns)
    for path in folder.rglob(f"{meeting}.uem"):
        right = replace(right, scored=read_uem(path, {meeting}).scored)
    return right


def read_ami_words(path: Path) -> Iterator[Line]:
    """Yield what a speaker says, from the words of the AMI corpus; a pause of 0.5 s ends a line."""
    speaker = path.name.split(".")[1]
    words: list[tuple[str, float, float]] = []
    for each in ET.parse(path).getroot():
        if each.tag != "w" or "starttime" not in each.attrib or "endtime" not in each.attrib:
            continue  # laughter and the like, and words that nobody could place
        if each.get("punc") == "true":
            continue
        start, end = float(each.attrib["starttime"]), float(each.attrib["endtime"])
        if words and start - words[-1][2] > 0.5:
            yield Line(" ".join(word for word, *_ in words), speaker, words[0][1], words[-1][2])
            words = []
        words.append((each.text or "", start, end))
    if words:
        yield Line(" ".join(word for word, *_ in words), speaker, words[0][1], words[-1][2])


def read_librispeech(folder: Path) -> dict[str, list[Piece]]:
    """Return the utterances of each reader, each with its text as one long word."""
    found: dict[str, list[Piece]] = {}
    for path in sorted(folder.rglob("*.trans.txt")):
        reader = path.name.split("-")[0]
        for row in path.read_text(encoding="utf-8").splitlines():
            name, _, text = row.partition(" ")
            file = path.with_name(f"{name}.flac")
            if file.exists():
                sound = read_sound(file)
                length = len(sound) / SAMPLE_RATE_HZ
                whole = Word(start=0, end=length, text=text.lower(), confidence=1)
                found.setdefault(reader, []).append(Piece(reader, sound, (whole,)))
    if not found:
        raise Missing(f"{folder}: no *.trans.txt with the *.flac that it lists beside it")
    return found


def readings(utterances: Mapping[str, Sequence[Piece]], most: int) -> Iterator[Recording]:
    """Yield about a minute of each reader."""
    pause = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)
    for reader, pieces in islice(utterances.items(), most):
        parts: list[Piece] = []
        for piece in pieces:
            if parts and sum(len(each.samples) for each in parts) > 60 * SAMPLE_RATE_HZ:
                break
            parts.append(piece)
        sound = np.concatenate([each for piece in parts for each in (piece.samples, pause)])
        lines = tuple(Line(piece.words[0].text) for piece in parts)
        name = f"librispeech_{reader}"
        yield Recording(name, "LibriSpeech: read", sound, Annotation(lines=lines))


# --- conversations


def hold_out(
    pieces: Mapping[str, Sequence[Piece]],
) -> tuple[dict[str, list[Piece]], dict[str, Samples]]:
    """Return the pieces of voices of which there is enough, and a sound to enroll each from."""
    left: dict[str, list[Piece]] = {}
    people: dict[str, Samples] = {}
    for speaker, some in pieces.items():
        if sum(len(piece.samples) for piece in some) < LEAST_VOICE_S * SAMPLE_RATE_HZ:
            continue
        count = length = 0
        while length < ENROLL_S * SAMPLE_RATE_HZ:
            length += len(some[count].samples)
            count += 1
        rest = [p for p in some[count:] if len(p.samples) < LONGEST_UTTERANCE_S * SAMPLE_RATE_HZ]
        if rest:
            name = f"reader {speaker}"  # a number alone is not a name
            people[name] = np.concatenate([piece.samples for piece in some[:count]])
            left[name] = [piece._replace(speaker=name) for piece in rest]
    return left, people


def build_conversations(
    pieces: Mapping[str, Sequence[Piece]], seconds: float, kind: str, *, heard: bool
) -> Iterator[Recording]:
    """Yield conversations of more and more speakers, and of more and more overlap."""
    stem = kind.partition(":")[0].lower() or "built"
    for number in SPEAKERS:
        if number > len(pieces):
            say(f"{kind}no conversation of {number} speakers: there are {len(pieces)} voices")
            continue
        built = mix(pieces, number, 0.0, max(seconds, 2 * TURN_S * number))
        condition = f"{kind}{number} speakers"
        yield _built(f"{stem}_{number}_speakers", condition, built, heard=heard)
    if len(pieces) < 3:
        return
    for wanted in OVERLAPS:
        built = mix(pieces, 3, wanted, seconds)
        condition = f"{kind}3 speakers, {100 * overlap(built.turns):.0f} % overlap"
        name = f"{stem}_overlap_{100 * wanted:.0f}"
        yield _built(name, condition, built, heard=heard)


def mix(
    pieces: Mapping[str, Sequence[Piece]], number: int, wanted: float, seconds: float
) -> Conversation:
    """Return a conversation in which all speak, with about the overlap that is wanted.

    The same speakers and words for each overlap: only the pauses between turns differ.
    """
    for seed in range(100):
        speakers = np.random.default_rng([number, seed]).choice(sorted(pieces), number, False)
        tried = [
            build(
                pieces,
                speakers.tolist(),
                np.random.default_rng([number, seed]),
                turns=max(round(seconds / TURN_S), number),
                longest_s=LONGEST_TURN_S,
                gap_s=(gap - 0.3, gap + 0.3),
            )
            for gap in (np.arange(0.5, -4, -0.25) if wanted else (0.5,))
        ]
        best = min(tried, key=lambda each: abs(overlap(each.turns) - wanted))
        if len({turn.speaker for turn in best.turns}) == number:
            return best
    raise Missing(f"no conversation in which all {number} speak")


def overlap(turns: Sequence[Turn]) -> float:
    """Return the share of the time with speech in which several speak at once."""
    edges = sorted([(turn.start, 1) for turn in turns] + [(turn.end, -1) for turn in turns])
    spoken = twice = 0.0
    before, speaking = 0.0, 0
    for time, change in edges:
        spoken += (time - before) * (speaking > 0)
        twice += (time - before) * (speaking > 1)
        before, speaking = time, speaking + change
    return twice / spoken if spoken else 0.0


def _built(name: str, condition: str, built: Conversation, *, heard: bool) -> Recording:
    owned = list(zip(built.words, built.owners, strict=True))
    lines = []
    for turn in built.turns:
        said = [
            word
            for word, owner in owned
            if owner == turn.speaker and turn.start <= (word.start + word.end) / 2 < turn.end
        ]
        lines.append(Line(join_words(said), turn.speaker, turn.start, turn.end))
    right = Annotation(turns=built.turns, lines=tuple(lines))
    return Recording(name, condition, built.waveform.samples, right, heard=heard)


# --- channels


def through_channels(recordings: Sequence[Recording]) -> Iterator[Recording]:
    """Yield the conversation of three without overlap as each channel leaves it."""
    for base in (each for each in recordings if each.name.endswith("_overlap_0")):
        draw, length = np.random.default_rng(0), len(base.sound)
        changed = {
            "telephone": telephone(base.sound),
            "room": in_a_room(base.sound, draw),
            **{name: compressed(base.sound, *codec) for name, codec in CODECS.items()},
            **{
                f"noise, {below} dB": noisy(base.sound, pink_noise(length, draw), below)
                for below in NOISES_DB
            },
        }
        for number, (channel, sound) in enumerate(changed.items()):
            condition = f"{base.condition.rpartition(',')[0]}: {channel}"
            yield replace(base, name=f"{base.name}_{number}", condition=condition, sound=sound)


# --- files


def write_sounds(recordings: Sequence[Recording], folder: Path) -> list[Path]:
    """Write each recording as 16-bit WAV; return the paths.

    A sound that would clip is made less loud.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for each in recordings:
        path = folder / f"{each.name}.wav"
        if path in paths:
            raise Missing(f"two recordings are called {each.name}")
        peak = max(float(np.abs(each.sound).max(initial=0.0)), 1.0)
        soundfile.write(path, each.sound / peak, SAMPLE_RATE_HZ, subtype="PCM_16")
        paths.append(path)
    return paths
