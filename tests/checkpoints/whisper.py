"""Whisper models in the real CTranslate2 format are made here, small ones or of full size.

Nothing is tested here; see `tests/engines/test_faster_whisper.py`. The trained model understands
the language of `tones.py`; random weights know no words and loop, as a bad model does; a reciting
model says as many words as it is told in every window, whatever it hears, so that the work of a
benchmark is known.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import ctranslate2.specs
import numpy as np
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.checkpoints.tones import LANGUAGES

MELS = 80
MAX_TOKENS = 448
MAX_FRAMES = 1500
SIZE, LAYERS, HEADS = 64, 2, 2
PROMPT = 4
"""Tokens before the text: start, language, task, no timestamps."""


class Shape(NamedTuple):
    """How large a Whisper is. With a `vocabulary` of 0 it has only the tokens that it needs."""

    size: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    mels: int = MELS
    vocabulary: int = 0
    alignment_heads: tuple[tuple[int, int], ...] = ()


SMALLEST = Shape(SIZE, LAYERS, LAYERS, HEADS)
SHAPES = {
    "smallest": SMALLEST,
    "tiny": Shape(384, 4, 4, 6, vocabulary=51865),
    "small": Shape(768, 12, 12, 12, vocabulary=51865),
    "large-v3-turbo": Shape(
        1280,
        32,
        4,
        20,
        mels=128,
        vocabulary=51866,
        alignment_heads=((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
    ),
}
"""As OpenAI's models of these names, apart from the first."""

TRAINED = Path(__file__).with_name("tones.npz")
EMPTY = "<|empty|>"
"""Stands for "", by which CTranslate2 tells a multilingual model; `tokenizers` cannot hold it."""


def make_tokenizer(*, multilingual: bool = True, vocabulary: int = 0) -> Tokenizer:
    """Return a BPE over bytes with Whisper's special tokens in their order, timestamps last.

    Made-up words fill it up to a `vocabulary` of so many tokens.
    """
    if vocabulary:
        needed = make_tokenizer(multilingual=multilingual).get_vocab_size()
        return _make_tokenizer(multilingual, vocabulary - needed)
    return _make_tokenizer(multilingual, 0)


