from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest
from postgres import new_schema
from sqlalchemy import inspect, make_url, text

from spokenby.errors import InputError, TransientError
from spokenby.voices import store, tables
from spokenby.voices.centroids import pack, refresh_centroids
from spokenby.voices.library import Line, VoiceLibrary, Voiceprint
from spokenby.voices.matching import Params
from spokenby.voices.roster import lacking_prints
from tests.voices.voice_worker import MODEL, PARAMS, digest_of, scene

ADA, BOB, EVE = np.eye(3)
OUTSIDE = "../../outside"
LIKE_ADA = np.array([0.96, 0.28, 0.0])  # of unit length
ECAPA = "ecapa:0123abcd"


BACKENDS = ["sqlite", "postgresql"]


def new_address(request, folder):
    """Return where a library is to be made: a file, or a schema of the tests' own server."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'voices' / 'voices.sqlite'}"
    return new_schema(request.getfixturevalue("postgres"))


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    return new_address(request, tmp_path)


@pytest.fixture(params=BACKENDS, scope="module")
def shared(request, tmp_path_factory):
    url = new_address(request, tmp_path_factory.mktemp("shared"))
    return url, VoiceLibrary(url)


@pytest.fixture
def address(shared):
    """Return where `library` is."""
    return shared[0]


@pytest.fixture
def library(shared):
    """Return an empty library. It is one for all tests, emptied: making one takes a while."""
    with shared[1]._store.writing() as connection:
        connection.execute(text(f"DELETE FROM {tables.LINE_WORDS}"))
        for table in reversed(tables.metadata.sorted_tables):
            if table is not tables.library:
                connection.execute(table.delete())
        connection.execute(tables.library.update().values(next_voice=1))
    return shared[1]


@pytest.fixture(params=BACKENDS, scope="module")
def lasting(request, tmp_path_factory):
    """Return a library with two named voices and a transcript, that tests leave as it is."""
    library = VoiceLibrary(new_address(request, tmp_path_factory.mktemp("lasting")))
    identify(library, "one", ADA, BOB, EVE)
    library.rename("1", "Ada Lovelace")
    library.rename("2", "Ada King")
    say(library, "talk", *[("SPEAKER_00", line) for line in SAID])
    return library


SAID = [
    "Quantum cafés, isn't it?",
    "the QUANTUM leap",
    "Die STRASSE nach Łódź, 3,5 km",
    "我们谈谈量子力学",
    "ภาษาไทย",
    "ガスと大豆",
    "한국어 말하기",
    "हिन्दी में",
    "",
    "…",
]


def identify(library, *words, params=PARAMS, **options):
    return library.identify(*scene(*words, **options), params)


def names(identities):
    return [identity.name for identity in identities]


def a_print(vector, seconds=10.0, source="clip.wav"):
    return Voiceprint(np.array(vector, dtype=np.float32), seconds, 0.1, source, 1.0, 11.0)


def digest(name):
    return scene(name)[0].digest


def listed(library):
    return {summary.name: (summary.videos, summary.seconds) for summary in library.voices()}


# Identifying


def test_the_same_voice_is_the_same_speaker_in_every_video(library):
    first = identify(library, "one", ADA, BOB)
    assert [(i.speaker, i.voice, i.name, i.known, i.score) for i in first] == [
        ("SPEAKER_00", 1, "Speaker 1", False, None),
        ("SPEAKER_01", 2, "Speaker 2", False, None),
    ]
    second = identify(library, "two", EVE, LIKE_ADA)
    assert names(second) == ["Speaker 3", "Speaker 1"]
    assert second[1].score == pytest.approx(0.96)
    assert 0.9 < second[1].confidence <= 1
    library.rename("Speaker 1", "Ada Lovelace")
    third = identify(library, "three", ADA)
    assert [(i.voice, i.name, i.known) for i in third] == [(1, "Ada Lovelace", True)]
    assert names(library.identities_of(digest("two"))) == ["Speaker 3", "Ada Lovelace"]
    assert listed(library) == {
        "Ada Lovelace": (3, 60.0),
        "Speaker 2": (1, 20.0),
        "Speaker 3": (1, 20.0),
    }


def test_one_to_one_in_a_video(library):
    identify(library, "one", ADA)
    assert names(identify(library, "two", LIKE_ADA, ADA)) == ["Speaker 2", "Speaker 1"]


def test_identified_again_nothing_changes(library):
    before = identify(library, "one", ADA, BOB)
    library.enroll("Ada", MODEL, [a_print(ADA)], PARAMS)
    assert identify(library, "one", ADA, BOB) == before
    assert listed(library)["Speaker 1"] == (1, 20.0)


def test_too_little_speech(library):
    found = identify(library, "one", ADA, None, BOB, speech=3.0)
    assert [(i.voice, i.name) for i in found] == [
        (None, "Unknown speaker A"),
        (None, "Unknown speaker B"),
        (None, "Unknown speaker C"),
    ]
    assert library.voices() == []
    identify(library, "two", ADA)
    assert names(identify(library, "three", ADA, BOB, speech=3.0)) == [
        "Speaker 1",
        "Unknown speaker A",
    ]
    assert names(identify(library, "four", ADA, speech=1.9)) == ["Unknown speaker A"]
    assert identify(library, "five") == ()


def test_unknown_speakers_run_past_z(library):
    found = identify(library, "crowd", *[None] * 28)
    assert names(found)[25:] == ["Unknown speaker Z", "Unknown speaker AA", "Unknown speaker AB"]


def test_switched_off_nothing_is_kept(library):
    assert identify(library, "one", ADA, params=Params(enabled=False)) == ()
    assert library.identities_of(digest("one")) == ()
    assert library.voices() == []


def test_other_embeddings_of_a_video_replace_what_was_noted(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", ADA)
    # Other params: another print of Bob, and who was SPEAKER_00 is SPEAKER_01 now.
    again = identify(library, "one", BOB, LIKE_ADA, digest="new", at=(30.0, 0.0))
    assert [(i.speaker, i.voice) for i in again] == [("SPEAKER_00", 2), ("SPEAKER_01", 1)]
    assert listed(library) == {"Speaker 1": (2, 40.0), "Speaker 2": (1, 20.0)}
    assert [summary.prints for summary in library.voices()] == [2, 1]
    assert library.identities_of(digest("one"), digest_of("new")) == again
    assert library.identities_of(digest("one"), digest_of("embeddings of one")) == ()


def test_a_voice_that_no_video_has_any_more_goes_but_not_its_name_or_number(library):
    identify(library, "one", ADA, BOB, EVE)
    library.rename("3", "Eve")
    identify(library, "one", ADA, digest="new")
    assert listed(library) == {"Speaker 1": (1, 20.0), "Eve": (0, 0)}
    assert names(identify(library, "two", BOB)) == ["Speaker 4"]


def test_another_embedding_model_keeps_the_names_by_the_time(library):
    identify(library, "one", ADA, BOB)
    library.rename("1", "Ada")
    library.rename("2", "Bob")
    assert library.other_models(MODEL) == ""
    problem = library.other_models(ECAPA)
    assert problem.startswith(f"2 of 2 named voices are known only by the embedding model {MODEL}")
    # Prints of the models are never compared: the vectors are swapped.
    with_ecapa = identify(library, "two", BOB, ADA, model=ECAPA)
    assert names(with_ecapa) == ["Speaker 3", "Speaker 4"]
    again = identify(library, "one", EVE, -ADA, model=ECAPA, digest="ecapa")
    assert names(again) == ["Ada", "Bob"]
    assert [i.score for i in again] == [None, None]
    assert library.other_models(ECAPA) == ""
    assert library.summary("Ada").models == (MODEL, ECAPA)
    assert names(identify(library, "three", EVE, model=ECAPA)) == ["Ada"]
    assert names(identify(library, "four", ADA)) == ["Ada"]


def test_vectors_of_another_size_are_another_model(library):
    identify(library, "one", ADA)
    assert names(identify(library, "two", np.eye(5)[0], model=ECAPA)) == ["Speaker 2"]


def test_the_video_was_renamed(library):
    video, *rest = scene("one", ADA)
    library.identify(video, *rest, PARAMS)
    library.identify(video.model_copy(update={"name": "first"}), *rest, PARAMS)
    (appearance,) = library.show("1")
    assert appearance.video_name == "first"


def test_a_file_name_that_is_no_text(library):
    video, *rest = scene("one", ADA)
    odd = video.model_copy(update={"name": "n\udce9e\0"})
    library.identify(odd, *rest, PARAMS)
    library.note_transcript(odd, "n\udce9e", [Line(0, 1, "SPEAKER_00", "quantum\udce9 leap\0")])
    (hit,) = library.find("leap")
    assert (hit.video_name, hit.folder, hit.text) == ("n?e", "n?e", "quantum? leap")
    library.note_transcript(odd, "n\udce9e", [])
    assert library.find("leap") == []


# Naming


@pytest.mark.parametrize(
    "which",
    ["Speaker 1", "speaker 1", "SPEAKER_1", "1", "#1", " Ada  lovelace ", "ADA L", "ada lo"],
)
def test_ways_to_name_a_voice(lasting, which):
    assert lasting.summary(which).voice == 1


def test_rename_tells_what_it_concerns(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", ADA)
    change = library.rename("Speaker 1", "  Ada   Lovelace ")
    assert change.voice == 1
    assert change.name == "Ada Lovelace"
    assert change.before == ("Speaker 1",)
    assert change.videos == (digest("one"), digest("two"))
    assert change.embeddings == (digest_of("embeddings of one"), digest_of("embeddings of two"))
    assert library.rename("ada", "ADA LOVELACE").before == ("Ada Lovelace",)
    assert library.rename("ada", "Zoë").name == "Zoë"
    assert library.summary("zoe\u0308").voice == 1  # as macOS writes it


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is not a name: give one of printable characters"),
        (" \n ", "is not a name"),
        ("a\x1bb", "is not a name"),
        ("a\ud800", "is not a name"),
        ("x" * 101, "a name of 101 characters is too long: use 100 at most"),
        ("Speaker 9", "'Speaker 9' is reserved for voices without a name"),
        ("speaker_09", "is reserved for voices without a name"),
        ("7", "is reserved for voices without a name"),
        ("Unknown Speaker B", "is reserved for voices without a name"),
        (
            "ada king",
            'if both are one person, merge them: spokenby voices merge "Ada King" "Speaker 3"',
        ),
    ],
)
def test_names_that_are_refused(lasting, name, message):
    with pytest.raises(InputError) as refused:
        lasting.rename("3", name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert set(listed(lasting)) == {"Ada Lovelace", "Ada King", "Speaker 3"}


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("Speaker 9", "Speaker 9 is not in the voice library: see: spokenby voices list"),
        ("999999999999", "'999999999999' is not in the voice library"),
        ("A", "'A' matches 2 voices: Ada King, Ada Lovelace: give more of the name"),
        ("Ado King", "'Ado King' is not in the voice library: did you mean Ada King?"),
        ("Zoë", "'Zoë' is not in the voice library: see: spokenby voices list"),
        (" ", "no voice is named: write its name, or a number like: Speaker 7"),
    ],
)
def test_voices_that_are_not_there(lasting, which, message):
    for ask in (lasting.show, lasting.summary, lasting.forget):
        with pytest.raises(InputError, match=re.escape(message)):
            ask(which)
    assert len(lasting.voices()) == 3


# Joining and dividing


def test_merge(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", EVE)
    library.rename("3", "Ada")
    change = library.merge("1", "Ada")
    assert (change.voice, change.name, change.before) == (1, "Ada", ("Speaker 1", "Ada"))
    assert change.videos == (digest("one"), digest("two"))
    assert listed(library) == {"Ada": (2, 40.0), "Speaker 2": (1, 20.0)}
    assert library.summary("Speaker 3").voice == 1  # its number leads there
    assert library.merge("2", "ada").name == "Ada"
    assert [library.summary(which).voice for which in "123"] == [2, 2, 2]
    assert names(library.identities_of(digest("one"))) == ["Ada", "Ada"]
    assert [each.merged for each in library.identities_of(digest("two"))] == [(1, 3)]
    with pytest.raises(InputError, match="ada and Speaker 3 are already one voice, Ada"):
        library.merge("ada", "Speaker 3")
    assert names(identify(library, "three", -ADA)) == ["Speaker 4"]


def test_split(library):
    identify(library, "one", ADA)
    identify(library, "two", LIKE_ADA)
    library.rename("1", "Ada")
    change = library.split("Ada", "TWO")
    assert (change.voice, change.name, change.before) == (2, "Speaker 2", ("Ada",))
    assert (change.videos, change.embeddings) == (
        (digest("two"),),
        (digest_of("embeddings of two"),),
    )
    assert listed(library) == {"Ada": (1, 20.0), "Speaker 2": (1, 20.0)}
    assert library.identities_of(digest("two"))[0].score is None
    # They are like each other, but people said that they are two.
    assert library.reidentify(PARAMS) == ()
    assert names(identify(library, "three", LIKE_ADA, ADA)) == ["Speaker 2", "Ada"]


def test_split_what_is_one_label_of_a_video(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", EVE)
    library.merge("1", "2")
    with pytest.raises(InputError, match=r"Speaker 1 speaks 2 times in 'one': 6f6e6500 SPEAKER_00"):
        library.split("1", "one")
    assert library.split("1", "6f6e65", "SPEAKER_01").voice == 4
    assert names(library.identities_of(digest("one"))) == ["Speaker 1", "Speaker 4"]
    with pytest.raises(InputError, match="Speaker 1 does not speak in 'two': see: spokenby voices"):
        library.split("1", "two")
    with pytest.raises(InputError, match="Speaker 1 appears nowhere else: rename it instead"):
        library.split("1", "one")


def test_divided_voices_stay_apart_when_they_are_merged_with_others(library):
    identify(library, "one", ADA)
    identify(library, "two", ADA)
    library.rename("1", "Ada")
    library.split("1", "two")
    identify(library, "three", EVE)
    library.merge("3", "2")  # the number that was divided off is gone
    library.split("3", "three")
    assert [summary.voice for summary in library.voices()] == [1, 3, 4]
    assert library.reidentify(PARAMS) == ()


def test_reidentify_merges_into_names(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", EVE, LIKE_ADA)
    library.split("1", "two")
    library.enroll("Ada", MODEL, [a_print(ADA)], PARAMS, force=True)
    changes = library.reidentify(PARAMS)
    assert [(c.voice, c.name, c.before) for c in changes] == [
        (5, "Ada", ("Ada", "Speaker 1")),
        # Not Speaker 4, which was divided from 1, and 1 is Ada now.
    ]
    assert changes[0].videos == (digest("one"),)
    assert names(library.identities_of(digest("one"))) == ["Ada", "Speaker 2"]
    assert library.reidentify(PARAMS) == ()


def test_reidentify_never_joins_two_who_speak_in_one_video(library):
    identify(library, "one", ADA, LIKE_ADA)
    identify(library, "two", BOB)
    library.enroll("Ada", MODEL, [a_print(ADA)], PARAMS, force=True)
    assert [change.before for change in library.reidentify(PARAMS)] == [("Ada", "Speaker 1")]
    assert names(library.identities_of(digest("one"))) == ["Ada", "Speaker 2"]


def test_neighbors_are_those_who_sound_alike(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", [0.75, 0.0, 0.6614])
    library.rename("1", "Ada")
    assert set(library.neighbors()) == {2, 3}  # whoever has a name needs none
    first, second = library.neighbors()[3]
    assert first[:3] == (1, "Ada", True)
    assert first.likeness == pytest.approx(0.75, abs=1e-3)
    assert (first.likely, first.together) == (True, False)
    assert (second.name, second.known, second.likely) == ("Speaker 2", False, False)
    assert {each.name: each.together for each in library.neighbors()[2]} == {
        "Ada": True,
        "Speaker 3": False,
    }
    library.keep_apart("Speaker 3", "Ada")
    library.keep_apart("Ada", "3")  # once more changes nothing
    assert [each.name for each in library.neighbors()[3]] == ["Speaker 2"]
    with pytest.raises(InputError, match="1 and Ada are one voice, Ada"):
        library.keep_apart("1", "Ada")


# Enrolling


def test_enroll(library):
    assert library.enroll("Ada", MODEL, [a_print(ADA), a_print(LIKE_ADA)], PARAMS) == (
        1,
        "Ada",
        2,
        True,
    )
    assert library.enroll("ADA", MODEL, [a_print(ADA)], PARAMS) == (1, "Ada", 0, False)
    assert library.enroll("Ada", ECAPA, [a_print(BOB)], PARAMS) == (1, "Ada", 1, False)
    assert library.enroll("Bob", MODEL, [a_print(BOB)], PARAMS).voice == 2
    assert names(identify(library, "one", BOB, ADA)) == ["Bob", "Ada"]
    summary = library.summary("Ada")
    assert (summary.prints, summary.videos, summary.known) == (4, 1, True)
    assert summary.models == (MODEL, ECAPA)
    assert summary.last_seen == pytest.approx(library.show("Ada")[0].identified)


@pytest.mark.parametrize(
    ("name", "prints", "message"),
    [
        ("Eve", [], "0.0 s of speech are too little to enroll Eve: give at least 5 s"),
        ("Eve", [a_print(EVE, 4.9)], "4.9 s of speech are too little"),
        (
            "Eve",
            [a_print(EVE), a_print(-ADA, source="other.wav")],
            "clip.wav and other.wav do not sound like one person (similarity 0.00, at least 0.80",
        ),
        ("Eve", [a_print(ADA)], "this is the voice of Ada Lovelace (similarity 1.00): give"),
        (
            "ada king",
            [a_print(EVE)],
            "this does not sound like the Ada King who is known already (similarity 0.00",
        ),
        ("Speaker 3", [a_print(EVE)], "is reserved for voices without a name"),
    ],
)
def test_enrollments_that_are_refused(lasting, name, prints, message):
    before = lasting.export()
    with pytest.raises(InputError) as refused:
        lasting.enroll(name, MODEL, prints, PARAMS)
    assert message in str(refused.value)
    assert lasting.export() == before


# Forgetting


def test_forget(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", ADA)
    library.rename("1", "Ada")
    library.merge("1", "2")
    identify(library, "three", EVE)
    library.note_transcript(scene("two")[0], "two-0000", [Line(0, 1, "SPEAKER_00", "quantum")])
    change = library.forget("Ada")
    assert (change.voice, change.name, change.before) == (None, "", ("Ada",))
    assert change.videos == (digest("one"), digest("two"))
    assert change.numbers == (1, 2)
    assert change.embeddings == (digest_of("embeddings of one"), digest_of("embeddings of two"))
    assert listed(library) == {"Speaker 3": (1, 20.0)}
    for which in ("Ada", "1", "2"):
        with pytest.raises(InputError):
            library.show(which)
    assert names(library.identities_of(digest("one"))) == ["Unknown speaker A", "Unknown speaker B"]
    (hit,) = library.find("quantum")
    assert (hit.speaker, hit.voice) == ("Unknown speaker A", None)
    # It stays forgotten where it was, and is somebody new elsewhere.
    assert names(identify(library, "two", ADA)) == ["Unknown speaker A"]
    assert names(identify(library, "four", ADA)) == ["Speaker 4"]


def fragments(vector):
    whole = pack(vector)
    return [whole[first : first + 16] for first in range(0, len(whole), 16)]


def held(folder, vectors):
    """Return how many 16-byte pieces of some vectors are in the files of a folder."""
    content = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
    return sum(piece in content for vector in vectors for piece in fragments(vector))


def test_nothing_of_a_forgotten_voice_is_left_in_the_files(url):
    library = VoiceLibrary(url)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((12, 256))
    heard = []
    for number in range(30):
        some = people[(number + np.arange(4)) % 12] + 0.3 * rng.standard_normal((4, 256))
        video, embeddings, diarization = scene(f"video {number}", *some)
        library.identify(video, embeddings, diarization, PARAMS)
        heard.append(embeddings.vectors)
    library.rename("1", "Rosalind Franklin")
    library.merge("1", "2")
    of_one = [vectors[[0, 1]] for vectors in heard[:1]]  # SPEAKER_00 and _01 of the first video
    vectors = [vector for pair in of_one for vector in pair]
    folder = files_of(library, url)
    assert held(folder, vectors) == 2 * 64
    assert library.forget("Rosalind").scrubbed
    files_of(library, url)
    assert held(folder, vectors) == 0
    name = b"Rosalind Franklin"
    assert not any(name in path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
    assert held(folder, [heard[0][3]]) == 64  # the others are there


def files_of(library, url):
    """Write a library's tables to disk; return their folder."""
    if url.startswith("sqlite"):
        return Path(library.place).parent
    with library._store._outside() as connection:
        connection.execute(text("CHECKPOINT"))
        data = Path(connection.execute(text("SHOW data_directory")).scalar_one())
        number = connection.execute(
            text("SELECT oid FROM pg_database WHERE datname = current_database()")
        ).scalar_one()
    folder = data / "base" / str(number)
    if not os.access(folder, os.R_OK | os.X_OK):
        pytest.skip("the server's files belong to another user")
    return folder


