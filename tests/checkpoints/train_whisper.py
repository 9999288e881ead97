"""How the trained Whisper of the tests came about is kept here: it understands spoken tones.

Nothing is tested here; see `tests/checkpoints/whisper.py` for the format. A word is three tones, so
that sounds with exactly known words and times cost nothing. Run it to make the weights again:
`python -m tests.checkpoints.train_whisper tests/checkpoints/tones.npz 20` (minutes, one core); it
goes on from weights that are there.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from faster_whisper.feature_extractor import FeatureExtractor
from torch import nn
from torch.nn import functional

from tests.checkpoints.tones import LANGUAGES, RATE_HZ, make_sound
from tests.checkpoints.whisper import (
    HEADS,
    LAYERS,
    MAX_FRAMES,
    MAX_TOKENS,
    MELS,
    SIZE,
    make_tokenizer,
    sinusoids,
)

IGNORED = -100


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.v, self.out = (nn.Linear(SIZE, SIZE) for _ in range(3))
        self.k = nn.Linear(SIZE, SIZE, bias=False)

    def forward(self, x, source=None, mask=None):
        source = x if source is None else source
        q, k, v = (
            part(y).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part, y in ((self.q, x), (self.k, source), (self.v, source))
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(-2)), weights


class Block(nn.Module):
    def __init__(self, decodes: bool) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(SIZE), Attention()
        if decodes:
            self.cross_norm, self.cross_attention = nn.LayerNorm(SIZE), Attention()
        self.ffn_norm = nn.LayerNorm(SIZE)
        self.ffn_in, self.ffn_out = nn.Linear(SIZE, 4 * SIZE), nn.Linear(4 * SIZE, SIZE)

    def forward(self, x, source=None, mask=None):
        weights = None
        x = x + self.self_attention(self.self_norm(x), mask=mask)[0]
        if source is not None:
            seen, weights = self.cross_attention(self.cross_norm(x), source)
            x = x + seen
        return x + self.ffn_out(functional.gelu(self.ffn_in(self.ffn_norm(x)))), weights


class Whisper(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, SIZE, 3, padding=1)
        self.conv2 = nn.Conv1d(SIZE, SIZE, 3, stride=2, padding=1)
        self.frames = torch.from_numpy(sinusoids(MAX_FRAMES, SIZE))
        self.places = torch.from_numpy(sinusoids(MAX_TOKENS, SIZE))
        self.encoder = nn.ModuleList(Block(decodes=False) for _ in range(LAYERS))
        self.encoder_norm = nn.LayerNorm(SIZE)
        self.embed = nn.Embedding(count, SIZE)
        nn.init.normal_(self.embed.weight, std=0.05)
        self.decoder = nn.ModuleList(Block(decodes=True) for _ in range(LAYERS))
        self.decoder_norm = nn.LayerNorm(SIZE)

    def forward(self, mel, tokens):
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.frames[: x.shape[1]]
        for block in self.encoder:
            x, _ = block(x)
        x = self.encoder_norm(x)
        y = self.embed(tokens) + self.places[: tokens.shape[1]]
        mask = torch.full((tokens.shape[1],) * 2, -torch.inf).triu(1)
        for block in self.decoder:
            y, weights = block(y, x, mask)
        return self.decoder_norm(y) @ self.embed.weight.T, weights


def make_mel(sounds):
    """Return log-mel spectrograms as the FeatureExtractor makes them, (sounds, mels, frames)."""
    filters = torch.from_numpy(FeatureExtractor(feature_size=MELS).mel_filters)
    window = torch.hann_window(400)
    power = torch.stft(torch.from_numpy(sounds), 400, 160, window=window, return_complex=True)
    log = (filters @ power[..., :-1].abs() ** 2).clamp(min=1e-10).log10()
    return (torch.maximum(log, log.amax((1, 2), keepdim=True) - 8) + 4) / 4


def make_batch(random, tokenizer, size, seconds):
    number = tokenizer.token_to_id
    sounds, rows, targets, places = [], [], [], []
    for _ in range(size):
        language = str(random.choice(list(LANGUAGES)))
        # As the engine hears windows: sound of some length, then silence up to the end.
        length = float(random.uniform(1, seconds))
        count = int(2 * length) if random.random() > 0.15 else 0
        sound, words = make_sound(random, language, count, length)
        if not words:  # silence, or noise of any loudness
            loudness = random.choice([0, 10 ** random.uniform(-3, -0.5)])
            sound = random.normal(0, loudness, len(sound)).astype(np.float32)
        sounds.append(np.pad(sound, (0, seconds * RATE_HZ - len(sound))))
        start = [number("<|startoftranscript|>"), number(f"<|{language}|>")]
        start += [number("<|transcribe|>")]
        said = [number("Ġ" + word.text) for word in words]
        end = number("<|endoftext|>")
        if random.random() < 0.3 and words:
            zero = number("<|0.00|>")
            begun, ended = (zero + round(t / 0.02) for t in (words[0].start, words[-1].end))
            row = [*start, begun, *said, ended, end]
        else:
            row = [*start, number("<|notimestamps|>"), *said, end]
        target = [row[1] if words else number("<|nospeech|>"), IGNORED, row[3], *row[4:], IGNORED]
        if not words:
            target[2] = IGNORED
        rows.append(row)
        targets.append(target)
        places.append([(word.start, word.end) for word in words])
    width = max(map(len, rows))
    tokens = torch.full((size, width), 0)
    wanted = torch.full((size, width), IGNORED)
    guide = torch.zeros(size, width, int(seconds * 50))
    for i, (row, target, spans) in enumerate(zip(rows, targets, places, strict=True)):
        tokens[i, : len(row)] = torch.tensor(row)
        wanted[i, : len(target)] = torch.tensor(target)
        for j, (begun, ended) in enumerate(spans):
            guide[i, 3 + j, round(begun * 50) : round(ended * 50)] = 1
    return make_mel(np.stack(sounds)), tokens, wanted, guide


def main(out: Path, minutes: float) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    tokenizer = make_tokenizer()
    model = Whisper(tokenizer.get_vocab_size())
    if out.exists():
        with np.load(out) as file:
            model.load_state_dict({k: torch.from_numpy(file[k]).float() for k in file.files})
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    begun, step = time.monotonic(), 0
    while (part := (time.monotonic() - begun) / (60 * minutes)) < 1:
        seconds, size = (8, 16) if part < 0.3 or step % 4 else (30, 4)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 100) * (1 if part < 0.5 else 2.1 - 2 * part)
        mel, tokens, wanted, guide = make_batch(random, tokenizer, size, seconds)
        logits, weights = model(mel, tokens)
        said = functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED
        )
        guided = guide.any(-1)
        seen = (weights * guide[:, None]).sum(-1).clamp(min=1e-6).log().mean(1)
        looked = -seen[guided].mean() if guided.any() else torch.zeros(())
        optimizer.zero_grad()
        (said + 0.3 * looked).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            hit = (logits.argmax(-1) == wanted)[wanted != IGNORED].float().mean()
            print(
                f"{part:.2f} {step} said {said:.3f} looked {looked:.3f} right {hit:.3f}", flush=True
            )
            save(model, out)
    save(model, out)


def save(model: Whisper, out: Path) -> None:
    weights = {name: it.numpy().astype(np.float16) for name, it in model.state_dict().items()}
    np.savez_compressed(out, **weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 10)
