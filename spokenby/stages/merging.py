"""Give every word to a speaker: who said what, when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from spokenby.stages import intervals, voice_similarity
from spokenby.stages.intervals import INSTANT, Floats
from spokenby.stages.tracks import find_tracks, on_timeline, place_on_timeline
from spokenby.stages.transcription import EACH_PART, SURE_LANGUAGE
from spokenby.stages.vocabulary import normalize_replacements, replace_words
from spokenby.stages.words import SENTENCE_ENDS
from spokenby.types import (
    Diarization,
    Digest,
    EdgeDecisions,
    Identity,
    JoinedVoices,
    LanguagePart,
    Seconds,
    Segment,
    Speaker,
    SpeakerEmbeddings,
    SpeakerTranscript,
    SpeechRegions,
    SpokenWord,
    StageParams,
    Track,
    Transcript,
    Turn,
    WindowNote,
    Word,
)
from spokenby.wording import count_of

VERSION = 3

SHORTEST_PART: Seconds = 5.0
"""Of less speech a recognizer cannot say for sure what language it is."""


MOVED_WORDS = 4
"""So many words at most change their speaker where a change moves to the end of a sentence."""

LATEST_CUT: Seconds = 5.0
"""So long after somebody else has begun, a segment is cut inside of a sentence."""


class Params(StageParams):
    """How words find their speaker, and when the reader is warned."""

    ONLY_IF_SET: ClassVar[frozenset[str]] = frozenset({"replacements"})

    max_word: Seconds = Field(
        default=2.0,
        ge=0.5,
        le=10,
        description="longer words are cut to this: recognizers stretch words over pauses",
    )
    max_edge_distance: Seconds = Field(
        default=0.5,
        ge=0,
        le=5,
        description="a word outside every turn goes to the nearest turn at most this far away",
    )
    sentence_reach: Seconds = Field(
        default=1.0,
        ge=0,
        le=5,
        description="move a change of speaker to the end of a sentence at most this far away",
    )
    max_pause: Seconds = Field(
        default=1.0, ge=0, le=60, description="a longer pause of a speaker begins a new segment"
    )
    low_confidence: float = Field(
        default=0.5, ge=0, le=1, description="warn when the mean over all words is below this"
    )
    max_wordless_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="warn when more than this share of the speech has no words",
        serialization_alias="max_wordless",
    )
    low_language: float = Field(
        default=0.5, ge=0, le=1, description="warn when the language is less probable than this"
    )
    same_voice: float = Field(
        default=0.75,
        ge=0,
        le=2,
        description="two labels are one voice if at least so alike, where 1 is the same; chosen for"
        " CAM++, by which two voices of a video have 0.45 at most",
    )
    two_voices: float = Field(
        default=0.65,
        ge=-1,
        le=1,
        description="warn when the two most different parts of a speaker are less alike than this;"
        " chosen for CAM++",
    )
    merge_same_voice: bool = Field(
        default=False, description="put labels that are one voice under one label"
    )
    replacements: str = Field(
        default="",
        description="what is meant by words that are heard wrongly: `heard => meant`, with"
        " semicolons or line breaks between; see --vocabulary",
    )

    _normalize = field_validator("replacements")(normalize_replacements)


def join_voices(
    diarization: Diarization, embeddings: SpeakerEmbeddings, params: Params
) -> JoinedVoices:
    """Put labels that are one voice under one label if `merge_same_voice` is set; note doubts."""
    doubts = voice_similarity.describe_doubts(
        embeddings, params.same_voice, params.two_voices, joined=params.merge_same_voice
    )
    joined = {}
    if params.merge_same_voice:
        joined = voice_similarity.find_joined(diarization, embeddings, params.same_voice)
        diarization, embeddings = voice_similarity.join_labels(diarization, embeddings, joined)
    return JoinedVoices(
        diarization=diarization, embeddings=embeddings, joined=joined, doubts=tuple(doubts)
    )


def merge_transcript(
    transcript: Transcript,
    voices: JoinedVoices,
    speech: SpeechRegions,
    params: Params,
    *,
    edges: EdgeDecisions | None = None,
    digest: Digest,
) -> SpeakerTranscript:
    """Give every word its speaker, and group words to segments.

    No word is lost and the order is kept. A word goes to the speaker whose exclusive turns overlap
    it most; outside all of them to the nearest turn within `max_edge_distance`; else to nobody,
    with the reason. Ties go to the speaker heard first in the video. A change of speaker close to
    the end of a sentence is moved there. `edges` overrules all that for the words whose voice it
    knows. `overlap` says that several speakers' regular turns cover some instant of the word. Talk
    time counts regular turns: who speaks at the same time as somebody else does speak, so the sum
    can exceed the speech.

    Last, words are replaced as the vocabulary says: `transcript` keeps what was heard.

    Where each track is a speaker, all this is done on the tracks, one after the other, and their
    segments are placed in the video in the end: those of different speakers may overlap.

    Warnings name speakers by their label: names may change with the voice library.
    """
    diarization = voices.diarization
    if not (speech.regions or transcript.words):  # what a diarizer took for speakers is noise
        diarization = diarization.model_copy(update={"turns": (), "exclusive": ()})
    tracks, timeline = diarization.tracks, on_timeline(diarization)
    labels = tuple(dict.fromkeys(turn.speaker for turn in timeline.turns + timeline.exclusive))
    regular = intervals.by_speaker(timeline.turns, labels)
    exclusive = intervals.by_speaker(diarization.exclusive, labels)
    named = _names_of_tracks(diarization.turns, tracks)

    words = transcript.words
    starts, ends = _capped(words, intervals.union(intervals.array(speech.regions)), params.max_word)
    owners = _owners(starts, ends, exclusive, params.max_edge_distance)
    owners = keep_sentences(owners, words, starts, params.sentence_reach)
    for decision in edges.decisions if edges else ():
        owners[decision.word] = labels.index(voices.joined.get(decision.speaker, decision.speaker))
    in_video = (place_on_timeline(tracks, times) for times in (starts, ends))
    overlaps = intervals.covered(intervals.shared(regular), *in_video) > INSTANT

    reason = (
        f"no turn within {params.max_edge_distance:g} s"
        if diarization.exclusive
        else "no speaker was found in this video"
    )
    spoken = tuple(
        SpokenWord(
            start=start,
            end=end,
            text=word.text,
            confidence=word.confidence,
            spaced=word.spaced,
            speaker=labels[owner] if owner >= 0 else None,
            reason=None if owner >= 0 else reason,
            overlap=overlap,
        )
        for word, start, end, owner, overlap in zip(
            words,
            starts.tolist(),
            ends.tolist(),
            owners.tolist(),
            overlaps.tolist(),
            strict=True,
        )
    )
    written, replaced = replace_words(spoken, params.replacements, params.max_pause)
    counts = Counter(word.speaker for word in written)
    speakers = tuple(
        Speaker(
            label=label,
            name=named.get(label) or f"Speaker {number}",
            track=named.get(label, ""),
            talk_time=intervals.length(turns),
            words=counts[label],
        )
        for number, (label, turns) in enumerate(zip(labels, regular, strict=True), 1)
    )
    coverage = _share_with_words(spoken, speech, params.max_pause)
    segments = list(_segments(written, params.max_pause))
    duration, seconds = speech.duration, speech.speech
    if tracks:
        segments = _in_turns([_placed_segment(segment, tracks) for segment in segments])
        transcript = _placed_notes(transcript, tracks)
        duration = max(track.duration for track in tracks)
        regions = place_on_timeline(tracks, intervals.array(speech.regions))
        seconds = intervals.length(intervals.union(regions))
    return SpeakerTranscript(
        digest=digest,
        language=transcript.language,
        language_probability=transcript.language_probability,
        languages=transcript.languages,
        duration=duration,
        speech=seconds,
        coverage=coverage,
        speakers=speakers,
        segments=tuple(segments),
        turns=timeline.turns,
        doubtful=transcript.doubtful,
        replaced=replaced,
        warnings=(
            *voices.diarization.warnings,
            *_warnings(spoken, speakers, transcript, voices.embeddings, speech, coverage, params),
            *voices.doubts,
        ),
    )


def name_speakers(
    transcript: SpeakerTranscript, identities: Sequence[Identity]
) -> SpeakerTranscript:
    """Show the speakers as the voice library knows them; who is not in it stays as before.

    A voice that nobody gave a name has that of its track, if that has one.
    """
    known = {identity.speaker: identity for identity in identities}

    def show(speaker: Speaker) -> Speaker:
        if not (identity := known.get(speaker.label)):
            return speaker
        update = identity.model_dump(include={"name", "voice", "confidence"})
        if speaker.track and not identity.known:
            update["name"] = speaker.track
        return speaker.model_copy(update=update)

    return transcript.model_copy(update={"speakers": tuple(map(show, transcript.speakers))})


def join_words(words: Sequence[Word]) -> str:
    """Return the words as one line of running text."""
    return " ".join("".join(f" {w.text}" if w.spaced else w.text for w in words).split())


def _capped(words: Sequence[Word], speech: Floats, longest: Seconds) -> tuple[Floats, Floats]:
    """Return starts and ends of the words, none longer than `longest`.

    A word stretched over a pause keeps its start, since aligners place the onset on sound and let
    the end run on - unless its tail holds more speech, as for a first word that begins too early.
    No start moves past the start of the next word: the order stays.
    """
    times = intervals.array(words)
    starts, ends = times[:, 0], times[:, 1]
    tails = ends - longest
    too_long = tails > starts
    in_tail = intervals.covered(speech, tails, ends) - intervals.covered(
        speech, starts, starts + longest
    )
    keep_end = too_long & (in_tail > INSTANT) & (tails <= np.append(starts[1:], np.inf))
    return (
        np.where(keep_end, tails, starts),
        np.where(too_long & ~keep_end, starts + longest, ends),
    )


def _owners(
    starts: Floats, ends: Floats, exclusive: Sequence[Floats], max_distance: Seconds
) -> npt.NDArray[np.intp]:
    """Return for every word the index of its speaker in `exclusive`, -1 for nobody."""
    owners = np.full(len(starts), -1, dtype=np.intp)
    if not exclusive or not len(starts):
        return owners
    overlaps = np.stack([intervals.covered(turns, starts, ends) for turns in exclusive])
    inside = overlaps.max(axis=0) > INSTANT
    owners[inside] = overlaps[:, inside].argmax(axis=0)

    outside = np.flatnonzero(~inside)
    distances = np.stack(
        [intervals.distance(turns, starts[outside], ends[outside]) for turns in exclusive]
    )
    near = distances.min(axis=0) <= max_distance + INSTANT
    owners[outside[near]] = distances[:, near].argmin(axis=0)
    return owners


def keep_sentences(
    owners: npt.NDArray[np.intp], words: Sequence[Word], starts: Floats, reach: Seconds
) -> npt.NDArray[np.intp]:
    """Return owners with each change of speaker moved to the end of a sentence close by.

    Recognizers place words to a few tenths of a second, and where speakers overlap the turns give
    the sound to one of them: the first words of an answer end up with who asked. At most
    `MOVED_WORDS` move, never all that a speaker says between two changes, and words move back to
    the speaker before only where the recognizer took them for the rest of a sentence: in lower
    case.

    Args:
        owners: index of each word's speaker, -1 for nobody.
        words: as recognized, with their punctuation.
        starts: of the words, in seconds.
        reach: how far a change may move, in seconds.
    """
    result = owners.copy()
    changes = (np.flatnonzero(np.diff(owners)) + 1).tolist()
    before = 0  # where the words of who speaks before a change begin by now
    for change, after in pairwise([*changes, len(owners)]):
        nearest = range(max(before + 1, change - MOVED_WORDS), min(after, change + MOVED_WORDS + 1))
        ends = [
            first
            for first in nearest
            if words[first - 1].text.endswith(SENTENCE_ENDS)
            and abs(starts[first] - starts[change]) <= reach
            and (first <= change or words[change].text[:1].islower())
        ]
        if not ends or min(owners[change - 1], owners[change]) < 0:
            before = change
            continue
        before = min(ends, key=lambda first: abs(first - change))
        result[before:change] = owners[change]
        result[change:before] = owners[change - 1]
    return result


def _segments(words: Sequence[SpokenWord], max_pause: Seconds) -> Iterator[Segment]:
    """Cut the words where the speaker changes or pauses."""
    if not words:
        return
    times = intervals.array(words)
    pauses = times[1:, 0] - np.maximum.accumulate(times[:, 1])[:-1]
    changes = [a.speaker != b.speaker for a, b in pairwise(words)]
    cuts = np.flatnonzero((pauses > max_pause + INSTANT) | np.array(changes, dtype=bool)) + 1
    edges = [0, *cuts.tolist(), len(words)]
    for first, last in pairwise(edges):
        yield segment_of(words[first:last])


def segment_of(words: Sequence[SpokenWord]) -> Segment:
    """Return words of one speaker, at least one, as a segment."""
    return Segment(
        start=words[0].start,
        end=max(word.end for word in words),
        speaker=words[0].speaker,
        text=join_words(words),
        confidence=_mean_confidence(words),
        overlap=any(word.overlap for word in words),
        words=tuple(words),
    )


def _names_of_tracks(turns: Sequence[Turn], tracks: Sequence[Track]) -> dict[str, str]:
    """Return the names of tracks that one speaker has for itself, by the speaker's label."""
    if not tracks:
        return {}
    on = find_tracks(tracks, np.array([turn.start for turn in turns])).tolist()
    pairs = {(turn.speaker, number) for turn, number in zip(turns, on, strict=True)}
    speakers = Counter(number for _, number in pairs)
    places = Counter(label for label, _ in pairs)  # who was joined across tracks stands on several
    return {
        label: tracks[number].name
        for label, number in sorted(pairs)
        if speakers[number] == places[label] == 1 and tracks[number].name
    }


