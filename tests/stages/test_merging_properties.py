"""Whatever was heard, by whomever: what always holds of a merged transcript."""

import math
import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spokenby.stages.merging import Params, join_voices, join_words, merge_transcript
from spokenby.types import (
    Diarization,
    EdgeDecision,
    EdgeDecisions,
    Span,
    SpeakerEmbeddings,
    SpeakerTranscript,
    SpeechRegions,
    Transcript,
    Turn,
    Word,
)

LABELS = ("SPEAKER_00", "SPEAKER_01", "SPEAKER_02", "SPEAKER_03")
TICK = 1 / 64
"""Times are multiples of this, which floats add without rounding."""
TEXTS = ("so", "I", "Yes.", "no?", "等。", "1,200", "it's", "\u2014", "…")


@dataclass(frozen=True)
class Recording:
    """What merging is given, with times in ticks."""

    words: tuple[tuple[int, int, str, float, bool], ...]
    turns: tuple[tuple[int, int, str], ...]
    regions: tuple[tuple[int, int], ...]
    likeness: tuple[tuple[float, ...], ...]
    edges: tuple[tuple[int, str], ...]
    end: int
    params: Params

    def relabeled(self, new: dict[str, str]) -> "Recording":
        return replace(
            self,
            turns=tuple((start, end, new[label]) for start, end, label in self.turns),
            likeness=tuple(
                tuple(self.likeness[LABELS.index(old)][LABELS.index(other)] for other in _olds(new))
                for old in _olds(new)
            ),
            edges=tuple((word, new[label]) for word, label in self.edges),
        )

    def shifted(self, ticks: int) -> "Recording":
        return replace(
            self,
            words=tuple((start + ticks, end + ticks, *rest) for start, end, *rest in self.words),
            turns=tuple((start + ticks, end + ticks, label) for start, end, label in self.turns),
            regions=tuple((start + ticks, end + ticks) for start, end in self.regions),
            end=self.end + ticks,
        )

    def merged(self) -> SpeakerTranscript:
        turns = [Turn(start=s * TICK, end=e * TICK, speaker=who) for s, e, who in self.turns]
        exclusive, reach = [], 0.0
        for turn in turns:
            if turn.end > max(turn.start, reach):
                exclusive.append(turn.model_copy(update={"start": max(turn.start, reach)}))
                reach = turn.end
        diarization = Diarization(digest="d", turns=tuple(turns), exclusive=tuple(exclusive))
        rows = [LABELS.index(label) for label in diarization.speakers]
        likeness = np.array(self.likeness)[np.ix_(rows, rows)]
        vectors = np.where(np.isnan(np.diag(likeness)), np.nan, 1.0)[:, None] * [[0.6, 0.8]]
        voices = join_voices(
            diarization,
            SpeakerEmbeddings(
                digest="e",
                model="m",
                speakers=diarization.speakers,
                vectors=vectors,
                spread=vectors[:, 0] * 0,
                speech=np.ones(len(rows)),
                segments=len(rows),
                likeness=likeness,
                parts=np.zeros((len(rows), 2)),
            ),
            self.params,
        )
        words = tuple(
            Word(start=s * TICK, end=e * TICK, text=text, confidence=sure, spaced=spaced)
            for s, e, text, sure, spaced in self.words
        )
        owners = {turn.speaker for turn in exclusive}
        edges = tuple(
            EdgeDecision(word=word, speaker=label, margin=0.2)
            for word, label in dict(self.edges).items()
            if word < len(words) and label in owners
        )
        regions = tuple(Span(start=s * TICK, end=e * TICK) for s, e in self.regions)
        return merge_transcript(
            Transcript(digest="t", language="en", words=words),
            voices,
            SpeechRegions(digest="s", regions=regions, windows=(), duration=self.end * TICK),
            self.params,
            edges=EdgeDecisions(digest="x", decisions=edges, doubtful=0, heard=0),
            digest="merged",
        )


def _olds(new: dict[str, str]) -> list[str]:
    """Return the old labels in the order of the new ones."""
    return sorted(new, key=new.__getitem__)


SHORT, LONG = (0, 1, 13, 32, 64), (128, 129, 300, 700)
"""Ticks: few lengths, so that edges often meet."""


def decode(drawn: bytes) -> Recording:
    """Make a recording of drawn bytes: a draw for each choice would take longer than merging."""
    rest = iter(drawn)

    def pick(*options):
        return options[next(rest) % len(options)]

    words, now = [], 0
    for _ in range(next(rest) % 13):
        now += pick(0, *SHORT, *LONG)
        end = now + pick(*SHORT, *LONG)
        words.append((now, end, pick(*TEXTS), pick(0.0, 0.5, 1.0), pick(True, False)))
    turns, now = [], 0
    for _ in range(next(rest) % 9):
        now += pick(0, *SHORT, *LONG)
        turns.append((now, now + pick(*SHORT, *LONG), pick(*LABELS)))
    regions, now = [], 0
    for _ in range(next(rest) % 4):
        now += pick(*SHORT, *LONG)
        regions.append((now, now + pick(*SHORT, *LONG)))
        now = regions[-1][1] + 1
    likeness = np.array([[pick(0.1, 0.7, 0.8, math.nan) for _ in LABELS] for _ in LABELS])
    likeness = np.where(np.tri(len(LABELS)), likeness.T, likeness)
    edges = {next(rest) % 12: pick(*LABELS) for _ in range(next(rest) % 4)}
    return Recording(
        words=tuple(words),
        turns=tuple(sorted(turns, key=lambda turn: turn[:2])),
        regions=tuple(regions),
        likeness=tuple(map(tuple, likeness.tolist())),
        edges=tuple(sorted(edges.items())),
        end=max((row[1] for row in (*words, *turns, *regions)), default=0),
        params=Params(
            max_word=pick(2.0, 0.5, 10.0),
            max_edge_distance=pick(0.5, 0.0, 5.0),
            sentence_reach=pick(1.0, 0.0, 5.0),
            max_pause=pick(1.0, 0.0, 60.0),
            merge_same_voice=pick(False, True),
        ),
    )


