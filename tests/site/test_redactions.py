"""A redacted copy holds nothing of what was taken out: in no file, and not in the sound."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from flows.cli.redacting import redact
from spokenby.engines.av import read_audio, write_opus
from spokenby.errors import InputError
from spokenby.output import folders, formats, layers, manifest
from spokenby.output.corrections import Correction, Corrections, as_json
from spokenby.review import listening_copy, page
from spokenby.settings import Settings, read_settings
from spokenby.site.redactions import labels_of
from tests.review.conversation import Line, transcript_of

VIDEO = "a" * 64
RATE_HZ = 16_000
LINES = [
    Line(1, 4, "Quorra Vance", "I am Quorra Vance from Zwixbury."),
    Line(5, 9, "Speaker 7", "Hello Quorra's friend, Zoë has 4711 Flumquats."),
    Line(10, 14, "Zoë Brixton", "Nobody told blabbermouth secrets Grimbleton."),
    Line(15, 19, "Speaker 7", "Four thousand seven hundred and eleven, wasn't it?"),
]
GONE = (
    *("quorra", "vance", "zoë", "brixton", "4711", "thousand", "eleven", "blabbermouth"),
    *("grimbleton", "flumquats"),
)
"""Said or a name, and taken out; the last one was corrected."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SPOKENBY_DATA_DIR", str(tmp_path / "data"))
    return read_settings()


@pytest.fixture
def folder(settings: Settings) -> Path:
    """Return a transcript in every format, with corrections and a listening copy: a hum."""
    transcript = transcript_of(LINES).model_copy(
        update={
            "replaced": {"korra => Quorra Vance": 1},
            "warnings": ("SPEAKER_00 and Quorra Vance sound alike",),
        }
    )
    recognized = formats.Document(transcript, "Vance 4711 (Zwixbury)", {"notes": ["Zoë"]})
    corrections = as_json(
        Corrections(
            video=VIDEO,
            name="Vance",
            corrections=tuple(
                Correction(
                    start=word.start,
                    end=word.end,
                    old=old,
                    new=new,
                    author="Quorra Vance",
                    when=datetime(2026, 1, 1, tzinfo=UTC),
                )
                for word, old, new in (
                    (transcript.segments[1].words[-1], "Flumquats.", "potatoes."),
                    (transcript.segments[0].words[0], "Brixton", "does not fit"),
                )
            ),
        )
    )
    layer = layers.lay(recognized, VIDEO, corrections)
    sound = settings.data_dir / "hum.webm"
    sound.parent.mkdir(parents=True)
    with sound.open("w+b") as file:
        hum = 0.3 * np.sin(2 * np.pi * 300 / RATE_HZ * np.arange(20 * RATE_HZ))
        write_opus(hum.astype(np.float32), file)
    files = {
        **formats.render(*layer.document, formats.FORMATS),
        **layer.files,
        listening_copy.FILE: sound,
        "transcript.old": b"Quorra, of a format that is gone",
    }
    files |= page.render(layer, files)
    about = {
        "schema_version": 1,
        "digest": transcript.digest,
        "video": {"name": "Vance 4711.mp4", "digest": VIDEO, "duration": 20.0, "recorded": ""},
        "made_by": "Whisper base",
        "params": {"transcribe": {"vocabulary": "Zoë"}},
        "identities": [{"name": "Quorra Vance"}],
    }
    about = manifest.corrected(about, layer.document.transcript, layer.counts)
    path = settings.transcripts / folders.folder_name("Vance 4711", VIDEO)
    folders.write_folder(path, manifest.with_files(about, files))
    return path


