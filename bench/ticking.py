"""Many one-second jobs at once: is any run missed, and how late do runs start."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bench.isolation import alone, scratch
from bench.parties import add_jobs, bare, dashboard, job_row
from bench.results import Figure, Target, median, percentile
from bench.workload import stamp, starts
from dashboard.storage.models import Run, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from dashboard.runtime import Runtime

LATENESS = Target(at_most=1.5)
NONE_MISSED = Target(at_most=0)
GRACE = 60
SETTING_UP = 0.002
"""Seconds that adding a job may take."""
TAIL = 0.7
"""Seconds after the last fire time in which its run may still begin."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs that fire every second: all at one moment, or evenly over the second."""

    jobs: int
    seconds: int
    spread: bool

    def offset(self, number: int) -> float:
        """Return the part of a second at which job `number` fires."""
        return number / self.jobs if self.spread else 0.0

    def begin(self, number: int, first: float) -> datetime:
        """Return the first fire time of job `number`."""
        return datetime.fromtimestamp(first + self.offset(number), UTC)


@dataclass(frozen=True, slots=True)
class Watched:
    """What one round showed."""

    missed: int
    lag_p50: float  # seconds from the fire time to the first line of the task
    lag_p95: float
    cpu: float  # seconds of the whole process


def measure(scale: Scale) -> Iterator[Figure]:
    """Compare both ways to spread the jobs, ours and bare in turn."""
    for spread in (False, True):
        plan = Plan(scale.ticking_jobs, scale.ticking_seconds, spread)
        ours, plain = [], []
        for _ in range(scale.ticking_rounds):
            ours.append(alone(watch_dashboard, plan))
            plain.append(alone(watch_bare, plan))
        yield from _figures(plan, ours, plain)


def _figures(plan: Plan, ours: list[Watched], plain: list[Watched]) -> Iterator[Figure]:
    shape = "spread over the second" if plan.spread else "all at one moment"
    jobs = f"{plan.jobs:,} 1 s jobs, {plan.seconds} s, {shape}"
    missed = sum(watched.missed for watched in ours)
    theirs = sum(watched.missed for watched in plain)
    yield Figure("ticking", f"{jobs}: missed", missed, "", NONE_MISSED, f"bare {theirs}")
    pairs = list(zip(ours, plain, strict=True))
    p50, p95 = (
        tuple(median([getattr(w, name) for w in group]) * 1000 for group in (ours, plain))
        for name in ("lag_p50", "lag_p95")
    )
    yield Figure(
        "ticking",
        f"{jobs}: lag p95 / bare memory store",
        median([mine.lag_p95 / bares.lag_p95 for mine, bares in pairs]),
        "x",
        # Alone in its moment, a memory store starts a run within 0.2 ms; no transaction can follow.
        # Intervals begin on whole seconds, so many at one moment is what really happens.
        None if plan.spread else LATENESS,
        f"p95 {p95[0]:.1f} and {p95[1]:.1f} ms, median {p50[0]:.1f} and {p50[1]:.1f} ms",
    )
    cpu = [median([watched.cpu for watched in group]) for group in (ours, plain)]
    yield Figure(
        "ticking",
        f"{jobs}: CPU / bare memory store",
        median([mine.cpu / bares.cpu for mine, bares in pairs]),
        "x",
        None,
        f"{cpu[0]:.1f} and {cpu[1]:.1f} CPU s in {plan.seconds} s",
    )


def watch_dashboard(plan: Plan) -> Watched:
    """Let the dashboard run the plan, recording every run."""
    with scratch() as folder, dashboard(folder) as runtime:
        first = _first_moment(plan)
        with runtime.database.write() as session:
            add_jobs(session, (_row(plan, number, first) for number in range(plan.jobs)))
        runtime.start()
        cpu = _cpu_while(first, plan.seconds)
        runtime.recorder.flush()
        watched = _watched(plan, first, cpu)
        return replace(watched, missed=max(watched.missed, _unrecorded(runtime, plan, first)))


def _row(plan: Plan, number: int, first: float) -> dict[str, Any]:
    begin = plan.begin(number, first)
    return job_row(
        number,
        task="bench.stamp",
        parameters={"number": number},
        trigger={"type": "interval", "seconds": 1, "start_date": begin.isoformat()},
        next_run_time=begin,
        misfire_grace_time=GRACE,
    )


def _unrecorded(runtime: Runtime, plan: Plan, first: float) -> int:
    """Count the fire times of the plan without a row that says `succeeded`."""
    begin = datetime.fromtimestamp(first, UTC)
    query = select(func.count()).where(
        Run.state == RunState.SUCCEEDED,
        Run.scheduled_at >= begin,
        Run.scheduled_at < begin + timedelta(seconds=plan.seconds),
    )
    with runtime.database.read() as session:
        return plan.jobs * plan.seconds - (session.scalar(query) or 0)


def watch_bare(plan: Plan) -> Watched:
    """Let a bare APScheduler with a memory store run the plan."""
    with bare() as scheduler:
        first = _first_moment(plan)
        scheduler.start(paused=True)
        for number in range(plan.jobs):
            begin = plan.begin(number, first)
            scheduler.add_job(
                stamp,
                "interval",
                args=[number],
                seconds=1,
                start_date=begin,
                next_run_time=begin,
                misfire_grace_time=GRACE,
            )
        scheduler.resume()
        return _watched(plan, first, _cpu_while(first, plan.seconds))


def _first_moment(plan: Plan) -> float:
    """Return a whole second that leaves time to add all jobs and to start."""
    return float(math.ceil(time.time() + 0.5 + plan.jobs * SETTING_UP))


def _cpu_while(first: float, seconds: int) -> float:
    """Wait until the plan is over; return the CPU seconds of this process meanwhile."""
    time.sleep(max(0.0, first - time.time()))
    before = time.process_time()
    time.sleep(max(0.0, first + seconds - time.time()))
    spent = time.process_time() - before
    time.sleep(TAIL)
    return spent


def _watched(plan: Plan, first: float, cpu: float) -> Watched:
    """Match what the tasks noted with the fire times; both parties are judged by this alone.

    A start belongs to the last fire time before it: one that is a second late counts as missed.
    """
    lags: dict[tuple[int, int], float] = {}
    for number, started in list(starts):
        since = started - first - plan.offset(number)
        fire = math.floor(since)
        if 0 <= fire < plan.seconds:
            lags.setdefault((number, fire), since - fire)
    every = list(lags.values()) or [1.0]  # all are missed: a second late, at least
    return Watched(
        missed=plan.jobs * plan.seconds - len(lags),
        lag_p50=percentile(every, 50),
        lag_p95=percentile(every, 95),
        cpu=cpu,
    )
