"""What the rules look for: the jobs that each of them finds something wrong with, at one moment.

What is wrong is for `history.problems` to say; only failure rates and downtimes are found here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, union_all

from dashboard.alerting.wording import problem_of
from dashboard.durations import length
from dashboard.history.downtimes import DOWNTIME
from dashboard.history.problems import ProblemKind, problems_of_kind, runs_longer_than
from dashboard.history.silences import NOTED, silence_of
from dashboard.storage.models import (
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

    from dashboard.history.problems import Problem
    from dashboard.services.status import SchedulerStatus
    from dashboard.storage.models import AlertRule

THE_SCHEDULER = ""
"""The job id of problems that are the scheduler's."""

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
    silenced: bool = False
    """Somebody has acknowledged or snoozed it."""


class Look:
    """One look at everything; what several rules ask is read once."""

    def __init__(self, session: Session, now: datetime) -> None:
        self._session = session
        self._connection = session.connection()
        self._now = now
        self._known: dict[ProblemKind, list[Problem]] = {}

    def findings(self, rule: AlertRule) -> dict[str, Finding]:
        """Return what `rule` finds wrong, by job; of several things with one job the first."""
        found: dict[str, Finding] = {}
        for each in self._look(rule):
            if in_scope(rule.scope, each):
                found.setdefault(each.job_id, each)
        return found

    def _look(self, rule: AlertRule) -> Iterable[Finding]:
        problems: Iterable[Problem]
        match rule.on:
            case AlertKind.FAILING:
                failing = self._of(ProblemKind.FAILING, ProblemKind.INTERRUPTED)
                problems = (each for each in failing if each.failures >= rule.after)
            case AlertKind.OVERDUE:
                late = self._now - timedelta(seconds=rule.window_seconds or 0)
                overdue = self._of(ProblemKind.OVERDUE)
                problems = (each for each in overdue if each.since and each.since < late)
            case AlertKind.SLOW if rule.window_seconds:
                problems = runs_longer_than(self._session, rule.window_seconds, self._now)
            case AlertKind.SLOW:
                problems = self._of(ProblemKind.SLOW)
            case AlertKind.BROKEN:
                problems = self._of(ProblemKind.BROKEN)
            case AlertKind.FAILURE_RATE:
                return self._failure_rate(rule)
            case AlertKind.SCHEDULER_DOWN:
                return self._downtime(rule)
        return (self._finding(each) for each in problems)

    def _of(self, *kinds: ProblemKind) -> Iterator[Problem]:
        for kind in kinds:
            if kind not in self._known:
                self._known[kind] = list(problems_of_kind(self._session, kind, self._now))
            yield from self._known[kind]

    def _finding(self, problem: Problem) -> Finding:
        return Finding(
            problem.job_id,
            problem.job_name,
            problem.tags,
            since=problem.since or self._now,
            problem=problem_of(problem),
            run_id=problem.run_id,
            silenced=not problem.is_open,
        )

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
            silence = silence_of(job, self._now)
            yield Finding(
                job.id,
                job.name,
                tuple(job.tags),
                since=since,
                problem=problem,
                run_id=last.id,
                silenced=silence is not None and silence.covers,
            )

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


# Statements are built once: the same is asked every second.

_JOB = (
    select(Job.id, Job.name, Job.tags, *NOTED)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .where(Job.id == bindparam("job"), Job.paused_at.is_(None), Job.broken_reason.is_(None))
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