def test_traces_are_removed_at_the_next_opening_if_somebody_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "WAIT_S", 0.2)
    url = f"sqlite:///{tmp_path / 'voices.sqlite'}"
    library = VoiceLibrary(url)
    _, embeddings, _ = heard = scene("one", np.arange(1.0, 257.0))
    library.identify(*heard, PARAMS)
    reader = sqlite3.connect(tmp_path / "voices.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM voices").fetchall()
    assert not library.forget("1").scrubbed
    assert held(tmp_path, embeddings.vectors) > 0
    reader.close()
    VoiceLibrary(url)
    assert held(tmp_path, embeddings.vectors) == 0


# Transcripts


def say(library, name, *lines, folder=None):
    library.note_transcript(
        scene(name)[0],
        folder or f"{name}-0000",
        [Line(10.0 * i, 10.0 * i + 5, who, text) for i, (who, text) in enumerate(lines)],
    )


def test_a_passage_is_read_in_order(lasting):
    passage = lasting.read("talk-0000", 12.0, 31.0)
    assert [hit.text for hit in passage] == SAID[1:4]
    assert {hit.speaker for hit in passage} == {"Speaker 1"}
    assert lasting.read("talk-0000", 12.0, 31.0, 1, 1) == passage[1:2]
    assert lasting.read("talk-0000", 15.0, 20.0) == lasting.read("elsewhere", 0.0, 99.0) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("quantum", ["Quantum cafés, isn't it?", "the QUANTUM leap"]),
        ("QUANTUM  leap", ["the QUANTUM leap"]),
        ("leap quantum", ["the QUANTUM leap"]),
        ('"quantum leap"', ["the QUANTUM leap"]),
        ('"leap quantum"', []),
        ("quan*", ["Quantum cafés, isn't it?", "the QUANTUM leap"]),
        ('"the quan*"', ["the QUANTUM leap"]),
        ("quan", []),
        ("cafes", ["Quantum cafés, isn't it?"]),
        ("CAFÉS", ["Quantum cafés, isn't it?"]),
        ("isn't", ["Quantum cafés, isn't it?"]),
        ("isn’t it", ["Quantum cafés, isn't it?"]),
        ("straße", ["Die STRASSE nach Łódź, 3,5 km"]),
        ("3,5", ["Die STRASSE nach Łódź, 3,5 km"]),
        ("Łódź", ["Die STRASSE nach Łódź, 3,5 km"]),
        ("量子", ["我们谈谈量子力学"]),
        ("力学 量子", ["我们谈谈量子力学"]),
        ("子量", []),
        ("ภาษา", ["ภาษาไทย"]),
        ("ガス", ["ガスと大豆"]),
        ("한국", []),
        ("한국어", ["한국어 말하기"]),
        ("हिन्दी", ["हिन्दी में"]),
        ("nothing", []),
        ("OR", []),
        ("AND", []),
        ("' OR 1 = 1 --", []),
    ],
)
def test_find_words(lasting, wanted, expected):
    assert [hit.text for hit in lasting.find(wanted)] == expected


