"""The values that pass between stages: frozen, typed, convertible to JSON and back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

SAMPLE_RATE_HZ = 16_000
"""Every stage works at this rate; `extract_audio` makes it so."""

Seconds = float
"""Time from the start of the video, or a length of time, in seconds."""

SpeakerEncoder = Literal["campplus", "speechbrain"]
"""The engines that turn a voice into a vector."""

Device = Literal["auto", "cpu", "cuda"]
"""Where an engine runs; `auto` is a GPU that it can use, else the CPU."""

TorchType = Literal["auto", "float32", "bfloat16", "float16"]
"""What a torch network computes in; `auto` is bfloat16 where the hardware supports it."""

Digest = str
"""Hex digits that name content: of bytes (a video), or of how a result came about (a stage)."""

HexDigest = Annotated[Digest, Field(pattern="^[0-9a-f]{64}$")]
"""A digest read from outside: checked, because digests become parts of paths."""

Progress = Callable[[float], None]
"""Told the finished fraction, 0 to 1, of a stage. May raise `StoppedError` to end the work."""

_LANGUAGES = """
    af Afrikaans am Amharic ar Arabic as Assamese az Azerbaijani ba Bashkir be Belarusian
    bg Bulgarian bn Bengali bo Tibetan br Breton bs Bosnian ca Catalan cs Czech cy Welsh da Danish
    de German el Greek en English es Spanish et Estonian eu Basque fa Persian fi Finnish
    fo Faroese fr French gl Galician gu Gujarati ha Hausa haw Hawaiian he Hebrew hi Hindi
    hr Croatian ht Haitian_Creole hu Hungarian hy Armenian id Indonesian is Icelandic it Italian
    ja Japanese jw Javanese ka Georgian kk Kazakh km Khmer kn Kannada ko Korean la Latin
    lb Luxembourgish ln Lingala lo Lao lt Lithuanian lv Latvian mg Malagasy mi Maori mk Macedonian
    ml Malayalam mn Mongolian mr Marathi ms Malay mt Maltese my Burmese ne Nepali nl Dutch
    nn Nynorsk no Norwegian oc Occitan pa Punjabi pl Polish ps Pashto pt Portuguese ro Romanian
    ru Russian sa Sanskrit sd Sindhi si Sinhala sk Slovak sl Slovenian sn Shona so Somali
    sq Albanian sr Serbian su Sundanese sv Swedish sw Swahili ta Tamil te Telugu tg Tajik th Thai
    tk Turkmen tl Tagalog tr Turkish tt Tatar uk Ukrainian ur Urdu uz Uzbek vi Vietnamese
    yi Yiddish yo Yoruba yue Cantonese zh Chinese
""".split()  # noqa: SIM905 - as a list it takes two hundred lines

WHISPER_LANGUAGES = _LANGUAGES[::2]
"""Languages as codes, for people to choose from; which of them a model knows, its engine says."""

LANGUAGE_LABELS = {
    code: f"{code} – {name.replace('_', ' ')}"
    for code, name in zip(WHISPER_LANGUAGES, _LANGUAGES[1::2], strict=True)
}
"""How a form offers each of them."""

_LANGUAGE_CODES = {
    **{
        name.replace("_", " ").casefold(): code
        for code, name in zip(WHISPER_LANGUAGES, _LANGUAGES[1::2], strict=True)
    },
    **{code: code for code in WHISPER_LANGUAGES},
    # Former codes, other codes of the same language, and Whisper's own "jw".
    "iw": "he",
    "in": "id",
    "ji": "yi",
    "mo": "ro",
    "jv": "jw",
    "nb": "no",
    "fil": "tl",
    "cmn": "zh",
    "mandarin": "zh",
    "farsi": "fa",
    "filipino": "tl",
}


def language_code(text: str) -> str:
    """Return the code of a language, from a code, a tag such as en-US, its name or its label.

    Raises:
        ValueError: it is none that Whisper models know.
    """
    wanted = " ".join(text.casefold().split())
    for word in (wanted, re.split(r"\s*[-_–]", wanted)[0]):
        if word in _LANGUAGE_CODES:
            return _LANGUAGE_CODES[word]
    close = difflib.get_close_matches(
        wanted, [name for name in _LANGUAGE_CODES if len(name) > 3], 1
    )
    example = f"did you mean {close[0].title()}" if close else "use a code such as en"
    raise ValueError(f"it is no language that Whisper knows ({example})")


def language_label(text: str) -> str:
    """Return how a form offers a language, from whatever `language_code` takes; else the text."""
    try:
        return LANGUAGE_LABELS[language_code(text)]
    except ValueError:
        return text


UNSPACED_SCRIPTS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Kana, Han: written without spaces between words. For `[…]` in a
regular expression."""


