"""Whisper models, run by faster-whisper in batches of windows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from spokenby.engines.batching import run_in_batches
from spokenby.engines.ctranslate2 import (
    choose_batch_size,
    choose_compute_type,
    choose_device,
    choose_workers,
    is_out_of_memory,
    load_cublas,
    room_on,
)
from spokenby.engines.log_mel import LogMel
from spokenby.errors import InputError, TransientError
from spokenby.stages.transcription import (
    EACH_PART,
    SURE_LANGUAGE,
    Params,
    Recognition,
    WindowText,
)
from spokenby.stages.words import join_pieces
from spokenby.types import Progress, Seconds, Span, Waveform, Word

FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")

WINDOW_S = 30
FRAMES_PER_SECOND = 100
"""Whisper always reads 30 s, 100 frames a second; shorter windows are padded with silence."""

SHORTEST_FRAMES = 20
"""Words cannot be aligned with less audio than this; they are trimmed to their window later."""

TOKENS_PER_SECOND = 15
"""More than anybody says, even in languages that take many tokens: longer text is a loop."""

ALIKE_S: Seconds = 10.0
"""Windows share a batch with others of the same length, rounded up to this: a batch takes as long
as its longest text may be, and a window's text must not depend on the batch it is in."""

Features = npt.NDArray[np.float32]

TERMS_BETWEEN = ", "

NAMED = 5
"""So many terms are named that were left out."""

DETECTIONS = 5
"""The language is detected in this many windows: the loudest of as many equal parts."""

CAREFULLY: tuple[dict[str, Any], ...] = ({}, {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2})
"""Options of each further attempt at a window: with timestamps, then also without loops. Both are
deterministic. Whisper's own fallback, sampling at rising temperatures, is not: CTranslate2 seeds a
thread once, so that a text would depend on what was transcribed before it."""


