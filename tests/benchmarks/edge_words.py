"""Measure what deciding words beside a change of speaker by their voice does to who said them.

    python tests/benchmarks/edge_words.py FOLDER [--sets '1688 1998' '3005 3080'] [--words FILE]
        [--params JSON] [--json FILE]

FOLDER holds *.flac or *.wav (16 kHz mono) with an *.rttm beside each. Conversations are built from
its speakers, see conversations.py; errors are words given to the wrong speaker (WDER), under the
assignment of labels to speakers that is best for all words before. "perfect turns" are the
reference's, to see the harm done where nothing is to be gained.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conversations import (
    Conversation,
    Engines,
    as_recorded,
    build,
    cut_pieces,
    dump,
    read_sources,
    recognize,
)
from scipy.optimize import linear_sum_assignment

from spokenby.stages import merging, turn_edges
from spokenby.types import Diarization, EdgeDecisions, SpeakerTranscript, Turn

GAPS_S = {"pauses": (0.1, 0.6), "tight": (0.0, 0.1), "overlaps": (-0.6, 0.2)}
TURNS = {3.0: 60, 8.0: 40}
"""How many turns a conversation has, by how long the longest are."""

LEAST_WORDS = 80
"""Speakers with fewer words take no part."""


class Judge:
    """The stages before, and who said what with and without the decisions."""

    def __init__(self, params: turn_edges.Params) -> None:
        self._params = params
        self._engines = Engines()

    def measure(
        self, conversation: Conversation, turns: Diarization | None = None
    ) -> dict[str, Any]:
        """Return numbers about one conversation, with the diarizer's turns if none are given."""
        waveform, transcript = conversation.waveform, conversation.transcript
        regions = self._engines.detect_speech(waveform)
        if turns is None:
            turns = self._engines.diarize(waveform, regions)
        voices = self._engines.embed(waveform, turns)
        began = time.perf_counter()
        decided = turn_edges.decide_edges(
            waveform, transcript, turns, voices, self._engines.encoder, self._params, digest=""
        )
        seconds = time.perf_counter() - began

        params = merging.Params(max_word=10)

        def said_by(decisions: EdgeDecisions | None) -> list[str | None]:
            merged: SpeakerTranscript = merging.merge_transcript(
                transcript,
                merging.join_voices(turns, voices, params),
                regions,
                params,
                edges=decisions,
                digest="",
            )
            return [word.speaker for segment in merged.segments for word in segment.words]

        before, after = said_by(None), said_by(decided)
        names = sorted(set(conversation.owners))
        labels = list(turns.speakers)
        counts = np.zeros((len(labels), len(names)))
        for label, owner in zip(before, conversation.owners, strict=True):
            if label:
                counts[labels.index(label), names.index(owner)] += 1
        rows, columns = linear_sum_assignment(-counts)
        who: dict[str | None, str] = {
            labels[row]: names[column] for row, column in zip(rows, columns, strict=True)
        }

        def errors(hypothesis: Sequence[str | None]) -> int:
            return sum(
                who.get(label) != owner
                for label, owner in zip(hypothesis, conversation.owners, strict=True)
            )

        return {
            "seconds": waveform.duration,
            "words": len(before),
            "doubtful": decided.doubtful,
            "heard": decided.heard,
            "changed": sum(a != b for a, b in zip(before, after, strict=True)),
            "errors before": errors(before),
            "errors after": errors(after),
            "took": seconds,
        }


def perfect(turns: Sequence[Turn]) -> Diarization:
    """Return the reference as a diarization; an overlap is cut in its middle for the words."""
    exclusive: list[Turn] = []
    for turn in sorted(turns, key=lambda turn: turn.start):
        start = turn.start
        if exclusive and start < exclusive[-1].end:
            start = (start + min(exclusive[-1].end, turn.end)) / 2
            exclusive[-1] = exclusive[-1].model_copy(update={"end": start})
        exclusive.append(turn.model_copy(update={"start": start}))
    return Diarization(digest="", turns=tuple(turns), exclusive=tuple(exclusive))


def summarize(rows: Sequence[dict[str, Any]], **about: Any) -> dict[str, Any]:
    total = {key: sum(row[key] for row in rows) for key in rows[0]}
    for when in ("before", "after"):
        total[f"WDER {when}"] = 100 * total[f"errors {when}"] / total["words"]
    return {**about, "conversations": len(rows), **total}


def measure(arguments: argparse.Namespace, params: turn_edges.Params) -> Iterator[dict[str, Any]]:
    sources = read_sources(arguments.folder)
    heard = recognize(sources, arguments.words)
    pieces = cut_pieces(sources, heard)
    judge = Judge(params)
    recorded = [as_recorded(source, heard[source.name]) for source in sources]
    recorded = [conversation for conversation in recorded if conversation.words]
    for turns in ("diarizer's", "perfect"):
        rows = [
            judge.measure(each, perfect(each.turns) if turns == "perfect" else None)
            for each in recorded
        ]
        yield summarize(rows, set="as recorded", kind="", turns=turns)
    for number, speakers in enumerate(arguments.sets or [" ".join(pieces)], 1):
        able = [
            name
            for name in speakers.split()
            if sum(len(piece.words) for piece in pieces[name]) >= LEAST_WORDS
        ]
        for (kind, gap), longest in product(GAPS_S.items(), TURNS):
            built = []
            for seed in range(arguments.rounds):
                draw = np.random.default_rng([seed, number, int(longest), len(kind)])
                some = draw.choice(able, size=min(2 + seed % 2, len(able)), replace=False).tolist()
                built.append(
                    build(pieces, some, draw, turns=TURNS[longest], longest_s=longest, gap_s=gap)
                )
            for turns in ("diarizer's", "perfect"):
                rows = [
                    judge.measure(each, perfect(each.turns) if turns == "perfect" else None)
                    for each in built
                ]
                yield summarize(rows, set=number, kind=f"{kind}, <= {longest:g} s", turns=turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", help="speakers of a set, as one word each set")
    parser.add_argument("--rounds", type=int, default=3, help="conversations of a kind")
    parser.add_argument("--words", type=Path, help="file that recognized words are kept in")
    parser.add_argument("--params", type=json.loads, default={}, help='such as {"margin": 0.2}')
    parser.add_argument("--json", type=Path, help="write settings and numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    params = turn_edges.Params.model_validate({"enabled": True, **arguments.params})
    print(
        f"{'set':13}{'kind':18}{'turns':12}{'words':>6}{'heard':>7}{'changed':>9}"
        f"{'WDER':>8}{'after':>7}{'ms/word':>9}"
    )
    table = []
    for row in measure(arguments, params):
        table.append(row)
        print(
            f"{row['set']!s:13}{row['kind']:18}{row['turns']:12}{row['words']:6}{row['heard']:7}"
            f"{row['changed']:9}{row['WDER before']:8.2f}{row['WDER after']:7.2f}"
            f"{1000 * row['took'] / max(row['heard'], 1):9.1f}",
            flush=True,
        )
    for number, turns in product(
        dict.fromkeys(row["set"] for row in table), ("diarizer's", "perfect")
    ):
        rows = [row for row in table if (row["set"], row["turns"]) == (number, turns)]
        words = sum(row["words"] for row in rows)
        before, after = (
            100 * sum(row[f"errors {when}"] for row in rows) / words for when in ("before", "after")
        )
        print(f"all of {number}, {turns} turns: {words} words, WDER {before:.2f} -> {after:.2f}")
    settings = {"params": params.model_dump(mode="json"), "sets": arguments.sets}
    dump(arguments.json, {"settings": settings, "rows": table})


if __name__ == "__main__":
    main()
