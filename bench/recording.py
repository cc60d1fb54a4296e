"""What the log of a run costs: runs that log many lines, until every line is a row."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bench.isolation import alone, scratch, wait_for_rows
from bench.parties import add_jobs, dashboard, job_row
from bench.results import Figure, median

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale


def measure(scale: Scale) -> Iterator[Figure]:
    """Let runs log and tell how many lines a second become rows."""
    lines = scale.chatting_runs * scale.lines
    seconds = [alone(record, scale.chatting_runs, scale.lines) for _ in range(scale.rounds)]
    yield Figure(
        "recording",
        f"{scale.chatting_runs:,} runs of {scale.lines} log lines",
        lines / median(seconds),
        "lines/s",
    )


def record(runs: int, lines: int) -> float:
    """Return the seconds from the scheduler's start until all lines of all runs are committed."""
    with scratch() as folder, dashboard(folder) as runtime:
        now = datetime.now(UTC)
        once = {"type": "date", "run_date": (now - timedelta(seconds=5)).isoformat()}
        with runtime.database.write() as session:
            add_jobs(
                session,
                (
                    job_row(
                        number,
                        task="bench.chatter",
                        parameters={"lines": lines},
                        trigger=once,
                        next_run_time=now,
                    )
                    for number in range(runs)
                ),
            )
        began = time.perf_counter()
        runtime.start()
        wait_for_rows(runtime.database.url, "SELECT count(*) FROM run_log", runs * lines)
        return time.perf_counter() - began
