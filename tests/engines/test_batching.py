from collections.abc import Callable, Iterator, Sequence

import pytest

from spokenby.engines import batching
from spokenby.engines.batching import run_in_batches
from spokenby.errors import TransientError

KEY = ("cuda", "test")


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_fitting", {})


def device_that_holds(room: int, seen: list[int]) -> Callable[[Sequence[int]], list[int]]:
    def run(batch: Sequence[int]) -> list[int]:
        seen.append(len(batch))
        if len(batch) > room:
            raise MemoryError
        return [2 * item for item in batch]

    return run


def batches(
    count: int, size: int, run: Callable[[Sequence[int]], list[int]], key: tuple[str, str] = KEY
) -> Iterator[list[int]]:
    return run_in_batches(
        range(count), size, run, key=key, is_out_of_memory=lambda e: isinstance(e, MemoryError)
    )


@pytest.mark.parametrize(
    ("count", "size", "room", "seen"),
    [
        (0, 4, 9, []),
        (5, 2, 9, [2, 2, 1]),
        (4, 8, 9, [4]),
        (10, 8, 3, [8, 4, 2, 2, 2, 2, 2]),
        (3, 3, 1, [3, 1, 1, 1]),
    ],
)
def test_every_item_once_in_order_whatever_fits(
    count: int, size: int, room: int, seen: list[int]
) -> None:
    sizes: list[int] = []
    results = [x for batch in batches(count, size, device_that_holds(room, sizes)) for x in batch]
    assert results == [2 * item for item in range(count)]
    assert sizes == seen


def test_the_size_that_fits_is_remembered_per_device_and_engine() -> None:
    list(batches(8, 8, device_that_holds(2, [])))
    same: list[int] = []
    list(batches(8, 8, device_that_holds(2, same)))
    assert same == [2, 2, 2, 2]
    other: list[int] = []
    list(batches(8, 8, device_that_holds(8, other), key=("cuda", "other")))
    assert other == [8]


def test_each_halving_is_told() -> None:
    told: list[int] = []
    run = device_that_holds(2, [])
    list(
        run_in_batches(
            range(8), 8, run, key=KEY, is_out_of_memory=lambda e: True, on_smaller=told.append
        )
    )
    assert told == [4, 2]


def test_one_item_that_does_not_fit_is_one_clear_line() -> None:
    with pytest.raises(TransientError, match="does not hold even one item"):
        list(batches(4, 2, device_that_holds(0, [])))


def test_other_faults_pass_as_they_are() -> None:
    def run(batch: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batches(4, 2, run))


def test_what_memory_forced_is_told_for_the_manifest() -> None:
    assert batching.smaller_batches() == {}
    batching._fitting[("cuda", "pyannote")] = 4
    assert batching.smaller_batches() == {"cuda pyannote": 4}
