"""What is wrong at one moment, and what of it somebody knows about already.

The one answer for pages, counts and alerts. All are look-ups by partial indexes over what is wrong,
limited. A paused job is no problem: somebody has decided about it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
)

from dashboard.history.verdicts import OVERDUE_AFTER, SLOW_FACTOR, is_slow
from dashboard.storage.models import (
    ACTIVE_RUN,
    MISSED_LAST,
    Job,
    JobHealth,
    Run,
    RunState,
    Silence,
    UtcDateTime,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, Row, Select
    from sqlalchemy.orm import Session

SHOWN = 50
"""Problems of a kind that are listed; more are counted, not listed."""

COUNTED = 100
"""Problems of a kind are counted up to here."""


class ProblemKind(enum.StrEnum):
    """What is wrong with a job, the most urgent first."""

    FAILING = "failing"  # its last run raised
    INTERRUPTED = "interrupted"  # the process of its last run died or was stopped
    OVERDUE = "overdue"  # should have started by now, or its last fire time passed without a start
    SLOW = "slow"  # is running for unusually long
    BROKEN = "broken"  # cannot run as it stands


@dataclass(frozen=True, slots=True)
class SilenceNote:
    """Who knows about a job's trouble, and until when that keeps it from being news."""

    kind: Silence
    at: datetime
    by: str
    until: datetime | None  # None = until the job recovers
    reason: str | None
    covers: bool  # False: it has failed in another way since it was acknowledged


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one job."""

    kind: ProblemKind
    job_id: str
    job_name: str
    since: datetime | None  # failing since, due at, or running since; a broken job does not tell
    message: str  # one line
    run_id: int | None  # the run to look at
    failures: int  # in a row
    last_success_at: datetime | None
    usual_duration: float | None  # seconds
    silence: SilenceNote | None

    @property
    def is_open(self) -> bool:
        """Whether it is news: nobody has acknowledged or snoozed it."""
        return self.silence is None or not self.silence.covers


@dataclass(frozen=True, slots=True)
class Problems:
    """All that is wrong; `silenced` is what somebody knows about, of whatever kind."""

    open: list[Problem]
    silenced: list[Problem]

    def of(self, kind: ProblemKind) -> list[Problem]:
        """Return the open problems of a kind."""
        return [problem for problem in self.open if problem.kind is kind]


def read_problems(session: Session, now: datetime) -> Problems:
    """Return what is wrong now, at most `SHOWN` open problems of each stored kind."""
    rows = session.connection()
    at = _moments(now)
    found = [
        problem
        for kind, statement in _OPEN
        for row in rows.execute(statement, at)
        for problem in _of_job(row, now)
        if problem.kind is kind
    ]
    active = list(_of_runs(rows.execute(_ACTIVE, at), now))
    silenced = [problem for row in rows.execute(_SILENCED, at) for problem in _of_job(row, now)]
    return Problems(
        open=found + [problem for problem in active if problem.is_open],
        silenced=silenced + [problem for problem in active if not problem.is_open],
    )


def count_problems(session: Session, now: datetime | None = None) -> int:
    """Count the open problems of jobs, each stored kind up to `COUNTED`."""
    return sum(problem_counts(session, now or datetime.now(UTC)).values())


def problem_counts(session: Session, now: datetime) -> dict[str, int]:
    """Count the open problems of each kind."""
    rows = session.connection()
    at = _moments(now)
    counts: dict[str, int] = dict.fromkeys(ProblemKind, 0)
    for kind, number in rows.execute(_COUNTS, at):
        counts[kind] += number
    for problem in _of_runs(rows.execute(_ACTIVE, at), now):
        counts[problem.kind] += problem.is_open
    return counts


def problems_of_job(session: Session, job_id: str, now: datetime) -> list[Problem]:
    """Return what is wrong with one job, silenced or not; nothing if it is paused or unknown."""
    rows = session.connection().execute(_OF_JOB, {"job_id": job_id}).all()
    active = [row for row in rows if row.run_id is not None]
    return [*(problem for row in rows[:1] for problem in _of_job(row, now)), *_of_runs(active, now)]


def silence_of(health: Any, now: datetime) -> SilenceNote | None:
    """Return who knows about a job's trouble, unless that time is over.

    `health` is a `JobHealth`, a row with its columns, or None.
    """
    if health is None or health.silence is None:
        return None
    if health.silenced_until is not None and health.silenced_until <= now:
        return None
    covers = (
        health.silence is Silence.SNOOZED
        or health.failing_since is None
        or health.failure_kind == health.silenced_failure
    )
    return SilenceNote(
        kind=health.silence,
        at=health.silenced_at,
        by=health.silenced_by,
        until=health.silenced_until,
        reason=health.silence_reason,
        covers=covers,
    )


# -- from rows to problems ---------------------------------------------------------------------


def _of_job(row: Row[Any], now: datetime) -> Iterator[Problem]:
    """Yield what the row of a job and its health say is wrong with it."""
    if row.broken_reason is not None:
        yield _problem(row, now, ProblemKind.BROKEN, None, row.broken_reason)
        return
    if row.failing_since is not None:
        kind = ProblemKind.FAILING
        if row.failure_state is RunState.INTERRUPTED:
            kind = ProblemKind.INTERRUPTED
        message = row.last_error or "It did not say why."
        yield _problem(row, now, kind, row.failing_since, message, row.failure_run_id)
    if row.next_run_time is not None and row.next_run_time < now - OVERDUE_AFTER:
        message = "It is due, and the scheduler has not looked at it."
        yield _problem(row, now, ProblemKind.OVERDUE, row.next_run_time, message)
    elif row.last_state is RunState.MISSED:
        message = "This fire time passed without a start, and it has not run since."
        due = datetime.fromisoformat(row.recent[-1][3])
        yield _problem(row, now, ProblemKind.OVERDUE, due, message, row.last_run_id)


def _of_runs(rows: Iterable[Any], now: datetime) -> Iterator[Problem]:
    """Yield what is wrong with runs that wait or go on; of runs that wait, one for each job."""
    waiting: set[str] = set()
    for row in rows:
        if row.state is RunState.RUNNING:
            yield from _of_running(row, now)
        elif row.job_id not in waiting and _waits_too_long(row, now):
            waiting.add(row.job_id)
            message = "It was queued in time and still waits for a free place."
            yield _problem(row, now, ProblemKind.OVERDUE, row.queued_at, message, row.run_id)


def _of_running(row: Row[Any], now: datetime) -> Iterator[Problem]:
    if row.started_at is None:
        return
    elapsed = (now - row.started_at).total_seconds()
    skips = row.last_state is RunState.SKIPPED and row.last_run_id > row.run_id
    if skips or is_slow(elapsed, row.usual_duration, row.long_duration):
        message = f"It has been running for more than {SLOW_FACTOR} times what is usual."
        if skips:
            message = "It should have finished: later fire times are skipped while it runs."
        yield _problem(row, now, ProblemKind.SLOW, row.started_at, message, row.run_id)


def _waits_too_long(row: Row[Any], now: datetime) -> bool:
    if row.attempt > 1:
        return False  # a retry is queued long before its moment, and waits for that
    grace = timedelta(seconds=row.misfire_grace_time or 0)
    return bool(now - row.queued_at > max(grace, OVERDUE_AFTER))


def _problem(
    row: Row[Any],
    now: datetime,
    kind: ProblemKind,
    since: datetime | None,
    message: str,
    run_id: int | None = None,
) -> Problem:
    return Problem(
        kind=kind,
        job_id=row.job_id,
        job_name=row.job_name,
        since=since,
        message=message,
        run_id=run_id,
        failures=row.consecutive_failures or 0,
        last_success_at=row.last_success_at,
        usual_duration=row.usual_duration,
        silence=silence_of(row, now),
    )


def _moments(now: datetime) -> dict[str, datetime]:
    return {"now": now, "overdue_before": now - OVERDUE_AFTER}


# -- statements, built once --------------------------------------------------------------------

_NOW = bindparam("now", type_=UtcDateTime())
_BEFORE = bindparam("overdue_before", type_=UtcDateTime())

_SILENT: ColumnElement[bool] = and_(
    JobHealth.silence.is_not(None),
    or_(JobHealth.silenced_until.is_(None), JobHealth.silenced_until > _NOW),
    or_(
        JobHealth.silence == Silence.SNOOZED,
        JobHealth.failing_since.is_(None),
        func.coalesce(JobHealth.failure_kind, "") == func.coalesce(JobHealth.silenced_failure, ""),
    ),
)

_HEALTH = (
    JobHealth.consecutive_failures,
    JobHealth.last_success_at,
    JobHealth.usual_duration,
    JobHealth.last_state,
    JobHealth.last_run_id,
    JobHealth.failing_since,
    JobHealth.failure_kind,
    JobHealth.silence,
    JobHealth.silenced_at,
    JobHealth.silenced_by,
    JobHealth.silenced_until,
    JobHealth.silence_reason,
    JobHealth.silenced_failure,
)
_WHOLE = (
    Job.id.label("job_id"),
    Job.name.label("job_name"),
    Job.next_run_time,
    Job.broken_reason,
    JobHealth.last_error,
    JobHealth.failure_run_id,
    JobHealth.failure_state,
    JobHealth.recent,
    *_HEALTH,
)

_FROM_JOB = select(*_WHOLE).outerjoin(JobHealth, JobHealth.job_id == Job.id)
_FROM_HEALTH = select(*_WHOLE).select_from(JobHealth).join(Job, JobHealth.job_id == Job.id)
_UNPAUSED = Job.paused_at.is_(None)
_MAY_FIRE = and_(_UNPAUSED, Job.broken_reason.is_(None))  # as ix_job_due has it

# Each yields rows with a problem of its kind, the most recent or the latest first.
_FAILING = _FROM_HEALTH.where(JobHealth.failing_since.is_not(None), _MAY_FIRE)
_CUT_OFF = func.coalesce(JobHealth.failure_state, "") == RunState.INTERRUPTED.value
_STORED: list[tuple[ProblemKind, Select[Any], ColumnElement[Any]]] = [
    (ProblemKind.FAILING, _FAILING.where(~_CUT_OFF), JobHealth.failing_since.desc()),
    (ProblemKind.INTERRUPTED, _FAILING.where(_CUT_OFF), JobHealth.failing_since.desc()),
    (
        ProblemKind.OVERDUE,
        _FROM_JOB.where(_MAY_FIRE, Job.next_run_time < _BEFORE),
        Job.next_run_time.asc(),
    ),
    (
        ProblemKind.OVERDUE,
        _FROM_HEALTH.where(
            text(f"job_health.{MISSED_LAST}"),  # letter by letter, as ix_job_health_missed has it
            _MAY_FIRE,
            or_(Job.next_run_time.is_(None), Job.next_run_time >= _BEFORE),
        ),
        JobHealth.last_finished_at.desc(),
    ),
    (
        ProblemKind.BROKEN,
        _FROM_JOB.where(Job.broken_reason.is_not(None), _UNPAUSED),
        Job.name.asc(),
    ),
]
_OPEN = [(kind, rows.where(~_SILENT).order_by(order).limit(SHOWN)) for kind, rows, order in _STORED]
_COUNTS = union_all(
    *(
        select(literal(kind.value), func.count()).select_from(
            rows.where(~_SILENT).with_only_columns(literal(1)).limit(COUNTED).subquery()
        )
        for kind, rows, _ in _STORED
    )
)
_SILENCED = (
    _FROM_HEALTH.where(JobHealth.silence.is_not(None), _SILENT, _UNPAUSED)
    .order_by(JobHealth.silenced_at.desc())
    .limit(COUNTED)
)

_RUN = (
    Run.id.label("run_id"),
    Run.state,
    Run.attempt,
    Run.queued_at,
    Run.started_at,
    Job.misfire_grace_time,
    JobHealth.long_duration,
)
_ACTIVE_RUNS = (
    select(Run.job_id, Run.job_name, *_RUN, *_HEALTH)
    .select_from(Run)
    .outerjoin(Job, Job.id == Run.job_id)
    .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
    .where(text(ACTIVE_RUN))
)
_RUNNING = _ACTIVE_RUNS.where(Run.state == RunState.RUNNING)
_WAITING = _ACTIVE_RUNS.where(
    Run.state == RunState.QUEUED, Run.attempt == 1, Run.queued_at < _BEFORE
)
_ACTIVE = union_all(
    select(_RUNNING.order_by(Run.started_at).limit(COUNTED).subquery()),
    select(_WAITING.order_by(Run.id).limit(COUNTED).subquery()),
)
_OF_JOB = (
    select(*_WHOLE, *_RUN)
    .select_from(Job)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .outerjoin(Run, and_(Run.job_id == Job.id, text(ACTIVE_RUN)))
    .where(Job.id == bindparam("job_id"), _UNPAUSED)
    .limit(COUNTED)
)