MOST_BYTES = 1 + 12 * 5 + 1 + 8 * 3 + 1 + 3 * 2 + 16 + 1 + 3 * 2 + 5
recordings = st.binary(min_size=MOST_BYTES, max_size=MOST_BYTES).map(decode)


def words_of(transcript: SpeakerTranscript):
    return [word for segment in transcript.segments for word in segment.words]


@given(recordings)
def test_every_word_is_there_once_in_order_and_in_its_time(recording):
    merged = recording.merged()
    words = words_of(merged)
    assert [(w.text, w.confidence, w.spaced) for w in words] == [r[2:] for r in recording.words]
    assert all(one.start <= other.start for one, other in pairwise(words))
    for word, (start, end, *_) in zip(words, recording.words, strict=True):
        assert start * TICK <= word.start <= word.end <= end * TICK <= merged.duration
        assert word.end - word.start == min((end - start) * TICK, recording.params.max_word)
    assert SpeakerTranscript.model_validate_json(merged.model_dump_json()) == merged


@given(recordings)
def test_who_speaks_is_among_those_who_were_heard(recording):
    merged = recording.merged()
    labels = [speaker.label for speaker in merged.speakers]
    assert len(set(labels)) == len(labels)
    assert set(labels) == {turn.speaker for turn in merged.turns}
    assert set(labels) <= {label for *_, label in recording.turns}
    words = words_of(merged)
    for word in words:
        assert word.speaker in {*labels, None}
        assert (word.speaker is None) == bool(word.reason)
    for speaker in merged.speakers:
        assert speaker.words == sum(word.speaker == speaker.label for word in words)
        spoken = sum(t.duration for t in merged.turns if t.speaker == speaker.label)
        assert 0 <= speaker.talk_time <= min(merged.duration, spoken)
    assert merged.coverage is None or 0 <= merged.coverage <= 1


@given(recordings)
def test_segments_break_where_the_speaker_changes_or_pauses_and_nowhere_else(recording):
    merged = recording.merged()
    segments = merged.segments
    for segment in segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
        assert segment.text == join_words(segment.words)
        assert (segment.start, segment.end) == (
            min(word.start for word in segment.words),
            max(word.end for word in segment.words),
        )
        assert segment.overlap == any(word.overlap for word in segment.words)
        sure = [word.confidence for word in segment.words]
        assert min(sure) - 1e-9 <= segment.confidence <= max(sure) + 1e-9
    reached = 0.0
    breaks = {id(segment.words[0]) for segment in segments[1:]}
    for before, after in pairwise(words_of(merged)):
        reached = max(reached, before.end)
        pauses = after.start - reached > recording.params.max_pause
        assert (id(after) in breaks) == (pauses or after.speaker != before.speaker)


@given(recordings, st.permutations(LABELS))
def test_other_labels_give_the_same_under_other_labels(recording, labels):
    new = dict(zip(LABELS, labels, strict=True))
    merged, other = recording.merged(), recording.relabeled(new).merged()

    def told(transcript):  # two labels of one voice are named in the order of their labels
        return sorted(sorted(warning.split()) for warning in transcript.warnings)

    renamed = SpeakerTranscript.model_validate_json(
        re.sub(r"SPEAKER_\d\d", lambda label: new[label[0]], merged.model_dump_json())
    )
    assert told(renamed) == told(other)
    silent = {"warnings": ()}
    assert renamed.model_copy(update=silent) == other.model_copy(update=silent)


@given(recordings, st.integers(0, 2_000_000))
def test_what_happens_later_is_the_same_later(recording, shift):
    merged, later = (
        r.merged().model_dump(mode="json") for r in (recording, recording.shifted(shift))
    )

    def moved(value):
        if isinstance(value, dict):
            return {
                key: part + shift * TICK if key in {"start", "end", "duration"} else moved(part)
                for key, part in value.items()
            }
        return [moved(part) for part in value] if isinstance(value, list) else value

    assert later == moved(merged)


@given(recordings)
def test_merged_again_it_stays_as_it_is(recording):
    merged = recording.merged()
    again = replace(
        recording,
        words=tuple(
            (round(w.start / TICK), round(w.end / TICK), w.text, w.confidence, w.spaced)
            for w in words_of(merged)
        ),
    ).merged()
    assert again.segments == merged.segments
    assert again.speakers == merged.speakers
