"""Threads that go through what waits, one item after the other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Crew(Generic[T]):
    """Works items off in the threads of a pool, in their order.

    A thread goes on with the next item by itself: handing over a hundred short ones wakes each
    thread once, where a future for each wakes one a hundred times.
    """

    def __init__(self, pool: Executor, size: int, work: Callable[[T], None]) -> None:
        """Call `work` in at most `size` threads of `pool` at once."""
        self._pool = pool
        self._size = size
        self._work = work
        self._lock = threading.Lock()
        self._waiting: deque[T] = deque()
        self._at_work = 0  # threads that go through what waits, or were sent to

    def take(self, items: Sequence[T]) -> None:
        """Begin with the items as soon as threads are free.

        Raises what the pool raises if it gives no thread and none is at work that would come to
        them.
        """
        with self._lock:
            self._waiting.extend(items)
            more = min(len(self._waiting), self._size - self._at_work)
            self._at_work += more
        for sent in range(more):
            try:
                self._pool.submit(self._work_off)
            except Exception:
                with self._lock:
                    self._at_work -= more - sent
                    if not self._at_work:
                        raise
                return

    def withdraw(self) -> list[T]:
        """Return the items that nobody has begun; nobody will."""
        with self._lock:
            items = list(self._waiting)
            self._waiting.clear()
        return items

    def _work_off(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._at_work -= 1
                    return
                item = self._waiting.popleft()
            try:
                self._work(item)
            except BaseException:  # those that wait need this thread
                logger.exception("a thread of the pool failed")
