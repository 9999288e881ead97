"""Small Whisper models in the genuine CTranslate2 format are made here.

Nothing is tested here; see `tests/engines/test_faster_whisper.py`. The trained model understands
the language of `tones.py`; random weights know no words and loop, as a bad model does.
"""

from collections.abc import Mapping
from pathlib import Path

import ctranslate2.specs
import numpy as np
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.checkpoints.tones import LANGUAGES

MELS = 80
MAX_TOKENS = 448
MAX_FRAMES = 1500
SIZE, LAYERS, HEADS = 64, 2, 2
TRAINED = Path(__file__).with_name("tones.npz")
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


def make_whisper(folder: Path, weights: Weights, *, multilingual: bool = True) -> Path:
    """Write a model, about 1 MB; return the folder."""
    tokenizer = make_tokenizer(multilingual=multilingual)
    count = tokenizer.get_vocab_size()
    spec = ctranslate2.specs.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)

    def norm(part, name: str) -> None:
        part.gamma, part.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def linear(part, *names: str) -> None:
        """Fill one product with several: queries, keys and values are computed together."""
        part.weight = np.concatenate([weights[f"{name}.weight"] for name in names])
        part.bias = np.concatenate(
            [weights.get(f"{name}.bias", np.zeros(SIZE, np.float32)) for name in names]
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
    spec.encoder.position_encodings.encodings = sinusoids(MAX_FRAMES, SIZE)
    spec.decoder.position_encodings.encodings = sinusoids(MAX_TOKENS, SIZE)
    spec.decoder.embeddings.weight = weights["embed.weight"][:count]
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
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
    spec.config.alignment_heads = [[LAYERS - 1, head] for head in range(HEADS)]
    spec.validate()
    spec.optimize(quantization="float32")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