@pytest.mark.parametrize("wanted", ["", "  ", "…", '"', '""', "*", "-"])
def test_nothing_to_look_for(lasting, wanted):
    with pytest.raises(InputError, match="has no word to look for: write a word, or name a"):
        lasting.find(wanted)


def test_find_says_who(library):
    identify(library, "one", ADA, BOB, None)
    identify(library, "two", ADA)
    say(library, "one", ("SPEAKER_00", "quantum one"), ("SPEAKER_01", "quantum two"),
        ("SPEAKER_02", "quantum three"), (None, "quantum four"))  # fmt: skip
    say(library, "two", ("SPEAKER_00", "quantum five"))
    say(library, "not identified", ("SPEAKER_03", "quantum six"))
    library.rename("1", "Ada")
    hits = library.find("quantum")
    assert [(hit.video_name, hit.start, hit.speaker, hit.voice) for hit in hits] == [
        ("not identified", 0.0, "Speaker 4", None),
        ("one", 0.0, "Ada", 1),
        ("one", 10.0, "Speaker 2", 2),
        ("one", 20.0, "Unknown speaker A", None),
        ("one", 30.0, "Unknown speaker", None),
        ("two", 0.0, "Ada", 1),
    ]
    assert hits[1].folder == "one-0000"
    assert [hit.text for hit in library.find("quantum", "ada")] == ["quantum one", "quantum five"]
    assert [hit.text for hit in library.find("", "Speaker 2")] == ["quantum two"]
    assert [hit.text for hit in library.find("five", "Speaker 2")] == []
    assert len(library.find("quantum", limit=2)) == 2
    with pytest.raises(InputError, match="'Eve' is not in the voice library"):
        library.find("quantum", "Eve")
    assert [appearance.folder for appearance in library.show("1")] == ["two-0000", "one-0000"]


