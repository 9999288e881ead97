# ruff: noqa: N802 - the driver's names
"""Stand in for the driver's library with cards that answer as recorded.

It replaces `pynvml` where spokenby imports it. Structures and errors are pynvml's own, so what is
read from them is read from the real thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pynvml as real


@dataclass
class Card:
    """A card and what it answers; `refuses` maps a function to the error that it raises."""

    uuid: str = "GPU-aaaa1111"
    name: str = "NVIDIA H100 80GB HBM3"
    total: int = 85_520_809_984
    busy: list[int] = field(default_factory=lambda: [93])
    used: list[int] = field(default_factory=lambda: [16_106_127_360])
    milliwatts: int = 412_345
    sm: list[float] | None = field(default_factory=lambda: [61.5])
    refuses: dict[str, int] = field(default_factory=dict)


class Nvml:
    """`pynvml` on a machine with some cards; without any the library is not there."""

    def __init__(self, *cards: Card) -> None:
        self.cards = cards
        self.users = 0
        self.taken: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    def nvmlInit(self) -> None:
        if not self.cards:
            raise real.NVMLError(real.NVML_ERROR_LIBRARY_NOT_FOUND)
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        return self.cards[index]

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return card.uuid

    def nvmlDeviceGetName(self, card: Card) -> str:
        return card.name

    def nvmlDeviceGetUtilizationRates(self, card: Card) -> Any:
        _check(card, "utilization")
        return real.c_nvmlUtilization_t(gpu=_next(card.busy), memory=3)

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        _check(card, "memory")
        used = _next(card.used)
        return real.c_nvmlMemory_t(total=card.total, used=used, free=card.total - used)

    def nvmlDeviceGetPowerUsage(self, card: Card) -> int:
        _check(card, "power")
        return card.milliwatts

    def nvmlGpmQueryDeviceSupport(self, card: Card) -> Any:
        _check(card, "gpm")
        return real.c_nvmlGpmSupport_t(version=1, isSupportedDevice=card.sm is not None)

    def nvmlGpmSampleAlloc(self) -> Any:
        self.taken.append(0)
        return real.c_nvmlGpmSample_t(real.struct_c_nvmlGpmSample_t())

    def nvmlGpmSampleGet(self, card: Card, sample: Any) -> Any:
        self._sampled = card
        return sample

    def nvmlGpmMetricsGet(self, asked: Any) -> Any:
        assert asked.version == 1
        assert asked.numMetrics == 1
        assert asked.sample1
        assert asked.sample2
        assert asked.metrics[0].metricId == real.NVML_GPM_METRIC_SM_UTIL
        assert self._sampled.sm
        asked.metrics[0].value = _next(self._sampled.sm)
        return asked

    def nvmlGpmSampleFree(self, sample: Any) -> None:
        self.taken.pop()


def _next(answers: list[Any]) -> Any:
    return answers.pop(0) if len(answers) > 1 else answers[0]


def _check(card: Card, function: str) -> None:
    if code := card.refuses.get(function, card.refuses.get("all")):
        raise real.NVMLError(code)
