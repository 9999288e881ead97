"""What is said: tidy words, and which of them to doubt."""

from __future__ import annotations

import re
import unicodedata
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from itertools import count, groupby
from typing import ClassVar, Literal, Protocol

from pydantic import Field, field_validator

from spokenby.types import (
    UNSPACED_SCRIPTS,
    Digest,
    LanguagePart,
    Progress,
    Seconds,
    Span,
    SpeechRegions,
    StageParams,
    Transcript,
    Waveform,
    WindowNote,
    Word,
    language_code,
    no_progress,
)

VERSION = 3

SHORTEST_WORD: Seconds = 0.02
"""No word is shorter: one step of Whisper's clock."""

SURELY_NO_SPEECH = 0.95
"""Such a window is doubted even if its words seem sure: words made up in silence often do."""

EACH_PART = "auto-per-part"
"""The language that stands for what each part of the video is spoken in."""

SURE_LANGUAGE = 0.8
"""Speech is another language than the rest only if that is at least so probable: Whisper base is
0.95 to 1 sure of clear speech, and below 0.6 where it guesses."""

SHORTEST_SPEECH: Seconds = 0.3
"""Less, beside a pause, is the end or the beginning of a word that is there."""

SAID_TWICE = 4
"""So many words at most, which Whisper guesses at a cut, may be those on its other side."""

MOST_WORDLESS: Seconds = 5.0
"""Windows with more speech without words, after that was heard alone, are heard in other ways."""

MARGIN: Seconds = 0.2
"""Of the pauses beside a gap, what is heard with it."""

FIRST_PASS, WITH_GAPS = 0.9, 0.95
"""Shares of the progress: when every window is heard, and when stretches without words are too."""

_SLOW = re.compile(rf"[\d{UNSPACED_SCRIPTS}]")
_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
_OPENING = "([{¿¡“‘«「『（【《〈"


class FasterWhisperParams(StageParams):
    """How the engine `faster_whisper` runs Whisper models."""

    NOT_IN_KEY: ClassVar[frozenset[str]] = StageParams.NOT_IN_KEY | {"cpu_threads", "workers"}

    cpu_threads: int | None = Field(
        None, ge=1, le=256, description="threads of a model that runs on the CPU; empty: all cores"
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="batches heard side by side, sharing threads; empty: by device",
    )
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"
    ] = Field("auto", description="number type of the model; auto: int8 on CPU, float16")
    beam_size: int = Field(5, ge=1, le=10, description="1 is about twice as fast as 5")
    initial_prompt: str = Field(
        "", description="text in the style and spelling wished for, before every window"
    )
    hotwords: str = Field("", description="names and terms to expect")