def _placed_segment(segment: Segment, tracks: Sequence[Track]) -> Segment:
    """Return a segment of a track with its times in the video."""
    times = place_on_timeline(tracks, intervals.array(segment.words))
    words = (
        word.model_copy(update={"start": start, "end": end})
        for word, (start, end) in zip(segment.words, times.tolist(), strict=True)
    )
    return segment_of(tuple(words))


def _in_turns(segments: Sequence[Segment]) -> list[Segment]:
    """Return segments in the order in which they begin.

    Whoever speaks while somebody else goes on comes behind the sentence in which they begin: the
    segment of the other one is cut there.
    """
    begins = sorted(((it.start, it.speaker) for it in segments), key=lambda pair: pair[0])
    times = [start for start, _ in begins]
    pieces = []
    for segment in segments:
        inside = begins[bisect_right(times, segment.start) : bisect_left(times, segment.end)]
        due = [start for start, speaker in inside if speaker != segment.speaker]
        first = 0
        for place, (before, word) in enumerate(pairwise(segment.words), 1):
            if not due or word.start < due[0]:
                continue
            if before.text.endswith(SENTENCE_ENDS) or word.start > due[0] + LATEST_CUT:
                pieces.append(segment_of(segment.words[first:place]))
                first, due = place, [start for start in due if start > word.start]
        pieces.append(segment_of(segment.words[first:]))
    return sorted(pieces, key=lambda segment: segment.start)


