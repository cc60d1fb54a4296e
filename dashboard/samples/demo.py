"""Tasks to try the dashboard out with: one that fails now and then, one that takes its time."""

from __future__ import annotations

import logging
import random
import time
from typing import Annotated

from pydantic import Field

from dashboard.runcontext import current_run
from dashboard.tasks import task

logger = logging.getLogger(__name__)

SLICE = 0.1
"""Seconds of sleep between two looks at whether the run was cancelled."""


class DemoFailure(Exception):
    """The failure that was asked for."""


@task(name="demo.unsteady")
def unsteady(
    fail_probability: Annotated[float, Field(ge=0, le=1)] = 0.2,
    seconds: Annotated[float, Field(ge=0, le=3600, description="How long it takes.")] = 1.0,
    message: Annotated[str, Field(max_length=500)] = "the remote side did not answer in time",
) -> str:
    """Take some time, then succeed or fail by chance."""
    logger.info("working for about %g s", seconds)
    if not sleep(seconds * random.uniform(0.7, 1.3)):  # noqa: S311 - no secret
        return "stopped on request"
    if random.random() < fail_probability:  # noqa: S311 - no secret
        raise DemoFailure(message)
    return "done"


@task(name="demo.import")
def import_orders(
    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 2000,
    seconds: Annotated[float, Field(ge=0, le=3600, description="How long it takes.")] = 60.0,
    faulty_rows: Annotated[int, Field(ge=0, le=1000)] = 3,
) -> dict[str, int]:
    """Pretend to import rows, with steps, progress and log lines."""
    run = current_run()
    with run.step("Download"):
        sleep(seconds * 0.1)
        print(f"orders.csv: {rows:,} rows, {rows * 61:,} bytes")  # noqa: T201 - goes to the run's log
    with run.step("Check"):
        for number in sorted(random.sample(range(1, rows + 1), min(faulty_rows, rows))):
            logger.warning("row %d has no customer number, left out", number)
        sleep(seconds * 0.1)
    with run.step("Load"):
        loaded = _load(rows, seconds * 0.7)
    with run.step("Tidy up"):
        sleep(seconds * 0.1)
    return {"loaded": loaded, "left out": min(faulty_rows, rows)}


def _load(rows: int, seconds: float) -> int:
    """Count up to `rows` in the given time; return how far that came."""
    run = current_run()
    start = time.monotonic()
    done = 0
    while done < rows and not run.cancelled:
        passed = (time.monotonic() - start) / seconds if seconds else 1.0
        done = min(rows, max(done + 1, round(rows * passed)))
        run.progress(done, rows, "rows loaded")
        time.sleep(min(SLICE, seconds / rows))
    return done


def sleep(seconds: float) -> bool:
    """Sleep in slices; return False as soon as the run is cancelled."""
    run = current_run()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not run.cancelled:
        time.sleep(min(SLICE, left))
    return not run.cancelled
