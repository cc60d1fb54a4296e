"""What the rules look for: the jobs that each of them finds something wrong with, at one moment.

All are small look-ups by index. What several rules ask is read once a look.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text, union_all

from dashboard.alerting.wording import length
from dashboard.history.downtimes import DOWNTIME
from dashboard.history.problems import silence_of
from dashboard.history.verdicts import OVERDUE_AFTER, slow_from
from dashboard.storage.models import (
    ACTIVE_RUN,
    MISSED_LAST,
    PROBLEMS,
    AlertKind,
    AlertProblem,
    Job,
    JobHealth,
    Run,
    RunState,
    SchedulerLife,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session

    from dashboard.services.status import SchedulerStatus
    from dashboard.storage.models import AlertRule

THE_SCHEDULER = ""
"""The job id of problems that are the scheduler's."""

MOST_FOUND = 10_000
"""Jobs of a kind that are looked at, the oldest problems first: those stay the same."""

MOST_ACTIVE = 2000
"""Active runs that are looked at."""

RUNS_OF_A_JOB = 1000
"""Runs of a job, the newest ones, that a failure rate is made of at most."""

FAILURES = 2000
"""Failed runs, the newest ones, in which jobs with a failure rate are looked for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one job."""

    job_id: str
    job_name: str
    tags: tuple[str, ...]
    since: datetime
    problem: str
    """What is wrong, as half a sentence that begins with the verb."""
    run_id: int | None = None
    failures: int = 0
    silenced: bool = False
    """Somebody has acknowledged or snoozed it."""


class Look:
    """One look at everything."""

    def __init__(self, session: Session, now: datetime) -> None:
        self._connection = session.connection()
        self._now = now

    def findings(self, rule: AlertRule) -> dict[str, Finding]:
        """Return what `rule` finds wrong, by job."""
        found: Iterable[Finding]
        match rule.on:
            case AlertKind.FAILING:
                found = (each for each in self._failing if each.failures >= rule.after)
            case AlertKind.FAILURE_RATE:
                found = self._failure_rate(rule)
            case AlertKind.OVERDUE:
                found = self._overdue(rule)
            case AlertKind.SLOW:
                found = self._slow(rule)
            case AlertKind.BROKEN:
                found = self._broken
            case AlertKind.SCHEDULER_DOWN:
                found = self._downtime(rule)
        return {each.job_id: each for each in found if in_scope(rule.scope, each)}

    def _job(self, row: Any) -> dict[str, Any]:
        silence = silence_of(row, self._now)
        return {
            "job_id": row.id,
            "job_name": row.name,
            "tags": tuple(row.tags),
            "silenced": silence is not None and silence.covers,
        }

    @cached_property
    def _failing(self) -> list[Finding]:
        return [
            Finding(
                **self._job(row),
                since=row.failing_since,
                problem=_failed(row),
                run_id=row.failure_run_id,
                failures=row.consecutive_failures,
            )
            for row in self._connection.execute(_FAILING)
        ]

    @cached_property
    def _broken(self) -> list[Finding]:
        return [
            Finding(
                **self._job(row),
                since=row.updated_at,
                problem=f"cannot run: {_line(row.broken_reason)}",
            )
            for row in self._connection.execute(_BROKEN)
        ]

    def _overdue(self, rule: AlertRule) -> Iterator[Finding]:
        late = max(OVERDUE_AFTER, timedelta(seconds=rule.window_seconds or 0))
        before = self._now - late
        for row in self._connection.execute(_MISSED):
            due = datetime.fromisoformat(row.recent[-1][3])
            if due < before:
                yield self._late(row, due, ", missed that and has not run since", row.last_run_id)
        for row in self._connection.execute(_WAITING, {"before": before}):
            yield self._late(row, row.queued_at, " and still waits for a free place", row.run_id)
        for row in self._connection.execute(_OVERDUE, {"before": before}):
            yield self._late(row, row.next_run_time, " and has not")

    def _late(self, row: Any, due: datetime, how: str, run_id: int | None = None) -> Finding:
        problem = f"should have run at {due:%Y-%m-%d %H:%M:%S} UTC{how}"
        return Finding(**self._job(row), since=due, problem=problem, run_id=run_id)

    @cached_property
    def _running(self) -> list[Any]:
        return list(self._connection.execute(_RUNNING))

    def _slow(self, rule: AlertRule) -> Iterator[Finding]:
        for row in self._running:
            limit = rule.window_seconds or slow_from(row.usual_duration, row.long_duration)
            took = (self._now - row.started_at).total_seconds()
            if limit is None or took <= limit:
                continue
            usually = (
                f"; it usually takes {length(row.usual_duration)}" if row.usual_duration else ""
            )
            problem = f"has been running for more than {length(limit)}{usually}"
            since = row.started_at + timedelta(seconds=limit)
            yield Finding(**self._job(row), since=since, problem=problem, run_id=row.run_id)

    @cached_property
    def _failures(self) -> list[Any]:
        return list(self._connection.execute(_FAILURES))

    def _failure_rate(self, rule: AlertRule) -> Iterator[Finding]:
        """Find jobs too many of whose runs failed, among those with failures in the window."""
        window, rate = rule.window_seconds or 3600.0, rule.rate or 1.0
        begin = self._now - timedelta(seconds=window)
        failed = [row for row in self._failures if row.finished_at >= begin]
        newest = {row.job_id: row for row in failed}
        for job_id, last in newest.items():
            counts = dict.fromkeys(RunState, 0)
            for row in self._connection.execute(_STATES, {"job": job_id, "begin": begin}):
                counts[row.state] = row.number
            bad = sum(counts[state] for state in PROBLEMS)
            total = bad + counts[RunState.SUCCEEDED]
            if bad < rule.after or bad < rate * total or not total:
                continue
            job = self._connection.execute(_JOB, {"job": job_id}).first()
            if job is None:
                continue
            problem = f"failed {bad} times in {total} runs within {length(window)}"
            since = min(row.finished_at for row in failed if row.job_id == job_id)
            yield Finding(**self._job(job), since=since, problem=problem, run_id=last.id)

    def _downtime(self, rule: AlertRule) -> Iterator[Finding]:
        """Find a downtime that ended when the present leader took over and nobody has told of."""
        lives = self._connection.execute(_LIVES).all()
        if len(lives) < 2:  # noqa: PLR2004 -- a gap has two sides
            return
        present, before = lives
        down = (present.began_at - before.seen_at).total_seconds()
        told = {"rule": rule.id, "since": before.seen_at}
        if (
            down >= _downtime_of(rule)
            and present.began_at > rule.created_at
            and self._connection.execute(_TOLD, told).first() is None
        ):
            yield _scheduler(
                before.seen_at,
                f"was down from {before.seen_at:%Y-%m-%d %H:%M:%S} until"
                f" {present.began_at:%Y-%m-%d %H:%M:%S} UTC ({length(down)})",
            )


