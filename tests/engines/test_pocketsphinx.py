"""The draft recogniser on the sample conversation, in real child processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.scoring import plain_words, word_error
from whosaid.engines import pocketsphinx
from whosaid.engines.pocketsphinx import Pocketsphinx, default_processes
from whosaid.errors import InputError, StoppedError, TransientError
from whosaid.models import find_model
from whosaid.transcription import Params
from whosaid.types import Span, Waveform, no_progress

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
MODEL = find_model("pocketsphinx", "", Path())


@pytest.fixture(scope="module")
def conversation():
    samples, rate = soundfile.read(SAMPLES / "conversation.flac", dtype="float32")
    assert rate == 16_000
    return Waveform(samples, "conversation")


@pytest.fixture
def children(monkeypatch):
    """Record the child processes."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(pocketsphinx.subprocess, "Popen", Recorded)
    return started


def spans(*pairs):
    return [Span(start=start, end=end) for start, end in pairs]


def test_words_times_and_confidences_of_clear_speech(conversation):
    fractions = []
    windows = spans((0.3, 5.1), (5.1, 9.4))
    heard = Pocketsphinx(MODEL).transcribe(conversation, windows, Params(), fractions.append)
    assert heard.language == "en"
    assert len(heard.texts) == 2
    for text, window in zip(heard.texts, windows, strict=True):
        for word in text.words:
            assert window.start <= word.start < word.end <= window.end + 0.01
            assert 0 <= word.confidence <= 1
    reference = plain_words((SAMPLES / "conversation.txt").read_text().partition("\n")[0])[1:]
    said = " ".join(word.text for text in heard.texts for word in text.words)
    assert word_error(reference, plain_words(said)) <= 0.3
    assert "(" not in said
    assert "I would like" in said or "i " not in f"{said} "
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


def test_the_same_words_whatever_the_processes_and_the_order(conversation, children):
    windows = spans((0.3, 2.0), (2.0, 5.1), (9.8, 12.5))
    engine = Pocketsphinx(MODEL)
    alone = engine.transcribe(conversation, windows, Params(processes=1), no_progress)
    assert len(children) == 1
    many = engine.transcribe(conversation, windows[::-1], Params(processes=8), no_progress)
    assert len(children) == 4, "no more processes than windows"
    assert many.texts[::-1] == alone.texts
    assert all(child.poll() is not None for child in children)


def test_silence_and_a_window_of_nothing_have_no_words():
    silence = Waveform(np.zeros(32_000, np.float32), "silence")
    windows = spans((0, 1), (1, 1.005), (2, 2))
    heard = Pocketsphinx(MODEL).transcribe(silence, windows, Params(), no_progress)
    assert [list(text.words) for text in heard.texts] == [[], [], []]


def test_no_windows():
    silence = Waveform(np.zeros(32_000, np.float32), "silence")
    assert Pocketsphinx(MODEL).transcribe(silence, [], Params(), no_progress).texts == []


def test_only_english(conversation):
    engine = Pocketsphinx(MODEL)
    with pytest.raises(InputError, match="only English, not 'de'"):
        engine.transcribe(conversation, spans((0, 1)), Params(language="de"), no_progress)


def test_a_folder_without_the_model_is_named(tmp_path):
    with pytest.raises(InputError, match="has no en-us/mdef"):
        Pocketsphinx(tmp_path)


def test_a_hung_process_is_ended(conversation, children):
    engine = Pocketsphinx(MODEL, patience=0.2)
    with pytest.raises(TransientError, match="hung for 0 s at 3 s"):
        engine.transcribe(conversation, spans((3, 30)), Params(processes=1), no_progress)
    assert [child.poll() is not None for child in children] == [True]


def test_a_killed_process_is_told(conversation, children):
    def kill(fraction):
        for child in children:
            child.kill()

    windows = spans((0, 1), (0, 20), (20, 40))
    with pytest.raises(TransientError, match="died at"):
        Pocketsphinx(MODEL).transcribe(conversation, windows, Params(processes=3), kill)


def test_stopping_leaves_no_process(conversation, children):
    def stop(fraction):
        raise StoppedError("stopped")

    windows = spans((0, 60), (60, 120), (0, 60), (60, 120))
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        Pocketsphinx(MODEL).transcribe(conversation, windows, Params(processes=2), stop)
    assert [child.poll() is not None for child in children] == [True, True]
    assert time.monotonic() - begun < 10, "no window is waited for"


ORPHANING = """
import sys
import numpy as np
from pathlib import Path
from whosaid.engines import pocketsphinx
from whosaid.transcription import Params
from whosaid.types import Span, Waveform
noise = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)
class Told(pocketsphinx._Child):
    def decode(self, *args):
        print(self.process.pid, flush=True)
        return super().decode(*args)
pocketsphinx._Child = Told
pocketsphinx.Pocketsphinx(Path(sys.argv[1])).transcribe(
    Waveform(noise, ""), [Span(start=0, end=30)] * 2, Params(processes=2), print
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a signal 0 that asks ends a process there")
def test_children_end_when_the_parent_is_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANING, str(MODEL)], stdout=subprocess.PIPE, text=True
    )
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    time.sleep(2)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 15
    while alive := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # nobody may be there to collect an orphan
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_one_process_a_core_at_most():
    assert 1 <= default_processes() <= (os.cpu_count() or 1)


def test_a_folder_with_any_letters_in_its_path(tmp_path, conversation):
    model = shutil.copytree(MODEL, tmp_path / "Jürgen's 声")
    heard = Pocketsphinx(model).transcribe(conversation, spans((0.3, 2)), Params(), no_progress)
    assert heard.texts[0].words