def everything(folder: Path) -> dict[str, str]:
    """Return what all files say, without case and accents, as their readers would read it."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, content in dict(contents).items():
        if name.endswith(".docx"):
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                contents |= {f"{name}/{each}": file.read(each) for each in file.namelist()}
    texts = {
        name: content.decode("latin-1") + content.decode("utf-8", errors="ignore")
        for name, content in contents.items()
    }
    return {
        name: re.sub(r"\\u([0-9a-f]{4})", lambda x: chr(int(x[1], 16)), text).lower()
        for name, text in texts.items()
    }


def test_nothing_of_it_is_left(
    folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = "".join(everything(folder).values())
    assert all(word in said for word in GONE)
    code = redact(str(folder), names=("Vance, Zoë", "Quorra"), numbers=True, speaker=("zoë",))
    assert code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    out = capsys.readouterr().out
    (copy,) = (path for path in (settings.data_dir / "redacted").iterdir() if path.is_dir())
    assert copy.name == "[…] (Zwixbury)-aaaaaaaa"
    assert f"{copy}: 6 places taken out" in out
    assert "not in the copy: transcript.old" in out

    texts = everything(copy)
    assert {path.name for path in copy.iterdir()} == set(before) - {
        *("transcript.old", "corrections.json", "recognized.json")
    }
    for name, text in texts.items():
        plain = unicodedata.normalize("NFKD", text)
        for word in GONE:
            assert word not in text, name
            assert unicodedata.normalize("NFKD", word) not in plain, name
        if name.endswith((".srt", ".txt", ".docx/word/document.xml", "page.html")):
            assert "[…]" in text
    document = formats.open_transcript(copy)
    assert [segment.text for segment in document.transcript.segments] == [
        "I am […] from Zwixbury.",
        "Hello […] friend, […] has […] potatoes.",
        "[…].",
        "[…] wasn't it?",
    ]
    assert folders.is_edited(copy) is False

    taken_out = copy.with_name(f"{copy.name}.taken-out.csv")
    assert str(taken_out) in out
    assert taken_out.stat().st_mode & 0o77 == 0
    rows = list(csv.DictReader(taken_out.read_text("utf-8-sig").splitlines()))
    assert [(row["why"], row["text"]) for row in rows[:3]] == [
        ("name", "Quorra Vance"),
        ("name", "Quorra's"),
        ("name", "Zoë"),
    ]

    samples, rate_hz = read_audio(copy / listening_copy.FILE)
    hum, tone = (strength(samples, rate_hz, hz) for hz in (300, listening_copy.TONE_HZ))
    covered = np.zeros(len(hum), bool)
    for row in rows:
        covered[round(float(row["start"]) * 20) : round(float(row["end"]) * 20)] = True
    near = np.convolve(covered, np.ones(15), "same") > 0  # 0.35 s
    assert hum[covered].max() < 0.01
    assert hum[~near].min() > 0.2
    assert tone[~near].max() < 0.01
    assert np.median(tone[covered]) > 0.05

    with pytest.raises(InputError, match="is there already"):
        redact(str(folder), names=("Vance", "Zoë", "Quorra"), numbers=True)


def strength(samples: np.ndarray, rate_hz: int, hz: float) -> np.ndarray:
    """Return how loud a pitch is in each twentieth of a second."""
    length = rate_hz // 20
    blocks = samples[: len(samples) // length * length].reshape(-1, length)
    wave = np.exp(-2j * np.pi * hz / rate_hz * np.arange(length))
    return 2 * np.abs(blocks @ wave) / length


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "nothing is to be taken out: add --names, --numbers or --speaker"),
        ({"names": ("—",)}, "--names: '—' has no letter: write a name"),
        ({"names": ("Nemo",)}, "nothing of that is said: check how the names are written"),
        ({"speaker": ("Nemo",)}, "'Nemo' does not speak here: choose from Quorra Vance, Speaker 7"),
        ({"names": ("Vance",), "out": ""}, "is there already: choose another folder with --out"),
        ({"names": ("Vance",), "out": "."}, "is there already: choose another folder with --out"),
    ],
)
def test_what_does_not_fit_is_one_line(
    folder: Path, settings: Settings, words: dict[str, tuple[str, ...]], says: str
) -> None:
    if "out" in words:
        words = {**words, "out": words["out"] or str(folder)}  # type: ignore[dict-item]
    with pytest.raises(InputError) as caught:
        redact(str(folder), **words)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(settings.data_dir.glob("redacted/*"))
    assert [path.name for path in settings.transcripts.iterdir()] == [folder.name]


def test_one_person_may_have_several_labels() -> None:
    transcript = transcript_of([*LINES, Line(20, 24, "Zoë B.", "Bye.")])
    assert labels_of(transcript, " zoë  brixton") == labels_of(transcript, "speaker_02")
    with pytest.raises(InputError, match="'Zoë' matches several speakers: choose from Quorra"):
        labels_of(transcript, "Zoë")
    twice = tuple(
        each.model_copy(update={"name": "Zoë Brixton"} if "Zoë" in each.name else {})
        for each in transcript.speakers
    )
    transcript = transcript.model_copy(update={"speakers": twice})
    assert labels_of(transcript, "Zoë") == ["SPEAKER_02", "SPEAKER_03"]


def test_the_example_of_the_docs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli.app import app

    text = (ROOT / "docs" / "redaction.md").read_text("utf-8")
    (line,) = re.findall(r"\n    spokenby (redact talk\.mp4 .*--out handover/talk)\n", text)
    monkeypatch.chdir(tmp_path)
    Path("talk.mp4").symlink_to(folder)
    line = line.replace("Ada Lovelace, Ada, Lovelace", "Quorra Vance, Quorra, Vance")
    assert app(line, exit_on_error=False, result_action="return_value") == 0
    assert json.loads(Path("handover/talk/manifest.json").read_text())["redacted"]["places"] == 4
    assert Path("handover/talk.taken-out.csv").is_file()
