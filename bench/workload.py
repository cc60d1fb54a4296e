"""The tasks that the benchmarks run: so little work that what is measured is overhead."""

from __future__ import annotations

import itertools
import logging
import threading
import time

from dashboard import task

logger = logging.getLogger(__name__)


class Countdown:
    """An event that is set by the last of so many calls, however many threads make them."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.expect(0)

    def expect(self, calls: int) -> None:
        """Begin anew: `done` is set by the call with this number."""
        self.done.clear()
        self._last = calls
        self._count = itertools.count(1)

    def tick(self) -> None:
        """Count one call. `next` on a count is atomic in CPython, so no lock is needed."""
        if next(self._count) == self._last:
            self.done.set()


countdown = Countdown()
starts: list[tuple[int, float]] = []
"""What `stamp` wrote: job number and wall-clock time; lists append atomically."""


@task(name="bench.tick")
def tick() -> None:
    """Count this run and nothing else."""
    countdown.tick()


@task(name="bench.stamp")
def stamp(number: int) -> None:
    """Note when the run of job `number` began."""
    starts.append((number, time.time()))


@task(name="bench.chatter")
def chatter(lines: int) -> None:
    """Log a number of lines of ordinary length."""
    for number in range(lines):
        logger.info("line %d: copied 1,024 rows from staging to warehouse in 12 ms", number)
