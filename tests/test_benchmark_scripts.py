"""The benchmarks run: at a scale at which their figures mean nothing."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from buckets import program_of_server
from conftest import ROOT
from postgres import programs_of_server

from spokenby.evaluation.annotations import Annotation, TimedWord
from spokenby.types import Turn

BENCHMARKS = ROOT / "tests" / "benchmarks"


def measure(json_file: Path, script: str, *words: str, **environment: str) -> Any:
    """Run a benchmark and return what it wrote."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *words, "--json", json_file],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| -" in done.stdout  # a table
    return json.loads(json_file.read_text())


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.mark.skipif(
    "EVERY_BENCHMARK" not in os.environ, reason="takes minutes: set EVERY_BENCHMARK=1"
)
def test_seed_scenario_at_the_smallest_scale(tmp_path: Path, prefect_server: str) -> None:
    written = measure(
        tmp_path / "seed.json",
        "seed.py",
        *("--scale", "tiny", "--videos", "1", "--minutes", "0.2", "--tokens", "30"),
        PREFECT_API_URL=prefect_server,
    )
    found = written["results"]
    assert found["words"] == [30]  # of one window
    assert found["speakers"][0] >= 1
    assert {"extract", "speech", "diarize", "embed", "transcribe"} <= found["stages"].keys()
    assert 0 < found["work_seconds"] < found["process_seconds"]
    assert {"processor", "cores", "gpus"} <= written["machine"].keys()
    assert {"torch", "prefect", "ctranslate2"} <= written["versions"].keys()
    assert written["params"]["scale"] == "tiny"
    assert str(tmp_path) not in json.dumps(written)


def test_embeddings_one_by_one_and_in_batches(tmp_path: Path) -> None:
    written = measure(
        tmp_path / "embeddings.json",
        "embeddings.py",
        *("--encoders", "campplus", "--minutes", "1", "--segments", "6", "--speakers", "2"),
        *("--threads", "1"),
    )
    found = written["results"]["campplus"]
    assert (found["segments"], found["measured_on"]) == (38, 6)
    assert [work["segments"] for work in found["works"].values()] == [38, 38, 34]
    assert found["works"]["one by one"]["times_faster"] == 1


def test_who_spoke_when_against_a_reference(tmp_path: Path) -> None:
    pytest.importorskip("meeteval", reason="the group `evaluation` is not installed")
    written = measure(
        tmp_path / "quality.json",
        "diarization_quality.py",
        *("data/samples", "--seconds", "20", "--num-speakers", "true", "--alone"),
    )
    (row,) = written["results"]["files"]
    assert (row["files"], row["speakers"], row["found"]) == ("conversation", 3, 3)
    assert row["exact"] == "1/1"
    errors = [row[kind] for kind in ("missed detection", "false alarm", "confusion")]
    assert row["DER"] == pytest.approx(sum(errors))
    assert row["DER"] < 15
    assert row["one voice alone"] == "1/1"  # of those who speak for 3 s
    assert written["results"]["settings"]["diarize"]["embedder"] == "campplus"


def test_cost_of_speech_and_speakers(tmp_path: Path) -> None:
    written = measure(tmp_path / "cost.json", "speakers_cost.py", "--minutes", "0.5")
    exact, auto = written["results"]
    assert (exact["computes in"], exact["speakers"]) == ("cpu, float32", 2)
    assert auto["computes in"].startswith("cpu, ")
    stages = [exact[stage] for stage in ("speech", "diarize", "embed")]
    assert min(stages) > 0
    assert exact["together"] == pytest.approx(sum(stages))
    assert exact["of it Silero"] + exact["of it segmentation"] <= exact["speech"]


@pytest.mark.skipif(
    "EVERY_BENCHMARK" not in os.environ, reason="takes minutes: set EVERY_BENCHMARK=1"
)
def test_cost_by_how_many_videos_are_known(tmp_path: Path, prefect_server: str) -> None:
    if not (programs_of_server() and program_of_server()):
        pytest.skip("PostgreSQL or SeaweedFS is not on this machine")
    written = measure(
        tmp_path / "known.json",
        "known_videos.py",
        *("--known", "1", "3", "--rounds", "1"),
        PREFECT_API_URL=prefect_server,
    )
    found = {(row["what"], row["known"]): row for row in written["results"]}
    asked = [found["status, new host", known]["requests"] for known in (1, 3)]
    assert asked[1] > asked[0]  # each manifest and digest
    assert found["status", 3]["requests"] < asked[1]
    assert found["one new video", 3]["statements"] == found["one new video", 1]["statements"]
    assert all(row["cpu"] > 0 for row in found.values())