def no_progress(fraction: float) -> None:
    """Ignore the finished fraction: for callers that show no progress."""


def no_release() -> None:
    """Release nothing: for callers that share neither engine nor device."""


def _to_array(value: Any) -> npt.NDArray[np.float32]:
    array = np.asarray(value, dtype=np.float32)
    array.setflags(write=False)
    return array


FloatArray = Annotated[
    npt.NDArray[np.float32],
    BeforeValidator(_to_array),
    PlainSerializer(lambda array: array.tolist(), return_type=list),
]
"""A float32 array that is lists of numbers in JSON. The round trip is exact."""


class Frozen(BaseModel):
    """A value: cannot be changed, refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class StageParams(Frozen):
    """What a run may choose about one stage; each stage's `Params` derives from it.

    Every field is part of the stage's cache key, except those in `NOT_IN_KEY`: they change how fast
    a result comes, not the result but for rounding (see `EngineResult.computed_in`), or, as
    `model`, enter by what they stand for. A field with a `serialization_alias` was renamed: keys
    keep its first name, so that stored results are found again.

    Where engines can be chosen, `engine` names one, and an engine with params of its own has them
    in a field of its name.
    """

    NOT_IN_KEY: ClassVar[frozenset[str]] = frozenset({"device", "batch_size", "model"})

    ONLY_IF_SET: ClassVar[frozenset[str]] = frozenset()
    """Fields that came later, in the key only where they differ from their default: results of
    before stay valid."""

    def in_key(self) -> dict[str, Any]:
        """Return the fields that decide on the result, as JSON values.

        Of the engines' own params, those of the engine in use. Those of the default engine are in
        every key, among the stage's: they were fields of the stage once.
        """
        engines = {name: value for name, value in self if isinstance(value, StageParams)}
        fields = type(self).model_fields
        unset = {name for name in self.ONLY_IF_SET if getattr(self, name) == fields[name].default}
        out = engines.keys() | self.NOT_IN_KEY | unset
        key = self.model_dump(mode="json", by_alias=True, exclude=out)
        for engine, params in engines.items():
            if engine == fields["engine"].default:
                key |= params.in_key()
            elif engine == key["engine"]:
                key[engine] = params.in_key()
        return key

    def models(self) -> tuple[tuple[str, str], ...]:
        """Return the models that the stage loads: engine and name, empty for the default."""
        return ()


class Span(Frozen):
    """A stretch of time, `start <= end`."""

    start: Seconds
    end: Seconds

    @property
    def duration(self) -> Seconds:
        """How long it lasts."""
        return self.end - self.start


class Track(Span):
    """What one speaker was recorded on, where it lies in the extracted audio: see `tracks.py`."""

    name: str = Field(default="", description="whose it is, as the file says; empty if it does not")


class Video(Frozen):
    """A file to transcribe, as probed. `path` is where it lies now; only `digest` enters keys."""

    path: str
    name: str = Field(description="file name without its ending: names the output folder")
    digest: Digest = Field(description="of the file's bytes: a renamed video stays the same video")
    duration: Seconds
    audio_streams: int = Field(description="how many audio streams the file has, at least 1")
    recorded: str = Field(default="", description="date, as 2026-03-05, if the file says it")
    tracks: tuple[tuple[str, str], ...] = Field(
        default=(), description="of a folder of tracks: each file's name, and whose it is"
    )
    stamp: tuple[int, int, int] | None = Field(
        default=None,
        exclude=True,
        description="size, time of change and file number when the digest was taken",
    )


class StageResult(Frozen):
    """What a stage computed. `digest` is the key it is stored under."""

    digest: Digest
    seconds: Seconds = Field(default=0.0, description="how long computing it took")


class EngineResult(StageResult):
    """What one of several engines computed."""

    computed_in: str = Field(
        default="", description="device, and number type of the largest network: `cuda, bfloat16`"
    )


class AudioFile(StageResult):
    """A video's audio: a WAV file of 32-bit float samples, mono, 16 kHz.

    `name` is relative to the site's audio folder: a result holds no absolute path. Where each
    track of the video is a speaker, the file holds them one after the other.
    """

    name: str
    duration: Seconds
    sha256: str = Field(description="of the samples; a disk that changes a bit does not tell")
    warnings: tuple[str, ...] = Field(default=(), description="what the audio lacks, for people")
    tracks: tuple[Track, ...] = ()


class Waveform:
    """Samples of one video's audio, by reference.

    `samples` has shape (samples,), float32 in -1…1, and is memory-mapped read-only: passing a
    waveform on costs nothing, and pickling one, which would copy hundreds of megabytes, is refused.
    `tracks`, if there are any, are the parts in which each speaker is heard alone.
    """

    __slots__ = ("digest", "rate_hz", "samples", "tracks")

    def __init__(
        self, samples: npt.NDArray[np.float32], digest: Digest, tracks: tuple[Track, ...] = ()
    ) -> None:
        self.samples = samples
        self.rate_hz = SAMPLE_RATE_HZ
        self.digest = digest
        self.tracks = tracks

    @property
    def duration(self) -> Seconds:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz

    def __repr__(self) -> str:
        return f"Waveform({self.duration:.1f} s, digest={self.digest[:8]})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Waveform is passed by reference inside one process, never pickled")


class SpeechRegions(EngineResult):
    """Where somebody speaks: sorted, apart from each other, inside the video.

    `windows` packs the regions for recognizers: each at most 30 s, cut at pauses where there are
    any, together holding all regions.

    `local_speakers` is who is active in each chunk of 10 s as the segmentation network hears it, in
    runs: chunk, first frame, and the active speakers as a bit mask, until the next run begins.
    Speakers are local to their chunk. See `local_speakers.py`.
    """

    regions: tuple[Span, ...]
    windows: tuple[Span, ...]
    duration: Seconds = Field(description="of the whole audio")
    local_speakers: tuple[tuple[int, int, int], ...] = ()

    @property
    def speech(self) -> Seconds:
        """How long somebody speaks, all regions together."""
        return sum(region.duration for region in self.regions)


class Turn(Span):
    """A stretch in which one speaker is active. `speaker` is local to the video, as SPEAKER_00."""

    speaker: str


class Diarization(EngineResult):
    """Who spoke when. Both tuples are sorted by start, then end.

    `turns` may overlap where several speak at once; `exclusive` never does, and is what words are
    assigned by. Speakers are numbered by their first turn. With `tracks`, times are those of the
    waveform in which they lie one after the other.
    """

    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...]
    warnings: tuple[str, ...] = Field(default=(), description="what was requested and not found")
    tracks: tuple[Track, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        """The labels of all speakers, sorted."""
        return tuple(sorted({turn.speaker for turn in self.turns}))


class SpeakerEmbeddings(EngineResult):
    """One voiceprint a speaker.

    `vectors` has shape (speakers, dimension), rows L2-normalized; a row is NaN where a speaker had
    no segment long enough. `spread` is the mean cosine distance of a speaker's segments to the
    voiceprint (0: all alike), NaN likewise. Vectors are comparable only where `model` is equal.

    `likeness`, shape (speakers, speakers), is how alike the voices of two speakers are, noise
    removed: about 1 for one voice under two labels, far less for two. On its diagonal it is how
    alike the two most different parts of one speaker are, 1 where it has no parts. `parts`, shape
    (speakers, 2), is when a segment of each part starts, NaN likewise. Both are empty if unknown.
    """

    model: str = Field(description="identity of the embedding model")
    speakers: tuple[str, ...]
    vectors: FloatArray
    spread: FloatArray
    speech: FloatArray = Field(description="seconds of speech behind each voiceprint")
    segments: int = Field(description="how many segments were embedded, over all speakers")
    likeness: FloatArray = Field(default_factory=lambda: _to_array(np.empty((0, 0))))
    parts: FloatArray = Field(default_factory=lambda: _to_array(np.empty((0, 2))))


class JoinedVoices(Frozen):
    """Who spoke when and what they sound like, after labels that are one voice were joined.

    `joined` maps each label that is gone to the one that took its turns; `doubts` says, for the
    reader, where the labels of the diarizer did not fit the voices.
    """

    diarization: Diarization
    embeddings: SpeakerEmbeddings
    joined: dict[str, str] = Field(default_factory=dict)
    doubts: tuple[str, ...] = ()


class EdgeDecision(Frozen):
    """Whose a word beside a change of speaker is, by its sound."""

    word: int = Field(description="its place in `Transcript.words`")
    speaker: str
    margin: float = Field(description="cosine to this speaker's voiceprint less the other one's")


class EdgeDecisions(EngineResult):
    """Whose the words are that turns leave in doubt, in their order; unclear ones are absent."""

    decisions: tuple[EdgeDecision, ...]
    doubtful: int = Field(description="how many words were in doubt")
    heard: int = Field(description="how many of them were listened to")


class Identity(Frozen):
    """Who a speaker of one video is, as the voice library knows it."""

    speaker: str = Field(description="as in the turns: SPEAKER_00")
    voice: int | None = Field(description="number of the voice; None: no voiceprint to go by")
    name: str = Field(description="as shown to people: Ada Lovelace, or Speaker 7 for a voice 7")
    known: bool = Field(default=False, description="somebody gave the voice its name")
    merged: tuple[int, ...] = Field(
        default=(),
        exclude_if=lambda numbers: not numbers,
        description="numbers of voices that went into this one",
    )
    score: float | None = Field(
        default=None, description="cosine similarity to the voice's print; None for a new voice"
    )
    confidence: float | None = Field(
        default=None, description="calibrated probability, 0 to 1, that it is this voice"
    )


class Word(Span):
    """A spoken word. `confidence` is 0 to 1 as the engine sees it."""

    text: str
    confidence: float
    spaced: bool = Field(
        default=True, description="written with a space before it, unless it comes first"
    )


class WindowNote(Span):
    """A window of speech whose text is doubtful, and why."""

    reason: str


class LanguagePart(Span):
    """A stretch that sounds like one language, and which it was transcribed as.

    `probability`, 0 to 1, is how sure the recognizer is of what it sounds like.
    """

    language: str
    probability: float
    transcribed: str


class Transcript(EngineResult):
    """What was said, by nobody yet. Words are sorted by start. `notes` tell how it was computed."""

    language: str
    language_set: bool = Field(
        default=False, description="the run was told the language; it was not detected"
    )
    language_probability: float | None = Field(
        default=None, description="that this language is spoken, 0 to 1; None: the engine can't say"
    )
    languages: tuple[LanguagePart, ...] = Field(
        default=(), description="what the speech sounds like, in order; empty: the engine can't say"
    )
    words: tuple[Word, ...]
    doubtful: tuple[WindowNote, ...] = ()
    notes: tuple[str, ...] = ()


class SpokenWord(Word):
    """A word with its speaker, or `None` and the reason why nobody could be named."""

    speaker: str | None
    reason: str | None = None
    overlap: bool = Field(default=False, description="somebody else spoke at the same time")
    paragraph: bool | None = Field(
        default=None,
        exclude_if=lambda begins: begins is None,
        description="somebody decided that it begins a paragraph, or that it does not",
    )


class Segment(Span):
    """Words of one speaker without a long pause between them."""

    speaker: str | None
    text: str
    confidence: float = Field(description="mean of the words', weighted by their length")
    overlap: bool = Field(description="some word was spoken while somebody else spoke")
    words: tuple[SpokenWord, ...]


class Speaker(Frozen):
    """A voice of this video and how much it spoke."""

    label: str = Field(description="as in the turns: SPEAKER_00")
    name: str = Field(description="as shown to people")
    voice: int | None = Field(default=None, description="the same in every video of a library")
    merged: tuple[int, ...] = Field(
        default=(),
        exclude_if=lambda numbers: not numbers,
        description="numbers of voices that went into this one",
    )
    confidence: float | None = Field(default=None, description="that it is this voice, 0 to 1")
    talk_time: Seconds
    words: int
    track: str = Field(
        default="",
        exclude_if=lambda name: not name,
        description="name of the track that nobody else speaks on, as the file says it",
    )


class SpeakerTranscript(StageResult):
    """Who said what, when: what spokenby is for."""

    language: str
    language_probability: float | None = Field(
        default=None, description="that this language is spoken, 0 to 1; None: not known"
    )
    languages: tuple[LanguagePart, ...] = Field(
        default=(), description="what the speech sounds like, in order; empty: not known"
    )
    duration: Seconds
    speech: Seconds
    coverage: float | None = Field(
        default=None, description="share of the speech that has words, 0 to 1; None: not known"
    )
    speakers: tuple[Speaker, ...]
    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...]
    doubtful: tuple[WindowNote, ...] = ()
    replaced: dict[str, int] = Field(
        default={},
        exclude_if=lambda counts: not counts,
        description="lines `heard => meant` of the vocabulary, and how often each was applied",
    )
    warnings: tuple[str, ...] = Field(
        default=(), description="for the reader; they name speakers by label: names may change"
    )

    @property
    def named_warnings(self) -> tuple[str, ...]:
        """The warnings as people read them: with names, not labels."""
        names = {speaker.label: speaker.name for speaker in self.speakers}
        return tuple(
            re.sub(r"SPEAKER_\d+", lambda found: names.get(found[0], found[0]), warning)
            for warning in self.warnings
        )


class TranscriptSummary(Frozen):
    """The figures of one transcript, as a run's table shows them."""

    speakers: int
    words: int
    coverage: float | None = Field(default=None, description="share of the speech that has words")
    seconds: Seconds = Field(description="sum over the stages computed in this run")
    stored: tuple[str, ...] = Field(description="stages that came from the cache")
    warnings: tuple[str, ...] = ()
