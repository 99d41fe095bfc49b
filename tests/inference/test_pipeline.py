"""Several threads at work, results in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from anoean_cli.inference.pipeline import in_order


def test_results_come_in_order_while_work_overlaps() -> None:
    both = threading.Barrier(2, timeout=60)

    def work(item: int) -> int:
        if item < 2:
            both.wait()  # passes only if two items are worked on at once
        return item * item

    assert list(in_order(iter(range(50)), work, 2, 4)) == [item * item for item in range(50)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_failure_comes_out_in_its_place(jobs: int) -> None:
    def work(item: int) -> int:
        return 10 // (item - 3)

    found = in_order(iter(range(9)), work, jobs, 5)
    assert [next(found) for _ in range(3)] == [-4, -5, -10]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_what_cannot_be_read_comes_out_after_what_could() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise OSError("damaged")

    found = in_order(items(), str, 2, 8)
    assert [next(found) for _ in range(3)] == ["1", "2", "3"]
    with pytest.raises(OSError, match="damaged"):
        next(found)


def test_no_more_is_read_than_may_be_in_flight() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    found = in_order(items(), str, 2, 4)
    for taken in range(1, 90):
        next(found)
        assert len(read) <= taken + 4
    found.close()