@pytest.mark.usefixtures("scripts")
def test_exponents() -> None:
    from measuring import exponent

    assert exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert exponent([10, 100], [1, 100]) == pytest.approx(2)
    assert exponent([5, 5], [1, 2]) is None
    assert exponent([1, 2], [0, 1]) is None


@pytest.mark.usefixtures("scripts")
def test_a_reliability_diagram_has_a_dot_for_each_range_of_confidence() -> None:
    from reliability import draw, interval

    assert interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson's
    assert interval(1, 10)[0] == pytest.approx(0.7225, abs=1e-4)
    picture = draw([("0.8 to 0.9", 93, 0.85, 88.2), ("0.9 to 1", 400, 0.98, 97)])
    assert picture.count("<circle") == 2
    assert "0.8 to 0.9: 88.2 % of 93 words are right" in picture


@pytest.mark.usefixtures("scripts")
def test_table() -> None:
    from measuring import table

    assert table(["what", "s"], [["a", 0.12345], ["b", 1234.5], ["c", None]]) == (
        "| what |     s |\n| ---- | ----: |\n| a    | 0.123 |\n| b    |  1234 |\n| c    |       |"
    )


@pytest.mark.usefixtures("scripts")
def test_scaling_takes_off_what_a_run_costs_anyway() -> None:
    import scaling

    stages = dict.fromkeys(scaling.STAGES, 1.0)
    points = [
        {
            "videos": count,
            "minutes": 3.0,
            "wall": 20.0 + 5 * count,
            "cpu": 10.0 + 2 * count,
            "memory_mb": 1000.0,
            "private_mb": None,
            "stages": {**stages, "diarize": 3.0 * count},
        }
        for count in (1, 2, 4)
    ]
    fits = scaling.fit(points, {"wall": 20.0, "cpu": 10.0}, "videos")
    assert fits["wall"] == pytest.approx(1)
    assert fits["cpu"] == pytest.approx(1)
    assert fits["memory_mb"] == pytest.approx(0, abs=1e-9)
    assert fits["stages"]["diarize"] == pytest.approx(1)
    assert "exponent" in scaling.show("more videos", points, fits)


@pytest.mark.usefixtures("scripts")
def test_chapters_are_compared_with_topics(tmp_path: Path) -> None:
    import chapters

    turns = [{"speaker": "ab"[n % 2], "content": "well {pause} word " * 100} for n in range(8)]
    topics = [{"relevant_text_span": [["0", "3"]]}, {"relevant_text_span": [["4", "7"]]}]
    for name in ("one", "two"):
        content = {"meeting_transcripts": turns, "topic_list": topics}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    talk = chapters.read(tmp_path / "one.json")
    assert (talk.topics, talk.starts[4], talk.starts[-1]) == ([4], 800, 1600)
    assert chapters.errors(talk, [800]) == (0, 0)
    assert chapters.errors(talk, [700, 900])[0] < chapters.errors(talk, [400, 1200])[0]
    rows = chapters.measure(argparse.Namespace(qmsum=tmp_path, seed=0))
    assert ("meetings", "evenly, the right number", 0, 0, 1, 1) in rows


@pytest.mark.usefixtures("scripts")
def test_voices_that_do_not_change_are_known_again_in_every_video() -> None:
    import voice_identity
    from voice_identity import CHANNELS, DIMENSION, Params, Take

    takes = [
        Take(f"reader {row}", piece, 8.0, CHANNELS[0], vector, 0.1)
        for row, vector in enumerate(np.eye(DIMENSION, dtype=np.float32)[:4])
        for piece in range(2)
    ]
    found = voice_identity.across_videos(takes, Params(), rounds=2)
    assert found == {"precision %": 100, "recall %": 100, "voices": 4, "speakers": 4}


SAMPLE, RATE_HZ = ROOT / "data" / "samples" / "conversation.flac", 16_000


def write_part(path: Path, start_s: float, end_s: float) -> None:
    """Write a part of the sample conversation."""
    samples, rate = soundfile.read(
        SAMPLE, start=round(start_s * RATE_HZ), stop=round(end_s * RATE_HZ)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def rttm(name: str, *turns: tuple[float, float, str]) -> str:
    return "".join(
        f"SPEAKER {name} 1 {start} {seconds} <NA> <NA> {who} <NA> <NA>\n"
        for start, seconds, who in turns
    )


@pytest.mark.usefixtures("scripts")
def test_voxconverse_as_it_is_published(tmp_path: Path) -> None:
    from conditions import read_voxconverse

    write_part(tmp_path / "audio" / "abjxc.wav", 0, 4)
    write_part(tmp_path / "audio" / "without.wav", 0, 1)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "abjxc.rttm").write_text(rttm("abjxc", (0.5, 2, "spk00"), (2, 1, "spk01")))
    (found,) = read_voxconverse(tmp_path)
    assert (found.name, found.condition, found.seconds) == ("voxconverse_abjxc", "VoxConverse", 4)
    turns = [(turn.start, turn.end, turn.speaker) for turn in found.reference.turns or ()]
    assert turns == [(0.5, 2.5, "spk00"), (2, 3, "spk01")]