def test_a_transcript_replaces_what_was_in_its_folder(library):
    say(library, "one", ("SPEAKER_00", "quantum"), ("SPEAKER_00", "leap"))
    say(library, "two", ("SPEAKER_00", "quantum"))
    say(library, "one", ("SPEAKER_00", "gravity"))
    assert [hit.video_name for hit in library.find("quantum")] == ["two"]
    assert [hit.video_name for hit in library.find("gravity")] == ["one"]
    say(library, "one", ("SPEAKER_00", "gravity"), folder="elsewhere")
    assert [place.folder for place in library.transcripts()] == [
        "elsewhere",
        "one-0000",
        "two-0000",
    ]
    assert [place.folder for place in library.transcripts([digest("two")])] == ["two-0000"]
    say(library, "one", folder="elsewhere")
    assert [hit.folder for hit in library.find("gravity")] == ["one-0000"]
    say(library, "one")
    assert library.find("gravity") == []


# Moving elsewhere


def test_export_and_import(library, tmp_path):
    identify(library, "one", ADA, BOB, EVE)
    identify(library, "two", LIKE_ADA)
    library.rename("1", "Ada")
    library.merge("2", "3")
    library.split("1", "two")
    content = json.loads(json.dumps(library.export()))
    other = VoiceLibrary(f"sqlite:///{tmp_path / 'other.sqlite'}")
    imported = other.import_(content)
    assert imported == (3, 0, 4, 4, (digest("one"), digest("two")))
    assert other.export() == content
    assert other.identities_of(digest("one")) == library.identities_of(digest("one"))
    assert other.import_(content) == (0, 3, 0, 0, (digest("one"), digest("two")))
    assert other.export() == content
    assert other.summary("3").voice == 2
    assert other.reidentify(PARAMS) == ()
    assert names(identify(other, "three", BOB + EVE)) == ["Speaker 2"]
    assert names(identify(other, "four", -ADA)) == ["Speaker 5"]


