"""Silero VAD through onnxruntime.

faster-whisper carries the model file (`faster_whisper/assets/silero_vad_v6.onnx`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from spokenby.stages.speech import FRAME_SAMPLES
from spokenby.types import Progress, Waveform, no_progress

CONTEXT_SAMPLES = 64
"""The model reads the end of the previous frame before each frame."""

BLOCK_FRAMES = 1024
"""Frames per call, 33 s of audio: they fit the CPU's cache and bound memory. Any value gives the
same result, since the state carries over."""


class Silero:
    """Silero VAD v6 on one CPU thread: it is recurrent, more threads do not help."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def probabilities(
        self, waveform: Waveform, progress: Progress = no_progress
    ) -> npt.NDArray[np.float32]:
        """Return the probability of speech, shape (frames,); the last frame is zero-padded."""
        samples = waveform.samples
        offset = samples.mean(dtype=np.float64) if len(samples) else 0.0
        frames = -(-len(samples) // FRAME_SAMPLES)
        result = np.empty(frames, np.float32)
        state = np.zeros((2, 1, 1, 128), np.float32)
        for first in range(0, frames, BLOCK_FRAMES):
            last = min(first + BLOCK_FRAMES, frames)
            block = _frames(samples, first, last, np.float32(offset))
            output, state[0], state[1] = self._session.run(
                None, {"input": block, "h": state[0], "c": state[1]}
            )
            result[first:last] = output.ravel()
            progress(last / frames)
        return result


def _frames(
    samples: npt.NDArray[np.float32], first: int, last: int, offset: np.float32
) -> npt.NDArray[np.float32]:
    """Return frames first…last-1, each preceded by its context, zeros outside the audio.

    The network takes a DC offset in pauses for continuing speech, so it is subtracted.
    """
    start, end = first * FRAME_SAMPLES - CONTEXT_SAMPLES, last * FRAME_SAMPLES
    inside = samples[max(start, 0) : end]
    padded = np.zeros(end - start, np.float32)
    padded[max(-start, 0) :][: len(inside)] = inside - offset
    width = CONTEXT_SAMPLES + FRAME_SAMPLES
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[::FRAME_SAMPLES]
    return np.ascontiguousarray(windows)
