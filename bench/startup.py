"""Starting a dashboard that has many jobs stored, against one that has none."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bench.drain import SUCCEEDED
from bench.isolation import scratch, wait_for_rows
from bench.parties import add_jobs, dashboard, job_row
from bench.processes import dashboard_process
from bench.results import Figure, Target, median

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.scale import Scale

TARGET = Target(at_most=2)


def measure(scale: Scale) -> Iterator[Figure]:
    """Start the real program on a full and on an empty database, in turn."""
    with scratch() as folder:
        full, empty = folder / "full", folder / "empty"
        _prepare(full, scale.stored_jobs)
        _prepare(empty, 0)
        pairs = [(_start(folder, full), _start(folder, empty)) for _ in range(scale.rounds)]
    for index, moment in enumerate(("until it listens", "until the first run has ended")):
        more = median([stored[index] - none[index] for stored, none in pairs])
        seconds = [median([pair[side][index] for pair in pairs]) for side in (0, 1)]
        yield Figure(
            "startup",
            f"{scale.stored_jobs:,} stored jobs minus none: {moment}",
            more,
            "s",
            TARGET,
            f"{seconds[0]:.2f} and {seconds[1]:.2f} s",
        )


def _prepare(folder: Path, jobs: int) -> None:
    """Make a database with `jobs` jobs of later, and one more that is due at once."""
    with dashboard(folder) as runtime, runtime.database.write() as session:
        now = datetime.now(UTC)
        daily = {"type": "cron", "hour": "9", "minute": "30", "timezone": "Europe/Berlin"}
        once = {"type": "date", "run_date": now.isoformat()}
        later = now + timedelta(days=1)
        rows = [
            job_row(number, task="bench.tick", trigger=daily, next_run_time=later)
            for number in range(jobs)
        ]
        rows.append(job_row(jobs, task="bench.tick", trigger=once, next_run_time=now))
        add_jobs(session, rows)


def _start(folder: Path, prepared: Path) -> tuple[float, float]:
    """Start on a copy; return the seconds until it listened and until the due job had run."""
    data = folder / "data"
    shutil.copytree(prepared, data)
    began = time.perf_counter()
    with dashboard_process(data) as served:
        wait_for_rows(f"sqlite:///{data / 'dashboard.sqlite'}", SUCCEEDED, 1)
        ran = time.perf_counter() - began
    shutil.rmtree(data)
    return served.seconds, ran