def _placed_notes(transcript: Transcript, tracks: Sequence[Track]) -> Transcript:
    """Return a transcript of tracks whose notes on words and languages have times in the video."""

    def placed(spans: Sequence[WindowNote | LanguagePart]) -> tuple[WindowNote | LanguagePart, ...]:
        moved = []
        for span in spans:
            for track in tracks:  # a language may go on over several
                start, end = max(span.start, track.start), min(span.end, track.end)
                if start < end:
                    begin = {"start": round(start - track.start, 3)}
                    moved.append(
                        span.model_copy(update=begin | {"end": round(end - track.start, 3)})
                    )
        return tuple(sorted(moved, key=lambda span: (span.start, span.end)))

    return transcript.model_copy(
        update={
            "doubtful": placed(transcript.doubtful),
            "languages": placed(transcript.languages),
        }
    )


def _warnings(
    words: Sequence[SpokenWord],
    speakers: Sequence[Speaker],
    transcript: Transcript,
    embeddings: SpeakerEmbeddings,
    speech: SpeechRegions,
    coverage: float | None,
    params: Params,
) -> Iterator[str]:
    """Say what the reader must know: what is missing, and what not to trust."""
    yield from transcript.notes
    yield from _language_warnings(transcript, params)
    if not speech.regions:
        yield "no speech found"
    if speech.regions and not words:
        yield f"{_spell(speech.speech)} of speech, but no words were recognized in it"
    if words and coverage is not None and 1 - coverage > params.max_wordless_share:
        yield f"{1 - coverage:.0%} of the speech has no words"
    if (speech.regions or words) and not speakers:
        yield "no speaker was found"
    nobody = sum(word.speaker is None for word in words)
    if nobody:
        yield f"{nobody} of {len(words)} words have no speaker"
    if words and (confidence := _mean_confidence(words)) < params.low_confidence:
        yield f"low confidence overall ({confidence:.2f} of 1): expect many wrong words"
    if transcript.doubtful:
        doubtful = _spell(intervals.length(intervals.union(intervals.array(transcript.doubtful))))
        places = count_of(len(transcript.doubtful), "place")
        yield f"{doubtful} of the text is doubtful, in {places}"
    known = {
        label
        for label, vector in zip(embeddings.speakers, embeddings.vectors, strict=True)
        if np.isfinite(vector).all()
    }
    voiceless = [speaker.label for speaker in speakers if speaker.label not in known]
    if voiceless:
        yield f"too little clear speech for a voiceprint: {', '.join(voiceless)}"


