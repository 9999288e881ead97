"""What is said lives here: tidy words, and doubts about them.

Recognisers do not (see `engines/`); who says it does not either (see `merging.py`).
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import accumulate, count
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from whosaid.types import (
    Digest,
    Progress,
    Seconds,
    Span,
    SpeechRegions,
    StageParams,
    Transcript,
    Waveform,
    WindowNote,
    Word,
    no_progress,
)

VERSION = 2

SHORTEST_WORD: Seconds = 0.02
"""No word is shorter: one step of Whisper's clock, two of pocketsphinx'."""

SURELY_NO_SPEECH = 0.95
"""Such a window is doubted even if its words seem sure: words made up in silence often do."""

LONGEST_WORD: Seconds = 2.0
"""Longer words are not to be trusted: faster-whisper's bound for an anomaly."""

FIRST_PASS = 0.9
"""Share of the progress that hearing every window once takes; the rest is hearing some again."""


class Params(StageParams):
    """What a run may choose about transcription."""

    NOT_IN_KEY: ClassVar[frozenset[str]] = StageParams.NOT_IN_KEY | {
        "processes",
        "cpu_threads",
        "workers",
    }

    engine: Literal["pocketsphinx", "faster_whisper"] = Field(
        "pocketsphinx",
        description="pocketsphinx: an English draft, no model needed; faster_whisper: the real one",
    )
    model: str = Field("", description="folder of the model, in the models folder")
    language: str | None = Field(
        None, description="language code such as en or de; empty: detect it where the engine can"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    batch_size: int | None = Field(
        None, ge=1, le=256, description="windows a worker hears at once; empty: by device"
    )
    processes: int | None = Field(
        None, ge=1, le=256, description="pocketsphinx processes; empty: by cores and memory"
    )
    cpu_threads: int | None = Field(
        None, ge=1, le=256, description="threads of a model that runs on the CPU; empty: all cores"
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Whisper: batches heard side by side, sharing threads; empty: by device",
    )
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"
    ] = Field("auto", description="number type of the Whisper model; auto: int8 on CPU, float16")
    beam_size: int = Field(5, ge=1, le=10, description="Whisper: 1 is about twice as fast as 5")
    initial_prompt: str = Field(
        "", description="Whisper: text in the style and spelling wished for, before every window"
    )
    hotwords: str = Field("", description="Whisper: names and terms to expect")
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
    max_wordless: Seconds = Field(
        5.0, gt=0, description="speech without a word for longer than this is doubtful"
    )
    speech_margin: Seconds = Field(
        0.5, ge=0, description="words farther than this from any speech are left out"
    )


@dataclass(frozen=True)
class WindowText:
    """What an engine heard in one window, with its own scores where it has any.

    `words` have times in the video. `log_probability` is the mean over tokens. `cut_off` says that
    the text would not end and was ended.
    """

    words: Sequence[Word]
    log_probability: float | None = None
    no_speech: float | None = None
    cut_off: bool = False


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
    if not windows:
        return Transcript(digest=digest, language=params.language or "", words=())
    heard = transcriber.transcribe(
        waveform, windows, params, lambda fraction: progress(FIRST_PASS * fraction)
    )
    checked = [
        check_window(text, window, speech.regions, params)
        for text, window in zip(heard.texts, windows, strict=True)
    ]
    doubted = [i for i, (_, doubts) in enumerate(checked) if doubts][: params.retries]

    def hear_again(i: int) -> None:
        attempts = count()
        while checked[i][1] and (
            again := transcriber.transcribe_again(
                waveform, windows[i], heard.language, params, next(attempts)
            )
        ):
            rechecked = check_window(again, windows[i], speech.regions, params)
            checked[i] = min(checked[i], rechecked, key=lambda text: len(text[1]))

    with ThreadPoolExecutor(transcriber.at_once) as threads:
        # What is logged belongs to the run whose context this is.
        hearings = [threads.submit(copy_context().run, hear_again, i) for i in doubted]
        try:
            for done, hearing in enumerate(hearings):
                progress(FIRST_PASS + (1 - FIRST_PASS) * done / len(doubted))
                hearing.result()
        finally:
            threads.shutdown(cancel_futures=True)
            hearings.clear()
    progress(1.0)
    return Transcript(
        digest=digest,
        computed_in=transcriber.computes_in,
        language=heard.language,
        words=tuple(word for words, _ in checked for word in words),
        doubtful=tuple(doubt for _, doubts in checked for doubt in doubts),
        notes=tuple(heard.notes),
    )


def check_window(
    text: WindowText, window: Span, regions: Sequence[Span], params: Params
) -> tuple[list[Word], list[WindowNote]]:
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
        reasons.append("the recogniser was unsure")
    if len(words) > params.max_words_per_second * sum(region.duration for region in speech) + 2:
        reasons.append("there are more words than the speech has room for")
    if left_out := len(text.words) - len(words):
        reasons.append(f"words left out where nobody speaks: {left_out}")
    doubts = [WindowNote(start=window.start, end=window.end, reason=reason) for reason in reasons]
    for gap, wordless in wordless_speech(words, window, speech):
        if wordless > params.max_wordless:
            reason = f"no words in {wordless:.0f} s of speech"
            doubts.append(WindowNote(start=gap.start, end=gap.end, reason=reason))
    return words, doubts


def clip_spans(spans: Sequence[Span], window: Span) -> list[Span]:
    """Return the parts of the sorted, disjoint spans that lie in the window."""
    first = bisect_right(spans, window.start, key=lambda span: span.end)
    last = bisect_left(spans, window.end, key=lambda span: span.start)
    return [
        Span(start=max(span.start, window.start), end=min(span.end, window.end))
        for span in spans[first:last]
    ]


def tidy_words(
    words: Sequence[Word], window: Span, speech: Sequence[Span], margin: Seconds
) -> list[Word]:
    """Sort the words, trim them to the stretch of speech they share most with, drop what is far.

    A recogniser stretches words over pauses; the part in the pause is cut off. A word in no speech
    but within `margin` of some keeps its times.
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
        start = max(window.start, min(start, window.end - SHORTEST_WORD))
        end = max(end, start + SHORTEST_WORD)
        tidy.append(
            Word(
                start=round(start, 3),
                end=round(end, 3),
                text=text,
                confidence=min(1.0, max(0.0, word.confidence)),
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
    folded = [text.casefold().strip(".,!?;:…\"'") for text in texts]
    for length in range(1, 9):
        run = 0
        for previous, following in zip(folded, folded[length:], strict=False):
            run = run + 1 if previous == following else 0
            if run + length >= max(4 * length, 8):
                return True
    return False


def wordless_speech(
    words: Sequence[Word], window: Span, speech: Sequence[Span]
) -> list[tuple[Span, Seconds]]:
    """Return the stretches between words (and window edges) with the speech that is in each.

    A made-up word is often stretched over everything: none counts for more than `LONGEST_WORD`.
    """
    spoken = (min(word.end, word.start + LONGEST_WORD) for word in words)
    ends = accumulate(spoken, max, initial=window.start)
    starts = [*(word.start for word in words), window.end]
    gaps = []
    for end, start in zip(ends, starts, strict=True):
        inside = clip_spans(speech, Span(start=end, end=max(end, start)))
        if inside:
            gap = Span(start=inside[0].start, end=inside[-1].end)
            gaps.append((gap, sum(span.duration for span in inside)))
    return gaps