def _make_tokenizer(multilingual: bool, fillers: int) -> Tokenizer:
    words = ["Ġ" + word for words in LANGUAGES.values() for word in words]
    pairs = [(word[:i], word[i]) for word in words for i in range(1, len(word))]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
    pieces += ["Ġ" + made_up_word(number) for number in range(fillers)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if multilingual:
        tokenizer.add_tokens([AddedToken(EMPTY, special=False, normalized=False)])
    specials = ["<|endoftext|>", "<|startoftranscript|>"]
    specials += [f"<|{code}|>" for code in _LANGUAGE_CODES] if multilingual else []
    specials += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    specials += ["<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    tokenizer.add_tokens(
        [AddedToken(f"<|{i * 0.02:.2f}|>", special=False, normalized=False) for i in range(1501)]
    )
    return tokenizer


def made_up_word(number: int) -> str:
    """Return one of many words that are no others."""
    syllables = []
    while number or len(syllables) < 2:
        number, digit = divmod(number, 75)
        syllables.append("bdfghjklmnprstv"[digit // 5] + "aeiou"[digit % 5])
    return "".join(syllables)


def sinusoids(length: int, size: int) -> np.ndarray:
    """Return Whisper's encoding of positions, shape (length, size)."""
    rates = np.exp(-np.log(10_000) / (size // 2 - 1) * np.arange(size // 2))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


Weights = Mapping[str, np.ndarray]


def trained_weights() -> Weights:
    """Return what `train_whisper.py` learnt, by the names of its parameters."""
    with np.load(TRAINED) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def random_weights() -> Weights:
    """Return weights of the same shapes that know nothing, the same at each call."""
    random = np.random.default_rng(0)
    return {
        name: random.normal(0, weights.std() + 0.02, weights.shape).astype(np.float32)
        for name, weights in trained_weights().items()
    }


def reciting_weights(shape: Shape, tokens: int) -> Weights:
    """Return random weights of a model that says `tokens` words a window, then ends.

    Its decoder knows by its positions alone what comes next: there is a word for each, and the end
    for all later ones. The work is that of any model of the shape that says so much, and the same
    for greedy and beam search.
    """
    random = np.random.default_rng(0)
    size, inner = shape.size, 4 * shape.size

    def matrix(*dimensions: int) -> np.ndarray:
        return 0.02 * random.standard_normal(dimensions, dtype=np.float32)

    weights = {
        "conv1.weight": matrix(size, shape.mels, 3),
        "conv1.bias": np.zeros(size, np.float32),
        "conv2.weight": matrix(size, size, 3),
        "conv2.bias": np.zeros(size, np.float32),
    }
    norms, attentions = ["encoder_norm", "decoder_norm"], []
    for side, layers, kinds in (
        ("encoder", shape.encoder_layers, ("self",)),
        ("decoder", shape.decoder_layers, ("self", "cross")),
    ):
        for layer in (f"{side}.{i}" for i in range(layers)):
            norms += [f"{layer}.{kind}_norm" for kind in (*kinds, "ffn")]
            attentions += [f"{layer}.{kind}_attention" for kind in kinds]
            weights[f"{layer}.ffn_in.weight"] = matrix(inner, size)
            weights[f"{layer}.ffn_in.bias"] = np.zeros(inner, np.float32)
            weights[f"{layer}.ffn_out.weight"] = matrix(size, inner)
            weights[f"{layer}.ffn_out.bias"] = np.zeros(size, np.float32)
    for norm in norms:
        weights[f"{norm}.weight"] = np.ones(size, np.float32)
        weights[f"{norm}.bias"] = np.zeros(size, np.float32)
    for attention in attentions:
        weights |= {f"{attention}.{part}.weight": matrix(size, size) for part in ("q", "k", "v")}
        weights[f"{attention}.out.weight"] = matrix(size, size)
        weights[f"{attention}.out.bias"] = np.zeros(size, np.float32)
    tokenizer = make_tokenizer(vocabulary=shape.vocabulary)
    weights["embed.weight"] = matrix(tokenizer.get_vocab_size(), size)

    positions = 5 * random.standard_normal((MAX_TOKENS, size), dtype=np.float32)
    end = PROMPT - 1 + tokens
    positions[end:] = positions[end]
    projection = matrix(tokenizer.get_vocab_size(), size)
    words = [
        number
        for piece, number in tokenizer.get_vocab().items()
        if piece.startswith("Ġ") and number < tokenizer.token_to_id("<|endoftext|>")
    ]
    said = random.choice(sorted(words), tokens, replace=len(words) < tokens)
    said = [*said.tolist(), tokenizer.token_to_id("<|endoftext|>")]
    projection[said] = 0
    for position, token in zip(positions[PROMPT - 1 : end + 1], said, strict=True):
        projection[token] += 4 * position / np.linalg.norm(position)
    return weights | {"decoder.positions": positions, "projection.weight": projection}


def make_whisper(
    folder: Path,
    weights: Weights,
    *,
    multilingual: bool = True,
    shape: Shape = SMALLEST,
    quantization: str = "float32",
) -> Path:
    """Write a model, about 1 MB if it is the smallest; return the folder."""
    tokenizer = make_tokenizer(multilingual=multilingual, vocabulary=shape.vocabulary)
    count = tokenizer.get_vocab_size()
    spec = ctranslate2.specs.WhisperSpec(
        shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads
    )

    def norm(part, name: str) -> None:
        part.gamma, part.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def linear(part, *names: str) -> None:
        """Fill one product with several: queries, keys and values are computed together."""
        part.weight = np.concatenate([weights[f"{name}.weight"] for name in names])
        part.bias = np.concatenate(
            [weights.get(f"{name}.bias", np.zeros(shape.size, np.float32)) for name in names]
        )

    def block(part, name: str, *, decodes: bool) -> None:
        norm(part.self_attention.layer_norm, f"{name}.self_norm")
        attention = f"{name}.self_attention"
        linear(part.self_attention.linear[0], *(f"{attention}.{it}" for it in "qkv"))
        linear(part.self_attention.linear[1], f"{attention}.out")
        if decodes:
            attention = f"{name}.cross_attention"
            norm(part.attention.layer_norm, f"{name}.cross_norm")
            linear(part.attention.linear[0], f"{attention}.q")
            linear(part.attention.linear[1], f"{attention}.k", f"{attention}.v")
            linear(part.attention.linear[2], f"{attention}.out")
        norm(part.ffn.layer_norm, f"{name}.ffn_norm")
        linear(part.ffn.linear_0, f"{name}.ffn_in")
        linear(part.ffn.linear_1, f"{name}.ffn_out")

    linear(spec.encoder.conv1, "conv1")
    linear(spec.encoder.conv2, "conv2")
    spec.encoder.position_encodings.encodings = sinusoids(MAX_FRAMES, shape.size)
    spec.decoder.position_encodings.encodings = weights.get(
        "decoder.positions", sinusoids(MAX_TOKENS, shape.size)
    )
    spec.decoder.embeddings.weight = weights["embed.weight"][:count]
    spec.decoder.projection.weight = weights.get(
        "projection.weight", spec.decoder.embeddings.weight
    )
    for side, name in ((spec.encoder, "encoder"), (spec.decoder, "decoder")):
        norm(side.layer_norm, f"{name}_norm")
        for i, part in enumerate(side.layer):
            block(part, f"{name}.{i}", decodes=name == "decoder")

    number = tokenizer.token_to_id
    pieces = [tokenizer.id_to_token(i) for i in range(count)]
    spec.register_vocabulary(["" if piece == EMPTY else piece for piece in pieces])
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [number("<|endoftext|>")]
    spec.config.lang_ids = (
        [number(f"<|{code}|>") for code in _LANGUAGE_CODES] if multilingual else []
    )
    last = shape.decoder_layers - 1
    spec.config.alignment_heads = [
        list(pair)
        for pair in shape.alignment_heads or [(last, head) for head in range(shape.heads)]
    ]
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    if shape.mels != MELS:  # faster-whisper looks for it here
        about = {"feature_size": shape.mels, "sampling_rate": 16_000, "hop_length": 160}
        about |= {"chunk_length": 30, "n_fft": 400}
        (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder
