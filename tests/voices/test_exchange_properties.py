"""An export imported elsewhere is the same; a crafted one is refused whole, or does no harm.

On SQLite: what PostgreSQL alone refuses is in test_library.py.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spokenby.errors import InputError
from spokenby.voices import registry, roster
from spokenby.voices.centroids import pack, read_centroids, refresh_centroids
from spokenby.voices.exchange import export_voices, import_voices
from spokenby.voices.library import VoiceLibrary

MODELS = {"campplus-1": 4, "ecapa:1": 3}
"""Embedding models, and how many numbers their vectors have."""


@pytest.fixture(scope="module")
def writing(tmp_path_factory):
    """Return a transaction in an empty library."""
    library = VoiceLibrary(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'voices.sqlite'}")
    with library._store.writing() as connection:
        yield connection


@contextmanager
def undone(connection):
    """Undo what is done inside."""
    nested = connection.begin_nested()
    try:
        yield
    finally:
        nested.rollback()


def brought(connection, content):
    """Import through JSON, as the command does; return what came."""
    imported, touched = import_voices(connection, json.loads(json.dumps(content)))
    refresh_centroids(connection, touched)
    return imported


def is_name(text: str) -> bool:
    try:
        return registry.checked_name(text) == text
    except InputError:
        return False


NAMES = st.lists(
    st.text(min_size=1, max_size=12).filter(is_name), unique_by=registry.name_key, max_size=4
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@st.composite
def exports(draw: st.DrawFn):
    """Make what `export` returns: voices by number, their prints and appearances in order."""
    names, text, drawn = draw(NAMES), draw(TEXT), iter(draw(st.binary(min_size=160, max_size=160)))

    def pick(*options):
        return options[next(drawn, 0) % len(options)]

    def digest():
        return f"{next(drawn, 0) % 16:x}" * 64

    def print_of(model):
        vector = np.array([next(drawn, 0) - 127.5 for _ in range(MODELS[model])])
        vector = pack((vector / np.linalg.norm(vector)).astype(np.float32))
        return {
            "model": model,
            "vector": base64.b64encode(vector).decode(),
            "seconds": next(drawn, 0) / 3,
            "spread": pick(None, 0.25, 0.1),
            "source": pick("clip.wav", text),
            "start": next(drawn, 0) / 7,
            "end": next(drawn, 0) / 7,
            "video": pick(None, digest()),
            "speaker": pick("SPEAKER_00", None),
        }

    def appearances():
        seen = {}
        for _ in range(pick(1, 0, 2)):
            place = (digest(), f"SPEAKER_{pick(*range(12)):02}")
            if place not in places:
                places.add(place)
                seen[place] = {
                    "video": place[0],
                    "speaker": place[1],
                    "video_name": pick("talk", text),
                    "embeddings": digest(),
                    "seconds": next(drawn, 0) / 3,
                    "score": pick(None, 0.5),
                    "confidence": pick(None, 0.9),
                    "samples": [[1.5, 2.0 + next(drawn, 0)]] * pick(1, 0),
                    "identified": 1.7e9 + next(drawn, 0) / 3,
                }
        return [seen[place] for place in sorted(seen)]

    number, voices, merged, places = 0, [], [], set()
    for name in [*names, None, None][: next(drawn) % 5]:
        number += 1 + pick(0, 1, 100)
        prints = {(p := print_of(pick(*MODELS)))["vector"]: p for _ in range(pick(0, 1, 3))}
        seen = appearances()
        if not (name or prints or seen):  # of such a voice nothing is known
            continue
        voices.append(
            {
                "number": number,
                "uid": f"{number:032x}",
                "name": name,
                "created": 1.7e9 + next(drawn, 0) / 3,
                "prints": list(prints.values()),
                "appearances": seen,
            }
        )
    numbers = [voice["number"] for voice in voices]
    for _ in range(pick(0, 1, 2) if voices else 0):
        number += 1
        merged.append({"number": number, "uid": f"{number:032x}", "voice": pick(*numbers)})
    pairs = [[one, other] for one in numbers for other in numbers if one < other and pick(0, 1)]
    return {
        "format": "spokenby voices",
        "version": 1,
        "next_voice": number + 1 + pick(0, 5),
        "voices": voices,
        "merged": merged,
        "apart": pairs,
        "voiceless": appearances(),
    }


@given(content=exports())
def test_what_was_exported_is_the_same_elsewhere_and_nothing_comes_twice(writing, content):
    with undone(writing):
        imported = brought(writing, content)
        assert (imported.new, imported.joined) == (len(content["voices"]), 0)
        assert export_voices(writing) == content
        again = brought(writing, content)
        assert (again.new, again.prints, again.appearances) == (0, 0, 0)
        assert export_voices(writing) == content


JUNK = [
    *(None, True, -1, 0, 1, 7, 2**31 - 1, 2**31, 10**400, 0.5, -0.5, 1e308, -1e308, 1e12, 9e18),
    *(float("nan"), float("inf"), "", "A", "Speaker 3", "../../outside", "/etc/passwd", "0" * 64),
    *("\0", "a\0b", "\ud800", "\x1b[2J", "\n", "x" * 300, "f" * 32, "AAAA", "AAAAAA==", "AACAPw=="),
    *("no base64", "é", [], {}, [[]], [[1, 2]], [[1, 1]], {"a\nb": 1}, [None], [[[[[[]]]]]]),
    *([[1e308, 1e308]], [[-5, 2]]),
]


def places(value, path=()):
    """Yield the path of everything in a JSON value."""
    yield path
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in parts:
        yield from places(part, (*path, key))


@st.composite
def crafted(draw: st.DrawFn):
    content = deepcopy(draw(exports()))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(content))[1:]))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        match draw(st.sampled_from(("replace", "remove", "add", "again"))):
            case "replace":
                inner[path[-1]] = deepcopy(draw(st.sampled_from(JUNK)))
            case "remove":
                del inner[path[-1]]
            case "add" if isinstance(inner, dict):
                inner[draw(st.text(max_size=3))] = deepcopy(draw(st.sampled_from(JUNK)))
            case "again" if isinstance(inner, list):
                inner.append(deepcopy(inner[path[-1]]))
            case _:
                pass
    return content


def spoiled(**fields):
    """Return an export of one voice in which some fields, wherever they are, are others."""
    print_ = {"model": "campplus-1", "vector": "AACAPwAAAAAAAAAAAAAAAA==", "seconds": 9.0}
    print_ |= {"spread": None, "source": "clip.wav", "start": 0.0, "end": 9.0}
    seen = {"video": "a" * 64, "speaker": "SPEAKER_00"}
    print_ |= seen
    seen |= {"video_name": "talk", "embeddings": "b" * 64, "seconds": 9.0, "score": None}
    seen |= {"confidence": None, "samples": [[0.0, 9.0]], "identified": 1.7e9}
    voice = {"number": 1, "uid": "c" * 32, "name": "Ada", "created": 1.7e9}
    for row in (print_, seen, voice):
        row |= {name: value for name, value in fields.items() if name in row}
    voice |= {"prints": [print_], "appearances": [seen]}
    content = {"format": "spokenby voices", "version": 1, "next_voice": 2, "voices": [voice]}
    return {**content, "merged": [], "apart": []}


@given(content=crafted())
@example(content=spoiled(vector=None))
@example(content=spoiled(vector=7))
@example(content=spoiled(created=1e308))
@example(content=spoiled(identified=-1e308))
@example(content=spoiled(seconds=1e308))
@example(content=spoiled(name="\x1b" * 9999))
def test_a_crafted_export_is_refused_whole_in_one_line_or_does_no_harm(writing, content):
    with undone(writing):
        before = export_voices(writing)
        refused = ""
        try:
            brought(writing, content)
        except InputError as error:
            refused = str(error)
        kept = export_voices(writing)
        if refused:
            assert kept == before
            assert len(refused) < 400
            assert "\n" not in refused
        for voice in kept["voices"]:
            datetime.fromtimestamp(voice["created"]).astimezone()
            for row in voice["prints"] + voice["appearances"]:
                for name in {"video", "embeddings"} & row.keys():
                    assert row[name] is None or re.fullmatch("[0-9a-f]{64}", row[name])
        for summary in roster.read_summaries(writing):
            number = registry.by_number(writing, summary.voice)
            for seen in roster.read_appearances(writing, number):
                datetime.fromtimestamp(seen.identified).astimezone()
        for model, dimension in MODELS.items():
            _, vectors = read_centroids(writing, model, dimension)
            assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
        assert registry.next_number(writing) < 2**31
    with undone(writing):
        brought(writing, kept)
        assert export_voices(writing) == kept
