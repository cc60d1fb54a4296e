"""Draining due jobs: how long until all of them have run, ours with every run recorded durably."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from bench.isolation import PATIENCE, Cost, Stopwatch, alone, scratch, wait_for_rows
from bench.parties import add_jobs, bare, dashboard, job_row, plain_engine
from bench.results import Figure, Target, median
from bench.workload import countdown, tick

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apscheduler.schedulers.background import BackgroundScheduler

    from bench.scale import Scale

TARGET = Target(at_least=1.5)
SUCCEEDED = "SELECT count(*) FROM run WHERE state = 'succeeded'"


def measure(scale: Scale) -> Iterator[Figure]:
    """Compare on SQLite, with the same pragmas for both."""
    what = f"{scale.due_jobs:,} due jobs, recorded / bare SQLAlchemyJobStore"
    ours, plain = [], []
    for _ in range(scale.rounds):
        ours.append(alone(drain_dashboard, scale.due_jobs))
        plain.append(alone(drain_bare, scale.due_jobs))
    yield compared("drain", what, scale.due_jobs, ours, plain, TARGET)


def compared(
    benchmark: str,
    what: str,
    jobs: int,
    ours: Sequence[Cost],
    plain: Sequence[Cost],
    target: Target | None = None,
) -> Figure:
    """Turn paired rounds into one figure: how many times as fast."""
    ratios = [theirs.seconds / mine.seconds for mine, theirs in zip(ours, plain, strict=True)]
    rates = [jobs / median([cost.seconds for cost in costs]) for costs in (ours, plain)]
    cpu = [median([cost.cpu for cost in costs]) / jobs * 1e6 for costs in (ours, plain)]
    detail = (
        f"{rates[0]:,.0f} and {rates[1]:,.0f} runs/s, {cpu[0]:.0f} and {cpu[1]:.0f} µs of CPU a run"
    )
    return Figure(benchmark, what, median(ratios), "x", target, detail)


def drain_dashboard(jobs: int, database: str = "") -> Cost:
    """Measure from the scheduler's start until all runs are `succeeded` rows."""
    with scratch() as folder, dashboard(folder, database=database) as runtime:
        past = datetime.now(UTC) - timedelta(seconds=5)
        trigger = {"type": "interval", "hours": 1, "start_date": past.isoformat()}
        make = partial(job_row, task="bench.tick", trigger=trigger, next_run_time=past)
        with runtime.database.write() as session:
            add_jobs(session, (make(number) for number in range(jobs)))
        watch = Stopwatch()
        runtime.start()
        wait_for_rows(runtime.database.url, SUCCEEDED, jobs)
        return watch.read()


def drain_bare(jobs: int, database: str = "") -> Cost:
    """Measure from the scheduler's start until the last task was called."""
    with scratch() as folder:
        engine = plain_engine(database or f"sqlite:///{folder / 'bare.sqlite'}")
        with bare(engine) as scheduler:
            return _drain(scheduler, jobs)


def _drain(scheduler: BackgroundScheduler, jobs: int) -> Cost:
    past = datetime.now(UTC) - timedelta(seconds=5)
    scheduler.start(paused=True)
    for number in range(jobs):
        scheduler.add_job(
            tick,
            "interval",
            hours=1,
            id=f"job-{number}",
            name=f"Job {number}",
            next_run_time=past,
            misfire_grace_time=None,
        )
    countdown.expect(jobs)
    watch = Stopwatch()
    scheduler.resume()
    if not countdown.done.wait(PATIENCE):
        raise TimeoutError(f"fewer than {jobs} runs within {PATIENCE:g} s")
    return watch.read()