def scheduler_stopped(rule: AlertRule, status: SchedulerStatus) -> dict[str, Finding]:
    """Return what a process that does not lead finds wrong with the scheduler."""
    seen, age = status.heartbeat_at, status.heartbeat_age_seconds
    if status.alive or seen is None or (age or 0) < _downtime_of(rule):
        return {}
    found = _scheduler(seen, f"is not running; it was last seen at {seen:%Y-%m-%d %H:%M:%S} UTC")
    return {found.job_id: found}


def _downtime_of(rule: AlertRule) -> float:
    """Return the seconds without a leader that count as downtime."""
    return rule.window_seconds or DOWNTIME.total_seconds()


def in_scope(scope: dict[str, Any], finding: Finding) -> bool:
    """Say whether a rule is about that job; the scheduler is every rule's."""
    if scope.get("all") or finding.job_id == THE_SCHEDULER:
        return True
    return finding.job_id in scope.get("jobs", ()) or not set(finding.tags).isdisjoint(
        scope.get("tags", ())
    )


def _scheduler(since: datetime, problem: str) -> Finding:
    return Finding(THE_SCHEDULER, "The scheduler", (), since, problem)


def _failed(row: Any) -> str:
    times = row.consecutive_failures
    how_often = "has failed" if times == 1 else f"has failed {times} times in a row"
    return f"{how_often}: {_line(row.last_error)}" if row.last_error else how_often


def _line(words: str) -> str:
    """Return the first line of a text, as much of it as a message bears."""
    first = words.strip().partition("\n")[0]
    return first if len(first) <= 300 else first[:299] + "…"  # noqa: PLR2004 -- a few lines on a phone


