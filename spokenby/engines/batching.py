"""Run batches that fit a device's memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from spokenby.errors import TransientError

Item = TypeVar("Item")
Result = TypeVar("Result")

_fitting: dict[tuple[str, str], int] = {}
"""The batch sizes to which memory limited this process, by (device, engine)."""


def run_in_batches(
    items: Sequence[Item],
    batch_size: int,
    run: Callable[[Sequence[Item]], Result],
    *,
    key: tuple[str, str],
    is_out_of_memory: Callable[[Exception], bool],
    on_smaller: Callable[[int], None] = lambda _: None,
) -> Iterator[Result]:
    """Yield what `run` returns for each batch of the items, in order.

    A batch that does not fit the device's memory is halved and run again, and no later batch of
    this process with the same key is larger.

    Args:
        items: what to compute; a batch is a slice of it.
        batch_size: the largest batch.
        run: computes one batch; must be safe to call again for the same items.
        key: (device, engine), such as ("cuda", "faster_whisper").
        is_out_of_memory: whether an exception says so; others are raised as they are.
        on_smaller: called with the new size each time a batch was halved, before it is run again:
            to free what the failed one left, and to note it for the user.

    Raises:
        TransientError: not even one item fits.
    """
    first = 0
    while first < len(items):
        size = min(batch_size, _fitting.get(key, batch_size))
        batch = items[first : first + size]
        try:
            result = run(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise TransientError(
                    f"the memory of {key[0]} does not hold even one item of {key[1]}",
                    "close other programs that use it, choose a smaller model or the device cpu",
                ) from error
        else:
            first += len(batch)
            yield result
            continue
        # Outside the handler: the traceback no longer references what the failed batch allocated.
        _fitting[key] = len(batch) // 2
        on_smaller(len(batch) // 2)


def smaller_batches() -> dict[str, int]:
    """Return the batch sizes to which memory limited this process, by "device engine"."""
    return {" ".join(key): size for key, size in _fitting.items()}