def test_speakers_without_a_voice_are_imported_or_identified_again(library, tmp_path):
    short = np.stack([ADA, BOB])
    assert names(identify(library, "one", *short, speech=3.0)) == [
        "Unknown speaker A",
        "Unknown speaker B",
    ]
    identify(library, "two", ADA)
    identify(library, "three", BOB, None)
    content = json.loads(json.dumps(library.export()))
    other = VoiceLibrary(f"sqlite:///{tmp_path / 'other.sqlite'}")
    other.import_(content)
    assert other.export() == content
    for name, speakers, speech in (("one", (*short,), 3.0), ("three", (BOB, None), 20.0)):
        again = identify(other, name, *speakers, speech=speech)
        assert again == library.identities_of(digest(name))
    # Exports of before have none of them: what is lacking is decided, and the rest stays.
    del content["voiceless"]
    older = VoiceLibrary(f"sqlite:///{tmp_path / 'older.sqlite'}")
    older.import_(content)
    assert names(identify(older, "three", BOB, None)) == ["Speaker 2", "Unknown speaker A"]
    assert names(identify(older, "one", *short, speech=3.0)) == ["Speaker 1", "Speaker 2"]


def test_import_into_a_library_that_has_voices(library, tmp_path):
    other = VoiceLibrary(f"sqlite:///{tmp_path / 'other.sqlite'}")
    identify(other, "one", EVE, ADA, BOB)
    identify(other, "two", EVE)
    other.rename("2", "ada")
    other.merge("3", "1")
    identify(library, "three", BOB, ADA)
    identify(library, "two", -ADA)
    library.rename("2", "Ada")
    imported = library.import_(other.export())
    # Ada is known by name; the other one's number 3 was used, and so was the 1 that went into it.
    assert imported == (1, 1, 2, 3, (digest("one"), digest("two")))
    assert listed(library) == {
        "Ada": (2, 40.0),
        "Speaker 1": (1, 20.0),
        "Speaker 3": (1, 20.0),
        "Speaker 4": (1, 40.0),
    }
    assert names(library.identities_of(digest("one"))) == ["Speaker 4", "Ada", "Speaker 4"]
    assert names(library.identities_of(digest("two"))) == ["Speaker 3"]  # as decided here
    assert library.summary("5").voice == 4
    assert names(identify(library, "five", -BOB)) == ["Speaker 6"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: {}, "format"),
        (lambda content: [], "Input should be"),
        (lambda content: {**content, "version": 2}, "version: Input should be 1"),
        (lambda content: with_voice(content, number=0), "voices.0.number"),
        (lambda content: with_voice(content, name="Speaker 3"), "voices.0.name"),
        (lambda content: {**content, "voices": content["voices"][:1] * 2}, "have one number"),
        (lambda content: with_vector(content, "AAAA"), "voices.0.prints.0.vector"),
        (lambda content: with_vector(content, "AAAAAA=="), "not a vector of length 1"),
        (lambda content: with_vector(content, "AADAfw=="), "not a vector of length 1"),
        (lambda content: with_vector(content, "no base64"), "voices.0.prints.0.vector"),
        (lambda content: with_appearance(content, embeddings=OUTSIDE), "embeddings: String"),
        (lambda content: with_appearance(content, speaker="\0"), "speaker: String should match"),
        (lambda content: with_appearance(content, video=OUTSIDE), "video: String should match"),
        (lambda content: with_appearance(content, video="A" * 64), "video: String should match"),
        (lambda content: with_appearance(content, video="0" * 64 + "\n"), "video: String should"),
        (lambda content: with_print(content, video=OUTSIDE), "prints.0.video: String should"),
        (lambda content: with_print(content, model="a\0"), "prints.0.model: String should"),
        (lambda content: with_print(content, speaker="a\0"), "prints.0.speaker: String should"),
        (lambda content: with_voice(content, number=2**31), "voices.0.number"),
        (lambda content: with_sizes(content, 4, 5), "differ in length"),
    ],
)
def test_imports_that_are_refused(lasting, change, message):
    content = lasting.export()
    with pytest.raises(InputError) as refused:
        lasting.import_(change(content))
    assert str(refused.value).startswith("this is not a readable export of a voice library")
    assert message in str(refused.value)
    assert lasting.export() == content


