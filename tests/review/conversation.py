"""A transcript folder of the sample conversation, as `write` makes it, without running a model.

Its words are those of data/samples, spread evenly over the turns of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from conftest import ROOT

from spokenby.engines.av import read_audio, write_opus
from spokenby.output import folders, formats, layers, manifest
from spokenby.review import listening_copy, page
from spokenby.types import (
    Segment,
    Speaker,
    SpeakerTranscript,
    SpokenWord,
    Turn,
    WindowNote,
)

SAMPLES = ROOT / "data" / "samples"
VIDEO = "a" * 64
UNSURE = {"town.", "dollars."}
"""Words in which the recognizer has little confidence."""


@dataclass(frozen=True)
class Line:
    """What one speaker says in one go."""

    start: float
    end: float
    speaker: str
    text: str


def conversation_turns() -> list[Turn]:
    """Return who speaks when, by name."""
    rows = [line.split() for line in (SAMPLES / "conversation.rttm").read_text().splitlines()]
    return [
        Turn(start=float(row[3]), end=float(row[3]) + float(row[4]), speaker=row[7]) for row in rows
    ]


def conversation_lines() -> list[Line]:
    texts = (SAMPLES / "conversation.txt").read_text("utf-8").splitlines()
    groups = [list(group) for _, group in groupby(conversation_turns(), lambda turn: turn.speaker)]
    return [
        Line(group[0].start, group[-1].end, *text.split(": ", 1))
        for group, text in zip(groups, texts, strict=True)
    ]


def transcript_of(lines: list[Line], turns: list[Turn] | None = None) -> SpeakerTranscript:
    """Return a transcript of lines, and of turns by name; every speaker has a voice, from 7 on."""
    labels = {
        who: f"SPEAKER_{n:02}" for n, who in enumerate(dict.fromkeys(x.speaker for x in lines))
    }
    segments = []
    for line in lines:
        texts = line.text.split(" ")
        step = (line.end - line.start) / len(texts)
        words = tuple(
            SpokenWord(
                start=round(line.start + n * step, 3),
                end=round(line.start + (n + 0.9) * step, 3),
                text=text,
                confidence=0.3 if text in UNSURE else 0.95,
                speaker=labels[line.speaker],
            )
            for n, text in enumerate(texts)
        )
        segments.append(
            Segment(
                start=words[0].start,
                end=words[-1].end,
                speaker=labels[line.speaker],
                text=line.text,
                confidence=0.95,
                overlap=False,
                words=words,
            )
        )
    turns = turns or [Turn(start=x.start, end=x.end, speaker=x.speaker) for x in lines]
    return SpeakerTranscript(
        digest="d" * 64,
        language="en",
        duration=lines[-1].end + 0.5,
        speech=sum(x.end - x.start for x in lines),
        coverage=1.0,
        speakers=tuple(
            Speaker(
                label=label,
                name=who,
                voice=7 + n,
                talk_time=sum(x.end - x.start for x in lines if x.speaker == who),
                words=sum(len(x.text.split(" ")) for x in lines if x.speaker == who),
            )
            for n, (who, label) in enumerate(labels.items())
        ),
        segments=tuple(segments),
        turns=tuple(turn.model_copy(update={"speaker": labels[turn.speaker]}) for turn in turns),
        doubtful=(WindowNote(start=100.0, end=102.0, reason="noise instead of speech"),),
        warnings=("SPEAKER_00 and SPEAKER_01 sound alike",),
    )


def write_conversation(folder: Path, transcript: SpeakerTranscript | None = None) -> Path:
    """Write the folder, with the sound of the sample."""
    transcript = transcript or transcript_of(conversation_lines(), conversation_turns())
    document = formats.Document(transcript, "conversation", {"notes": ["words by Whisper base"]})
    sound = folder.with_name("sound.webm")
    with sound.open("w+b") as file:
        write_opus(read_audio(SAMPLES / "conversation.flac")[0], file)
    files = {**formats.render(*document), listening_copy.FILE: sound}
    files |= page.render(layers.lay(document, VIDEO), files)
    about = {
        "digest": transcript.digest,
        "video": {"digest": VIDEO},
        "identified_from": "e" * 64,
        "listening_copy": "a" * 64,
    }
    folders.write_folder(folder, manifest.with_files(about, files))
    return folder
