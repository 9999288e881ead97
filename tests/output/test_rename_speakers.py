"""Names change in every file of a transcript and nothing else does; edited folders are kept."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from spokenby.errors import TransientError
from spokenby.output import folders, formats, manifest
from spokenby.output.rename_speakers import rewrite_folder
from spokenby.types import Identity, Segment, Speaker, SpeakerTranscript, SpokenWord, Turn

A, B = "SPEAKER_00", "SPEAKER_01"
BEFORE = {
    A: Identity(speaker=A, voice=7, name="Speaker 7"),
    B: Identity(speaker=B, voice=8, name="Speaker 8"),
}
AFTER = {**BEFORE, A: Identity(speaker=A, voice=7, name="Ada, L.", known=True, confidence=0.9)}
OTHERS = {"picture.png": b"\x89PNG"}


def transcript(words: int = 1) -> SpeakerTranscript:
    """Return a talk in which A and B say so many words in turn."""
    turns, segments = [], []
    for number in range(2 * words):
        speaker, start = (A, B)[number % 2], float(number)
        word = SpokenWord(
            start=start, end=start + 0.9, text=f"w{number}", confidence=1, speaker=speaker
        )
        turns.append(Turn(start=start, end=start + 0.9, speaker=speaker))
        segments.append(
            Segment(
                start=start,
                end=start + 0.9,
                speaker=speaker,
                text=word.text,
                confidence=1,
                overlap=False,
                words=(word,),
            )
        )
    return SpeakerTranscript(
        digest="d" * 64,
        language="en",
        duration=2.0 * words,
        speech=2.0 * words,
        speakers=tuple(
            Speaker(label=label, name=each.name, voice=each.voice, talk_time=words, words=words)
            for label, each in BEFORE.items()
        ),
        segments=tuple(segments),
        turns=tuple(turns),
        warnings=(f"{A} and {B} sound alike", "low confidence"),
    )


def write(folder: Path, content: SpeakerTranscript, identities=BEFORE) -> Path:
    about = {
        "digest": content.digest,
        "video": {"name": "talk.mp4", "digest": "v" * 64, "duration": 2.0, "audio_streams": 1},
        "identified_from": "e" * 64,
    }
    files = formats.render(content, "talk", {"notes": ["quality: draft"]}) | OTHERS
    about = manifest.renamed(about, content, list(identities.values()))
    folders.write_folder(folder, manifest.with_files(about, files))
    return folder


def identities_of(identities):
    def ask(video, embeddings):
        assert (video[0], embeddings[0]) == ("v", "e")
        return list(identities.values())

    return ask


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "talk-12345678", transcript())


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_every_file_shows_the_new_name_and_is_as_if_written_so(folder, locks):
    assert rewrite_folder(folder, identities_of(AFTER), locks).state == "written"
    after = contents(folder)
    for file, name in {
        "transcript.json": "Ada, L.",
        "transcript.srt": "Ada, L.: w0",
        "transcript.vtt": "<v Ada, L.>w0",
        "transcript.txt": "] Ada, L.: w0",
        "transcript.csv": '"Ada, L."',
        "manifest.json": "Ada, L.",
    }.items():
        assert name in after[file].decode()
        assert "Speaker 7" not in after[file].decode()
        assert "Speaker 8" in after[file].decode() or file == "manifest.json"
    assert "Note: Ada, L. and Speaker 8 sound alike" in after["transcript.txt"].decode()
    read = formats.read_transcript(after["transcript.json"])
    assert (read.speakers[0].voice, read.speakers[0].confidence) == (7, 0.9)
    about = json.loads(after["manifest.json"])
    assert about["warnings"] == ["Ada, L. and Speaker 8 sound alike", "low confidence"]
    assert about["identities"][0]["name"] == "Ada, L."
    assert about["files"] == folders.file_entries(
        {k: v for k, v in after.items() if k != "manifest.json"}
    )
    assert not folders.is_edited(folder)
    assert after["picture.png"] == OTHERS["picture.png"]
    # And back: nothing but names has changed.
    again = write(folder.with_name("other-12345678"), transcript())
    assert rewrite_folder(folder, identities_of(BEFORE), locks).state == "written"
    assert contents(folder) == contents(again)


def test_names_as_they_are_write_nothing(folder, locks):
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert rewrite_folder(folder, identities_of(BEFORE), locks).state == "unchanged"
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_edited_folder_is_left_alone_unless_asked(folder, locks):
    (folder / "transcript.txt").write_text("by hand")
    before = contents(folder)
    told = rewrite_folder(folder, identities_of(AFTER), locks)
    assert (told.state, contents(folder)) == ("edited", before)
    assert "by hand" in told.note
    told = rewrite_folder(folder, identities_of(AFTER), locks, overwrite=True)
    kept = folder.with_name(f"{folder.name}.edited-1")
    assert (told.state, contents(kept)) == ("written", before)
    assert str(kept) in told.note
    assert b"Ada, L." in contents(folder)["transcript.txt"]


@pytest.mark.parametrize(
    ("harm", "state", "says"),
    [
        (
            lambda folder: folder.rename(folder.with_name("gone")),
            "missing",
            "its transcript is missing or incomplete",
        ),
        (
            lambda folder: (folder / "transcript.srt").unlink(),
            "missing",
            "its transcript is missing or incomplete",
        ),
        (lambda folder: (folder / "transcript.json").write_text("{}"), "failed", "schema_version"),
    ],
)
def test_what_cannot_be_written_again_is_told(folder, locks, harm, state, says):
    harm(folder)
    told = rewrite_folder(folder, identities_of(AFTER), locks)
    assert told.state == state
    assert says in told.note


def test_speakers_of_a_later_diarization_are_not_mixed_up(folder, locks):
    before = contents(folder)
    told = rewrite_folder(folder, identities_of({}), locks)
    assert (told.state, contents(folder)) == ("failed", before)


def test_names_are_asked_for_while_nobody_else_writes(folder, locks):
    """Whoever reads names later writes later: the newest names stay."""
    order = []

    def slow(video, embeddings):
        order.append("slow asks")
        time.sleep(0.2)
        order.append("slow has asked")
        return list(AFTER.values())

    first = threading.Thread(target=rewrite_folder, args=(folder, slow, locks))
    first.start()
    while not order:
        time.sleep(0.01)
    assert rewrite_folder(folder, identities_of(BEFORE), locks).state == "written"
    first.join()
    assert order == ["slow asks", "slow has asked"]
    assert b"Speaker 7" in contents(folder)["transcript.txt"]


def test_waiting_for_a_writer_ends(folder, locks, monkeypatch):
    monkeypatch.setattr(folders, "_WAIT_S", 0.05)
    with folders.one_writer(locks, folder):
        with (
            pytest.raises(TransientError, match="another process"),
            folders.one_writer(locks, folder),
        ):
            pass
        assert rewrite_folder(folder, identities_of(AFTER), locks).state == "failed"


def test_a_long_talk_takes_as_long_as_its_words(tmp_path, locks):
    def cost(words: int) -> float:
        folder = write(tmp_path / f"{words}-12345678", transcript(words=words))
        started = time.process_time()
        assert rewrite_folder(folder, identities_of(AFTER), locks).state == "written"
        return time.process_time() - started

    cost(100)  # what the first one imports
    assert cost(8000) < 10 * cost(2000)  # 16 times as long if each word looked at all others