def with_voice(content, **fields):
    return {**content, "voices": [{**content["voices"][0], **fields}]}


def with_print(content, **fields):
    return with_voice(content, prints=[{**content["voices"][0]["prints"][0], **fields}])


def with_vector(content, vector):
    return with_print(content, vector=vector)


def with_appearance(content, **fields):
    appearance = content["voices"][0]["appearances"][0]
    return with_voice(content, appearances=[{**appearance, **fields}])


def with_sizes(content, *sizes):
    """Return the content with voiceprints of some lengths."""
    print_ = content["voices"][0]["prints"][0]
    vectors = [base64.b64encode(pack(np.eye(size)[0])).decode() for size in sizes]
    return with_voice(content, prints=[{**print_, "vector": vector} for vector in vectors])


def test_prints_of_another_length_than_here_are_refused(lasting):
    content = lasting.export()
    with pytest.raises(InputError, match="differ in length from those in the library"):
        lasting.import_(with_sizes(content, 5))
    assert lasting.export() == content


def test_imported_prints_of_another_length_stop_nothing(library, tmp_path):
    other = VoiceLibrary(f"sqlite:///{tmp_path / 'other.sqlite'}")
    identify(other, "one", np.eye(5)[0])
    library.import_(other.export())
    assert names(identify(library, "two", ADA, BOB)) == ["Speaker 2", "Speaker 3"]
    library.enroll("Ada", MODEL, [a_print(ADA)], PARAMS)
    assert len(library.reidentify(PARAMS)) == 1
    # The same voice gets prints of both lengths, as it spoke at that time: the newest count.
    assert names(identify(library, "one", EVE, digest="again")) == ["Speaker 1"]
    assert names(identify(library, "three", EVE, ADA)) == ["Speaker 1", "Ada"]


