"""Work on one item after the other in several threads, with the results in the order of the items.

Threads, not processes: parsing, numpy and ONNX Runtime let other threads run meanwhile, nothing
has to be copied between processes, and the libraries are in memory once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Task(Generic[Item, Result]):
    """An item, and what becomes of it."""

    def __init__(self, item: Item) -> None:
        self._item: Item | None = item
        self._result: Result
        self._error: BaseException | None = None
        self._done = threading.Event()

    def run(self, work: Callable[[Item], Result]) -> None:
        item, self._item = self._item, None  # results that wait for their turn keep no items
        try:
            self._result = work(item)  # type: ignore[arg-type]
        except BaseException as error:  # comes out where the result is asked for
            self._error = error
        self._done.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def result(self) -> Result:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


def in_order(
    items: Iterator[Item], work: Callable[[Item], Result], jobs: int, in_flight: int
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in order; reading, work and what the caller does overlap.

    A failure, of the work or of the items, comes out in its place, after the results before it.

    Args:
        items: read ahead by a thread of its own.
        work: run by ``jobs`` threads, begun in the order of the items.
        jobs: at least 1.
        in_flight: how many items may be read of which the result is not yet taken.
    """
    todo: SimpleQueue[_Task[Item, Result] | None] = SimpleQueue()
    order: SimpleQueue[_Task[Item, Result] | None] = SimpleQueue()
    room = threading.Semaphore(in_flight)
    ended = threading.Event()

    def read() -> None:
        try:
            while room.acquire() and not ended.is_set():
                task: _Task[Item, Result] = _Task(next(items))
                order.put(task)
                todo.put(task)
        except StopIteration:
            pass
        except BaseException as error:
            task = _Task(None)  # type: ignore[arg-type]
            task.fail(error)
            order.put(task)
        order.put(None)
        for _ in range(jobs):
            todo.put(None)

    def run() -> None:
        while (task := todo.get()) is not None:
            if not ended.is_set():
                task.run(work)

    # Daemons: a reader that waits for a pipe must not keep the process from ending.
    for action in (read, *[run] * jobs):
        threading.Thread(target=action, daemon=True).start()
    try:
        while (task := order.get()) is not None:
            yield task.result()
            del task
            room.release()
    finally:
        ended.set()
        room.release()