# Statements are built once: the same is asked every second.

_OF_JOB = (
    Job.id,
    Job.name,
    Job.tags,
    JobHealth.failing_since,
    JobHealth.failure_kind,
    JobHealth.silence,
    JobHealth.silenced_at,
    JobHealth.silenced_by,
    JobHealth.silenced_until,
    JobHealth.silence_reason,
    JobHealth.silenced_failure,
)
_MAY_RUN = (Job.paused_at.is_(None), Job.broken_reason.is_(None))


_FAILING = (
    select(
        *_OF_JOB,
        JobHealth.consecutive_failures,
        JobHealth.failure_run_id,
        JobHealth.last_error,
    )
    .select_from(JobHealth)
    .join(Job, Job.id == JobHealth.job_id)
    .where(JobHealth.failing_since.is_not(None), *_MAY_RUN)
    .order_by(JobHealth.failing_since)
    .limit(MOST_FOUND)
)
_BROKEN = (
    select(*_OF_JOB, Job.broken_reason, Job.updated_at)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .where(Job.broken_reason.is_not(None), Job.paused_at.is_(None))
    .order_by(Job.updated_at)
    .limit(MOST_FOUND)
)
_OVERDUE = (
    select(*_OF_JOB, Job.next_run_time)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .where(Job.next_run_time < bindparam("before"), *_MAY_RUN)
    .order_by(Job.next_run_time)
    .limit(MOST_FOUND)
)
_MISSED = (
    select(*_OF_JOB, JobHealth.recent, JobHealth.last_run_id)
    .select_from(JobHealth)
    .join(Job, Job.id == JobHealth.job_id)
    .where(text(f"job_health.{MISSED_LAST}"), *_MAY_RUN)  # letter by letter, as its index has it
    .order_by(JobHealth.last_finished_at)
    .limit(MOST_FOUND)
)
_WAITING = (
    select(*_OF_JOB, Run.id.label("run_id"), Run.queued_at)
    .select_from(Run)
    .join(Job, Job.id == Run.job_id)
    .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
    .where(
        text(ACTIVE_RUN),
        Run.state == RunState.QUEUED,
        Run.attempt == 1,  # a retry is queued long before its moment
        Run.queued_at < bindparam("before"),
    )
    .order_by(Run.id.desc())  # of several runs of a job, the oldest counts
    .limit(MOST_ACTIVE)
)
_JOB = (
    select(*_OF_JOB)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .where(Job.id == bindparam("job"), *_MAY_RUN)
)
_RUNNING = (
    select(
        *_OF_JOB,
        Run.id.label("run_id"),
        Run.started_at,
        JobHealth.usual_duration,
        JobHealth.long_duration,
    )
    .select_from(Run)
    .join(Job, Job.id == Run.job_id)
    .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
    .where(text(ACTIVE_RUN), Run.state == RunState.RUNNING, Run.started_at.is_not(None))
    .order_by(Run.started_at.desc())  # of several runs of a job, the oldest counts
    .limit(MOST_ACTIVE)
)
_FAILURES = union_all(
    *(
        select(
            select(Run.id, Run.job_id, Run.finished_at)
            .where(Run.state == state)
            .order_by(Run.id.desc())
            .limit(FAILURES)
            .subquery()
        )
        for state in PROBLEMS
    )
)
_NEWEST = (
    select(Run.state, Run.finished_at)
    .where(Run.job_id == bindparam("job"))
    .order_by(Run.id.desc())
    .limit(RUNS_OF_A_JOB)
    .subquery()
)
_STATES = (
    select(_NEWEST.c.state, func.count().label("number"))
    .where(_NEWEST.c.finished_at >= bindparam("begin"))
    .group_by(_NEWEST.c.state)
)
_LIVES = (
    select(SchedulerLife.began_at, SchedulerLife.seen_at).order_by(SchedulerLife.id.desc()).limit(2)
)
_TOLD = (
    select(AlertProblem.id)
    .where(
        AlertProblem.rule_id == bindparam("rule"),
        AlertProblem.job_id == THE_SCHEDULER,
        AlertProblem.opened_at > bindparam("since"),
    )
    .limit(1)
)