def test_a_file_does_not_use_the_numbers_up(library, tmp_path):
    identify(library, "one", ADA)
    content = library.export()
    largest = {**with_voice(content, number=2**31 - 1, uid="0" * 32), "next_voice": 2**31 - 1}
    other = VoiceLibrary(f"sqlite:///{tmp_path / 'other.sqlite'}")
    identify(other, "two", BOB)
    assert other.import_(largest).new == 1
    assert listed(other) == {"Speaker 1": (1, 20.0), "Speaker 2": (1, 20.0)}
    exported = other.export()
    assert VoiceLibrary(f"sqlite:///{tmp_path / 'third.sqlite'}").import_(exported).new == 2


# Opening


def test_the_tables_are_as_the_migrations_make_them(library):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def ours(_, name, kind, *rest):
        others = ("line_words", "attempts", store.VERSION_TABLE)
        return not (kind == "table" and name.startswith(others))

    with library._store.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": ours, "compare_type": True}
        )
        assert compare_metadata(context, tables.metadata) == []
        assert store.VERSION_TABLE in inspect(connection).get_table_names()


def test_the_newest_migration_is_what_the_code_expects():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [store.HEAD]


def test_a_library_of_a_newer_spokenby(url):
    library = VoiceLibrary(url)
    identify(library, "one", ADA)
    with library._store.writing() as connection:
        connection.execute(text(f"UPDATE {store.VERSION_TABLE} SET version_num = '0099'"))
    with pytest.raises(InputError) as refused:
        VoiceLibrary(url)
    assert str(refused.value) == (
        f"the {'voice library' if library._store.sqlite else 'database'} {library.place}"
        " was written by a newer spokenby (schema 0099,"
        f" this version supports {store.HEAD}): update spokenby"
    )


def test_an_interrupted_creation_is_made_up_for(url, monkeypatch):
    def fail(connection):
        connection.execute(text("CREATE TABLE voices (number INTEGER)"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "_migrate", fail)
        with pytest.raises(KeyboardInterrupt):
            VoiceLibrary(url)
    assert VoiceLibrary(url).voices() == []


def test_opened_by_many_at_once(url):
    with ThreadPoolExecutor(8) as pool:
        libraries = list(pool.map(VoiceLibrary, [url] * 8))
        found = list(pool.map(lambda i: identify(libraries[i], f"v{i}", ADA), range(8)))
    assert {names(identities)[0] for identities in found} == {"Speaker 1"}
    assert listed(libraries[0]) == {"Speaker 1": (8, 160.0)}


@pytest.mark.parametrize("content", [b"not a database at all, but text" * 100, b"\0" * 4096])
def test_a_damaged_file_is_kept(tmp_path, content):
    path = tmp_path / "voices.sqlite"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        VoiceLibrary(f"sqlite:///{path}")
    damaged = f"the voice library {path} is damaged or not an SQLite file"
    assert str(refused.value).startswith(damaged)
    assert path.read_bytes() == content


def test_a_file_damaged_inside_is_kept(tmp_path):
    path = tmp_path / "voices.sqlite"
    library = VoiceLibrary(f"sqlite:///{path}")
    for number in range(40):
        identify(library, f"video {number}", *np.eye(64)[number : number + 3])
    with library._store._outside() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    content = bytearray(path.read_bytes())
    content[4096 * 3 :] = os.urandom(len(content) - 4096 * 3)
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged or not an SQLite file") as refused:
        VoiceLibrary(f"sqlite:///{path}").voices()
    assert "restore it from a copy, or move it away" in str(refused.value)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE flow_run (id INTEGER)")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(InputError, match="is another program's database, not a voice library"):
        VoiceLibrary(f"sqlite:///{path}")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "url",
    ["voices.sqlite", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://u:secret@h/x",
     "postgresql://u:secret@h:port/x", ""],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match="set SPOKENBY_DATABASE to sqlite:///<file> or") as refused:
        VoiceLibrary(url)
    assert "secret" not in str(refused.value)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        VoiceLibrary(f"sqlite:///{tmp_path}/file/voices.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(InputError, match="cannot be opened for writing"):
        VoiceLibrary(f"sqlite:///{tmp_path}/folder.sqlite")


def test_a_file_name_with_everything_in_it(tmp_path):
    path = tmp_path / "a b%20c?d#e@f:g ö.sqlite"
    identify(VoiceLibrary(f"sqlite:///{path}"), "one", ADA)
    assert path.exists()


def test_a_server_that_cannot_be_reached(postgres):
    for address in (
        "postgresql://ada:secret@127.0.0.1:1/voices",
        "postgresql://ada:secret@no-such-host.invalid/voices",
        postgres.replace("spokenby:secret", "spokenby:terces"),
        postgres.replace("/postgres", "/no_such_database"),
    ):
        with pytest.raises(TransientError) as refused:
            VoiceLibrary(address)
        assert "cannot be reached" in str(refused.value)
        assert "check that the server runs" in str(refused.value)
        assert (make_url(address).host or "") in str(refused.value)
        assert "secret" not in str(refused.value)
        assert "terces" not in str(refused.value)


def test_a_user_who_may_do_nothing(postgres):
    url = new_schema(postgres)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE USER guest PASSWORD 'secret'")
    with pytest.raises(InputError, match="denies its user permission"):
        VoiceLibrary(url.replace("spokenby:", "guest:"))


def test_a_busy_library(url, monkeypatch):
    monkeypatch.setattr(store, "WAIT_S", 0.2)
    library, other = VoiceLibrary(url), VoiceLibrary(url)
    with library._store.writing():
        assert other.voices() == []  # reading waits for nobody
        with pytest.raises(TransientError, match="is busy with another process's change"):
            identify(other, "one", ADA)
    assert names(identify(other, "one", ADA)) == ["Speaker 1"]


# Several processes


@pytest.fixture(scope="module")
def workers():
    """Start two processes that use libraries; return a function that gives both something to do."""
    script = Path(__file__).with_name("voice_worker.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(script.parents[1])},
        )
        for _ in range(2)
    ]

    def both(*commands):
        for process, command in zip(processes, commands, strict=True):
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in processes]

    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    yield both
    for process in processes:
        process.stdin.close()
        process.wait(120)
        process.stdout.close()


