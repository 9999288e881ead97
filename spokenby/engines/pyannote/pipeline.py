"""pyannote's pipeline, with one pass of its speaker network per chunk."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pyannote.audio import Inference
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.core import Annotation, Segment, SlidingWindowFeature
from pyannote.core.utils.generators import string_generator

from spokenby.engines.pyannote.clustering import METHODS, NOBODY
from spokenby.engines.torch import autocast, run_in_batches
from spokenby.errors import TransientError


class OnePassDiarization(SpeakerDiarization):
    """pyannote's pipeline with one pass of its speaker network per chunk, not one per speaker.

    Speakers differ only in the pooling over the network's frames. So the frames are computed once
    and pooled three times. Embeddings equal the stock ones to float rounding.
    """

    compute_type = torch.float32

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        plda = (self._plda,) if self.klustering == "VBxClustering" else ()
        self.clustering = METHODS[self.klustering](*plda, metric=self._embedding.metric)

    def get_segmentations(
        self, file: dict[str, Any], hook: Callable[..., None] | None = None
    ) -> SlidingWindowFeature:
        """Return who is active in each chunk, in batches that fit the device."""
        while True:
            try:
                return super().get_segmentations(file, hook)
            except MemoryError as error:  # pyannote raises it for a full GPU
                if self.segmentation_batch_size == 1:
                    raise TransientError(
                        "the GPU's memory does not hold even 10 s of audio for pyannote",
                        "close other programs that use it, or choose the device cpu",
                    ) from error
            self.segmentation_batch_size //= 2
            torch.cuda.empty_cache()

    def get_embeddings(
        self,
        file: dict[str, Any],
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Callable[..., None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return embeddings, shape (chunks, speakers, dimension).

        A speaker silent in a chunk gets the result of pooling over nothing: the last layer's bias.
        """
        resnet, device = self._embedding.model_.resnet, self._embedding.device
        waveform, rate_hz = self._audio(file)
        window = binary_segmentations.sliding_window
        size, step = round(window.duration * rate_hz), round(window.step * rate_hz)
        masks = self._masks(binary_segmentations, size, exclude_overlap=exclude_overlap)
        embeddings = np.empty((*masks.shape[:2], self._embedding.dimension), np.float32)
        embeddings[:] = resnet.seg_1.bias.numpy(force=True)
        spoken = np.flatnonzero(masks.any(axis=(1, 2))).tolist()
        full = 0  # chunks in a full batch

        def embed(chunks: Sequence[int]) -> npt.NDArray[np.float32]:
            nonlocal full
            full = max(full, len(chunks))
            # On a GPU, a smaller last batch would allocate more memory: pad it.
            padded = np.resize(chunks, full) if device.type == "cuda" else np.array(chunks)
            sound = [_cut(waveform, chunk * step, size) for chunk in padded.tolist()]
            return self._embed(torch.stack(sound), masks[padded])[: len(chunks)]

        def shrink(smaller: int) -> None:
            nonlocal full
            full = smaller
            torch.cuda.empty_cache()

        batches = run_in_batches(
            spoken,
            self.embedding_batch_size,
            embed,
            key=(device.type, "pyannote"),
            on_smaller=shrink,
        )
        done = 0
        for batch in batches:
            embeddings[spoken[done : done + len(batch)]] = batch
            done += len(batch)
            if hook is not None:
                hook("embeddings", None, total=len(spoken), completed=done)
        return embeddings

    def reconstruct(
        self,
        segmentations: SlidingWindowFeature,
        hard_clusters: npt.NDArray[np.integer[Any]],
        count: SlidingWindowFeature,
    ) -> SlidingWindowFeature:
        """Return who is active in each frame, as pyannote does, for all chunks at once."""
        chunks, frames, slots = segmentations.data.shape
        clustered = np.full((chunks, frames, hard_clusters.max() + 1), np.nan)
        for slot in range(slots):
            (active,) = np.nonzero(hard_clusters[:, slot] != NOBODY)
            place = active, slice(None), hard_clusters[active, slot]
            clustered[place] = np.fmax(clustered[place], segmentations.data[active, :, slot])
        feature = SlidingWindowFeature(clustered, segmentations.sliding_window)
        return self.to_diarization(feature, count)

    @staticmethod
    def to_diarization(
        segmentations: SlidingWindowFeature, count: SlidingWindowFeature
    ) -> SlidingWindowFeature:
        """Return the `count` most active speakers of each frame, as pyannote does in a loop."""
        activations = Inference.aggregate(
            segmentations, count.sliding_window, missing=0.0, skip_average=True
        )
        missing = max(int(count.data.max()) - activations.data.shape[1], 0)
        activations.data = np.pad(activations.data, ((0, 0), (0, missing)))
        extent = activations.extent & count.extent
        activations, count = (
            feature.crop(extent, return_data=False) for feature in (activations, count)
        )
        both = min(len(activations.data), len(count.data))
        rank = np.argsort(np.argsort(-activations.data, axis=-1), axis=-1)
        binary = np.zeros_like(activations.data)
        binary[:both] = rank[:both] < count.data[:both]
        return SlidingWindowFeature(binary, activations.sliding_window)

    @staticmethod
    def to_annotation(
        discrete_diarization: SlidingWindowFeature,
        min_duration_on: float = 0.0,  # noqa: ARG004 - pyannote asks for nothing else
        min_duration_off: float = 0.0,
    ) -> Annotation:
        """Return the stretches in which each speaker is active, as pyannote does."""
        frames, number = discrete_diarization.sliding_window, np.arange(len(discrete_diarization))
        start = frames.start + number * frames.step
        middle = 0.5 * (start + (start + frames.duration))
        annotation, tracks = Annotation(), string_generator()
        for label, active in enumerate(discrete_diarization.data.T > 0.5):
            track = next(tracks)
            edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
            times = middle[np.minimum(edges, number[-1])].reshape(-1, 2).tolist()
            for begin, end in times:
                annotation[Segment(begin, end), track] = label
        if min_duration_off > 0:
            annotation = annotation.support(collar=min_duration_off)
        return annotation

    def _masks(
        self, segmentations: SlidingWindowFeature, size: int, *, exclude_overlap: bool
    ) -> npt.NDArray[np.float32]:
        """Return where each speaker is active, alone if long enough: (chunks, speakers, frames)."""
        masks = segmentations.data
        if exclude_overlap:
            shortest = math.ceil(masks.shape[1] * self._embedding.min_num_samples / size)
            alone = masks * (masks.sum(axis=2, keepdims=True) < 2)
            masks = np.where(alone.sum(axis=1, keepdims=True) > shortest, alone, masks)
        return np.nan_to_num(masks, nan=0.0).astype(np.float32).transpose(0, 2, 1)

    @torch.inference_mode()
    def _embed(
        self, waveforms: torch.Tensor, masks: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Embed audio, shape (chunks, 1, samples). Only the network computes in half precision.

        The features exceed the range of float16, and pooling in it merges speakers.
        """
        model, device = self._embedding.model_, self._embedding.device
        features = model.compute_fbank(waveforms.to(device))
        with autocast(device, self.compute_type):
            frames = model.resnet.forward_frames(features)
        weights = torch.from_numpy(masks).to(device)
        _, embeddings = model.resnet.forward_embedding(frames.float(), weights=weights)
        return embeddings.numpy(force=True)


def _cut(waveform: torch.Tensor, start: int, size: int) -> torch.Tensor:
    """Return `size` samples of a waveform of shape (1, samples), zeros after its end."""
    sound = waveform[:, start : start + size]
    return torch.nn.functional.pad(sound, (0, size - sound.shape[1]))