WORDS_XML = """<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>
<nite:root nite:id="ES2004a.{0}.words" xmlns:nite="http://nite.sourceforge.net/">
 <w nite:id="w0" starttime="{1}" endtime="{2}">Good</w>
 <w nite:id="w1" starttime="{2}" endtime="{3}">morning</w>
 <w nite:id="w2" starttime="{3}" endtime="{3}" punc="true">.</w>
 <vocalsound nite:id="w3" starttime="{3}" endtime="{3}" type="laugh"/>
 <w nite:id="w4">unplaced</w>
 <w nite:id="w5" starttime="5.0" endtime="5.5">Yes</w>
</nite:root>
"""


@pytest.mark.usefixtures("scripts")
def test_ami_as_it_is_published(tmp_path: Path) -> None:
    from conditions import read_ami

    for meeting, kind in (
        ("ES2004a", "Mix-Headset"),
        ("ES2004a", "Array1-01"),
        ("IS1000a", "Mix-Headset"),
    ):
        write_part(tmp_path / "amicorpus" / meeting / "audio" / f"{meeting}.{kind}.wav", 0, 6)
    (tmp_path / "words").mkdir()
    for speaker, start in (("A", 1.0), ("B", 2.0)):
        path = tmp_path / "words" / f"ES2004a.{speaker}.words.xml"
        path.write_text(WORDS_XML.format(speaker, start, start + 0.25, start + 0.75))
    far, near = read_ami(tmp_path)  # of the other meeting there is no reference
    assert (near.name, near.condition) == ("ami_ES2004a_Mix-Headset", "AMI: headsets")
    assert far.condition == "AMI: one far microphone"
    lines = [(line.start, line.end, line.speaker, line.text) for line in near.reference.lines or ()]
    assert lines[:2] == [(1, 1.75, "A", "Good morning"), (2, 2.75, "B", "Good morning")]
    assert [turn.end for turn in near.reference.turns or ()] == [1.75, 2.75, 5.5, 5.5]

    only_words = tmp_path / "only_words" / "rttms" / "test"
    only_words.mkdir(parents=True)
    (only_words / "IS1000a.rttm").write_text(rttm("IS1000a", (1, 2, "MIO022")))
    (only_words / "IS1000a.uem").write_text("IS1000a 1 0.5 5.5\n")
    *_, other = read_ami(tmp_path)
    assert [turn.speaker for turn in other.reference.turns or ()] == ["MIO022"]
    assert (other.reference.lines, other.reference.scored) == (None, ((0.5, 5.5),))


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three readers with six utterances of 5 s each."""
    folder = tmp_path_factory.mktemp("librispeech")
    for number, reader in enumerate(("61", "121", "237")):
        chapter = folder / "test-clean" / reader / "70968"
        rows = []
        for utterance in range(6):
            name, start = f"{reader}-70968-{utterance:04}", 35 * number + 5 * utterance
            write_part(chapter / f"{name}.flac", start, start + 5)
            rows.append(f"{name} TEXT {'ABCDEF'[utterance]}\n")
        (chapter / f"{reader}-70968.trans.txt").write_text("".join(rows))
    return folder


@pytest.mark.usefixtures("scripts")
def test_librispeech_becomes_readings_and_conversations(librispeech: Path, tmp_path: Path) -> None:
    from conditions import Folders, overlap, read_material

    material = read_material(
        Folders(librispeech=librispeech), tmp_path, chosen="", far="", seconds=30, most=2
    )
    by_name = {each.name: each for each in material.recordings}
    assert set(material.people) == {"reader 61", "reader 121", "reader 237"}
    reading = by_name["librispeech_121"]
    assert [line.text for line in reading.reference.lines or ()] == [f"text {x}" for x in "abcdef"]
    assert "librispeech_61" not in by_name  # more than were asked for
    assert reading.seconds == pytest.approx(6 * 5.5)
    for name, wanted in (("overlap_0", 0), ("overlap_10", 0.1), ("overlap_20", 0.2)):
        built = by_name[f"librispeech_{name}"]
        turns, lines = built.reference.turns or (), built.reference.lines or ()
        assert overlap(turns) == pytest.approx(wanted, abs=0.03)
        assert {turn.speaker for turn in turns} == set(material.people)
        for person in material.people:
            alone = [turn for turn in turns if turn.speaker == person]
            assert all(a.end <= b.start for a, b in pairwise(alone))
        # The utterances that a voice is enrolled from are not in it.
        assert {line.text for line in lines} <= {f"text {x}" for x in "def"}
        assert len(lines) == len(turns)
        assert not built.heard
    noisy = [each for each in material.recordings if "noise" in each.condition]
    assert [each.condition.partition(": noise, ")[2] for each in noisy] == [
        "20 dB",
        "10 dB",
        "5 dB",
    ]
    assert all(each.sound.shape == by_name["librispeech_overlap_0"].sound.shape for each in noisy)


@pytest.mark.usefixtures("scripts")
def test_codecs_keep_a_sound_in_its_place() -> None:
    from channels import CODERS, compressed

    sound, _ = soundfile.read(SAMPLE, stop=4 * RATE_HZ, dtype="float32")
    for codec in CODERS:
        out = compressed(sound, codec, "7.4k" if codec == "amr" else "32k")
        assert out.shape == sound.shape
        spectrum = np.fft.rfft(out, 2 * len(sound)) * np.fft.rfft(sound, 2 * len(sound)).conj()
        late = int(np.fft.irfft(spectrum).argmax())
        assert min(late, 2 * len(sound) - late) <= 0.01 * RATE_HZ, codec


@pytest.mark.usefixtures("scripts")
def test_words_are_given_to_the_turns_of_another_system() -> None:
    from accuracy import as_one_speaker, give_to_turns

    turns = (Turn(start=0, end=2, speaker="x"), Turn(start=2, end=4, speaker="y"))
    heard = (TimedWord("so", 0.5, 1), TimedWord("well", 1.8, 2.4), TimedWord("yes", 4.5, 5))
    found = give_to_turns(Annotation(words=heard), Annotation(turns=turns))
    lines = [(line.speaker, line.text, line.start, line.end) for line in found.lines or ()]
    assert lines == [("x", "so", 0.5, 1), ("y", "well yes", 1.8, 5)]
    assert give_to_turns(Annotation(words=heard), Annotation(turns=())).lines[0].speaker is None
    one = as_one_speaker(Annotation(turns=(*turns, Turn(start=6, end=7, speaker="x"))))
    assert [(turn.start, turn.end) for turn in one.turns or ()] == [(0, 4), (6, 7)]


@pytest.mark.skipif(
    "EVERY_BENCHMARK" not in os.environ, reason="takes minutes: set EVERY_BENCHMARK=1"
)
def test_accuracy_of_what_is_always_there(tmp_path: Path, prefect_server: str) -> None:
    words = [word for name in ("spokenby", "faster-whisper") for word in ("--system", name)]
    written = measure(
        tmp_path / "accuracy.json", "accuracy.py", *words, PREFECT_API_URL=prefect_server
    )
    found = written["results"]
    assert found["not_run"].keys() == {
        "faster-whisper, batched",
        "Senko",
        "spokenby, tiny.en",
        "WhisperX",
    }
    figures = {each["condition"]: each["figures"] for each in found["recordings"]}
    for condition in ("telephone call", "synthetic voices"):
        ours, one = figures[condition]["spokenby"], figures[condition]["one speaker"]
        assert {"der", "wer", "wder", "cpwer"} <= ours.keys()
        assert ours["wder"][0] < one["wder"][0]
        assert one["wer"][0] == 0
    assert found["systems"]["faster-whisper"]["versions"].keys() == {
        "faster-whisper",
        "ctranslate2",
    }


@pytest.mark.usefixtures("scripts")
def test_process_tree_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import measuring
    from measuring import run_process

    look, seen = measuring._look, tmp_path / "seen"

    def note(*args: Any) -> tuple[int, int]:
        used = look(*args)
        if used[0] > 60_000_000:
            seen.touch()
        return used

    monkeypatch.setattr(measuring, "_look", note)
    child = (
        "import os, time; x = bytearray(60_000_000)\n"
        f"while not os.path.exists({str(seen)!r}) and time.process_time() < 10: time.sleep(0.05)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    ran = run_process([sys.executable, "-c", parent])
    assert ran.code == 0
    assert ran.memory > 60_000_000
    assert ran.cpu > 0


@pytest.mark.usefixtures("scripts")
def test_benchmark_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from measuring import Missing, run

    def interrupted() -> None:
        raise KeyboardInterrupt

    def without_model() -> None:
        raise Missing("there is no model")

    for main, code, said in ((interrupted, 130, "stopped"), (without_model, 2, "no model")):
        with pytest.raises(SystemExit) as ended:
            run(main)
        assert ended.value.code == code
        assert said in capsys.readouterr().err