def test_two_processes_open_a_new_library_at_once(url, workers):
    assert workers([url, "voices"], [url, "voices"]) == ["[]", "[]"]


def test_two_processes_meet_the_same_voice_at_once(address, library, workers):
    for number in range(3):
        voice = np.eye(8)[number].tolist()
        answers = workers(
            [address, "identify", f"left {number}", [voice]],
            [address, "identify", f"right {number}", [voice]],
        )
        assert answers == [[f"Speaker {number + 1}"]] * 2
    assert listed(library) == {f"Speaker {number + 1}": (2, 40.0) for number in range(3)}


def test_two_processes_give_one_name_at_once(address, library, workers):
    identify(library, "one", ADA, BOB)
    answers = workers([address, "rename", "1", "Ada"], [address, "rename", "2", "Ada"])
    (won,) = [number for number in (0, 1) if answers[number].startswith("Change(")]
    lost = answers[1 - won]
    assert lost.startswith(f"InputError: Ada is already the name of Speaker {won + 1}")
    assert library.summary("Ada").voice == won + 1


def test_two_processes_name_one_voice_at_once(address, library, workers):
    identify(library, "one", ADA)
    answers = workers([address, "rename", "1", "Ada"], [address, "rename", "1", "Countess"])
    first, second = sorted(answers, key=lambda answer: "before=('Speaker 1',)" not in answer)
    # The later one says what it replaced.
    earlier = re.search(r"name='(\w+)'", first)[1]
    assert f"before=('{earlier}',)" in second
    assert len(library.voices()) == 1


# Voiceprints made again


def test_voices_of_an_encoder_that_is_no_more_get_new_prints(library):
    identify(library, "one", ADA, BOB)
    identify(library, "two", LIKE_ADA)
    library.rename("1", "Ada")
    dropped = "resemblyzer-0.1.4-centred"
    with library._store.writing() as connection:
        connection.execute(tables.voiceprints.update().values(model=dropped))
        refresh_centroids(connection, {1, 2})
    library.enroll("Grace", MODEL, [a_print(EVE)], PARAMS)
    due = library.missing_prints(MODEL)
    assert [(each.voice, each.video_name, each.speaker) for each in due] == [
        (1, "one", "SPEAKER_00"),
        (2, "one", "SPEAKER_01"),
        (1, "two", "SPEAKER_00"),
    ]
    assert due[0].samples[0].duration == pytest.approx(4)
    assert [voice.name for voice in lacking_prints(library.voices(), "campplus")] == [
        "Ada",
        "Speaker 2",
    ]
    assert library.reidentify(PARAMS) == ()  # its prints say nothing any more
    made = [(each, a_print(vector)) for each, vector in zip(due, (ADA, BOB, ADA), strict=True)]
    assert library.add_prints(MODEL, made[:2]) == 2
    # Killed here, it goes on where it was; what is there is not made twice.
    assert library.missing_prints(MODEL) == due[2:]
    assert library.add_prints(MODEL, made) == 1
    assert library.missing_prints(MODEL) == []
    assert library.summary("Ada").models == (MODEL, dropped)
    assert lacking_prints(library.voices(), "campplus") == []
    assert names(identify(library, "three", LIKE_ADA, BOB)) == ["Ada", "Speaker 2"]


def test_what_changed_while_a_print_was_made_is_left_alone(library):
    for video, vector in (("one", ADA), ("two", BOB), ("three", EVE)):
        identify(library, video, vector, model=ECAPA, digest=f"{video} by ECAPA")
    due = library.missing_prints(MODEL)
    identify(library, "one", ADA)  # by a run, with the new encoder
    library.forget("2")
    assert library.add_prints(MODEL, [(each, a_print(EVE)) for each in due]) == 1
    assert library.missing_prints(MODEL) == []
    assert [(voice.voice, voice.prints) for voice in library.voices()] == [(1, 2), (3, 2)]
