"""Batches that fit a device's memory live here. What is computed in them does not; see engines/."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from whosaid.errors import TransientError

_sizes_that_fit: dict[tuple[str, str], int] = {}
"""By device and engine, the batch size that was left when memory last ran out in this process."""


def run_in_batches[Item, Result](  # noqa: D417
    items: Sequence[Item],
    batch_size: int,
    run: Callable[[Sequence[Item]], Result],
    *,
    is_out_of_memory: Callable[[Exception], bool],
    device: str,
    engine: str,
    on_smaller: Callable[[int], None] = lambda size: None,
) -> Iterator[Result]:
    """x"""