def _share_with_words(
    words: Sequence[SpokenWord], speech: SpeechRegions, max_pause: Seconds
) -> float | None:
    """Return the share of the speech that has words, `None` where there is no speech.

    Half a pause on both sides of a word counts: speech regions hold small pauses.
    """
    if not speech.regions:
        return None
    if not words:
        return 0.0
    spoken = intervals.union(intervals.array(words) + np.array([-max_pause / 2, max_pause / 2]))
    regions = intervals.array(speech.regions)
    with_words = float(intervals.covered(spoken, regions[:, 0], regions[:, 1]).sum())
    return round(min(1.0, with_words / max(speech.speech, INSTANT)), 3)


def _language_warnings(transcript: Transcript, params: Params) -> Iterator[str]:
    """Say where another language is spoken than was transcribed, or that it was a guess."""
    probability = transcript.language_probability
    if probability is None or not transcript.language:
        return
    sure = [
        part
        for part in transcript.languages
        if part.probability >= SURE_LANGUAGE and part.duration >= SHORTEST_PART
    ]
    others = [part for part in sure if part.language != part.transcribed]
    if others and len(others) == len(sure) and len({part.language for part in others}) == 1:
        language = others[0].language
        yield (
            f"this sounds like {language} ({others[0].probability:.2f} of 1) and was transcribed "
            f"as {transcript.language}: set the language to {language}"
        )
    elif others:
        places = ", ".join(
            f"{part.language} at {_spell(part.start)}-{_spell(part.end)}" for part in others[:5]
        )
        yield (
            f"several languages: {places}, transcribed as {transcript.language}: "
            f"set the language to {EACH_PART}"
        )
    elif probability < params.low_language and not transcript.language_set:
        yield (
            f"the language {transcript.language} is uncertain ({probability:.2f} of 1): "
            "set it if it is wrong"
        )


def _mean_confidence(words: Sequence[Word]) -> float:
    """Return the mean weighted by length; a word without length counts as one of a millisecond."""
    weights = [max(word.duration, 1e-3) for word in words]
    weighted = sum(word.confidence * w for word, w in zip(words, weights, strict=True))
    return weighted / sum(weights)


def _spell(length: Seconds) -> str:
    return f"{length:.0f} s" if length < 120 else f"{length / 60:.0f} min"
