"""Small Whisper models in the genuine CTranslate2 format, with random weights, are made here.

Nothing is tested here; see `tests/engines/test_faster_whisper.py`. Random weights know no words,
but go through every step: several languages, timestamps, alignment, loops.
"""

import json
from pathlib import Path

import ctranslate2.specs
import numpy as np
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tests.checkpoints.tones import LANGUAGES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

MELS = 80
MAX_TOKENS = 448
MAX_FRAMES = 1500
ENDING = 3.0
"""How much the end of the text is favoured: about … words a window."""
EMPTY = "<|empty|>"
"""Stands for "", by which CTranslate2 tells a multilingual model; `tokenizers` cannot hold it."""


def make_tokenizer(*, multilingual: bool = True) -> Tokenizer:
    """Return a BPE over bytes with Whisper's special tokens in their order, timestamps last."""
    words = ["Ġ" + word for words in LANGUAGES.values() for word in words]
    pairs = [(word[:i], word[i]) for word in words for i in range(1, len(word))]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
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


def sinusoids(length: int, size: int) -> np.ndarray:
    """Return Whisper's encoding of positions, shape (length, size)."""
    rates = np.exp(-np.log(10_000) / (size // 2 - 1) * np.arange(size // 2))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def make_whisper(
    folder: Path, *, size: int = 32, layers: int = 2, heads: int = 2, multilingual: bool = True
) -> Path:
    """Write a model of random weights, about 0.5 MB, the same at each call; return the folder."""
    tokenizer = make_tokenizer(multilingual=multilingual)
    random = np.random.default_rng(0)
    spec = ctranslate2.specs.WhisperSpec(layers, heads, layers, heads)
    count = tokenizer.get_vocab_size()

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    def norm(part) -> None:
        part.gamma, part.beta = np.ones(size, np.float32), np.zeros(size, np.float32)

    def linear(part, out: int, into: int) -> None:
        part.weight, part.bias = weights(out, into), np.zeros(out, np.float32)

    def block(part, *, decodes: bool) -> None:
        norm(part.self_attention.layer_norm)
        linear(part.self_attention.linear[0], 3 * size, size)
        linear(part.self_attention.linear[1], size, size)
        if decodes:
            norm(part.attention.layer_norm)
            linear(part.attention.linear[0], size, size)
            linear(part.attention.linear[1], 2 * size, size)
            linear(part.attention.linear[2], size, size)
        norm(part.ffn.layer_norm)
        linear(part.ffn.linear_0, 4 * size, size)
        linear(part.ffn.linear_1, size, 4 * size)

    for part, into in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, size)):
        part.weight, part.bias = weights(size, into, 3), np.zeros(size, np.float32)
    spec.encoder.position_encodings.encodings = weights(MAX_FRAMES, size)
    spec.decoder.position_encodings.encodings = weights(MAX_TOKENS, size)
    spec.decoder.embeddings.weight = weights(count, size)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    # A trained model gives text where it is asked for text; this one has to be told.
    end = tokenizer.token_to_id("<|endoftext|>")
    spec.decoder.projection.bias = np.where(np.arange(count) < end, 0, -6).astype(np.float32)
    spec.decoder.projection.bias[end] = ENDING
    for side, decodes in ((spec.encoder, False), (spec.decoder, True)):
        norm(side.layer_norm)
        for part in side.layer:
            block(part, decodes=decodes)

    number = tokenizer.token_to_id
    pieces = [tokenizer.id_to_token(i) for i in range(count)]
    spec.register_vocabulary(["" if piece == EMPTY else piece for piece in pieces])
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [number("<|endoftext|>")]
    spec.config.lang_ids = (
        [number(f"<|{code}|>") for code in _LANGUAGE_CODES] if multilingual else []
    )
    spec.config.alignment_heads = [[layers - 1, head] for head in range(heads)]
    spec.validate()
    spec.optimize(quantization="float32")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": MELS, "sampling_rate": 16_000, "hop_length": 160})
    )
    return folder