class FasterWhisper:
    """A Whisper model on one device.

    Args:
        model: folder of a model in CTranslate2's format.
        device: "auto", "cpu" or "cuda".
        compute_type: a number type of CTranslate2, or "auto"; see `choose_compute_type`.
        cpu_threads: threads on a CPU; None is one per core.
        workers: batches transcribed in parallel; they share the threads and the weights. None
            chooses by machine; see `choose_workers`.

    Raises:
        InputError: the folder holds no usable model, or the device can't be used.
        TransientError: the device has no memory left for the model.
    """

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        compute_type: str = "auto",
        cpu_threads: int | None = None,
        workers: int | None = None,
    ) -> None:
        for pattern in FILES:
            if not any(model.glob(pattern)):
                raise InputError(
                    f"the Whisper model {model} has no {pattern}",
                    "give a folder in CTranslate2's format, with the model's tokenizer.json",
                )
        self._name = model.name
        self._fitting: dict[tuple[str, str, str], tuple[str, tuple[str, ...]]] = {}
        self._device = choose_device(device)
        if self._device == "cuda":
            load_cublas()
        weights = (model / "model.bin").stat().st_size
        if compute_type == "auto":
            compute_type = choose_compute_type(self._device, weights)
        threads = cpu_threads or os.cpu_count() or 1
        self.at_once = workers or choose_workers(self._device, threads, weights)
        try:
            with room_on(self._device):
                self._whisper = WhisperModel(
                    str(model),
                    device=self._device,
                    compute_type=compute_type,
                    cpu_threads=ceil(threads / self.at_once),
                    num_workers=self.at_once,
                )
            self.computes_in = f"{self._device}, {self._whisper.model.compute_type}"
            # Not every folder states how many mel bands its model reads; the model itself does.
            mels = self._whisper.model.n_mels
            self._log_mel = LogMel(mels, self._device)
            self._whisper.feature_extractor = FeatureExtractor(feature_size=mels)
        except TransientError:
            raise
        except Exception as error:
            # CTranslate2, pybind and tokenizers raise without a common class.
            raise InputError(
                f"the Whisper model {model} cannot be loaded ({error})",
                "fetch it again, or set another compute type if the message says so",
            ) from error

    def transcribe(
        self, waveform: Waveform, windows: Sequence[Span], params: Params, progress: Progress
    ) -> Recognition:
        """Transcribe every window once, in batches; the words do not depend on the batch size.

        Raises:
            InputError: the model does not support the language.
            TransientError: the device's memory does not hold even one window.
        """
        if not windows:
            return Recognition(params.language or "", [])
        each_part = params.language == EACH_PART
        language = self._check_language(None if each_part else params.language)
        language = language or self._detect_language(waveform, windows)
        prompt = self._prompt(self._tokenizer(language), params)
        room = self._whisper.max_length - len(prompt) - 1
        batch_size = (params.batch_size or choose_batch_size(self._device)) * self.at_once
        order = sorted(range(len(windows)), key=lambda i: (-windows[i].duration, i))
        total = sum(window.duration for window in windows)
        texts: dict[int, WindowText] = {}
        notes: list[str] = []

        def rounded_length(i: int) -> Seconds:
            return ceil(windows[i].duration / ALIKE_S) * ALIKE_S

        def transcribe(batch: Sequence[int]) -> dict[int, WindowText]:
            spans = [windows[i] for i in batch]
            limit = min(_token_limit(rounded_length(batch[0])), room)
            features = prefetched.take(batch)
            size = ceil(len(batch) / self.at_once)
            shares = [slice(first, first + size) for first in range(0, len(batch), size)]
            futures = [
                workers.submit(
                    self._transcribe_batch, features[share], spans[share], language, limit, params
                )
                for share in shares
            ]
            wait(futures)  # a batch that does not fit is halved only once no part of it runs
            try:
                texts = [text for future in futures for text in future.result()]
            finally:
                futures.clear()  # a kept exception would keep its tensors in memory
            return dict(zip(batch, texts, strict=True))

        def on_smaller(size: int) -> None:
            notes[:] = [f"{self._device} ran out of memory; windows transcribed at once: {size}"]

        with ThreadPoolExecutor(1) as thread, ThreadPoolExecutor(self.at_once) as workers:
            prefetched = _Prefetched(order, lambda i: self._features(waveform, windows[i]), thread)
            for _, alike in groupby(order, rounded_length):
                for batch_texts in run_in_batches(
                    list(alike),
                    batch_size,
                    transcribe,
                    key=(self._device, "faster_whisper"),
                    is_out_of_memory=is_out_of_memory,
                    on_smaller=on_smaller,
                ):
                    texts |= batch_texts
                    progress(sum(windows[i].duration for i in texts) / total)
        notes += self._left_out(params)
        return Recognition(language, [texts[i] for i in range(len(windows))], notes)

    def transcribe_again(
        self, waveform: Waveform, window: Span, language: str, params: Params, attempt: int
    ) -> WindowText | None:
        """Transcribe one window alone, sequentially and with timestamps, to find missed words."""
        if attempt >= len(CAREFULLY):
            return None
        tokenizer = self._tokenizer(language)
        room = self._whisper.max_length - len(self._prompt(tokenizer, params)) - 1
        limit = min(_token_limit(window.duration), room)
        with room_on(self._device):
            generated, _ = self._whisper.transcribe(
                _samples(waveform, window),
                language=language,
                beam_size=params.faster_whisper.beam_size,
                temperature=0.0,
                condition_on_previous_text=False,
                word_timestamps=True,
                initial_prompt=params.faster_whisper.initial_prompt or None,
                hotwords=self._hotwords(params)[0] or None,
                max_new_tokens=limit,
                **CAREFULLY[attempt],
            )
            segments = list(generated)
        lengths = [len(segment.tokens) for segment in segments]
        return WindowText(
            words=join_pieces(
                [
                    _piece(window, word.start, word.end, word.word, word.probability)
                    for segment in segments
                    for word in segment.words or ()
                ]
            ),
            log_probability=(
                float(np.average([segment.avg_logprob for segment in segments], weights=lengths))
                if segments
                else None
            ),
            no_speech=max((segment.no_speech_prob for segment in segments), default=None),
            cut_off=any(length >= limit for length in lengths),
        )

    def _transcribe_batch(
        self,
        features: Features,
        windows: Sequence[Span],
        language: str,
        limit: int,
        params: Params,
    ) -> list[WindowText]:
        """Transcribe one batch. `features` has shape (windows, mels, frames of 30 s)."""
        whisper, tokenizer = self._whisper, self._tokenizer(language)
        encoded = whisper.encode(features)
        probabilities = self._language_probabilities(encoded)
        languages = [language] * len(windows)
        if params.language == EACH_PART:
            languages = [_sure_language(found) or language for found in probabilities]
        prompts = [self._prompt(self._tokenizer(code), params) for code in languages]
        results = whisper.model.generate(
            encoded,
            prompts,
            beam_size=params.faster_whisper.beam_size,
            max_length=len(prompts[0]) + limit,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = [result.sequences_ids[0] for result in results]
        spoken = [[token for token in row if token < tokenizer.eot] for row in tokens]
        frames = [round(window.duration * FRAMES_PER_SECOND) for window in windows]
        frames = np.clip(frames, SHORTEST_FRAMES, WINDOW_S * FRAMES_PER_SECOND).tolist()
        aligned = self._align(encoded, tokenizer, spoken, frames)
        return [
            WindowText(
                words=join_pieces(
                    [_piece(window, *piece) for piece in self._pieces(tokenizer, text, alignment)]
                ),
                # The score is the mean over the tokens; Whisper counts the end as one more.
                log_probability=result.scores[0] * len(row) / (len(row) + 1),
                no_speech=result.no_speech_prob,
                cut_off=len(row) >= min(limit, _token_limit(window.duration)),
                languages=found,
                language=code,
            )
            for window, row, text, result, alignment, found, code in zip(
                windows, tokens, spoken, results, aligned, probabilities, languages, strict=True
            )
        ]

    def _align(
        self, encoded: StorageView, tokenizer: Tokenizer, spoken: list[list[int]], frames: list[int]
    ) -> list[Any]:
        """Return when the tokens of each row were said, as CTranslate2's alignments."""
        if not any(spoken):
            return [None] * len(spoken)
        return list(self._whisper.model.align(encoded, tokenizer.sot_sequence, spoken, frames))

    def _pieces(
        self, tokenizer: Tokenizer, tokens: list[int], alignment: Any
    ) -> Iterator[tuple[Seconds, Seconds, str, float]]:
        """Yield start, end, text, probability of the smallest pieces of a row that are text."""
        if not tokens:
            return
        pieces, tokens_of_pieces = tokenizer.split_tokens_on_unicode(tokens)
        token, frame = np.array(alignment.alignments).T
        starts = frame[np.diff(token, prepend=-1) > 0] / self._whisper.tokens_per_second
        first = 0
        for piece, piece_tokens in zip(pieces, tokens_of_pieces, strict=True):
            last = first + len(piece_tokens)
            probability = float(np.mean(alignment.text_token_probs[first:last]))
            yield float(starts[first]), float(starts[last]), piece, probability
            first = last

    def _language_probabilities(self, encoded: StorageView) -> list[dict[str, float]]:
        """Return the probability of each language for each row; empty by an English-only model."""
        rows = encoded.shape[0]
        if not self._whisper.model.is_multilingual:
            return [{}] * rows
        return [
            {token[2:-2]: probability for token, probability in row}
            for row in self._whisper.model.detect_language(encoded)
        ]

    def _check_language(self, language: str | None) -> str | None:
        """Return the language to transcribe, None to detect it."""
        token_of = self._whisper.hf_tokenizer.token_to_id
        known = [code for code in self._whisper.supported_languages if token_of(f"<|{code}|>")]
        if language is not None and language not in known:
            raise InputError(
                f"the Whisper model {self._name} does not know the language {language!r}",
                f"use one of {', '.join(sorted(known))}, or omit it to detect the language",
            )
        return language if self._whisper.model.is_multilingual else "en"

    def _detect_language(self, waveform: Waveform, windows: Sequence[Span]) -> str:
        """Return the most probable language over a few loud windows from all over the video."""
        parts = np.array_split(np.arange(len(windows)), min(DETECTIONS, len(windows)))
        probabilities: Counter[str] = Counter()
        for part in parts:
            loudest = max(
                part, key=lambda i: float(np.square(_samples(waveform, windows[i])).sum())
            )
            with room_on(self._device):
                encoded = self._whisper.encode(self._features(waveform, windows[loudest]))
                probabilities.update(self._language_probabilities(encoded)[0])
        return max(sorted(probabilities), key=probabilities.__getitem__)

    def _tokenizer(self, language: str) -> Tokenizer:
        return Tokenizer(
            self._whisper.hf_tokenizer,
            self._whisper.model.is_multilingual,
            task="transcribe",
            language=language,
        )

    def _prompt(self, tokenizer: Tokenizer, params: Params) -> list[int]:
        text = params.faster_whisper.initial_prompt.strip()
        return self._whisper.get_prompt(
            tokenizer,
            tokenizer.encode(f" {text}") if text else [],
            without_timestamps=True,
            hotwords=self._hotwords(params)[0] or None,
        )

    def _hotwords(self, params: Params) -> tuple[str, tuple[str, ...]]:
        """Return the terms to expect as Whisper takes them, and those that have no room.

        Half of what Whisper reads and writes is for the text before; a prompt goes into it, too.
        """
        hotwords, prompt = (
            params.faster_whisper.hotwords,
            params.faster_whisper.initial_prompt.strip(),
        )
        key = hotwords, prompt, params.vocabulary
        if key not in self._fitting:
            encode = self._tokenizer("en").encode
            room = self._whisper.max_length // 2 - 1 - len(encode(f" {prompt}") if prompt else "")
            taken = [hotwords.strip()] if hotwords.strip() else []
            left_out = []
            for term in params.vocabulary.splitlines():
                longer = TERMS_BETWEEN.join([*taken, term])
                if len(encode(f" {longer}")) <= room:
                    taken.append(term)
                else:
                    left_out.append(term)
            self._fitting[key] = TERMS_BETWEEN.join(taken), tuple(left_out)
        return self._fitting[key]

    def _left_out(self, params: Params) -> list[str]:
        """Say which terms Whisper has no room for."""
        left_out = self._hotwords(params)[1]
        if not left_out:
            return []
        of, more = len(params.vocabulary.splitlines()), len(left_out) - NAMED
        named = ", ".join(left_out[:NAMED]) + (f" and {more} more" if more > 0 else "")
        message = "terms of the vocabulary for which the recognizer has no room"
        return [f"{message}: {len(left_out)} of {of} ({named})"]

    def _features(self, waveform: Waveform, window: Span) -> Features:
        return self._log_mel(_samples(waveform, window))


class _Prefetched:
    """Features of windows in a known order, computed one batch ahead in another thread."""

    def __init__(
        self, order: Sequence[int], compute: Callable[[int], Features], thread: ThreadPoolExecutor
    ) -> None:
        self._order = order
        self._place = {item: place for place, item in enumerate(order)}
        self._compute = compute
        self._thread = thread
        self._pending: dict[int, Future[Features]] = {}

    def take(self, batch: Sequence[int]) -> Features:
        """Return a batch's features, stacked; it can be taken again until the next one is."""
        first = self._place[batch[0]]
        due = self._order[first : first + 2 * len(batch)]
        self._pending = {
            item: self._pending.get(item) or self._thread.submit(self._compute, item)
            for item in due
        }
        return np.stack([self._pending[item].result() for item in batch])


def _samples(waveform: Waveform, window: Span) -> npt.NDArray[np.float32]:
    first, last = (round(time * waveform.rate_hz) for time in (window.start, window.end))
    return waveform.samples[first:last]


def _token_limit(duration: Seconds) -> int:
    return ceil(duration * TOKENS_PER_SECOND) + 20


def _sure_language(probabilities: Mapping[str, float]) -> str:
    """Return the language of at least `SURE_LANGUAGE`, empty if there is none."""
    best = max(probabilities, key=probabilities.__getitem__, default="")
    return best if probabilities.get(best, 0.0) >= SURE_LANGUAGE else ""


def _piece(window: Span, start: Seconds, end: Seconds, text: str, probability: float) -> Word:
    return Word(
        start=window.start + float(start),
        end=window.start + float(end),
        text=text,
        confidence=float(probability),
    )
