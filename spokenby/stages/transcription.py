"""Transcribe speech to words, and retry the windows whose text is doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from itertools import count, groupby
from typing import ClassVar, Literal, Protocol

from pydantic import Field, field_validator

from spokenby.stages.vocabulary import normalize_terms
from spokenby.stages.word_gaps import find_gaps, insert_words, widen_gap
from spokenby.stages.words import clip_spans, repeats_itself, tidy_words
from spokenby.types import (
    Device,
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

SURELY_NO_SPEECH = 0.95
"""Above this, even words of high probability are doubted: many are hallucinated in silence."""

EACH_PART = "auto-per-part"
"""The value of `language` that detects it in every window."""

SURE_LANGUAGE = 0.8
"""A part is in another language only if that is at least this probable: Whisper base is 0.95 to 1
sure of clear speech, and below 0.6 where it guesses."""

MOST_WORDLESS: Seconds = 5.0
"""A window with more speech than this without words, after its gaps were tried, is retried."""

FIRST_PASS, WITH_GAPS = 0.9, 0.95
"""Progress once every window was transcribed, and once the gaps were, too."""


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
        description="batches transcribed in parallel, sharing threads; empty: by device",
    )
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"
    ] = Field("auto", description="number type of the model; auto: int8 on CPU, float16")
    beam_size: int = Field(5, ge=1, le=10, description="1 is about twice as fast as 5")
    initial_prompt: str = Field(
        "", description="text in the desired style and spelling, before every window"
    )
    hotwords: str = Field("", description="names and terms to expect")


class Params(StageParams):
    """What a run may choose about transcription."""

    ONLY_IF_SET: ClassVar[frozenset[str]] = frozenset({"vocabulary"})

    engine: Literal["faster_whisper"] = Field("faster_whisper", description="the recognizer")
    model: str = Field("", description="folder of the model, in the models folder")
    language: str | None = Field(
        None,
        description="language code such as en or de; empty: detect it where the engine can; "
        f"{EACH_PART}: detect it in every window",
    )
    device: Device = Field("auto", description="where the model runs")
    batch_size: int | None = Field(
        None, ge=1, le=256, description="windows per batch; empty: by device"
    )
    retries: int = Field(
        50,
        ge=0,
        description="at most this many doubtful windows are retried, more slowly and carefully",
    )
    max_compression: float = Field(
        2.4,
        gt=1,
        description="text that compresses better than this repeats itself (Whisper's 2.4)",
    )
    min_log_probability: float = Field(
        -1.0, lt=0, description="mean log-probability of a window below this is unsure (Whisper's)"
    )
    max_no_speech: float = Field(
        0.6, gt=0, le=1, description="an unsure window above this may be no speech (Whisper's)"
    )
    max_words_per_second: float = Field(
        10.0, gt=0, description="more words than this per second of speech are hallucinated"
    )
    max_wordless_gap: Seconds = Field(
        1.5,
        gt=0,
        description="longer speech than this without a word is transcribed again",
        serialization_alias="max_wordless",
    )
    speech_margin: Seconds = Field(
        0.5, ge=0, description="words farther than this from any speech are left out"
    )
    vocabulary: str = Field(
        "",
        description="names and terms to expect, with semicolons or line breaks between; see"
        " --vocabulary",
    )
    faster_whisper: FasterWhisperParams = FasterWhisperParams()

    _normalize = field_validator("vocabulary")(normalize_terms)

    @field_validator("language")
    @classmethod
    def _to_code(cls, language: str | None) -> str | None:
        return language if language in {None, EACH_PART} else language_code(language or "")

    def models(self) -> tuple[tuple[str, str], ...]:
        """Return the recognizer's model."""
        return ((self.engine, self.model),)


@dataclass(frozen=True)
class WindowText:
    """The text of one window, with the engine's own scores where it has any.

    `words` have times in the video. `log_probability` is the mean over tokens. `cut_off` says that
    the text reached the length limit. `languages` maps codes to probabilities; `language` is the
    one that was transcribed, empty for the video's.
    """

    words: Sequence[Word]
    log_probability: float | None = None
    no_speech: float | None = None
    cut_off: bool = False
    languages: Mapping[str, float] = field(default_factory=dict)
    language: str = ""


@dataclass(frozen=True)
class Recognition:
    """An engine's result: the video's language, and a text for each window, in order.

    `notes` are for the user.
    """

    language: str
    texts: Sequence[WindowText]
    notes: Sequence[str] = field(default=())