class Params(StageParams):
    """What a run may choose about transcription."""

    engine: Literal["faster_whisper"] = Field("faster_whisper", description="what hears words")
    model: str = Field("", description="folder of the model, in the models folder")
    language: str | None = Field(
        None,
        description="language code such as en or de; empty: detect it where the engine can; "
        f"{EACH_PART}: detect it in every window",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    batch_size: int | None = Field(
        None, ge=1, le=256, description="windows a worker hears at once; empty: by device"
    )
    retries: int = Field(
        50, ge=0, description="hear so many doubtful windows again, slower and more carefully"
    )
    max_compression: float = Field(
        2.4, gt=1, description="text that packs better than this repeats itself (Whisper's 2.4)"
    )
    min_log_probability: float = Field(
        -1.0, lt=0, description="mean log-probability of a window below this is unsure (Whisper's)"
    )
    max_no_speech: float = Field(
        0.6, gt=0, le=1, description="an unsure window above this may be no speech (Whisper's)"
    )
    max_words_per_second: float = Field(
        10.0, gt=0, description="more words than this in a second of speech are made up"
    )
    max_wordless_gap: Seconds = Field(
        1.5,
        gt=0,
        description="longer speech than this without a word is heard again",
        serialization_alias="max_wordless",
    )
    speech_margin: Seconds = Field(
        0.5, ge=0, description="words farther than this from any speech are left out"
    )
    faster_whisper: FasterWhisperParams = FasterWhisperParams()

    @field_validator("language")
    @classmethod
    def _to_code(cls, language: str | None) -> str | None:
        return language if language in {None, EACH_PART} else language_code(language or "")

    def models(self) -> tuple[tuple[str, str], ...]:
        """Return the recognizer's model."""
        return ((self.engine, self.model),)


@dataclass(frozen=True)
class WindowText:
    """What an engine heard in one window, with its own scores where it has any.

    `words` have times in the video. `log_probability` is the mean over tokens. `cut_off` says that
    the text would not end and was ended. `languages` are codes and how probable each is, `language`
    is the one it was transcribed as, empty for that of the whole video.
    """

    words: Sequence[Word]
    log_probability: float | None = None
    no_speech: float | None = None
    cut_off: bool = False
    languages: Mapping[str, float] = field(default_factory=dict)
    language: str = ""


@dataclass(frozen=True)
class Heard:
    """What an engine heard: one text for each window, in order. `notes` are for the user."""

    language: str
    texts: Sequence[WindowText]
    notes: Sequence[str] = field(default=())


class Transcriber(Protocol):
    """An engine that turns windows of at most 30 s into words."""

    computes_in: str
    """Device and number type, such as `cuda, bfloat16`: what `auto` came to."""

    at_once: int
    """How many threads may call `transcribe_again` side by side."""

    def transcribe(
        self, waveform: Waveform, windows: Sequence[Span], params: Params, progress: Progress
    ) -> Heard:
        """Hear every window once, fast."""
        ...

    def transcribe_again(
        self, waveform: Waveform, window: Span, language: str, params: Params, attempt: int, /
    ) -> WindowText | None:
        """Hear one doubtful window in another way, attempt 0, 1, …; None when there is no more.

        The same window gives the same text, whatever was heard before it.
        """
        ...


def transcribe_speech(
    waveform: Waveform,
    speech: SpeechRegions,
    transcriber: Transcriber,
    params: Params,
    *,
    digest: Digest,
    progress: Progress = no_progress,
) -> Transcript:
    """Turn speech into words; hear doubtful windows again and name those that stay doubtful."""
    windows = speech.windows
    told = None if params.language == EACH_PART else params.language
    if not windows:
        return Transcript(digest=digest, language=told or "", language_set=bool(told), words=())
    heard = transcriber.transcribe(
        waveform, windows, params, lambda fraction: progress(FIRST_PASS * fraction)
    )
    checked = [
        replace(
            check_window(text, window, speech.regions, params),
            language=text.language or heard.language,
        )
        for text, window in zip(heard.texts, windows, strict=True)
    ]
    _hear_gaps(checked, waveform, speech, transcriber, params, progress)
    _hear_again(checked, waveform, speech, transcriber, params, progress)
    progress(1.0)
    languages, probability = _sum_up_languages(heard, windows)
    return Transcript(
        digest=digest,
        computed_in=transcriber.computes_in,
        language=heard.language,
        language_set=bool(told),
        language_probability=probability,
        languages=languages,
        words=tuple(word for window in checked for word in window.words),
        doubtful=tuple(doubt for window in checked for doubt in window.doubts),
        notes=tuple(heard.notes),
    )


@dataclass(frozen=True)
class Checked:
    """A window's tidy words, the reasons to doubt them, and where speech has no words."""

    window: Span
    words: Sequence[Word]
    reasons: Sequence[str]
    gaps: Sequence[tuple[Span, Seconds]]
    language: str = ""

    @property
    def doubts(self) -> list[WindowNote]:
        """What the user is told."""
        notes = [
            WindowNote(start=self.window.start, end=self.window.end, reason=reason)
            for reason in self.reasons
        ]
        for gap, wordless in self.gaps:
            reason = f"no words in {wordless:.1f} s of speech"
            notes.append(WindowNote(start=gap.start, end=gap.end, reason=reason))
        return notes

    @property
    def badness(self) -> tuple[int, Seconds]:
        """How bad it is: the less, the better."""
        return len(self.reasons) + len(self.gaps), sum(wordless for _, wordless in self.gaps)


def check_window(
    text: WindowText, window: Span, regions: Sequence[Span], params: Params
) -> Checked:
    """Return a window's tidy words and the doubts about them."""
    speech = clip_spans(regions, window)
    words = tidy_words(text.words, window, speech, params.speech_margin)
    reasons = []
    if text.cut_off or repeats_itself([word.text for word in words], params.max_compression):
        reasons.append("the text repeats itself")
    unsure = (text.log_probability or 0.0) < params.min_log_probability
    no_speech = text.no_speech or 0.0
    if no_speech > SURELY_NO_SPEECH or (unsure and no_speech > params.max_no_speech):
        reasons.append("there may be no speech here")
    elif unsure:
        reasons.append("the recognizer was unsure")
    if len(words) > params.max_words_per_second * sum(region.duration for region in speech) + 2:
        reasons.append("there are more words than the speech has room for")
    if left_out := len(text.words) - len(words):
        reasons.append(f"words left out where nobody speaks: {left_out}")
    return Checked(
        window, words, reasons, find_gaps(words, window, speech, params.max_wordless_gap)
    )


def _hear_gaps(
    checked: list[Checked],
    waveform: Waveform,
    speech: SpeechRegions,
    transcriber: Transcriber,
    params: Params,
    progress: Progress,
) -> None:
    """Hear speech without words alone, all gaps in one batch, and put in what is found.

    Whisper passes over sentences of a window, also of a short one that holds any others.
    """
    gaps = [(i, gap, lost) for i, window in enumerate(checked) for gap, lost in window.gaps]
    if not gaps or not params.retries:
        return
    gaps = sorted(gaps, key=lambda it: it[2], reverse=True)[: params.retries]
    for language in sorted({checked[i].language for i, _, _ in gaps}):
        its = [gap for gap in gaps if checked[gap[0]].language == language]
        stretches = [_widened(gap, checked[i]) for i, gap, _ in its]
        known = params.model_copy(update={"language": language})
        heard = transcriber.transcribe(waveform, stretches, known, no_progress)
        for (i, _, lost), stretch, text in zip(its, stretches, heard.texts, strict=True):
            found = check_window(text, stretch, speech.regions, params)
            still = sum(wordless for _, wordless in found.gaps)
            if found.words and not found.reasons and still <= lost / 2:
                checked[i] = _with_found(checked[i], found, speech.regions, params)
    progress(WITH_GAPS)


def _widened(gap: Span, window: Checked) -> Span:
    """Return a gap with as much around it as there is between it and the words beside it."""
    before = [word.end for word in window.words if word.end <= gap.start]
    behind = [word.start for word in window.words if word.start >= gap.end]
    return Span(
        start=max(gap.start - MARGIN, max(before, default=window.window.start)),
        end=min(gap.end + MARGIN, min(behind, default=window.window.end)),
    )


def _with_found(
    window: Checked, found: Checked, regions: Sequence[Span], params: Params
) -> Checked:
    """Return the window with the words found in a gap of it, if that is better.

    Words that were stretched over the gap and are not among those found are said beside it.
    """
    words, span = list(found.words), Span(start=found.words[0].start, end=found.words[-1].end)
    said = {_folded(word.text) for word in words}
    before, behind = [], []
    for word in window.words:
        middle = (word.start + word.end) / 2
        if middle < found.window.start:
            before.append(word)
        elif middle > found.window.end:
            behind.append(word)
        elif _folded(word.text) not in said and word.text[-1].isalnum():
            behind.append(_clipped(word, span.end, window.window.end))
        elif _folded(word.text) not in said:
            before.append(_clipped(word, window.window.start, span.start))
    for length in range(min(len(words), SAID_TWICE), 0, -1):
        if _same(words[:length], before[-length:]):
            before = before[:-length]
        if _same(words[-length:], behind[:length]):
            behind = behind[length:]
    both = sorted([*before, *words, *behind], key=lambda word: word.start)
    if len(both) <= len(window.words) or repeats_itself(
        [word.text for word in both], params.max_compression
    ):
        return window
    speech = clip_spans(regions, window.window)
    mended = replace(
        window, words=both, gaps=find_gaps(both, window.window, speech, params.max_wordless_gap)
    )
    return min(window, mended, key=lambda it: it.badness)


def _clipped(word: Word, start: Seconds, end: Seconds) -> Word:
    """Return the word moved between two times."""
    first = max(start, min(word.start, end - SHORTEST_WORD))
    last = min(max(word.end, first + SHORTEST_WORD), max(end, first + SHORTEST_WORD))
    return word.model_copy(update={"start": round(first, 3), "end": round(last, 3)})


def _same(words: Sequence[Word], others: Sequence[Word]) -> bool:
    """Say whether the texts are the same but for case and punctuation."""
    return [_folded(word.text) for word in words] == [_folded(word.text) for word in others]


def _folded(text: str) -> str:
    return text.casefold().strip(".,!?;:…\"'")


def _hear_again(
    checked: list[Checked],
    waveform: Waveform,
    speech: SpeechRegions,
    transcriber: Transcriber,
    params: Params,
    progress: Progress,
) -> None:
    """Hear doubtful windows in other ways, until one is not, and keep the best."""
    doubted = [
        i for i, window in enumerate(checked) if window.reasons or window.badness[1] > MOST_WORDLESS
    ][: params.retries]

    def hear_again(i: int) -> None:
        attempts = count()
        while (checked[i].reasons or checked[i].gaps) and (
            again := transcriber.transcribe_again(
                waveform, checked[i].window, checked[i].language, params, next(attempts)
            )
        ):
            rechecked = check_window(again, checked[i].window, speech.regions, params)
            if rechecked.badness < checked[i].badness:
                checked[i] = replace(rechecked, language=checked[i].language)

    with ThreadPoolExecutor(transcriber.at_once) as threads:
        # What is logged belongs to the run whose context this is.
        hearings = [threads.submit(copy_context().run, hear_again, i) for i in doubted]
        try:
            for done, hearing in enumerate(hearings):
                progress(WITH_GAPS + (1 - WITH_GAPS) * done / len(doubted))
                hearing.result()
        finally:
            threads.shutdown(cancel_futures=True)
            hearings.clear()


def _sum_up_languages(
    heard: Heard, windows: Sequence[Span]
) -> tuple[tuple[LanguagePart, ...], float | None]:
    """Return the language of each part, and the probability of the one that was transcribed."""
    rated = [
        (window, text.languages, text.language or heard.language)
        for window, text in zip(windows, heard.texts, strict=True)
        if text.languages
    ]
    if not rated:
        return (), None
    parts = []
    for (language, transcribed), members in groupby(
        rated, lambda it: (max(it[1], key=it[1].__getitem__), it[2])
    ):
        group = list(members)
        parts.append(
            LanguagePart(
                start=group[0][0].start,
                end=group[-1][0].end,
                language=language,
                probability=_mean([(span, them[language]) for span, them, _ in group]),
                transcribed=transcribed,
            )
        )
    return tuple(parts), _mean([(span, them.get(written, 0.0)) for span, them, written in rated])


def _mean(rated: Sequence[tuple[Span, float]]) -> float:
    """Return the mean weighted by length."""
    weighted = sum(span.duration * value for span, value in rated)
    return round(weighted / max(sum(span.duration for span, _ in rated), 1e-3), 3)


def clip_spans(spans: Sequence[Span], window: Span) -> list[Span]:
    """Return the parts of the sorted, disjoint spans that lie in the window."""
    first = bisect_right(spans, window.start, key=lambda span: span.end)
    last = bisect_left(spans, window.end, key=lambda span: span.start)
    return [
        Span(start=max(span.start, window.start), end=min(span.end, window.end))
        for span in spans[first:last]
    ]


def join_pieces(pieces: Sequence[Word]) -> list[Word]:
    """Join the pieces that a tokenizer cuts words into; a leading space begins a new word.

    Scripts that write no spaces between words keep their pieces, `spaced` false. Punctuation
    belongs to the word before it, an opening one to the word behind; it takes no time. Confidence
    is the mean weighted by length.
    """
    groups: list[list[Word]] = []
    for piece in pieces:
        if groups and _continues("".join(part.text for part in groups[-1]), piece.text):
            groups[-1].append(piece)
        elif piece.text.strip():
            groups.append([piece])
    if len(groups) > 1 and not any(_last_letter(piece.text) for piece in groups[-1]):
        rest = groups.pop()
        groups[-1] += rest
    words: list[Word] = []
    spaced = False
    for group in groups:
        text = "".join(piece.text for piece in group)
        spaced = spaced or text[0].isspace() if words else not _UNSPACED.match(text.strip())
        heard = [piece for piece in group if _last_letter(piece.text)] or group
        lengths = [len(piece.text.strip()) for piece in heard]
        weighted = sum(piece.confidence * n for piece, n in zip(heard, lengths, strict=True))
        words.append(
            Word(
                start=heard[0].start,
                end=max(piece.end for piece in heard),
                text=text.strip(),
                confidence=weighted / sum(lengths),
                spaced=spaced,
            )
        )
        spaced = text[-1].isspace()
    return words


def _continues(before: str, text: str) -> bool:
    """Say whether a piece belongs to the word that `before` is of so far."""
    letter = _last_letter(before)
    if not letter or not text.strip():
        return True
    if text[0].isspace() or before[-1].isspace():
        return False
    if not _last_letter(text):
        return text[0] not in _OPENING
    if unicodedata.category(text[0]).startswith("M"):
        return True
    return not (_UNSPACED.match(letter) or _UNSPACED.match(text[0]))


def _last_letter(text: str) -> str:
    """Return the last letter or digit, empty if there is none."""
    return next((character for character in reversed(text) if character.isalnum()), "")


def longest_spoken(text: str) -> Seconds:
    """Return how long a word can last as spoken.

    Of 600 words that Whisper base heard in read and free speech, 98 of 100 last no longer; those
    that do are stretched over a pause, or over speech that was passed over.
    """
    letters = sum(character.isalnum() for character in text)
    slow = len(_SLOW.findall(text))  # a digit is a word, a character of these scripts a syllable
    return 0.4 + 0.1 * (letters - slow) + 0.3 * slow


def tidy_words(
    words: Sequence[Word], window: Span, speech: Sequence[Span], margin: Seconds
) -> list[Word]:
    """Sort the words, trim them to the stretch of speech they share most with, drop what is far.

    A recognizer stretches words over pauses; the part in the pause is cut off. A word in no speech
    but within `margin` of some keeps its times. None lasts longer than it can as spoken: it ends
    where it ended, as Whisper gives a pause to the word behind, unless a sentence ends with it.
    """
    tidy = []
    for word in sorted(words, key=lambda word: (word.start, word.end)):
        text = word.text.strip()
        start, end = max(word.start, window.start), min(word.end, window.end)
        near = clip_spans(speech, Span(start=start - margin, end=max(start, end) + margin))
        if not text or not near:
            continue
        best = max(near, key=lambda span: min(span.end, end) - max(span.start, start))
        if best.start < end and start < best.end:
            start, end = max(start, best.start), min(end, best.end)
        if text[-1].isalnum():
            start = max(start, end - longest_spoken(text))
        else:
            end = min(end, start + longest_spoken(text))
        start = max(window.start, min(start, window.end - SHORTEST_WORD))
        end = max(end, start + SHORTEST_WORD)
        tidy.append(
            Word(
                start=round(start, 3),
                end=round(end, 3),
                text=text,
                confidence=min(1.0, max(0.0, word.confidence)),
                spaced=word.spaced,
            )
        )
    return sorted(tidy, key=lambda word: (word.start, word.end))


def repeats_itself(texts: Sequence[str], max_compression: float) -> bool:
    """Say whether a text loops: it packs too well, or a phrase comes again and again.

    Short loops do not pack well yet, so phrases are counted too: up to eight words, four times and
    eight words long at least.
    """
    joined = " ".join(texts).encode()
    if len(joined) > max_compression * len(zlib.compress(joined)):
        return True
    folded = [_folded(text) for text in texts]
    for length in range(1, 9):
        run = 0
        for previous, following in zip(folded, folded[length:], strict=False):
            run = run + 1 if previous == following else 0
            if run + length >= max(4 * length, 8):
                return True
    return False


def find_gaps(
    words: Sequence[Word], window: Span, speech: Sequence[Span], at_least: Seconds
) -> list[tuple[Span, Seconds]]:
    """Return the stretches whose speech is longer than their words can last, and by how much.

    Words that are stretched over lost ones have been cut to what they can last. What a word could
    last longer counts against the speech around it.
    """
    gaps = []
    first = stop = window.start
    missing = most = 0.0
    ends = [window.start, *(word.end for word in words)]
    starts = [*(word.start for word in words), window.end]
    for number, (end, start) in enumerate(zip(ends, starts, strict=True)):
        if inside := clip_spans(speech, Span(start=end, end=max(end, start))):
            long = [span for span in inside if span.duration >= SHORTEST_SPEECH]
            if not missing:
                first, stop = (long or inside)[0].start, inside[-1].end
            missing += sum(span.duration for span in inside)
            most = max(most, missing)
            stop = long[-1].end if long else stop
        word = words[number] if number < len(words) else None
        missing -= max(0.0, longest_spoken(word.text) - word.duration) if word else missing
        if missing <= 0 or most - missing > at_least:
            if most > at_least:
                gaps.append((Span(start=first, end=stop), most))
            missing = most = 0.0
    return gaps
