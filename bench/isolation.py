"""What every measurement needs: a process of its own, a folder of its own, and patience."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which a measurement is given up."""

LOOK = 0.005
"""Seconds between two looks at what has been written."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took: seconds on the clock, and of CPU in all threads of this process."""

    seconds: float
    cpu: float


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        """Begin."""
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        """Return what it took until now."""
        seconds, cpu = self._began
        return Cost(time.perf_counter() - seconds, time.process_time() - cpu)


def alone(measure: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call `measure` in a new Python process and return what it returned.

    Nothing that ran before can warm up what is measured, or slow it down.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, *arguments, **keywords).result()


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dashboard-bench-") as folder:
        yield Path(folder)


def wait_for_rows(url: str, query: str, rows: int) -> None:
    """Wait until `query` counts so many rows, asking past the product's own code."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    give_up = time.monotonic() + PATIENCE
    with engine.connect() as connection:
        while (found := connection.execute(text(query)).scalar_one()) < rows:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{found} of {rows} rows within {PATIENCE:g} s: {query}")
            time.sleep(LOOK)
    engine.dispose()