class Transcriber(Protocol):
    """An engine that transcribes windows of at most 30 s."""

    computes_in: str
    """Device and number type in use, such as `cuda, bfloat16`."""

    at_once: int
    """How many threads may call `transcribe_again` at the same time."""

    def transcribe(
        self, waveform: Waveform, windows: Sequence[Span], params: Params, progress: Progress
    ) -> Recognition:
        """Transcribe every window once, fast."""
        ...

    def transcribe_again(
        self, waveform: Waveform, window: Span, language: str, params: Params, attempt: int, /
    ) -> WindowText | None:
        """Transcribe one doubtful window in another way, attempt 0, 1, …; None after the last.

        The same window gives the same text, whatever was transcribed before it.
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
    """Transcribe the speech, retry doubtful windows, and report those that stay doubtful."""
    windows = speech.windows
    set_language = None if params.language == EACH_PART else params.language
    if not windows:
        return Transcript(
            digest=digest,
            language=set_language or "",
            language_set=bool(set_language),
            words=(),
        )
    recognition = transcriber.transcribe(
        waveform, windows, params, lambda fraction: progress(FIRST_PASS * fraction)
    )
    checked = [
        replace(
            check_window(text, window, speech.regions, params),
            language=text.language or recognition.language,
        )
        for text, window in zip(recognition.texts, windows, strict=True)
    ]
    _fill_gaps(checked, waveform, speech, transcriber, params, progress)
    _retry_doubtful(checked, waveform, speech, transcriber, params, progress)
    progress(1.0)
    languages, probability = _summarize_languages(recognition, windows)
    return Transcript(
        digest=digest,
        computed_in=transcriber.computes_in,
        language=recognition.language,
        language_set=bool(set_language),
        language_probability=probability,
        languages=languages,
        words=tuple(word for window in checked for word in window.words),
        doubtful=tuple(doubt for window in checked for doubt in window.doubts),
        notes=tuple(recognition.notes),
    )


@dataclass(frozen=True)
class CheckedWindow:
    """A window's tidy words, the reasons to doubt them, and the speech that has no words."""

    window: Span
    words: Sequence[Word]
    reasons: Sequence[str]
    gaps: Sequence[tuple[Span, Seconds]]
    language: str = ""

    @property
    def wordless(self) -> Seconds:
        """Length of the speech without words."""
        return sum(wordless for _, wordless in self.gaps)

    @property
    def doubts(self) -> list[WindowNote]:
        """The reasons, for the user."""
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
        """The order of quality: lower is better."""
        return len(self.reasons) + len(self.gaps), self.wordless


def check_window(
    text: WindowText, window: Span, regions: Sequence[Span], params: Params
) -> CheckedWindow:
    """Return a window's tidy words and the reasons to doubt them."""
    speech = clip_spans(regions, window)
    words = tidy_words(text.words, window, speech, params.speech_margin)
    reasons = []
    if text.cut_off or repeats_itself(words, params.max_compression):
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
    return CheckedWindow(
        window, words, reasons, find_gaps(words, window, speech, params.max_wordless_gap)
    )


def _fill_gaps(
    checked: list[CheckedWindow],
    waveform: Waveform,
    speech: SpeechRegions,
    transcriber: Transcriber,
    params: Params,
    progress: Progress,
) -> None:
    """Transcribe speech without words on its own, all gaps in one batch, and insert the words.

    Whisper skips sentences of a window, even of a short one that holds no others.
    """
    gaps = [(i, gap, wordless) for i, window in enumerate(checked) for gap, wordless in window.gaps]
    if not gaps or not params.retries:
        return
    gaps = sorted(gaps, key=lambda gap: gap[2], reverse=True)[: params.retries]
    for language in sorted({checked[i].language for i, _, _ in gaps}):
        alike = [gap for gap in gaps if checked[gap[0]].language == language]
        spans = [widen_gap(gap, checked[i].words, checked[i].window) for i, gap, _ in alike]
        recognition = transcriber.transcribe(
            waveform, spans, params.model_copy(update={"language": language}), no_progress
        )
        for (i, _, wordless), span, text in zip(alike, spans, recognition.texts, strict=True):
            found = check_window(text, span, speech.regions, params)
            if found.words and not found.reasons and found.wordless <= wordless / 2:
                checked[i] = _with_found(checked[i], found, speech.regions, params)
    progress(WITH_GAPS)


def _with_found(
    window: CheckedWindow, found: CheckedWindow, regions: Sequence[Span], params: Params
) -> CheckedWindow:
    """Return the window with the words found in a gap of it, if that is better."""
    words = insert_words(window.words, found.words, found.window, window.window)
    if len(words) <= len(window.words) or repeats_itself(words, params.max_compression):
        return window
    speech = clip_spans(regions, window.window)
    gaps = find_gaps(words, window.window, speech, params.max_wordless_gap)
    filled = replace(window, words=words, gaps=gaps)
    return min(window, filled, key=lambda candidate: candidate.badness)


def _retry_doubtful(
    checked: list[CheckedWindow],
    waveform: Waveform,
    speech: SpeechRegions,
    transcriber: Transcriber,
    params: Params,
    progress: Progress,
) -> None:
    """Transcribe doubtful windows in other ways until none is left, and keep the best result."""
    doubtful = [
        i for i, window in enumerate(checked) if window.reasons or window.wordless > MOST_WORDLESS
    ][: params.retries]

    def retry(i: int) -> None:
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
        # In the caller's context, so that log lines go to the right run.
        retries = [threads.submit(copy_context().run, retry, i) for i in doubtful]
        try:
            for done, retried in enumerate(retries):
                progress(WITH_GAPS + (1 - WITH_GAPS) * done / len(doubtful))
                retried.result()
        finally:
            threads.shutdown(cancel_futures=True)
            retries.clear()


def _summarize_languages(
    recognition: Recognition, windows: Sequence[Span]
) -> tuple[tuple[LanguagePart, ...], float | None]:
    """Return the language of each part, and the probability of the one that was transcribed."""
    rated = [
        (window, text.languages, text.language or recognition.language)
        for window, text in zip(windows, recognition.texts, strict=True)
        if text.languages
    ]
    if not rated:
        return (), None
    parts = []
    for (language, transcribed), members in groupby(
        rated, lambda row: (max(row[1], key=row[1].__getitem__), row[2])
    ):
        group = list(members)
        parts.append(
            LanguagePart(
                start=group[0][0].start,
                end=group[-1][0].end,
                language=language,
                probability=_mean([(window, found[language]) for window, found, _ in group]),
                transcribed=transcribed,
            )
        )
    return tuple(parts), _mean(
        [(window, found.get(transcribed, 0.0)) for window, found, transcribed in rated]
    )


def _mean(rated: Sequence[tuple[Span, float]]) -> float:
    """Return the mean weighted by length."""
    weighted = sum(span.duration * value for span, value in rated)
    return round(weighted / max(sum(span.duration for span, _ in rated), 1e-3), 3)
